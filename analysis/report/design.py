"""Around the results: what the design could show, exclusions, arms, the plan, and the rules for the methods."""

import itertools

from medsweep.analysis.report.table import DASH, Table
from medsweep.analysis.report.topic import ReportContext, Topic
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.looks import look_method
from medsweep.analysis.study.wording import arm_label, counted, counted_between, number


def power(analysis: Analysis) -> Table:
    """What the design could show."""
    digits = analysis.primary.metric.digits + 1
    powers = [answer.power for answer in analysis.answers]
    rows = tuple(
        (power.arm, str(power.n), number(power.sd, digits), number(power.detectable, digits), number(power.tost, 2))
        for power in powers
    )
    caption = (
        "What the design could show, from the SD seen: smallest true difference found with power 0.8 at alpha "
        f"shared over the arms (Bonferroni), and the power to show equivalence at {analysis.rules.margin:g} when there "
        "is no difference. Both are for these trained networks, patients alone. The verdicts' Dunnett-type intervals "
        "allow for the runs as well and are usually wider."
    )
    return Table("power", caption, ("arm", "n", "SD of differences", "detectable", "power of TOST"), rows)


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
    rows = tuple(
        (cause.status, str(cause.scores), str(cause.runs), str(cause.patients), cause.rule) for cause in analysis.causes
    )
    caption = (
        f"Validation of {analysis.primary.metric.title}: scores (patient x class x run x arm) by status, and the rule "
        "declared for each. No row occurs twice; no other status occurs."
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


def design_paragraph(analysis: Analysis) -> str:
    """What the methods section begins with."""
    folds = len(analysis.folds)
    split = "one held-out test set" if folds == 1 else f"{folds} folds, each patient tested in one of them"
    if any(answer.test is not None and answer.test.kind == "folds that overlap" for answer in analysis.answers):
        split = f"{folds} folds whose test patients overlap"
    seeds = counted_between(analysis.fewest_seeds, analysis.seeds, "seed")
    classes = f"{len(analysis.classes)} foreground class{'' if len(analysis.classes) == 1 else 'es'}"
    return (
        f"Design: {len(analysis.arms)} arms, {counted(analysis.primary.n, 'patient')}, {split}, "
        f"{seeds} per arm. The patient is the unit: {analysis.primary.metric.title} is "
        f"computed per 3-D patient and class, averaged over the {classes} its reference shows, then over seeds."
    )


def rules_paragraph(analysis: Analysis) -> str:
    """What the methods section ends with."""
    rules = analysis.rules
    names = ", ".join(study.metric.title for study in analysis.secondary)
    other = f" {names}: exploratory, no verdict." if names else ""
    missing = "refused" if rules.missing == "refuse" else "complete cases: dropped for all arms"
    diverged = "scored as the worst value" if rules.diverged == "worst" else "refused"
    return (
        "Rules: a class absent from a patient's reference is dropped for that patient in all arms; a missed structure "
        f"scores Dice 0 and an infinite HD95; a diverged training is {diverged}; missing results are {missing}. "
        f"Ranking: {analysis.ranking.method}, {analysis.ranking.resamples} resamples.{other}"
        + (f" {look_method(analysis.look)}" if analysis.look is not None else "")
    )


POWER = Topic("power", "Power", lambda material: (power(material.analysis),), folded=True)
EXCLUSIONS = Topic(
    "exclusions",
    "Exclusions",
    lambda material: (exclusions(material.analysis), causes(material.analysis)),
    folded=True,
)
ARMS = Topic(
    "design",
    "Arms and trials",
    lambda material: (arms(material.analysis), plan(material.context)),
    folded=True,
)
