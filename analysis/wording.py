"""How numbers and verdicts read: every claim with n and interval, exact p, direction from the sign of the effect."""

import math

from analysis.effects import Effect
from analysis.equivalence import Verdict
from analysis.levels import PatientLevel, RunLevel
from analysis.records import Estimate
from analysis.tables import Metric

MINUS = "\N{MINUS SIGN}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
SEEDS_FOR_METHOD = 5


def number(value: float, digits: int, *, sign: bool = False) -> str:
    """Fixed decimals with a true minus sign; ``not computable`` for NaN. A rounded zero carries no sign."""
    if math.isnan(value):
        return "not computable"
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


def percent(level: float) -> str:
    """``95%``."""
    return f"{100 * level:.4g}%"


def span(low: float, high: float, digits: int) -> str:
    """``+0.001 to +0.014``."""
    if math.isnan(low) or math.isnan(high):
        return "not computable"
    return f"{number(low, digits, sign=True)} to {number(high, digits, sign=True)}"


def amount(text: str, metric: Metric) -> str:
    """The number with the metric's name or unit behind it."""
    return f"{text} {metric.unit or metric.label}"


def estimate_text(estimate: Estimate, metric: Metric) -> str:
    """``+0.012 Dice (95% CI +0.004 to +0.020)``; one digit more than the metric's, as for the margin."""
    value = amount(number(estimate.value, metric.digits + 1, sign=True), metric)
    return f"{value} ({percent(estimate.level)} CI {span(estimate.low, estimate.high, metric.digits + 1)})"


def margin_text(margin: float, metric: Metric) -> str:
    """``±0.01 Dice``."""
    return amount(f"{PLUS_MINUS}{margin:g}", metric)


def meaning(verdict: Verdict, value: float, narrow: str, margin: float, metric: Metric) -> str:
    """What the verdict says, in one clause; ``value`` is arm minus control, ``narrow`` the interval behind TOST."""
    bound = margin_text(margin, metric)
    higher = "higher" if value > 0 else "lower"
    match verdict:
        case Verdict.SUPERIOR:
            return f"{metric.label} is {higher}, which is better, and the gain is not confined to {bound}"
        case Verdict.INFERIOR:
            return f"{metric.label} is {higher}, which is worse, and the loss is not confined to {bound}"
        case Verdict.EQUIVALENT:
            return f"no difference is shown, and any is confined to {bound} ({narrow})"
        case Verdict.NEGLIGIBLE:
            return f"{metric.label} is {higher}, yet the difference is confined to {bound} ({narrow})"
        case Verdict.INCONCLUSIVE:
            return f"a difference is neither shown nor confined to {bound}"


def answer_lead(arm: str, control: str, verdict: Verdict) -> str:
    """``A against B: superior.``"""
    return f"{arm} against {control}: {verdict}."


def answer_detail(patients: PatientLevel, runs: RunLevel | None, verdict: Verdict, metric: Metric) -> str:
    """Difference, interval, n and p behind the verdict; where the two levels differ, both, and the weaker stands."""
    effect, margin = patients.effect, patients.equivalence.margin
    text = f"Mean difference {estimate_text(effect.mean, metric)[:-1]}; {_patients(effect)}; "
    text += f"{p_text(patients.wilcoxon.p_holm, 'Holm-adjusted p')})"
    if runs is None or runs.verdict == patients.verdict:
        text += f": {meaning(verdict, effect.mean.value, _narrow(patients, runs, metric), margin, metric)}."
        return text if runs is None else f"{text} With runs taken as random ({_over_runs(runs, metric)}): the same."
    text += f": {patients.verdict} for these trained models. With runs taken as random ({_over_runs(runs, metric)}): "
    text += f"{runs.verdict}. The weaker stands: "
    return text + f"{meaning(verdict, effect.mean.value, _narrow(patients, runs, metric), margin, metric)}."


def _patients(effect: Effect) -> str:
    text = f"n = {effect.n} patient{'' if effect.n == 1 else 's'}"
    return text if effect.n_finite == effect.n else f"{text}, mean over the {effect.n_finite} found by both arms"


def _over_runs(runs: RunLevel, metric: Metric) -> str:
    test = runs.test
    what = "folds" if test.nadeau_bengio is not None else "seeds"
    p = p_text(runs.p_holm, "Holm-adjusted p")
    interval = f"{percent(test.estimate.level)} CI {span(test.estimate.low, test.estimate.high, metric.digits + 1)}"
    return f"{test.kind}, {test.units} {what}: {interval}; {p}"


def _narrow(patients: PatientLevel, runs: RunLevel | None, metric: Metric) -> str:
    """The interval behind TOST, of the level where it is wider."""
    low, high = patients.equivalence.low, patients.equivalence.high
    if runs is not None and runs.high - runs.low > high - low:
        low, high = runs.low, runs.high
    return f"{percent(2 * patients.effect.mean.level - 1)} CI {span(low, high, metric.digits + 1)}"


def scope_sentence(seeds: int, folds: int) -> str:
    """For whom the verdicts hold."""
    noun = "seed" if seeds == 1 else "seeds"
    held_out = "one held-out set" if folds == 1 else f"{folds} folds"
    if seeds < SEEDS_FOR_METHOD:
        return (
            f"All verdicts are conditional on the trained models ({seeds} {noun}; {SEEDS_FOR_METHOD} or more are "
            f"needed for a claim about the method), over {held_out}."
        )
    return f"Runs: {seeds} {noun} per arm over {held_out}; each verdict is the weaker of patients alone and runs too."


def arm_label(name: str, *, control: bool) -> str:
    """Name of an arm with its role, where the name does not say it already."""
    return f"{name} (control)" if control and name != "control" else name
