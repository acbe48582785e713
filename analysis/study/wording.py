"""How numbers and verdicts read: every claim with n and interval, exact p, direction from the sign of the effect."""

import math
from collections.abc import Sequence
from typing import Literal

from medsweep.analysis.records import Bounded
from medsweep.analysis.stats.arm_family import ArmTest
from medsweep.analysis.stats.equivalence import Verdict
from medsweep.analysis.study.contrasts import ContrastTest
from medsweep.analysis.study.evidence import Judged
from medsweep.analysis.table.reduction import AnalysisRules
from medsweep.metric_record import Metric

MINUS = "\N{MINUS SIGN}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
NOT_COMPUTABLE = "not computable"
SEEDS_FOR_METHOD = 5
CONDITIONAL = "conditional on the trained networks"
FOR_THESE_NETWORKS = " for these trained networks"


def number(value: float, digits: int, *, sign: bool = False) -> str:
    """Fixed decimals with a true minus sign; ``not computable`` for NaN. A rounded zero carries no sign."""
    if math.isnan(value):
        return NOT_COMPUTABLE
    if math.isinf(value):
        return "\N{INFINITY}" if value > 0 else f"{MINUS}\N{INFINITY}"
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def p_text(p: float, name: str = "p") -> str:
    """``p = .012``, ``p < .001``, ``p > .99``; never 0.000."""
    if math.isnan(p):
        return f"{name} not computable"
    if p < 0.001:
        return f"{name} < .001"
    if p > 0.99:
        return f"{name} > .99"
    return f"{name} = {p:.3f}".replace("0.", ".") if p < 0.1 else f"{name} = {p:.2f}".replace("0.", ".")


def counted(count: int, noun: str) -> str:
    """``1 seed``, ``2 seeds``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def counted_between(fewest: int, most: int, noun: str) -> str:
    """``3 seeds``, ``1 to 3 seeds``."""
    return counted(most, noun) if fewest == most else f"{fewest} to {counted(most, noun)}"


def percent(level: float) -> str:
    """``95%``; so many digits that a level below 1 is never shown as 100%."""
    text = f"{100 * level:.4g}"
    if text == "100" and level < 1:
        text = f"{100 * level:.{1 - math.floor(math.log10(100 * (1 - level)))}f}".rstrip("0")
    return f"{text}%".replace("-", MINUS)


def span(low: float, high: float, digits: int) -> str:
    """``+0.001 to +0.014``."""
    if math.isnan(low) or math.isnan(high):
        return NOT_COMPUTABLE
    return f"{number(low, digits, sign=True)} to {number(high, digits, sign=True)}"


def with_span(value: float, over: Bounded, digits: int) -> str:
    """``+0.012 [+0.004 to +0.020]``."""
    return f"{number(value, digits, sign=True)} [{span(over.low, over.high, digits)}]"


def amount(text: str, metric: Metric) -> str:
    """The number with the metric's name or unit behind it."""
    return f"{text} {metric.unit or metric.title}"


def margin_text(margin: float, metric: Metric) -> str:
    """``±0.01 Dice``."""
    return amount(f"{PLUS_MINUS}{margin:g}", metric)


def meaning(judged: Judged, metric: Metric, rules: AnalysisRules) -> str:
    """What the verdict says, in one clause."""
    bound, bounds = margin_text(rules.margin, metric), judged.bounds
    narrow = f"{percent(1 - 2 * rules.alpha)} CI {span(bounds.narrow_low, bounds.narrow_high, metric.digits + 1)}"
    better = judged.evidence.sign > 0
    higher = "higher" if better == metric.higher_is_better else "lower"
    match judged.verdict:
        case Verdict.SUPERIOR:
            return f"{metric.title} is {higher}, which is better, and the gain is not confined to {bound}"
        case Verdict.INFERIOR:
            return f"{metric.title} is {higher}, which is worse, and the loss is not confined to {bound}"
        case Verdict.EQUIVALENT:
            return f"no difference is shown, and any is confined to {bound} ({narrow})"
        case Verdict.NEGLIGIBLE:
            return f"{metric.title} is {higher}, yet the difference is confined to {bound} ({narrow})"
        case Verdict.INCONCLUSIVE:
            return f"a difference is neither shown nor confined to {bound}"


NOTHING_TO_COMPARE = (
    "Fewer than two patients have a finite score, or fewer than two runs can be paired, so nothing can be compared"
)


def answer_lead(arm: str, control: str, verdict: Verdict, *, conditional: bool) -> str:
    """``A against B: superior.``"""
    return f"{arm} against {control}: {verdict}{FOR_THESE_NETWORKS if conditional else ''}."


def answer_short(test: ArmTest | None, judged: Judged | None, metric: Metric) -> str:
    """Difference, interval, what is random and p in one sentence."""
    if test is None or judged is None:
        return f"{NOTHING_TO_COMPARE}."
    bounds, digits = judged.bounds, metric.digits + 1
    value = amount(number(bounds.estimate.value, digits, sign=True), metric)
    level = percent(bounds.estimate.level)
    text = f"{value} ({level} simultaneous CI {span(bounds.low, bounds.high, digits)})"
    if judged.bounded:
        text += f", with scores no farther than {amount(f'{test.bound:g}', metric)} from the control's"
    return f"{text}, {_random(test)}, {p_text(bounds.p_adjusted, 'adjusted p')}."


def answer_detail(test: ArmTest | None, judged: Judged | None, metric: Metric, rules: AnalysisRules) -> str:
    """The same, and what it means."""
    short = answer_short(test, judged, metric)
    if judged is None:
        return short
    return f"Mean difference {short.removesuffix('.')}: {meaning(judged, metric, rules)}."


def _random(test: ArmTest) -> str:
    patients = counted(test.patients, "patient")
    match test.kind:
        case "patients and runs":
            return f"{patients} and {counted(test.units, 'run')}"
        case "patients alone":
            return patients
        case "folds" | "folds that overlap":
            return f"{patients} in {counted(test.units, 'fold')}"


UNSHOWN = (Verdict.EQUIVALENT, Verdict.INCONCLUSIVE)
"""Verdicts that claim no difference."""
ONCE = {
    "network": "One network per arm",
    "networks": "Two networks for each of so few arms",
    "generator": "One generator per arm",
}
"""What cannot judge a method."""
CURES = {
    "network": f"with {SEEDS_FOR_METHOD} seeds",
    "networks": f"with {SEEDS_FOR_METHOD} seeds",
    "generator": "a generator for every seed",
}
HEADLINE_NAMES = 3
"""Arms up to which a headline names them."""


Condition = Literal["", "network", "networks", "generator"]
"""What arms of one held-out set have too few of to judge a method; empty where runs vary all of it."""


def headline(
    verdicts: Sequence[tuple[str, Verdict]], control: str, metric: Metric, n: int, *, conditional: Condition
) -> str:
    """The answer in one sentence: how many arms come to what, and which; inconclusive ones last.

    Too few networks, or one generator, per arm cannot judge a method, so ``conditional`` names no winner.
    """
    where = f"on {metric.title} (n = {n})"
    groups = {verdict: [arm for arm, reached in verdicts if reached == verdict] for verdict in Verdict}
    if conditional:
        seen = ", ".join(f"{len(arms)} {_is(arms)} {verdict}" for verdict, arms in groups.items() if arms)
        return (
            f"{ONCE[conditional]} cannot judge a method. Of {counted(len(verdicts), 'arm')} as trained here, "
            f"against {control} {where}, {seen}; train {CURES[conditional]}."
        )
    if len(verdicts) == 1:
        arm, verdict = verdicts[0]
        return f"{arm} against {control}: {verdict} {where}."
    better = groups.pop(Verdict.SUPERIOR)
    rest = ", ".join(_counted(arms, str(verdict)) for verdict, arms in groups.items() if arms)
    if not better:
        return f"No arm is shown to be better than {control} {where}: of {len(verdicts)} arms, {rest}."
    named = f": {'; '.join(better)}" if len(better) <= HEADLINE_NAMES else ""
    text = f"{len(better)} of {len(verdicts)} arms {_is(better)} superior to {control} {where}{named}"
    return f"{text}. Of the others, {rest}." if rest else f"{text}."


def nothing_compared(control: str, metric: Metric, n: int) -> str:
    """Where no arm has a test."""
    why = NOTHING_TO_COMPARE[0].lower() + NOTHING_TO_COMPARE.partition(", so")[0][1:]
    return f"No arm can be compared with {control} on {metric.title} (n = {n}): {why}."


def effects_headline(effects: Sequence[ContrastTest], metric: Metric, n: int, *, conditional: Condition = "") -> str:
    """The effects that are shown, the largest first; how many are not."""
    where = f"on {metric.title} (n = {n})"
    if not effects:
        return f"No effect {where} can be tested, since arms of the grid have no score."
    if any(effect.test.conditional for effect in effects):
        return (
            f"{ONCE[conditional or 'network']} cannot judge a method: no effect {where} is named; train with more "
            "seeds."
        )
    shown = [effect for effect in effects if effect.verdict not in UNSHOWN]
    shown.sort(key=lambda effect: -abs(effect.estimate.value))
    rest = {verdict: sum(effect.verdict is verdict for effect in effects) for verdict in UNSHOWN}
    left = ", ".join(f"{count} {'is' if count == 1 else 'are'} {verdict}" for verdict, count in rest.items() if count)
    named = "; ".join(
        f"{effect.name} {number(effect.estimate.value, metric.digits, sign=True)} ({effect.verdict})"
        for effect in shown
    )
    if not shown:
        return f"No effect of {len(effects)} is shown {where}: {left}."
    return f"Shown of {len(effects)} effects {where}: {named}.{f' Of the others, {left}.' if left else ''}"


def _counted(arms: Sequence[str], verdict: str) -> str:
    text = f"{len(arms)} {_is(arms)} {verdict}"
    return f"{text} ({'; '.join(arms)})" if len(arms) <= HEADLINE_NAMES else text


def _is(arms: Sequence[str]) -> str:
    return "is" if len(arms) == 1 else "are"


def scope_sentence(tests: Sequence[ArmTest | None], folds: int, seeds: int, fewest_seeds: int) -> str:
    """For whom the verdicts hold; ``seeds`` of the arm with most, per fold."""
    kinds = {test.kind for test in tests if test is not None}
    if not kinds:
        return "There are no verdicts, for want of scores to compare."
    if kinds == {"patients alone"}:
        each = " or ".join(dict.fromkeys({1: "one", 2: "two"}[count] for count in (fewest_seeds, seeds)))
        return (
            f"All verdicts hold for these trained networks, {each} per arm. {SEEDS_FOR_METHOD} seeds or more are "
            "needed for a claim about the method."
        )
    told = counted_between(fewest_seeds, seeds, "seed")
    if folds > 1:
        return f"Verdicts hold for the method: {counted(folds, 'fold')} of {told} are its runs."
    text = f"Verdicts hold for the method, over one held-out set and {told} per arm."
    if fewest_seeds < SEEDS_FOR_METHOD:
        text += f" {SEEDS_FOR_METHOD} seeds or more are better: fewer find little."
    return text


def arm_label(name: str, *, control: bool) -> str:
    """Name of an arm with its role, where the name does not say it already."""
    return f"{name} (control)" if control and name != "control" else name
