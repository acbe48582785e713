"""The sentences on causes, each made from the record alone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from medsweep.analysis.records import Estimate
from medsweep.analysis.study.mechanisms.causes import CauseFinding, Costs, Outcome, Reason, shown
from medsweep.analysis.study.mechanisms.laws import BY_COLUMN, Dose
from medsweep.analysis.study.mechanisms.mechanism import MechanismStudy
from medsweep.analysis.study.mechanisms.portions import Portion, SecondOpinion
from medsweep.analysis.study.wording import amount, counted, number, span
from medsweep.mechanism import ALL_CAUSES, CELLS, Cause
from medsweep.metric_record import Metric

NAMES: Final[Mapping[Cause, str]] = {
    "labels": "misfit of mask and image",
    "look": "look",
    "variety": "lost variety",
}
REASONS: Final[Mapping[Reason, str]] = {
    Reason.ONE_RUN: "too few runs per arm: all costs are conditional on the trained models, and none has a verdict; "
    "train with more seeds",
    Reason.NO_SHORTFALL: "no shortfall is shown, and the lattice divides the shortfall alone",
    Reason.NO_CEILING: "no left-out patients: lost variety is not judged without an arm of new real slices; name it as "
    "mechanism.ceiling",
    Reason.NO_LATTICE: "no lattice: labels, look and variety need its seven arms (mechanism.lattice), all with scores",
    Reason.DOSES_NOT_MEASURED: "doses not measured: whether the arms of the lattice have the laws of the arm explained "
    "is known by their names only, so no cause is named",
    Reason.DOSES_NOT_DELIVERED: "doses not delivered: arms of the lattice have laws of another size, for",
    Reason.JUDGE: "depends on the judge: two judges disagree on the misfit of mask and image",
    Reason.NO_INSTRUMENT: "instruments not measured: nothing but the arms speaks for a cause",
    Reason.NOT_VISIBLE: "share without a visible cause: the instruments do not see what the arms show",
    Reason.TOO_WIDE: "interval too wide",
}
"""What stands against naming a cause, where the sentence does not hang on the causes."""


def sentences(study: MechanismStudy, metric: Metric, margin: float) -> tuple[str, ...]:
    """The verdict: what there is to explain, its shares, what masks what, and by name what cannot be told."""
    costs, verdict = study.costs, study.verdict
    found = [_levels(study, metric)]
    if verdict.outcome is Outcome.NOTHING:
        return (*found, f"{_nothing(costs)} Nothing is attributed.")
    found += _masked(study, metric)
    found += _shares(study, metric, margin)
    found += _nothing_to_repair(study)
    found += _misfit(study)
    found += _untold(study)
    if costs.ladder and not costs.one_run:
        found.append(_ladder(costs, metric))
        found += [_second(one, metric) for one in study.second]
    found += [_cannot(reason, study, margin, metric) for reason in verdict.cannot_tell]
    found += _bounded(study, metric)
    return tuple(found)


def _bounded(study: MechanismStudy, metric: Metric) -> Iterator[str]:
    """Costs that are told by bounded scores, since those as they are do not show them."""
    tests = [test for family in study.tests.values() for test in family if test.judged.bounded]
    if tests:
        names = ", ".join(dict.fromkeys(test.name for test in tests))
        yield (
            f"Told with scores no farther than {amount(f'{tests[0].test.bound:g}', metric)} from the control's, which "
            f"alone show the difference: {names}. These sizes are smaller than the differences of the means, and do "
            "not add up with the others."
        )


def cost_text(estimate: Estimate, metric: Metric) -> str:
    """``0.0107 (+0.0071 to +0.0143)``."""
    digits = metric.digits + 1
    return f"{number(estimate.value, digits)} ({span(estimate.low, estimate.high, digits)})"


def portion_text(part: Portion | None, lead: str = "") -> str:
    """``38% (15% to 61%)``; nothing where there is none."""
    if part is None:
        return ""
    low, high = (number(100 * end, 0) for end in (part.low, part.high))
    return f"{lead}{number(100 * part.value, 0)}% ({low}% to {high}%)"


def _nothing(costs: Costs) -> str:
    """What was looked for and is not shown."""
    kinds = {"harm": "harm beyond exposure", "shortfall": "shortfall"}
    absent = [f"no {kind}" for name, kind in kinds.items() if name in costs.levels]
    if not absent:
        return "Neither harm nor shortfall was measured."
    text = " and ".join(absent)
    return f"{text[0].upper()}{text[1:]} is shown."


def _levels(study: MechanismStudy, metric: Metric) -> str:
    if not study.costs.levels:
        return f"No cost of {study.arms.explain} was measured, since an arm of each comparison has no score."
    against = {
        "harm": f"against the same real slices again ({study.arms.exposure})",
        "shortfall": f"against as many new real ones ({study.arms.ceiling})",
        "net cost": "against real slices only",
    }
    parts = [
        f"{name} {against[name]} {cost_text(estimate, metric)}, "
        f"{'conditional' if study.costs.one_run else 'shown' if shown(estimate) else 'not shown'}"
        for name, estimate in study.costs.levels.items()
    ]
    return f"Cost of {study.arms.explain} in {metric.unit or metric.title}: {'; '.join(parts)}."


def _shares(study: MechanismStudy, metric: Metric, margin: float) -> Iterator[str]:
    if not study.verdict.findings:
        return
    ordered = sorted(study.verdict.findings, key=lambda one: (not one.named, not one.shown))
    parts = "; ".join(_finding(finding, study, metric, margin) for finding in ordered)
    rest = study.costs.unexplained
    left = "" if rest is None else f"; {cost_text(rest, metric)} is not reproduced"
    laws = "the three laws together" if _laws_arrived(study) else f"the slices of {study.arms.lattice[ALL_CAUSES]}"
    told = {
        "shown": f" That remainder is shown: {laws} do not reproduce the arm.",
        "inside the margin": f" {laws[0].upper()}{laws[1:]} reproduce the arm within the margin.",
        "open": f" Whether {laws} reproduce the arm is open.",
        "not measured": "",
    }[study.verdict.unexplained]
    shortfall = study.costs.levels.get("shortfall")
    if shortfall is None:
        lead = "Of what the lattice divides"
    else:
        lead = f"Of the shortfall of {amount(cost_text(shortfall, metric), metric)} of {study.arms.explain}"
    yield f"{lead}, {parts}{left}.{told}"
    harm = study.costs.levels.get("harm")
    if harm is not None:
        yield (
            "The lattice divides the shortfall. It does not divide the harm against the same real slices again"
            f"{_without_new(shortfall, harm, metric)}."
        )


def _without_new(shortfall: Estimate | None, harm: Estimate, metric: Metric) -> str:
    """What new patients add over the same real slices, which no pool that is made of the training patients holds."""
    lacking = 0.0 if shortfall is None else shortfall.value - harm.value
    if round(lacking, metric.digits + 1) <= 0:
        return ""
    return (
        f". Those lie {amount(number(lacking, metric.digits + 1), metric)} below new ones themselves, which is what "
        "slices of other patients add"
    )


def _finding(finding: CauseFinding, study: MechanismStudy, metric: Metric, margin: float) -> str:
    cause = _causes(finding)
    size = "" if finding.dose is None else f" at {_size(finding.dose)}"
    share = cost_text(finding.share, metric)
    part = portion_text(study.portions.get(finding.causes[0]), " or ") if len(finding.causes) == 1 else ""
    if finding.named:
        extra = [word for word, holds in (("sufficient", finding.sufficient), ("needed", finding.needed)) if holds]
        return ", ".join([f"{cause} explains {share}{part}", *([" and ".join(extra)] if extra else [])])
    if not finding.shown:
        confined = "no cost shown" if finding.share.high > margin else "no cost shown, and none above the margin"
        return f"the arms given for {cause}{size} have {share}, {confined}"
    joint = ", which cannot be told apart," if len(finding.causes) > 1 else ""
    return f"the arms given for {cause}{joint}{size} come to {share}{part}"


def _causes(finding: CauseFinding) -> str:
    return " and ".join(NAMES[cause] for cause in finding.causes)


def _nothing_to_repair(study: MechanismStudy) -> Iterator[str]:
    """Causes that the pool has nothing of, but for those that are told among what cannot be told."""
    findings = study.verdict.findings
    told = {cause for one in findings if Reason.NOTHING_THERE in one.reasons for cause in one.causes}
    if absent := [NAMES[cause] for cause in study.verdict.absent if cause not in told]:
        yield f"{_has_nothing_of(absent, study)}, so there is nothing of it to repair."


def _misfit(study: MechanismStudy) -> Iterator[str]:
    """How far masks and images lie apart. A pair that was generated has no right one of the two."""
    bias = study.instruments.bias
    if bias is None or study.instruments.judges_differ or bias.low <= 0 <= bias.high:
        return
    least, most = sorted((abs(bias.low), abs(bias.high)))
    size = f"{number(least, 2)} to {number(most, 2)} px {'larger' if bias.low > 0 else 'smaller'}"
    yield (
        f"Masks of {study.arms.explain} are {size} than what a judge sees in their images. Which of the two is wrong "
        "has no answer."
    )


def _untold(study: MechanismStudy) -> Iterator[str]:
    """What a judge sees of misfit that the look alone may make it see."""
    untold = () if study.delivery is None else study.delivery.untold
    if not untold:
        return
    sizes = ", ".join(
        f"{law.name} {law.text(one.value)} ({span(one.low, one.high, 2)})"
        for one in untold
        for law in [BY_COLUMN[one.law]]
    )
    yield (
        f"Not told apart from the look: {sizes}. A judge shows as much on unseen real slices that are given the look "
        f"of {study.arms.explain}, within the error of their patients, so law: measured plants none of it. More "
        "validation patients narrow the intervals."
    )


def _size(dose: Dose) -> str:
    """A delivered dose that is not what it should be."""
    law = BY_COLUMN[dose.law]
    if dose.share >= 0 and not dose.nothing:
        return f"{100 * dose.share:.0f}% of the measured {law.name}"
    return f"another {law.name} than measured, {law.text(dose.value)} in place of {law.text(dose.explained)}"


def _moved(dose: Dose) -> str:
    """A law that a cell has and should not have."""
    law = BY_COLUMN[dose.law]
    share = f" by {100 * dose.share:.0f}%" if not dose.nothing else ""
    return f"{dose.cell} also moved {law.name}{share}, from {law.text(dose.ceiling)} to {law.text(dose.value)}"


def _masked(study: MechanismStudy, metric: Metric) -> Iterator[str]:
    for cell in study.verdict.masked:
        first, second = CELLS[cell]
        estimate, alone = study.costs.interactions[cell], study.costs.added[first]
        beside = number(alone.value - estimate.value, metric.digits + 1)
        both = f"the arms given for {NAMES[first]} cost {number(alone.value, metric.digits + 1)} by themselves and "
        both += f"{beside} beside those for {NAMES[second]} (interaction {cost_text(estimate, metric)})"
        yield f"{both[0].upper()}{both[1:]}. {_together(study, cell)}"


def _together(study: MechanismStudy, cell: str) -> str:
    """What an interaction that is shown means; that a mend uncovers something only where the doses are right."""
    first, second = CELLS[cell]
    if absent := [NAMES[cause] for cause in (first, second) if cause in study.verdict.absent]:
        return f"{_has_nothing_of(absent, study)}, so this tells of the arms and not of the pool."
    if study.costs.interactions[cell].high < 0:
        return "Together they cost more than the sum of both."
    if not shown(study.costs.added[first]) or not _laws_arrived(study):
        return "Together they cost less than the sum of both."
    return f"Part of the cost is masked, and would come back if only {NAMES[second]} were mended."


def _has_nothing_of(causes: Sequence[str], study: MechanismStudy) -> str:
    return (
        f"The pool of {study.arms.explain} has nothing of {', nor of '.join(causes)} that a measured law tells from "
        "new real slices"
    )


def _laws_arrived(study: MechanismStudy) -> bool:
    """Whether the arms of the lattice stand for the laws that they are named after."""
    findings = study.verdict.findings
    return bool(findings) and all(one.delivered == "yes" and len(one.causes) == 1 for one in findings)


def _ladder(costs: Costs, metric: Metric) -> str:
    steps = "; ".join(
        f"{name} costs {cost_text(one, metric)}{'' if shown(one) else ', not shown'}"
        for name, one in costs.ladder.items()
    )
    return f"In the order of the ladder: {steps}. Another order may divide the cost otherwise."


def _second(opinion: SecondOpinion, metric: Metric) -> str:
    """Ladder beside lattice. They cost what is named in other company, so they may differ."""
    agrees = "agrees with" if opinion.agrees else "does not agree with"
    share = "its share of the lattice" if len(opinion.causes) == 1 else "their shares of the lattice together"
    return (
        f"A second opinion on {' and '.join(NAMES[cause] for cause in opinion.causes)}: the step {opinion.step}, "
        f"{cost_text(opinion.cost, metric)}, {agrees} {share}, {cost_text(opinion.share, metric)}."
    )


def _cannot(reason: Reason, study: MechanismStudy, margin: float, metric: Metric) -> str:
    findings = study.verdict.findings
    if reason is Reason.JOINT:
        joint = ". ".join(f"{_causes(one)} cannot be told apart" for one in findings if len(one.causes) > 1)
        text = f"joint causes: {joint} ({'; '.join(map(_moved, study.verdict.confounded))})"
    elif reason is Reason.NOTHING_THERE:
        pool = _has_nothing_of([_causes(one) for one in findings if reason in one.reasons], study)
        text = f"{pool[0].lower()}{pool[1:]}, so what the arms given for it come to is not its cost"
    elif reason is Reason.DOSES_NOT_DELIVERED:
        text = f"{REASONS[reason]} {', '.join(_causes(one) for one in findings if reason in one.reasons)}"
    else:
        text = REASONS[reason]
    if lacks := study.verdict.missing.get(reason):
        text = f"{text} (not measured: {'; '.join(lacks)})"
    if reason is Reason.TOO_WIDE:
        told = ", ".join(
            f"{_causes(one)} (at least {counted(one.seeds_needed, 'run')} per arm)"
            for one in findings
            if one.seeds_needed is not None
        )
        text = f"{text} to tell a cost of the margin, {amount(f'{margin:g}', metric)}{f': {told}' if told else ''}"
    return f"Cannot tell: {text}."
