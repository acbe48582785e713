"""What a made-up cohort consists of: ids, grids, and the functions that write a patient and the description."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medsweep.data.phantom.config import PHANTOM_VERSION, PhantomConfig, Shape, Spacing
from medsweep.data.phantom.shapes import Canvas
from medsweep.identity import derive_seed

FEWEST_VOXELS = 8


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

    def canvas(self, bend: float = 0.06) -> Canvas:
        """An empty canvas on the patient's grid."""
        return Canvas.blank(self.rng, self.shape, self.spacing_mm, bend)


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
            shape = self._shape(rng, config.shape or self.shape, number)
            own = self.spacing_mm(rng)
            yield Patient(id_, number, index, rng, shape, config.spacing_mm or own)

    def _shape(self, rng: np.random.Generator, shape: Shape, number: int) -> Shape:
        slices = round(shape[2] * rng.uniform(self.fewest_slices, 1.0))
        return round(shape[0] * self.wider.get(number, 1.0)), shape[1], max(FEWEST_VOXELS, slices)
