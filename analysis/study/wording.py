"""How numbers and verdicts read: every claim with n and interval, exact p, direction from the sign of the effect."""

import math
from collections.abc import Sequence

from medsweep.analysis.records import Bounded, Estimate
from medsweep.analysis.stats.effects import Effect
from medsweep.analysis.stats.equivalence import Verdict
from medsweep.analysis.study.evidence import PatientEvidence, RunEvidence, Shown
from medsweep.metrics import Metric

MINUS = "\N{MINUS SIGN}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
NOT_COMPUTABLE = "not computable"
SEEDS_FOR_METHOD = 5
CONDITIONAL = "conditional on the trained models"


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


def percent(level: float) -> str:
    """``95%``."""
    return f"{100 * level:.4g}%"


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


def estimate_text(estimate: Estimate, metric: Metric) -> str:
    """``+0.012 Dice (95% CI +0.004 to +0.020)``; one digit more than the metric's, as for the margin."""
    value = amount(number(estimate.value, metric.digits + 1, sign=True), metric)
    return f"{value} ({percent(estimate.level)} CI {span(estimate.low, estimate.high, metric.digits + 1)})"


def meaning(verdict: Verdict, value: float, narrow: str, margin: float, metric: Metric) -> str:
    """What the verdict says, in one clause; ``value`` is arm minus control, ``narrow`` the interval behind TOST."""
    bound = amount(f"{PLUS_MINUS}{margin:g}", metric)
    higher = "higher" if value > 0 else "lower"
    match verdict:
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


def answer_short(patients: PatientEvidence, runs: RunEvidence | None, metric: Metric, seeds: int) -> str:
    """Difference, interval, n and p in one sentence; with runs as random where there are any."""
    estimate = patients.effect.mean if runs is None else runs.test.estimate
    p = patients.wilcoxon.p_holm if runs is None else runs.p_holm
    text = f"{estimate_text(estimate, metric)}, {_patients(patients.effect)}, {p_text(p, 'Holm-adjusted p')}"
    if runs is not None and runs.verdict != patients.verdict:
        text += f"; patients alone: {patients.verdict}, runs as random: {runs.verdict}"
    return f"{text}{condition(seeds)}."


def answer_detail(
    patients: PatientEvidence, runs: RunEvidence | None, verdict: Verdict, metric: Metric, seeds: int
) -> str:
    """Difference, interval, n and p at both levels; where their verdicts differ, both, and the weaker stands."""
    effect, margin = patients.effect, patients.equivalence.margin
    alone = f"{estimate_text(effect.mean, metric)[:-1]}; {_patients(effect)}; "
    alone += f"{p_text(patients.wilcoxon.p_holm, 'Holm-adjusted p')}{_confirmed(patients, metric.digits + 1)})"
    if runs is None:
        meant = meaning(verdict, effect.mean.value, _narrow(patients, runs, metric), margin, metric)
        return f"Mean difference {alone}: {meant}{condition(seeds)}."
    value = runs.test.estimate.value
    meant = meaning(verdict, value, _narrow(patients, runs, metric), margin, metric) + condition(seeds)
    text = f"Mean difference with runs taken as random {estimate_text(runs.test.estimate, metric)[:-1]}; "
    text += f"{_over_runs(runs)}; {p_text(runs.p_holm, 'Holm-adjusted p')})"
    if runs.verdict == patients.verdict:
        return f"{text}: {meant}. Patients alone, for these trained models, {alone}: the same."
    text += f": {runs.verdict}. Patients alone, for these trained models, {alone}: {patients.verdict}. "
    return f"{text}The weaker stands: {meant}."


def condition(seeds: int) -> str:
    """What a sentence on arms trained once must add."""
    return f", {CONDITIONAL}" if seeds == 1 else ""


def _patients(effect: Effect) -> str:
    text = f"n = {counted(effect.n, 'patient')}"
    return text if effect.n_finite == effect.n else f"{text}, mean over the {effect.n_finite} found by both arms"


def _confirmed(patients: PatientEvidence, digits: int) -> str:
    if patients.shown is not Shown.CONFIRMED:
        return ""
    interval, level = patients.equivalence, percent(2 * patients.effect.mean.level - 1)
    return f"; the direction is confirmed, {level} CI {span(interval.low, interval.high, digits)}"


def _over_runs(runs: RunEvidence) -> str:
    test = runs.test
    return f"{test.kind}, {test.units} {'folds' if test.nadeau_bengio is not None else 'seeds'}"


def _narrow(patients: PatientEvidence, runs: RunEvidence | None, metric: Metric) -> str:
    """The interval behind TOST, of the level where it is wider."""
    low, high = patients.equivalence.low, patients.equivalence.high
    if runs is not None and runs.high - runs.low > high - low:
        low, high = runs.low, runs.high
    return f"{percent(2 * patients.effect.mean.level - 1)} CI {span(low, high, metric.digits + 1)}"


HEADLINE_NAMES = 3
"""Arms up to which a headline names them."""


def headline(verdicts: Sequence[tuple[str, Verdict]], control: str, metric: Metric, n: int, seeds: int) -> str:
    """The answer in one sentence: how many arms come to what, and which; inconclusive ones last."""
    if len(verdicts) == 1:
        arm, verdict = verdicts[0]
        return f"{arm} against {control}: {verdict} on {metric.title} (n = {n}){condition(seeds)}."
    groups = {verdict: [arm for arm, reached in verdicts if reached == verdict] for verdict in Verdict}
    better = groups.pop(Verdict.SUPERIOR)
    rest = ", ".join(_counted(arms, str(verdict)) for verdict, arms in groups.items() if arms)
    where = f"on {metric.title} (n = {n})"
    if not better:
        text = f"No arm is shown to be better than {control} {where}: of {len(verdicts)} arms, {rest}"
    else:
        named = f": {'; '.join(better)}" if len(better) <= HEADLINE_NAMES else ""
        text = f"{len(better)} of {len(verdicts)} arms {_is(better)} superior to {control} {where}{named}"
        text += f". Of the others, {rest}" if rest else ""
    return f"{text}{condition(seeds)}."


def _counted(arms: Sequence[str], verdict: str) -> str:
    text = f"{len(arms)} {_is(arms)} {verdict}"
    return f"{text} ({'; '.join(arms)})" if len(arms) <= HEADLINE_NAMES else text


def _is(arms: Sequence[str]) -> str:
    return "is" if len(arms) == 1 else "are"


def scope_sentence(seeds: int, folds: int) -> str:
    """For whom the verdicts hold."""
    noun = "seed" if seeds == 1 else "seeds"
    held_out = "one held-out set" if folds == 1 else f"{folds} folds"
    if seeds < SEEDS_FOR_METHOD:
        return (
            f"All verdicts are {CONDITIONAL} ({seeds} {noun}; {SEEDS_FOR_METHOD} or more are "
            f"needed for a claim about the method), over {held_out}."
        )
    return f"Runs: {seeds} {noun} per arm over {held_out}; each verdict is the weaker of patients alone and runs too."


def arm_label(name: str, *, control: bool) -> str:
    """Name of an arm with its role, where the name does not say it already."""
    return f"{name} (control)" if control and name != "control" else name
