"""The whole analysis as one record: reduce, describe, test, and the verdict on every arm against the control."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pandas as pd

from medsweep.analysis import records
from medsweep.analysis.factors.effects import FactorStudy, NoFactors, factor_effects, without_runs
from medsweep.analysis.questions.quality import QualityStudy
from medsweep.analysis.records import ArmInfo
from medsweep.analysis.stats.dose_response import DoseRules, DoseSeries, dose_series
from medsweep.analysis.stats.effects import Paired, paired_differences
from medsweep.analysis.stats.method_tests import Components, RunMean, all_components, run_means
from medsweep.analysis.stats.rank_stability import Ranking, ranking
from medsweep.analysis.stats.seed_correlation import SeedCorrelation, seed_correlation
from medsweep.analysis.stats.sequential import Look
from medsweep.analysis.study import wording
from medsweep.analysis.study.answers import Answer, answer_all
from medsweep.analysis.study.cases import (
    CohortClass,
    RawScores,
    SparseClass,
    WorstCase,
    cohort_of,
    scores_by_arm,
    sparse_classes,
    worst_cases,
)
from medsweep.analysis.study.classes import ClassResult, classes_of
from medsweep.analysis.study.contrasts import ContrastTest, ContrastTester, contrasts_of, lost_contrasts
from medsweep.analysis.study.dead import DeadArm, compared
from medsweep.analysis.study.failures import FailureRates, failures_of
from medsweep.analysis.study.limits import arms_of_one_generator, limits_of, no_dose_zero
from medsweep.analysis.study.looks import look_sentence, rules_at
from medsweep.analysis.study.mechanisms.accumulation import AccumulationStudy, accumulation_of
from medsweep.analysis.study.mechanisms.mechanism import MechanismStudy, mechanism_of
from medsweep.analysis.study.mechanisms.texture import TextureStudy, texture_of
from medsweep.analysis.study.mechanisms.why import NOTHING_ASKED, WhyAsked, why_sentences
from medsweep.analysis.study.metric_study import (
    Cause,
    Description,
    MetricStudy,
    Sensitivity,
    causes_of,
    sensitivity_of,
    study_metric,
)
from medsweep.analysis.study.pool_summaries import PoolSummary, pool_summaries, quality_of_pools
from medsweep.analysis.study.secondary import reduce_secondary
from medsweep.analysis.table.arms import TrialRef, control_of, infer_arms, trials_of
from medsweep.analysis.table.plausible import doubts, refuse_impossible
from medsweep.analysis.table.reduction import AnalysisRules, Reduced, metric_named, reduce, scored_rows
from medsweep.analysis.table.user_table import NO_POOLS, metric_for, named, rules_of, tidied
from medsweep.analysis.table.validation import validated
from medsweep.errors import UserError
from medsweep.metric_record import Metric
from medsweep.metrics import SCORES

__all__ = ["Analysis", "Description", "MetricStudy", "PoolSummary", "analyse", "analyse_datasets", "analyse_table"]

KEY_ARMS: Final = 6
"""Arms of which each patient's difference is shown."""


@dataclass(frozen=True)
class Analysis:
    """The answer of a sweep on one data set: what was compared, how often, every cell by cause, and what came out."""

    dataset: str
    rules: AnalysisRules
    arms: tuple[ArmInfo, ...]
    control: str
    classes: tuple[str, ...]
    folds: tuple[int, ...]
    seeds: int
    """Per fold, of the arm with most."""
    fewest_seeds: int
    scope: str
    causes: tuple[Cause, ...]
    trials: tuple[TrialRef, ...]
    answers: tuple[Answer, ...]
    primary: MetricStudy
    secondary: tuple[MetricStudy, ...]
    sensitivity: Sensitivity
    dose: tuple[DoseSeries, ...]
    factors: FactorStudy | NoFactors
    runs: tuple[RunMean, ...]
    components: tuple[Components, ...]
    ranking: Ranking
    paired: tuple[Paired, ...]
    """Of the arms whose difference is shown or largest, ``KEY_ARMS`` at most."""
    pools: tuple[PoolSummary, ...]
    quality: QualityStudy | None
    conditional: wording.Condition
    """What arms have too few of, on one held-out set, so that no method can be judged."""
    contrasts: tuple[ContrastTest, ...]
    """Effects of a factorial first, then those that the rules name."""
    seed_correlation: SeedCorrelation | None
    """How much runs of one seed move together in all arms; None where nothing tells."""
    failures: tuple[FailureRates, ...]
    by_class: tuple[ClassResult, ...]
    scores: tuple[RawScores, ...]
    worst: tuple[WorstCase, ...]
    sparse: tuple[SparseClass, ...]
    limits: tuple[str, ...]
    cohort: tuple[CohortClass, ...] = ()
    dead: tuple[DeadArm, ...] = ()
    mechanism: MechanismStudy | None = None
    """Where the sweep asks why an arm costs what it costs."""
    accumulation: AccumulationStudy | None = None
    """Where the sweep asks whether errors of masks accumulate."""
    texture: TextureStudy | None = None
    """Where the sweep asks whether texture harms."""
    levels: tuple[ContrastTest, ...] = ()
    """Arms against the same real slices again and against new ones, a family of its own."""
    look: Look | None = None
    """Where several analyses were planned."""

    @property
    def overall_alpha(self) -> float:
        """``rules.alpha``, or that of all looks together where several were planned."""
        return self.rules.alpha if self.look is None else self.look.overall

    @property
    def headline(self) -> str:
        """The answer in one sentence."""
        planted = () if self.mechanism is None else self.mechanism.arms.planted
        verdicts = [(answer.arm, answer.verdict) for answer in self.answers if answer.arm not in planted]
        metric, n = self.primary.metric, self.primary.n
        if self.rules.kind == "factorial":
            return wording.effects_headline(self.contrasts, metric, n, conditional=self.conditional)
        if all(answer.judged is None for answer in self.answers):
            return wording.nothing_compared(self.control, metric, n)
        return wording.headline(verdicts, self.control, metric, n, conditional=self.conditional)

    @property
    def why(self) -> tuple[str, ...]:
        """What the sections mechanism, texture and accumulation of the sweep come to, in sentences."""
        metric, margin = self.primary.metric, self.rules.margin
        return why_sentences(self.mechanism, self.texture, self.accumulation, metric, margin)

    def to_json(self) -> str:
        """The record as JSON text; NaN is null, infinity a text."""
        return records.to_json(self)


def analyse(
    table: pd.DataFrame,
    pools: pd.DataFrame,
    rules: AnalysisRules,
    *,
    arms: Sequence[ArmInfo],
    n_real: float | None = None,
    test_over_train: float | None = None,
    metrics: Mapping[str, Metric] = SCORES,
    dead: Sequence[DeadArm] = (),
    look: Look | None = None,
    why: WhyAsked = NOTHING_ASKED,
) -> Analysis:
    """Analyse the tidy ``table`` of one data set: validate, reduce, describe, test, and say what it comes to.

    Args:
        table: one row per dataset, arm, fold, seed, patient, class and metric, with value and status.
        pools: arm, fold, seed, digest, metric, value of the synthetic pools; may be empty.
        rules: the section ``analysis:`` of the sweep.
        arms: every arm of the sweep in its order, exactly one the control.
        n_real: real training patients (or slices, as ``count`` is); makes doses relative to them.
        test_over_train: n_test/n_train of a fold, in patients; None takes the folds for those of a cross-validation.
        metrics: records of the scores to be compared; the limits name the others.
        dead: those of the arms that are not compared, since networks of theirs are lost. An arm without any score is
            dead, too.
        look: which of several planned analyses this is; its level takes the place of ``rules.alpha``.
        why: the sections of the sweep that ask why its arms cost what they cost.

    Raises:
        UserError: the table contradicts the sweep or itself, or has holes without a declared rule; or no two arms are
            left to compare.
    """
    rules, metric = rules_at(rules, look), metric_named(rules.primary, metrics)
    asked = arms
    table, arms, dead = compared(table, arms, metric.name, dead)
    gone, names = [one.arm for one in dead], [arm.name for arm in arms]
    rows = validated(table, names, metric.name)
    refuse_impossible(rows, metrics)
    scores, told = _scores(rows, rules, arms, metric, metrics)
    analysis = _analysed(
        rows,
        ContrastTester(scores[0], control_of(arms), rules, gone, test_over_train),
        scores[1:],
        pools[~pools["arm"].isin(gone)],
        arms,
        trials=trials_of(table, names),
        n_real=n_real or 1.0,
        undescribed=[name for name in sorted(map(str, rows["metric"].unique())) if name not in metrics],
        why=why,
    )
    lost = [f"{name} is not tested, since an arm of it has no score." for name in lost_contrasts(rules, asked, gone)]
    scope = analysis.scope if look is None else f"{analysis.scope} {look_sentence(look)}"
    limits = (*lost, *told, *no_dose_zero(arms), *analysis.limits)
    return replace(analysis, cohort=cohort_of(table, metric.name), dead=dead, look=look, scope=scope, limits=limits)


def _scores(
    rows: pd.DataFrame, rules: AnalysisRules, arms: Sequence[ArmInfo], primary: Metric, metrics: Mapping[str, Metric]
) -> tuple[list[Reduced], list[str]]:
    """The primary metric, then the others that were measured; a sentence for each of these that lacks something."""
    names, measured = [arm.name for arm in arms], set(rows["metric"].unique())
    others = [metric for name, metric in metrics.items() if name in measured and name != primary.name]
    secondary, told = reduce_secondary(rows, rules, names, control_of(arms), others)
    return [reduce(rows, rules, names, primary), *secondary], told


def _analysed(
    rows: pd.DataFrame,
    tester: ContrastTester,
    others: Sequence[Reduced],
    pools: pd.DataFrame,
    arms: Sequence[ArmInfo],
    *,
    trials: tuple[TrialRef, ...],
    n_real: float,
    undescribed: Sequence[str],
    why: WhyAsked,
) -> Analysis:
    """The record from the scores of the primary metric, which ``tester`` has, and of the ``others``."""
    reduced, control, rules, level = tester.reduced, tester.control, tester.rules, tester.level
    ratio = tester.test_over_train
    primary = study_metric(reduced, control, rules)
    answers = answer_all(reduced, primary.effects, primary.wilcoxon, control, rules, test_over_train=ratio)
    quoted = {answer.arm: answer.estimate for answer in answers}
    contrasts = contrasts_of(tester, arms)
    dose_rules = DoseRules(control, level, n_real, rules.margin, quoted, ratio)
    return Analysis(
        dataset=str(rows["dataset"].iloc[0]),
        rules=rules,
        arms=tuple(arms),
        control=control,
        classes=tuple(sorted(str(name) for name in rows["class"].unique())),
        folds=reduced.folds,
        seeds=reduced.seeds,
        fewest_seeds=reduced.fewest_seeds,
        scope=wording.scope_sentence(
            [answer.test for answer in answers], len(reduced.folds), reduced.seeds, reduced.fewest_seeds
        ),
        causes=causes_of(rows, rules, reduced.metric),
        trials=trials,
        answers=answers,
        primary=primary,
        secondary=tuple(study_metric(other, control, rules) for other in others),
        sensitivity=sensitivity_of(reduced, primary.omnibus, control, rules, ratio),
        dose=tuple(dose_series(reduced, arms, dose_rules)),
        factors=without_runs(factor_effects(reduced, arms, level, ratio), [one.name for one in contrasts]),
        runs=run_means(reduced),
        components=all_components(reduced),
        seed_correlation=seed_correlation(reduced, level),
        ranking=ranking(reduced.wide, higher_is_better=reduced.metric.higher_is_better, level=level),
        paired=paired_differences(reduced, control, _key_arms(answers), level),
        pools=pool_summaries(pools, [arm.name for arm in arms]),
        quality=quality_of_pools(pools, reduced, control, level),
        conditional=_condition(reduced, answers, pools),
        contrasts=contrasts,
        failures=failures_of(scored_rows(rows, rules, reduced.metric)[0], reduced, control, rules, ratio),
        by_class=classes_of(rows, control, rules, reduced, ratio),
        scores=scores_by_arm(reduced),
        worst=worst_cases(reduced, control, trials),
        sparse=sparse_classes(pools),
        levels=tester.family(why.levels),
        mechanism=mechanism_of(why.mechanism, tester, pools, why.diagnosis) if why.mechanism else None,
        accumulation=accumulation_of(why.accumulation, tester, why.samples) if why.accumulation else None,
        texture=texture_of(why.texture, tester, pools, why.diagnosis) if why.texture else None,
        limits=(
            *why.of_planted,
            *doubts(reduced, control, why.lattice),
            *limits_of(reduced, answers, pools, rules, undescribed),
        ),
    )


def _condition(reduced: Reduced, answers: Sequence[Answer], pools: pd.DataFrame) -> wording.Condition:
    tests = [answer.test for answer in answers if answer.test is not None]
    if tests and all(test.conditional for test in tests):
        return "network" if reduced.seeds == 1 else "networks"
    # folds have generators of their own, which the test over folds then holds for
    return "generator" if len(reduced.folds) == 1 and arms_of_one_generator(reduced, pools) else ""


def _key_arms(answers: Sequence[Answer]) -> list[str]:
    """Shown differences first, then the largest; in the arms' order."""
    values = {answer.arm: answer.estimate.value for answer in answers}
    sizes = {arm: 0.0 if math.isnan(value) else abs(value) for arm, value in values.items()}
    order = sorted(
        answers, key=lambda given: (given.judged is None or not given.judged.evidence.different, -sizes[given.arm])
    )
    chosen = {answer.arm for answer in order[:KEY_ARMS]}
    return [answer.arm for answer in answers if answer.arm in chosen]


def analyse_table(
    table: pd.DataFrame,
    *,
    control: str | float,
    primary: str = "dice",
    margin: float = 0.01,
    higher_is_better: bool | None = None,
    n_real: float | None = None,
    pools: pd.DataFrame = NO_POOLS,
    **settings: Any,
) -> Analysis:
    """Analyse any tidy table of one data set, without a sweep.

    Args:
        table: columns arm, patient and value; where they exist also dataset, fold, seed, class, metric, status and
            digest, and factors, whose names have a dot (``gan.pipeline``; ``synthesise.count`` is the dose). Rows
            without a status are ``ok``, or ``absent`` where the value is missing. What is ``ok`` with a Dice of 0 or an
            infinite distance counts as ``missed``.
        control: name of the arm that the others are held against; arms may be numbers.
        primary: the metric that carries verdicts; the metric of all rows where the table has no such column.
        margin: differences inside +-margin do not matter; set it before looking.
        higher_is_better: direction of a ``primary`` that medsweep does not know.
        n_real: see ``analyse``.
        pools: see ``analyse``.
        settings: other fields of ``AnalysisRules``: alpha, missing, diverged, post_hoc.

    Raises:
        UserError: the table contradicts itself, or a name is unknown.

    >>> import pandas as pd
    >>> scores = {"real only": [0.70, 0.75, 0.80, 0.65, 0.72, 0.78], "b-sg": [0.74, 0.80, 0.83, 0.70, 0.75, 0.83]}
    >>> spread = [0.004, -0.002, 0.001, -0.003, 0.0]
    >>> rows = [
    ...     (arm, seed, f"case-{i}", value + spread[seed])
    ...     for arm, values in scores.items()
    ...     for seed in range(5)
    ...     for i, value in enumerate(values)
    ... ]
    >>> table = pd.DataFrame(rows, columns=["arm", "seed", "patient", "value"])
    >>> analysis = analyse_table(table, control="real only", margin=0.02)
    >>> print(analysis.headline)
    b-sg against real only: superior on Dice (n = 6).
    >>> print(analysis.answers[0].short)
    +0.0417 Dice (95% simultaneous CI +0.0313 to +0.0513), 6 patients and 5 runs, adjusted p < .001.
    """
    rules = rules_of(primary=primary, margin=margin, **settings)
    rows = tidied(table, primary)
    metrics = {**SCORES, primary: metric_for(primary, higher_is_better, margin)}
    arms = infer_arms(rows, named(control))
    return analyse(rows, pools, rules, arms=arms, n_real=n_real, metrics=metrics)


def analyse_datasets(
    tables: pd.DataFrame | Mapping[str, pd.DataFrame], *, control: str | float, **settings: Any
) -> tuple[Analysis, ...]:
    """``analyse_table`` of each data set: of one table with a column ``dataset``, or of several tables by name.

    What they say together is in ``medsweep.analysis.study.across.across_datasets``, and on a page by
    ``medsweep.analysis.report.across.write_across``.

    Raises:
        UserError: as ``analyse_table``, with the data set named; or there is no data set.
    """
    if isinstance(tables, pd.DataFrame):
        if "dataset" not in tables:
            raise UserError("the table has no column 'dataset'; analyse_table takes a table of one data set")
        tables = {str(name): rows for name, rows in tables.groupby("dataset", observed=True)}
    if not tables:
        raise UserError("there is no data set to analyse")
    analyses = []
    for name, table in tables.items():
        try:
            analyses.append(analyse_table(table.assign(dataset=name), control=control, **settings))
        except UserError as error:
            raise UserError(f"data set {name}: {error}") from error
    return tuple(analyses)
