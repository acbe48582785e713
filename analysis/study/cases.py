"""The cases behind the means: every patient's score, the worst ones, the cohort, and classes that pools hardly show.

Patients are numbered in the order of their names, never named: the report may leave the house.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from medsweep.analysis.table.arms import TrialRef
from medsweep.analysis.table.reduction import Reduced
from medsweep.analysis.table.validation import EMPTY

WORST: Final = 2
"""Cases that are listed for each arm."""
SPARSE: Final = 0.05
"""Share of the masks of one pool below which a class is nearly absent."""
_EMPTY: Final = re.compile(r"class_(\d+)/empty")


@dataclass(frozen=True)
class RawScores:
    """The primary metric of every patient under one arm, mean over runs, in the order of the patients' numbers."""

    arm: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class WorstCase:
    """One patient in one run: score, the control's mean score of the patient, and the loss, never below 0.

    ``patient`` is a number from 1 in the order of the patients' names, ``digest`` the trial that scored it, empty
    where the table names none.
    """

    arm: str
    patient: int
    fold: int
    seed: int
    value: float
    control: float
    loss: float
    digest: str


@dataclass(frozen=True)
class CohortClass:
    """One class in the reference: patients with and without it, and its volume in ml, NaN where the table has none."""

    name: str
    patients: int
    without: int
    median_ml: float
    smallest_ml: float
    largest_ml: float


@dataclass(frozen=True)
class SparseClass:
    """A class that one pool of an arm hardly shows: ``index`` as in the masks, share of the masks, pools of the arm."""

    arm: str
    index: int
    share: float
    sparse: int
    pools: int


def scores_by_arm(reduced: Reduced) -> tuple[RawScores, ...]:
    """One record per arm, in the arms' order."""
    return tuple(RawScores(str(arm), tuple(map(float, values))) for arm, values in reduced.wide.items())


def worst_cases(reduced: Reduced, control: str, trials: Sequence[TrialRef]) -> tuple[WorstCase, ...]:
    """The largest losses of each arm against the control, one per patient, ``WORST`` of each arm; none without a loss.

    Of the control itself the worst scores, with a loss of 0.
    """
    digests = {(trial.arm, trial.fold, trial.seed): trial.digest for trial in trials}
    toward, wide = 1.0 if reduced.metric.higher_is_better else -1.0, reduced.wide
    cells = reduced.cells
    patients = wide.index.astype(str).get_indexer(pd.Index(cells["patient"]))
    values, baseline = cells["value"].to_numpy(dtype=np.float64), wide[control].to_numpy(dtype=np.float64)[patients]
    arms, folds, seeds = (cells[name].to_numpy() for name in ("arm", "fold", "seed"))
    # a patient missed by both arms is no loss
    losses = np.subtract(baseline, values, out=np.zeros_like(values), where=baseline != values) * toward
    cases = []
    for arm in map(str, wide):
        own = np.flatnonzero(arms == arm) if arm == control else np.flatnonzero((arms == arm) & (losses > 0))
        badness = -toward * values[own] if arm == control else losses[own]
        ordered = own[np.lexsort((seeds[own], folds[own], patients[own], -badness))]
        firsts = np.sort(np.unique(patients[ordered], return_index=True)[1])[:WORST]
        for i in ordered[firsts].tolist():
            fold, seed = int(folds[i]), int(seeds[i])
            loss = 0.0 if arm == control else float(losses[i])
            where = (int(patients[i]) + 1, fold, seed, float(values[i]), float(baseline[i]), loss)
            cases.append(WorstCase(arm, *where, digests.get((arm, fold, seed), "")))
    return tuple(cases)


def cohort_of(table: pd.DataFrame, metric: str) -> tuple[CohortClass, ...]:
    """Every class of one metric of a tidy table, by name; from one row per patient and class."""
    rows = table[(table["metric"] == metric) & ~table["status"].isin(["absent", "diverged"])]
    columns = ["patient", "class", "status", *(["volume_ref_ml"] if "volume_ref_ml" in rows else [])]
    rows = rows[columns].drop_duplicates(["patient", "class"]).astype({"class": str})
    classes = []
    for name, own in rows.groupby("class", sort=True):
        without = own["status"].isin(EMPTY)
        volumes = np.array([])
        if "volume_ref_ml" in own:
            volumes = own.loc[~without, "volume_ref_ml"].dropna().to_numpy(dtype=np.float64)
        sizes = (np.median(volumes), volumes.min(), volumes.max()) if len(volumes) else (np.nan,) * 3
        classes.append(CohortClass(str(name), int((~without).sum()), int(without.sum()), *map(float, sizes)))
    return tuple(classes)


def sparse_classes(pools: pd.DataFrame) -> tuple[SparseClass, ...]:
    """Arms of which some pool shows a class in fewer than ``SPARSE`` of its masks; the share is that of the worst."""
    empty = pools[pools["metric"].astype(str).str.fullmatch(_EMPTY)].drop_duplicates(["arm", "digest", "metric"])
    found = []
    for (arm, metric), own in empty.groupby(["arm", "metric"], sort=False):
        shares = 1 - own["value"].to_numpy(dtype=np.float64)
        matched = _EMPTY.fullmatch(str(metric))
        if matched is not None and (shares < SPARSE).any():
            sparse = int((shares < SPARSE).sum())
            found.append(SparseClass(str(arm), int(matched[1]), float(shares.min()), sparse, len(shares)))
    return tuple(found)
