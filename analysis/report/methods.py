"""The methods paragraphs, written from the records, so that text and numbers cannot part."""

from analysis.omnibus import NoOmnibus
from analysis.study import Analysis
from analysis.wording import number, p_text, percent


def methods_of(analysis: Analysis) -> tuple[str, ...]:
    """Design, primary family, equivalence, runs, all pairs, and the rest."""
    return (_design(analysis), _family(analysis), _over_runs(analysis), _omnibus(analysis), _rest(analysis))


def _design(analysis: Analysis) -> str:
    classes = len(analysis.classes)
    folds = len(analysis.folds)
    split = "one held-out test set" if folds == 1 else f"{folds} folds, each patient tested in one of them"
    return (
        f"Design: {len(analysis.arms)} arms, {analysis.primary.n} patients, {split}, {analysis.seeds} "
        f"seed{'' if analysis.seeds == 1 else 's'} per arm. The patient is the unit: "
        f"{analysis.primary.metric.label} is computed per 3-D patient and class, averaged over the "
        f"{classes} foreground class{'' if classes == 1 else 'es'} its reference shows, then over seeds."
    )


def _family(analysis: Analysis) -> str:
    plan, metric = analysis.plan, analysis.primary.metric
    count = len(analysis.answers)
    unit = metric.unit or metric.label
    return (
        f"Primary family: {metric.label}, {count} comparison{'' if count == 1 else 's'} with {analysis.control!r} by "
        f"two-sided Wilcoxon signed-rank tests (Pratt's zeros) at alpha = {plan.alpha:g}, corrected after Holm. Mean "
        f"differences carry {percent(1 - plan.alpha)} t intervals, unadjusted; BCa intervals use 9999 resamples of "
        "patients with a fixed seed; Hodges-Lehmann intervals invert the signed-rank test. Equivalence is tested by "
        f"two one-sided paired t tests at a margin of {plan.margin:g} {unit}, set in the sweep file, each at alpha = "
        f"{plan.alpha:g} without correction. Verdicts: superior or inferior where a difference is shown and not "
        "confined to the margin, different but negligible where it is both, equivalent where it is confined only, "
        "inconclusive where it is neither. A difference counts as shown only where mean and ranks agree on its "
        "direction."
    )


def _over_runs(analysis: Analysis) -> str:
    tests = [answer.runs.test for answer in analysis.answers if answer.runs is not None]
    if not tests:
        return "Runs: one network per arm; nothing can be said about networks trained again."
    if tests[0].nadeau_bengio is not None:
        folds = len(analysis.folds)
        return (
            f"Runs as random: paired t test of fold means (seeds averaged, df = {folds - 1}), Holm over arms; "
            f"intervals for overlapping training sets after Nadeau and Bengio 2003, n_test/n_train = "
            f"{number(tests[0].test_over_train or 0.0, 3)}. A "
            "verdict needs both levels, patients and runs; where they differ, the weaker is given."
        )
    return (
        "Runs as random: two-way test of patients x seeds on the one held-out set (Dorfman-Berbaum-Metz with Hillis's "
        "2007 degrees of freedom), Holm over arms. A verdict needs both levels, patients and runs; where they differ, "
        "the weaker is given."
    )


def _omnibus(analysis: Analysis) -> str:
    test, pairs = analysis.primary.omnibus, analysis.primary.nemenyi
    if isinstance(test, NoOmnibus):
        return f"No omnibus test: {test.reason}."
    note = f" ({test.note})" if test.note else ""
    text = (
        f"All arms: Friedman's test with ties, chi2({test.df1}) = {number(test.chi2, 2)}, {p_text(test.p_chi2)}; "
        f"Iman-Davenport F({test.df1}, {test.df2}) = {number(test.f, 2)}, {p_text(test.p)}{note}; Kendall's W = "
        f"{number(test.kendall_w, 2)}; n = {test.n} blocks (patients), k = {test.k}."
    )
    if pairs is None:
        return text
    return (
        f"{text} All pairs: Nemenyi, critical difference {pairs.critical_difference:.2f} mean ranks at alpha = "
        f"{pairs.alpha:g}; secondary to the comparisons with the control."
    )


def _rest(analysis: Analysis) -> str:
    plan = analysis.plan
    names = ", ".join(study.metric.label for study in analysis.secondary)
    other = f" {names}: exploratory, no verdict." if names else ""
    missing = "refused" if plan.missing == "refuse" else "complete cases: dropped for all arms"
    diverged = "scored as the worst value" if plan.diverged == "worst" else "refused"
    return (
        "Rules: a class absent from a patient's reference is dropped for that patient in all arms; a missed structure "
        f"scores Dice 0 and an infinite HD95; a diverged training is {diverged}; missing results are {missing}.{other}"
    )
