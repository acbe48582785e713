"""One case as its files hold it: every modality and the labels on one canonical grid, or a refusal by name."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from medsweep.data import nifti
from medsweep.data.dataset import Case, Finding, Listing
from medsweep.data.geometry import Triple, as_in_memory, plane_axes, to_planes
from medsweep.data.header import Grid
from medsweep.data.ignored import IGNORED, as_background
from medsweep.data.intensity import Volume
from medsweep.data.structures import read_structures
from medsweep.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class LoadedCase:
    """A case in memory; X, Y, Z grow to the right, to the front and upwards."""

    case: Case
    image: tuple[Volume, ...]
    """Per modality (X, Y, Z), in the file's unit."""
    labels: NDArray[np.uint8]
    """(X, Y, Z) class indices, and ``IGNORED`` where there is an ignored value."""
    image_grids: tuple[Grid, ...]
    """As stored, per image file."""
    label_grids: tuple[Grid, ...]
    """As stored, of the label file or of each structure."""
    slice_axis: int
    """Canonical axis along which slices are cut."""
    has_ignored: bool = False
    """Whether some voxels are ``IGNORED``."""

    @property
    def classes(self) -> NDArray[np.uint8]:
        """The labels with ignored voxels as background, (X, Y, Z)."""
        return as_background(self.labels, ignores=self.has_ignored)

    @property
    def grid(self) -> Grid:
        """As stored, of the first label file: where a prediction is written back to."""
        return self.label_grids[0]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between slices, rows and columns."""
        slices, rows, columns = plane_axes(self.slice_axis)
        spacing = self.grid.spacing_mm
        return spacing[slices], spacing[rows], spacing[columns]

    @property
    def zeros(self) -> tuple[float, ...]:
        """Share of voxels that are exactly 0, by modality."""
        return tuple(1 - np.count_nonzero(as_in_memory(volume)) / volume.size for volume in self.image)

    def image_planes(self, channel: int) -> Volume:
        """One modality as (Z, H, W), slices first, contiguous."""
        return np.ascontiguousarray(to_planes(self.image[channel], self.slice_axis))

    def label_planes(self) -> NDArray[np.uint8]:
        """The labels as (Z, H, W), slices first, contiguous."""
        return np.ascontiguousarray(to_planes(self.labels, self.slice_axis))


def load(case: Case, listing: Listing) -> LoadedCase:
    """Read all files of a case.

    Raises:
        UserError: a file is refused (see ``medsweep.data.nifti``), or the files do not lie on one grid.
    """
    count = len(listing.modalities) if listing.stacked else 1
    chosen = listing.image_channels or (None,) * len(case.images)
    images = [nifti.read_image(path, count, channel) for path, channel in zip(case.images, chosen, strict=True)]
    if case.structures:
        label, label_grids = read_structures(case, listing)
    else:
        label = nifti.read_labels(
            case.label,
            listing.values,
            listing.classes,
            others_are_background=listing.other_values_are_background,
            ignored=listing.ignored_value,
        )
        label_grids = (label.grid,)
    axis = label.grid.canonical_axis(listing.slice_axis)
    for image in images:
        nifti.check_pair(image, label)
        if image.grid.canonical_axis(listing.slice_axis) != axis:
            raise UserError(
                f"slice axis {listing.slice_axis!r} means another direction in {image.path} ({image.grid.axes}) than "
                f"in {label.path} ({label.grid.axes}); name it by anatomy: data.slice_axis: axial, coronal or sagittal"
            )
    channels = tuple(channel for image in images for channel in image.array)
    grids = tuple(image.grid for image in images)
    has_ignored = listing.ignored_value is not None and bool((label.array == IGNORED).any())
    return LoadedCase(case, channels, label.array, grids, label_grids, axis, has_ignored)


def refusal(case: Case, error: Exception) -> Finding:
    """Why a case cannot be used, as a finding of the file that is at fault."""
    message = str(error) if isinstance(error, UserError) else f"cannot be used ({type(error).__name__}: {error})"
    path = next((path for path in case.files if str(path) in message), case.label)
    # The file stands beside the message, so its name and what tells its neighbours apart are enough there.
    common = os.path.commonpath([file.parent for file in case.files])
    return Finding("error", case.id, str(path), message.replace(str(path), path.name).replace(f"{common}{os.sep}", ""))


@dataclass(frozen=True)
class Planes:
    """How a case will be cut."""

    shape: Triple
    """Slices, rows and columns."""
    spacing_mm: tuple[float, float, float]
    """Distance between slices, rows and columns."""


def planes_of(case: Case, listing: Listing) -> Planes:
    """How a case will be cut, from the header of its label file alone.

    Raises:
        UserError: the header is refused.
    """
    grid = nifti.read_grid(case.label, next(iter(listing.structure_channels), None))
    axes = plane_axes(grid.canonical_axis(listing.slice_axis))
    slices, rows, columns = (grid.canonical_shape[axis] for axis in axes)
    between, down, across = (grid.spacing_mm[axis] for axis in axes)
    return Planes((slices, rows, columns), (between, down, across))


def in_parallel(work: Callable[[Case], T], cases: Sequence[Case], threads: int) -> Iterator[T]:
    """Results of ``work`` in the order of ``cases``, a case per thread; leaving early drops what has not begun."""
    with ThreadPoolExecutor(threads) as pool:
        try:
            yield from pool.map(work, cases)
        finally:
            pool.shutdown(cancel_futures=True)
