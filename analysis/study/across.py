"""What several data sets say together: a random-effects mean of every arm's difference, and a consensus ranking."""

from collections.abc import Sequence
from dataclasses import dataclass

from medsweep.analysis.stats.equivalence import Verdict
from medsweep.analysis.stats.meta_analysis import (
    DatasetRanks,
    Meta,
    StudyEffect,
    friedman_over_datasets,
    synthesise_all,
)
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.table.reduction import AnalysisRules
from medsweep.errors import UserError
from medsweep.metric_record import Metric


@dataclass(frozen=True)
class ArmAcross:
    """One arm in every data set that has it: (data set, verdict), and what they come to together.

    ``meta`` is None for an arm of one data set, or where fewer than two have a standard error.
    """

    arm: str
    verdicts: tuple[tuple[str, Verdict], ...]
    meta: Meta | None


@dataclass(frozen=True)
class Across:
    """Data sets are the units. ``over_runs``: whether every difference has the runs as random, too."""

    datasets: tuple[str, ...]
    control: str
    metric: Metric
    rules: AnalysisRules
    arms: tuple[ArmAcross, ...]
    ranks: DatasetRanks | None
    over_runs: bool


def across_datasets(analyses: Sequence[Analysis]) -> Across:
    """Combine the analyses of one question on several data sets, arm by arm by name.

    Every difference is the one its data set quotes: with runs as random where all data sets have it, else over
    patients alone for all, since the two standard errors do not mix.

    Raises:
        UserError: fewer than two data sets, one twice, or they differ in control, metric, margin or alpha.
    """
    _refuse_unlike(analyses)
    first = analyses[0]
    rules = first.rules.model_copy(update={"alpha": first.overall_alpha})
    over_runs = not any(answer.conditional for one in analyses for answer in one.answers)
    answers = [(one.dataset, answer) for one in analyses for answer in one.answers]
    studies = []
    for dataset, answer in answers:
        estimate = answer.estimate if over_runs else answer.effect.mean
        studies.append(StudyEffect(dataset, answer.arm, estimate.value, estimate.se, answer.effect.n_finite))
    sound = [study for study in studies if study.se > 0]
    labels = dict.fromkeys(study.label for study in studies)
    several = [name for name in labels if sum(study.label == name for study in sound) > 1]
    metas = synthesise_all([study for study in sound if study.label in several], level=1 - rules.alpha)
    by_label = {meta.label: meta for meta in metas}
    arms = tuple(
        ArmAcross(name, tuple((d, a.verdict) for d, a in answers if a.arm == name), by_label.get(name))
        for name in labels
    )
    higher = first.primary.metric.higher_is_better
    ranks = friedman_over_datasets(studies, higher_is_better=higher, control=first.control)
    return Across(
        tuple(analysis.dataset for analysis in analyses),
        first.control,
        first.primary.metric,
        rules,
        arms,
        ranks,
        over_runs,
    )


def refuse_repeated(datasets: Sequence[str]) -> None:
    """Raises UserError: a data set occurs twice."""
    twice = [name for name in datasets if datasets.count(name) > 1]
    if twice:
        raise UserError(f"data set {twice[0]!r} occurs twice; combine one analysis of each")


def _refuse_unlike(analyses: Sequence[Analysis]) -> None:
    names = [analysis.dataset for analysis in analyses]
    if len(names) < 2:
        raise UserError(f"{len(names)} data set leaves nothing to combine; give the analyses of two or more")
    refuse_repeated(names)
    facts: dict[str, list[str | float]] = {
        "control": [analysis.control for analysis in analyses],
        "primary metric": [analysis.primary.metric.name for analysis in analyses],
        "margin": [analysis.rules.margin for analysis in analyses],
        "alpha": [analysis.overall_alpha for analysis in analyses],
    }
    for what, values in facts.items():
        for name, value in zip(names, values, strict=True):
            if value != values[0]:
                raise UserError(
                    f"{what} is {values[0]!r} in {names[0]!r} and {value!r} in {name!r}; combine like with like"
                )
