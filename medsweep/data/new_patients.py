"""Patients without labels: their files in a folder, and their slices cut and scaled like those of the training data.

A file holds one modality, whose name or number ends its own (``ID_flair.nii.gz``, ``ID_0000.nii.gz``, or
``flair.nii.gz`` in a folder of the patient's name), or all of them as a fourth axis.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from medsweep.data import intensity, nifti
from medsweep.data.geometry import Resize, Triple, plane_axes, to_planes
from medsweep.data.header import SAME_GRID, Grid, read_header, voxels_apart
from medsweep.data.intensity import Volume
from medsweep.data.layouts.case_files import without_ending
from medsweep.data.layouts.leftovers import foreign_formats, volumes_below
from medsweep.data.likeness import Likeness, levels_of, size_mm
from medsweep.data.slices import SliceSet, StoredGeometry
from medsweep.errors import Mistakes, UserError

NUMBERED: Final = re.compile(r"(.+)_(\d{4})")
MASK_VALUES: Final = 32
"""Values that a mask has at most, and hardly an image."""
MASK_SIDE: Final = 64
"""Voxels along an axis that are looked at to tell."""
SAME_PIXEL: Final = 1.1
"""Pixels that are larger or smaller than all in training by more than this factor are brought to their size."""


@dataclass(frozen=True)
class PatientFiles:
    """The images of one patient."""

    id: str
    images: tuple[Path, ...]
    """A file per modality in channel order, or one with all of them."""
    modalities: tuple[str, ...]

    @property
    def stacked(self) -> bool:
        """Whether one file holds several modalities."""
        return len(self.images) < len(self.modalities)


def find_patients(folder: Path, modalities: Sequence[str]) -> list[PatientFiles]:
    """The patients whose NIfTI files lie below ``folder``, sorted by id; hidden files are passed over.

    Raises:
        UserError: no such file, or patients whose files lack a modality, have one twice or cannot be told apart; all
            of them are named.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; give the folder of the patients' NIfTI files")
    files = sorted(folder / path for path in volumes_below(folder))
    if not files:
        others = foreign_formats(folder, by_patterns=False) or "give the folder of the patients' files"
        raise UserError(f"no NIfTI file (.nii or .nii.gz) lies below {folder}; {others}")
    found: dict[str, dict[int | None, list[Path]]] = defaultdict(lambda: defaultdict(list))
    numbered = len(modalities) > 1 or all(_stem(path).endswith("_0000") for path in files)
    for path in files:
        id_, channel = _named(path, modalities, numbered=numbered)
        found[id_][channel].append(path)
    mistakes, patients = Mistakes(), []
    for id_, channels in sorted(found.items()):
        with mistakes.gathered():
            patients.append(_patient(id_, channels, tuple(modalities)))
    mistakes.raise_any()
    return patients


def _stem(path: Path) -> str:
    return without_ending(path.name) or path.name


def _named(path: Path, modalities: Sequence[str], *, numbered: bool) -> tuple[str, int | None]:
    """The id in a file's name, and which modality it says to hold; None where it says none."""
    stem = _stem(path)
    match = NUMBERED.fullmatch(stem)
    if numbered and match and int(match[2]) < len(modalities):
        return match[1], int(match[2])
    # the longest first, since flair and t1 may both end what is called t2flair
    for name in sorted(modalities, key=len, reverse=True):
        if stem.casefold() == name.casefold():
            return path.parent.name, modalities.index(name)
        ending = re.fullmatch(rf"(.+)[-_.]{re.escape(name)}", stem, re.IGNORECASE)
        if ending:
            return ending[1], modalities.index(name)
    return stem, 0 if len(modalities) == 1 else None


def _patient(id_: str, found: dict[int | None, list[Path]], modalities: tuple[str, ...]) -> PatientFiles:
    for paths in found.values():
        if len(paths) > 1:
            raise UserError(f"patient {id_!r} has two files of one kind, {paths[0]} and {paths[1]}; keep one of them")
    if set(found) == {None}:
        (path,) = found[None]
        _require_all(path, modalities)
        return PatientFiles(id_, (path,), modalities)
    if missing := [name for channel, name in enumerate(modalities) if channel not in found]:
        one = next(path for paths in found.values() for path in paths)
        wanted = f"{id_}_{missing[0]}.nii.gz or {id_}_{modalities.index(missing[0]):04}.nii.gz"
        raise UserError(
            f"patient {id_!r} lacks {', '.join(missing)} (found {one.name} in {one.parent}); the network reads "
            f"{', '.join(modalities)}: add {wanted}"
        )
    return PatientFiles(id_, tuple(found[channel][0] for channel in range(len(modalities))), modalities)


def _require_all(path: Path, modalities: Sequence[str]) -> None:
    """Refuse a file whose name says no modality, unless it holds all of them."""
    try:
        read_header(path, len(modalities))
    except UserError as error:
        wanted = f"end its name with one of {', '.join(modalities)}, or move it out of the folder"
        raise UserError(f"{path} says no modality and does not hold all of them ({error}); {wanted}") from None


@dataclass(frozen=True, eq=False)
class NewPatient:
    """The images of one patient on one grid, X, Y, Z growing to the right, to the front and upwards."""

    files: PatientFiles
    volumes: tuple[Volume, ...]
    """(X, Y, Z) per modality, in the file's unit."""
    grid: Grid
    """As stored, of the first file."""

    @property
    def stored(self) -> StoredGeometry:
        """Where predictions are written to: the grid of the first file."""
        shape = self.grid.shape[:3] if self.files.stacked else self.grid.shape
        return StoredGeometry(shape, self.grid.affine.tolist(), self.grid.sform_code, self.grid.qform_code)

    def planes_mm(self, slice_axis: int) -> tuple[float, float, float]:
        """Distance between slices, rows and columns."""
        spacing = self.grid.spacing_mm
        slices, rows, columns = plane_axes(slice_axis)
        return spacing[slices], spacing[rows], spacing[columns]

    def shape(self, slice_axis: int) -> Triple:
        """Number of slices, rows and columns."""
        size = self.volumes[0].shape
        slices, rows, columns = plane_axes(slice_axis)
        return size[slices], size[rows], size[columns]


def read_patient(files: PatientFiles) -> NewPatient:
    """Read all images of a patient.

    Raises:
        UserError: a file cannot be read, or the files do not lie on one grid.
    """
    count = len(files.modalities) if files.stacked else 1
    scans = [nifti.read_image(path, count) for path in files.images]
    first = scans[0].grid
    for scan in scans[1:]:
        same_shape = scan.grid.canonical_shape == first.canonical_shape
        affines = first.canonical_affine, scan.grid.canonical_affine
        apart = voxels_apart(*affines, first.canonical_shape) if same_shape else np.inf
        if apart > SAME_GRID:
            what = f"{apart:.2f} voxels apart" if same_shape else f"shapes {first.shape} and {scan.grid.shape}"
            raise UserError(
                f"{scans[0].path} and {scan.path} of patient {files.id!r} do not lie on one grid ({what}); resample "
                "all modalities to the grid of one"
            )
    return NewPatient(files, tuple(channel for scan in scans for channel in scan.array), first)


@dataclass(frozen=True)
class Preparation:
    """How the slices of a network were cut and scaled, so that those of others can be, whose files are elsewhere."""

    data: SliceSet

    @cached_property
    def slice_axis(self) -> int:
        """Canonical axis along which slices are cut; all patients of a slice set have the same."""
        return next(iter(self.data.volumes.values())).slice_axis

    @cached_property
    def pixels_mm(self) -> NDArray[np.float64]:
        """Height and width of a pixel as networks saw it, (patients, 2)."""
        volumes = self.data.volumes.values()
        return np.array([_pixel(volume.resize, volume.spacing_mm[1:]) for volume in volumes])

    def resize(self, patient: NewPatient) -> Resize:
        """How a plane of the patient becomes a square: as in training, unless its pixels would be of another size.

        Then it is scaled to the middle size of pixels in training, or as near to that as the square has room for.
        """
        _, height, width = patient.shape(self.slice_axis)
        plain, spacing = Resize.of(height, width, self.data.resolution), patient.planes_mm(self.slice_axis)[1:]
        pixel, low, high = _pixel(plain, spacing), self.pixels_mm.min(0), self.pixels_mm.max(0)
        if (low / SAME_PIXEL <= pixel).all() and (pixel <= high * SAME_PIXEL).all():
            return plain
        wanted = np.array([height, width]) * spacing / np.median(self.pixels_mm, axis=0)
        rows, columns = np.maximum(1, np.rint(wanted * min(1.0, plain.side / wanted.max()))).astype(int).tolist()
        return Resize(height, width, rows, columns, plain.side)

    def images(self, patient: NewPatient) -> NDArray[np.float32]:
        """The patient's slices as networks see them, (Z, C, R, R)."""
        resize, constants = self.resize(patient), self.data.constants
        planes = [
            resize.image(
                *intensity.normalise(
                    np.ascontiguousarray(to_planes(volume, self.slice_axis)),
                    self.data.recipes[channel],
                    constants[channel] if constants else None,
                )
            )
            for channel, volume in enumerate(patient.volumes)
        ]
        # in the type that the training slices were stored in, so that a patient of theirs gives the same to the bit
        images_ZCRR: NDArray[np.float32] = np.stack(planes, axis=1).astype(self.data.images.dtype).astype(np.float32)
        return images_ZCRR

    @cached_property
    def likeness(self) -> Likeness:
        """What the patients of the slice set measure."""
        return Likeness.of(self.data)

    def remarks(self, patient: NewPatient, images_ZCRR: NDArray[np.float32]) -> Iterator[str]:
        """In what the patient is unlike those of training; ``images_ZCRR`` is what ``images`` gave."""
        resize, spacing = self.resize(patient), patient.planes_mm(self.slice_axis)
        shape = patient.shape(self.slice_axis)
        yield from self.likeness.remarks(size_mm(shape, spacing, self.slice_axis), levels_of(images_ZCRR, resize))
        if resize != Resize.of(resize.height, resize.width, resize.side):
            down, across = _pixel(resize, spacing[1:])
            seen = f"{down:.3g} x {across:.3g} mm"
            yield f"pixels of {spacing[1]:g} x {spacing[2]:g} mm, resampled to {seen} as in training"
        for modality, volume in zip(self.data.modalities, patient.volumes, strict=True):
            if values := mask_values(volume):
                yield f"{modality} holds {values} whole numbers and nothing else, as a mask does"


def mask_values(volume: Volume) -> int:
    """How many values a volume holds, if they are as few and whole as those of a mask; else 0."""
    part = volume[tuple(slice(None, None, -(-side // MASK_SIDE)) for side in volume.shape)]
    values = np.unique(part)
    return len(values) if len(values) <= MASK_VALUES and (values % 1 == 0).all() else 0


def _pixel(resize: Resize, spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """Height and width in mm of a pixel after ``resize``."""
    scaled = resize.scaled_height / resize.height, resize.scaled_width / resize.width
    pixel: NDArray[np.float64] = np.array(spacing_mm) / scaled
    return pixel
