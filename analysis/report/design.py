"""Tables around the results: the arms, their scores and spread, what the design could show, the pools, the plan."""

import itertools
import math
from collections.abc import Container

from medsweep.analysis.report.context import ReportContext
from medsweep.analysis.report.table import DASH, Table
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.metric import MetricStudy
from medsweep.analysis.study.pools import PoolSummary
from medsweep.analysis.study.wording import arm_label, number
from medsweep.metrics import METRICS, Place, shown_in


def descriptions(study: MetricStudy) -> Table:
    """Scores per arm."""
    digits = study.metric.digits
    rows = tuple(
        (
            one.arm,
            str(one.n),
            number(one.mean, digits),
            number(one.sd, digits),
            number(one.median, digits),
            f"{number(one.q1, digits)} to {number(one.q3, digits)}",
            f"{number(one.minimum, digits)} to {number(one.maximum, digits)}",
            str(one.missed),
            str(one.diverged),
        )
        for one in study.descriptions
    )
    unit = f" in {study.metric.unit}" if study.metric.unit else ""
    found = "" if all(one.n == one.n_finite for one in study.descriptions) else "; mean and SD over patients found"
    caption = (
        f"{study.metric.title}{unit} per arm over patients (macro over classes, mean over seeds{found}); number of "
        "missed structures and of diverged runs."
    )
    head = ("arm", "n", "mean", "SD", "median", "quartiles", "range", "missed", "diverged")
    return Table(f"describe-{study.metric.name}", caption, head, rows)


def components(analysis: Analysis) -> Table:
    """Variance components."""
    digits = analysis.primary.metric.digits + 1
    rows = tuple(
        (
            one.arm,
            *(
                DASH if math.isnan(value) else number(value, digits)
                for value in (one.between_seeds, one.patient, one.run, one.residual)
            ),
        )
        for one in analysis.components
    )
    caption = (
        f"Spread of {analysis.primary.metric.title} as SDs (needs two seeds): of run means inside a fold, and its "
        "components of patient, run and the rest."
    )
    return Table("components", caption, ("arm", "between seeds", "patient", "run", "residual"), rows)


def power(analysis: Analysis) -> Table:
    """What the design could show."""
    digits = analysis.primary.metric.digits + 1
    found = [answer.power for answer in analysis.answers]
    rows = tuple(
        (one.arm, str(one.n), number(one.sd, digits), number(one.detectable, digits), number(one.tost, 2))
        for one in found
    )
    caption = (
        "What the design could show, from the SD seen: smallest true difference found with power 0.8 at the first "
        f"Holm step, and the power to show equivalence at {analysis.plan.margin:g} when there is no difference; "
        "patients alone."
    )
    return Table("power", caption, ("arm", "n", "SD of differences", "detectable", "power of TOST"), rows)


def pools(analysis: Analysis) -> Table:
    """How good the synthetic pools are."""
    caption = "Synthetic pools per arm: mean over distinct pools (SD; number of pools)."
    return _pool_table("pools", caption, analysis, "pools")


def filters(analysis: Analysis) -> Table:
    """What filters kept, and what that did to diversity."""
    filtered = {one.arm for one in analysis.pools if one.metric == "retention" and one.mean < 1}
    caption = (
        "Filters: samples looked at, share kept, and what the choice did to diversity: Vendi score and coverage of "
        "what was kept beside those of as many samples drawn at random; foreground area of kept masks over all."
    )
    return _pool_table("filters", caption, analysis, "filters", arms=filtered)


def exposure(analysis: Analysis) -> Table:
    """What each arm's network was trained on."""
    caption = "Training slices of each arm, and how many were seen in all steps: mean over runs (SD; number of runs)."
    return _pool_table("exposure", caption, analysis, "exposure")


def _pool_table(name: str, caption: str, analysis: Analysis, place: Place, arms: Container[str] | None = None) -> Table:
    """One row per arm (of ``arms``) that has any of the metrics shown there; metrics that none has are left out."""
    found = {(one.arm, one.metric): one for one in analysis.pools}
    metrics = [metric for metric in shown_in(place) if any((arm.name, metric) in found for arm in analysis.arms)]
    rows = []
    for arm in analysis.arms:
        cells = [found.get((arm.name, metric)) for metric in metrics]
        if any(cells) and (arms is None or arm.name in arms):
            rows.append((arm.name, *map(_pool_cell, cells)))
    return Table(name, caption, ("arm", *(METRICS[metric].title for metric in metrics)), tuple(rows))


def _pool_cell(summary: PoolSummary | None) -> str:
    if summary is None:
        return DASH
    spread = "" if summary.n < 2 else f" ({summary.sd:.2g}; {summary.n})"
    return f"{summary.mean:.4g}{spread}"


def arms(analysis: Analysis) -> Table:
    """Arms and factor levels."""
    factors = list(dict.fromkeys(itertools.chain.from_iterable(arm.levels for arm in analysis.arms)))
    rows = tuple(
        (
            arm_label(arm.name, control=arm.control),
            *(str(arm.levels.get(factor, DASH)) for factor in factors),
            str(analysis.primary.n),
        )
        for arm in analysis.arms
    )
    text = frozenset(range(len(factors) + 1))
    return Table("arms", "The arms and their factor levels; n patients scored.", ("arm", *factors, "n"), rows, text)


def plan(context: ReportContext) -> Table:
    """Trials by stage."""
    rows = tuple(
        (stage, str(trials), str(naive), str(ran), str(reused), f"{hours:.2f}")
        for stage, trials, naive, ran, reused, hours in context.plan
    )
    caption = "Trials of each stage: planned, without any sharing between arms (naive), run, reused; hours of work."
    return Table("plan", caption, ("stage", "trials", "naive", "ran", "reused", "hours"), rows)


def causes(analysis: Analysis) -> Table:
    """Every status with its count and declared rule."""
    rows = tuple((one.status, str(one.scores), str(one.runs), str(one.patients), one.rule) for one in analysis.causes)
    caption = (
        f"Validation of {analysis.primary.metric.title}: scores (patient x class x run x arm) by status, and the rule "
        "declared for each before the results were seen. No row occurs twice; no other status occurs."
    )
    return Table("causes", caption, ("status", "scores", "runs", "patients", "rule"), rows, frozenset({0, 4}))


def exclusions(analysis: Analysis) -> Table:
    """n before and after each rule."""
    rows = tuple(
        (step.rule, step.unit, str(step.before), str(step.before - step.after), str(step.after))
        for step in analysis.primary.flow
    )
    caption = "Flow of n: exclusions in the order of the rules, each for all arms."
    return Table("exclusions", caption, ("rule", "unit", "n before", "left out", "n after"), rows, frozenset({0, 1}))


def failures(context: ReportContext) -> Table:
    """Trials without a result."""
    rows = tuple((trial, outcome, message) for trial, outcome, message in context.failures)
    return Table("failures", "Trials without a result.", ("trial", "outcome", "message"), rows, frozenset({0, 1, 2}))
