"""The methods paragraphs, written from the records, so that text and numbers cannot part."""

from medsweep.analysis.factors.factors import FactorStudy
from medsweep.analysis.stats.omnibus import NoOmnibus
from medsweep.analysis.stats.resampling import RESAMPLES
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.sensitivity import Sensitivity
from medsweep.analysis.study.wording import CONDITIONAL, SEEDS_FOR_METHOD, number, p_text, percent


def methods_of(analysis: Analysis) -> tuple[str, ...]:
    """Design, primary family, runs, equivalence, dose, all arms, factors, and the rest; ready for a paper."""
    made = (
        _design(analysis),
        _family(analysis),
        _over_runs(analysis),
        _null(analysis),
        _dose(analysis),
        _omnibus(analysis),
        _factors(analysis),
        _rest(analysis),
    )
    return tuple(text for text in made if text)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _design(analysis: Analysis) -> str:
    folds = len(analysis.folds)
    split = "one held-out test set" if folds == 1 else f"{folds} folds, each patient tested in one of them"
    if any(answer.runs and answer.runs.test.uncorrected is not None for answer in analysis.answers):
        split = f"{folds} folds whose test patients overlap"
    classes = f"{len(analysis.classes)} foreground class{'' if len(analysis.classes) == 1 else 'es'}"
    return (
        f"Design: {len(analysis.arms)} arms, {_plural(analysis.primary.n, 'patient')}, {split}, "
        f"{_plural(analysis.seeds, 'seed')} per arm. The patient is the unit: {analysis.primary.metric.title} is "
        f"computed per 3-D patient and class, averaged over the {classes} its reference shows, then over seeds."
    )


def _family(analysis: Analysis) -> str:
    plan, metric = analysis.plan, analysis.primary.metric
    return (
        f"Primary family: {metric.title}, {_plural(len(analysis.answers), 'comparison')} with {analysis.control} by "
        f"two-sided Wilcoxon signed-rank tests (Pratt's zeros) at alpha = {plan.alpha:g}, corrected after Holm. Mean "
        f"differences carry {percent(1 - plan.alpha)} t intervals, unadjusted; BCa intervals use {RESAMPLES} resamples "
        "of patients with a fixed seed; Hodges-Lehmann intervals invert the signed-rank test. A difference counts as "
        "shown only where mean and ranks agree on its direction."
    )


def _over_runs(analysis: Analysis) -> str:
    tests = [answer.runs.test for answer in analysis.answers if answer.runs is not None]
    if not tests:
        return f"Runs: one network per arm; every statement is {CONDITIONAL}."
    first, folds = tests[0], len(analysis.folds)
    if first.kind == "two-way test":
        how = "two-way test of patients x seeds on the one held-out set, both random (variance after Hillis 2007, "
        how += "Satterthwaite's degrees of freedom)"
    elif first.uncorrected is None:
        how = f"paired t test of fold means (seeds averaged, df = {folds - 1}); intervals that allow for training sets "
        how += f"that overlap after Nadeau and Bengio 2003, n_test/n_train = {number(first.test_over_train or 0.0, 3)}"
    else:
        how = "t test of fold means corrected for test and training sets that overlap (Nadeau and Bengio 2003), "
        how += f"n_test/n_train = {number(first.test_over_train or 0.0, 3)}"
    text = (
        f"Runs as random: {how}; Holm over arms. The difference quoted for an arm is this one. A verdict needs both "
        "levels, and where they differ the weaker is given. Where the runs show a difference, patients need only "
        f"confirm its direction, by a one-sided paired t test at alpha = {analysis.plan.alpha:g} without further "
        "correction, since the runs' Holm adjustment holds the error of the family and a second test can only take "
        "claims away; by themselves they need the two-sided signed-rank test with Holm."
    )
    if 1 < folds < SEEDS_FOR_METHOD:
        text += f" With {folds} folds both tests together reject less often than alpha: conservative."
    return text


def _null(analysis: Analysis) -> str:
    plan, unit = analysis.plan, analysis.primary.metric.unit or analysis.primary.metric.title
    strength = analysis.null[0].bayes.prior_strength if analysis.null else 0.5
    return (
        f"Equivalence: two one-sided paired t tests at a margin of {plan.margin:g} {unit}, set in the sweep file "
        f"before any result, each at alpha = {plan.alpha:g} without correction, at both levels. Verdicts: superior or "
        "inferior where a difference is shown and not confined to the margin, different but negligible where it is "
        "both, equivalent where it is confined only, inconclusive where it is neither. Beside it, non-inferiority at "
        "the same margin, and a Bayesian signed-rank test with the margin as region of practical equivalence (prior "
        f"strength {strength:g} at no difference), exploratory."
    )


def _dose(analysis: Analysis) -> str:
    trends = [series.trend for series in analysis.dose if series.trend is not None]
    if not trends:
        return ""
    return (
        f"Dose response: contrasts of each patient's scores on log2(1 + count / {trends[0].scale:g}), linear and "
        "quadratic orthogonal to it, one-sample t over patients and with runs random; Page's L in both directions. "
        "Flat: every count equivalent to the control; umbrella (dip): a bend, and the best (worst) interior count "
        "shown to differ from the control and from the largest count, Bonferroni over interior counts; rising or "
        "falling: slope and largest count shown in one direction; else unclear. Harm begins at the first count whose "
        "interval lies on the harmful side of 0, or of the margin, Holm over counts. Exploratory."
    )


def _omnibus(analysis: Analysis) -> str:
    test, pairs = analysis.primary.omnibus, analysis.primary.nemenyi
    if isinstance(test, NoOmnibus):
        return f"No omnibus test: {test.reason}."
    note = f" ({test.note})" if test.note else ""
    text = (
        f"All arms: Friedman's test with ties, chi2({test.df1}) = {number(test.chi2, 2)}, {p_text(test.p_chi2)}; "
        f"Iman-Davenport F({test.df1}, {test.df2}) = {number(test.f, 2)}, {p_text(test.p)}{note}; Kendall's W = "
        f"{number(test.kendall_w, 2)}; n = {test.n} blocks (patients), k = {test.k}. "
        f"{_sensitivity(analysis.sensitivity)}"
    )
    if pairs is None:
        return text
    asked = "".join(
        f"; {one.test} with {one.correction}{f' ({one.note})' if one.note else ''}"
        for one in analysis.sensitivity.on_request
    )
    return (
        f"{text} All pairs: Nemenyi, critical difference {number(pairs.critical_difference, 2)} mean ranks at alpha = "
        f"{pairs.alpha:g}; Wilcoxon with Holm over all pairs{asked}; secondary to the comparisons with the control."
    )


def _sensitivity(other: Sensitivity) -> str:
    found = []
    for name, one in (
        ("Quade", other.quade),
        ("aligned ranks", other.aligned_ranks),
        ("Skillings-Mack with incomplete patients", other.skillings_mack),
    ):
        if one is not None and not isinstance(one, NoOmnibus):
            found.append(f"{name} {p_text(one.p)}")
    if not isinstance(other.runs, NoOmnibus):
        found.append(f"runs random, {other.runs.test.kind} {p_text(other.runs.test.p)}")
    return f"Sensitivity: {', '.join(found)}." if found else ""


def _factors(analysis: Analysis) -> str:
    found = analysis.factors
    if not isinstance(found, FactorStudy):
        return ""
    return (
        f"Factors ({found.design}): main effects and two-factor interactions as contrasts of each patient's arm means, "
        f"F tests over patients and with runs random, over {found.family}; exploratory."
    )


def _rest(analysis: Analysis) -> str:
    plan = analysis.plan
    names = ", ".join(study.metric.title for study in analysis.secondary)
    other = f" {names}: exploratory, no verdict." if names else ""
    missing = "refused" if plan.missing == "refuse" else "complete cases: dropped for all arms"
    diverged = "scored as the worst value" if plan.diverged == "worst" else "refused"
    return (
        "Rules: a class absent from a patient's reference is dropped for that patient in all arms; a missed structure "
        f"scores Dice 0 and an infinite HD95; a diverged training is {diverged}; missing results are {missing}. "
        f"Ranking: {analysis.ranking.method}, {analysis.ranking.resamples} resamples.{other}"
    )
