"""What was compared, on whom, and how often: the part of the analysis that is known before any test."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from medsweep.analysis.records import ArmInfo
from medsweep.analysis.study.holes import Cause, causes_of
from medsweep.analysis.study.wording import scope_sentence
from medsweep.analysis.table.arms import control_of
from medsweep.analysis.table.reduction import AnalysisPlan, Reduced
from medsweep.analysis.table.trials import TrialRef, trials_of


@dataclass(frozen=True)
class StudyDesign:
    """Arms, replicates and trials of a sweep on one data set, and every cell of its table by cause."""

    dataset: str
    plan: AnalysisPlan
    arms: tuple[ArmInfo, ...]
    control: str
    classes: tuple[str, ...]
    folds: tuple[int, ...]
    seeds: int
    scope: str
    causes: tuple[Cause, ...]
    trials: tuple[TrialRef, ...]


def design_of(
    table: pd.DataFrame, rows: pd.DataFrame, reduced: Reduced, plan: AnalysisPlan, arms: Sequence[ArmInfo]
) -> StudyDesign:
    """From the tidy ``table``, the same as ``validation.validated`` gave it, and the primary metric reduced."""
    return StudyDesign(
        dataset=str(rows["dataset"].iloc[0]),
        plan=plan,
        arms=tuple(arms),
        control=control_of(arms),
        classes=tuple(sorted(str(name) for name in rows["class"].unique())),
        folds=reduced.folds,
        seeds=reduced.seeds,
        scope=scope_sentence(reduced.seeds, len(reduced.folds)),
        causes=causes_of(rows, plan, reduced.metric),
        trials=trials_of(table, [arm.name for arm in arms]),
    )
