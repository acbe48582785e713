"""All scores of one metric as one array, arms x cells, so that every method-level test is a matrix product away.

A cell is one patient under one fold and seed. Every fold holds its patients x its seeds in full; where the table has no
row the array has NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from medsweep.analysis.records import Array, decimals_of
from medsweep.analysis.table.reduction import Reduced

Codes = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Replication(StrEnum):
    """What is replicated: runs on one held-out set, folds that share no patient, or folds that do."""

    HELD_OUT = "held-out set"
    CROSS_VALIDATION = "cross-validation"
    REPEATED_HOLD_OUT = "repeated hold-out"


@dataclass(frozen=True)
class ScoreArray:
    """``values``: A arms x K cells, ordered by fold, then patient, then seed.

    ``starts`` are the first cells of the folds and ``seeds`` the seeds of each; ``patient`` numbers the patient of
    each cell.
    """

    arms: tuple[str, ...]
    folds: tuple[int, ...]
    seeds: tuple[tuple[int, ...], ...]
    starts: tuple[int, ...]
    patient: Codes
    values: Array

    @cached_property
    def design(self) -> Replication:
        """One fold is a held-out set; a patient tested in two folds makes a repeated hold-out."""
        if len(self.folds) == 1:
            return Replication.HELD_OUT
        tests = sum(len(np.unique(self.patient[cells])) for cells in self.fold_cells())
        distinct = len(np.unique(self.patient))
        return Replication.CROSS_VALIDATION if tests == distinct else Replication.REPEATED_HOLD_OUT

    @cached_property
    def n(self) -> int:
        """Patients."""
        return len(np.unique(self.patient))

    @cached_property
    def decimals(self) -> int:
        """To which sums of these scores are rounded."""
        return decimals_of(self.values)

    def balanced(self, rows: Codes) -> "ScoreArray":
        """The same, where these arms have runs of their own, with as many of each: what they share, or fold means.

        On a held-out set the seeds that all of them have; in each fold the mean of each arm over its seeds.
        """
        if not np.isnan(self.values[rows]).any():
            return self
        values, patient, seeds = [], [], []
        for cells, own in zip(self.fold_cells(), self.seeds, strict=True):
            values_APR = self.values[:, cells].reshape(len(self.arms), -1, len(own))
            ran_AR: Flags = np.asarray(~np.isnan(values_APR).all(axis=1))
            if self.design is Replication.HELD_OUT:
                kept = np.flatnonzero(ran_AR[rows].all(axis=0))
                values_APR = values_APR[:, :, kept]
            else:
                kept = np.zeros(1, dtype=np.int64)
                counts = (~np.isnan(values_APR)).sum(axis=2)
                sums = np.where(np.isnan(values_APR), 0.0, values_APR).sum(axis=2)
                values_APR = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)[:, :, None]
            values.append(values_APR.reshape(len(self.arms), -1))
            patient.append(np.repeat(self.patient[cells].reshape(-1, len(own))[:, 0], len(kept)))
            seeds.append(tuple(own[at] for at in kept))
        starts = np.cumsum([0, *map(len, patient[:-1])])
        return replace(
            self,
            seeds=tuple(seeds),
            starts=tuple(starts.tolist()),
            patient=np.concatenate(patient),
            values=np.concatenate(values, axis=1),
        )

    def fold_cells(self) -> list[slice]:
        """The cells of each fold."""
        stops = [*self.starts[1:], len(self.patient)]
        return [slice(start, end) for start, end in zip(self.starts, stops, strict=True)]

    def finite_cells(self, rows: Codes) -> Flags:
        """Cells (K) of patients whose every score in these arms is finite."""
        fine_K = np.isfinite(self.values[rows]).all(axis=0)
        return ~np.isin(self.patient, self.patient[~fine_K])

    def fold_means(self, z_TK: Array, keep_K: Flags) -> Array:
        """T x J means over the kept cells of each fold that has any, rounded as ``decimals``."""
        sums = np.add.reduceat(np.where(keep_K, z_TK, 0.0), self.starts, axis=1)
        counts = np.add.reduceat(keep_K.astype(np.float64), self.starts)
        means: Array = (sums[:, counts > 0] / counts[counts > 0]).round(self.decimals)
        return means

    def crossed(self, z_TK: Array, keep_K: Flags, fold: int = 0) -> Array:
        """T x P x R: the kept patients of one fold, by number of the fold, times its seeds; rounded as ``decimals``."""
        cells = self.fold_cells()[fold]
        keep, seeds = keep_K[cells], len(self.seeds[fold])
        patients = int(keep.sum()) // max(seeds, 1)
        table: Array = z_TK[:, cells][:, keep].reshape(len(z_TK), patients, seeds).round(self.decimals)
        return table

    def test_over_train(self) -> float:
        """Largest n_test/n_train of a fold, if all other patients of the table trained; inf where none are left."""
        tested = max(len(np.unique(self.patient[cells])) for cells in self.fold_cells())
        rest = self.n - tested
        return tested / rest if rest else float("inf")


def scores_of(reduced: Reduced, arms: Sequence[str] | None = None) -> ScoreArray:
    """The cells of ``arms`` (all of the sweep by default) in the given order."""
    names = [str(arm) for arm in reduced.wide.columns] if arms is None else list(arms)
    cells = reduced.cells if arms is None else reduced.cells[reduced.cells["arm"].isin(names)]
    patients, patient = np.unique(cells["patient"].to_numpy(dtype=object).astype(str), return_inverse=True)
    folds, fold = np.unique(cells["fold"].to_numpy(), return_inverse=True)
    seeds, seed = np.unique(cells["seed"].to_numpy(), return_inverse=True)
    codes = (fold * len(patients) + patient) * len(seeds) + seed
    pairs, filled_seed = np.divmod(np.unique(codes), len(seeds))
    grids, used = [], []
    for number in range(len(folds)):
        in_fold = pairs // len(patients) == number
        tested, seeds_of_fold = np.unique(pairs[in_fold]), np.unique(filled_seed[in_fold])
        grids.append((tested[:, None] * len(seeds) + seeds_of_fold).ravel())
        used.append(tuple(seeds[seeds_of_fold].astype(int).tolist()))
    grid = np.concatenate(grids)
    values = np.full((len(names), len(grid)), np.nan)
    arm = cells["arm"].map({name: i for i, name in enumerate(names)}).to_numpy(dtype=np.int64)
    values[arm, np.searchsorted(grid, codes)] = cells["value"].to_numpy(dtype=np.float64)
    return ScoreArray(
        arms=tuple(names),
        folds=tuple(int(number) for number in folds),
        seeds=tuple(used),
        starts=tuple(np.cumsum([0, *map(len, grids[:-1])]).tolist()),
        patient=grid // len(seeds) % len(patients),
        values=values,
    )
