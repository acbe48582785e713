"""What a made-up cohort consists of: its size, ids and grids, and how its files are written."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform
from numpy.typing import NDArray
from pydantic import Field

from medsweep.config import Config
from medsweep.data.phantom.canvas import Canvas, Shape, Spacing, bent_grid, floats
from medsweep.identity import derive_seed

PHANTOM_VERSION = 1
"""Raised whenever the same config would give other voxels."""

FEWEST_VOXELS = 8

Size = Annotated[int, Field(ge=FEWEST_VOXELS, le=512)]
Millimetres = Annotated[float, Field(gt=0)]


class PhantomConfig(Config):
    """How many patients, on which grid, from which seed."""

    patients: int = Field(default=20, ge=2, le=10000)
    """Patients of the cohort; a smaller cohort is the head of a larger one."""
    seed: int = Field(default=0, ge=0)
    """Seed of the anatomies."""
    shape: Annotated[tuple[Size, Size, Size] | None, Field(strict=False)] = None
    """Voxels to the right, to the front and upwards, at least 8 each, however the files store them; None is the small
    grid of the dataset. Where the true number of slices varies, it is the greatest number of slices."""
    spacing_mm: Annotated[tuple[Millimetres, Millimetres, Millimetres] | None, Field(strict=False)] = None
    """Voxel size along the same axes, for all patients; None is that of the dataset, which may vary."""


@dataclass(frozen=True)
class Patient:
    """One patient about to be drawn."""

    id: str
    number: int
    """Number within the id."""
    index: int
    """Place in the order of making, from 0."""
    rng: np.random.Generator
    """The patient's own, so that a cohort can grow without changing."""
    shape: Shape
    spacing_mm: Spacing

    def canvas(self) -> Canvas:
        """An empty canvas on the patient's grid."""
        half_mm = floats(np.asarray(self.shape) * np.asarray(self.spacing_mm) / 2)
        return Canvas(self.rng, half_mm, bent_grid(self.rng, self.shape), np.zeros(self.shape, np.uint8))


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """How the patients of one dataset are numbered, sized and written."""

    dataset: str
    id_format: str
    first: tuple[int, ...]
    """Numbers made first, above all those whose files are odd."""
    start: int
    """Numbers made next count from here, leaving out ``first``."""
    shape: Shape
    """Grid where the config names none; upwards, the greatest number of slices."""
    spacing_mm: Callable[[np.random.Generator], Spacing]
    """Voxel size of one patient where the config names none."""
    fewest_slices: float = 1.0
    """Least number of slices as a share of the greatest."""
    wider: Mapping[int, float] = field(default_factory=dict)
    """Numbers of patients whose grid is wider to the right, with the factor."""
    write: Callable[[Patient, Path], None]
    """Writes the files of a patient under the root folder."""
    describe: Callable[[PhantomConfig, tuple[str, ...], Path], None] | None = None
    """Writes the file that describes the cohort, given the ids in the order of making."""

    def numbers(self, count: int) -> Iterator[int]:
        """The first ``count`` numbers in the order of making."""
        others = (number for number in itertools.count(self.start) if number not in self.first)
        return itertools.islice(itertools.chain(self.first, others), count)

    def made_ids(self, config: PhantomConfig) -> tuple[str, ...]:
        """Ids in the order of making."""
        return tuple(self.id_format.format(number) for number in self.numbers(config.patients))

    def patients(self, config: PhantomConfig) -> Iterator[Patient]:
        """The patients in the order of making; which these are and how they look depends on no later one."""
        for index, number in enumerate(self.numbers(config.patients)):
            id_ = self.id_format.format(number)
            rng = np.random.default_rng(derive_seed("phantom", PHANTOM_VERSION, self.dataset, config.seed, id_))
            width, depth, most = config.shape or self.shape
            slices = max(FEWEST_VOXELS, round(most * rng.uniform(self.fewest_slices, 1.0)))
            shape = (round(width * self.wider.get(number, 1.0)), depth, slices)
            # The spacing is drawn even where it is given, so that the anatomy does not depend on that.
            spacing_mm = self.spacing_mm(rng)
            yield Patient(id_, number, index, rng, shape, config.spacing_mm or spacing_mm)


def write_volume(
    path: Path, canonical: NDArray[Any], spacing_mm: Spacing, axes: str, *, qform_code: int = 1, sform_code: int = 1
) -> None:
    """Write a canonical array (X, Y, Z) or (X, Y, Z, ...) as NIfTI, whose axes grow towards nibabel's codes ``axes``.

    ``spacing_mm`` is along the canonical axes. A code of 0 leaves the qform or the sform out.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    stored_from_canonical = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(axes))
    stored = np.ascontiguousarray(apply_orientation(canonical, stored_from_canonical))
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = -np.asarray(spacing_mm) * (np.asarray(canonical.shape[:3]) - 1) / 2
    affine = affine @ inv_ornt_aff(stored_from_canonical, canonical.shape[:3])
    image = nib.Nifti1Image(stored, affine)
    image.set_sform(affine if sform_code else None, sform_code)
    image.set_qform(affine if qform_code else None, qform_code)
    image.header.set_xyzt_units("mm")
    image.to_filename(path)


def about(dataset: str, config: PhantomConfig) -> str:
    """One sentence that says what such a cohort is."""
    return (
        f"Made-up cohort by medsweep (phantom version {PHANTOM_VERSION}, seed {config.seed}); it imitates the layout "
        f"of {dataset} and shows no person"
    )


def write_readme(dataset: str, config: PhantomConfig, root: Path) -> None:
    """Write README.txt, which says that the folder is made up."""
    text = (
        f"{about(dataset, config)}.\n\n"
        "The images and masks are drawn from ellipsoids and random fields. They imitate file names, folders, headers,\n"
        "label values and rough contrasts only. No result on them is a result on the dataset whose name they borrow.\n"
    )
    (root / "README.txt").write_text(text, encoding="utf-8")
