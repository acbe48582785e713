"""Tables of the primary metric against the control: differences at both levels, null results, dose, other metrics."""

from collections.abc import Sequence

from medsweep.analysis.report.table import DASH, Row, Table, bare_p
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.answers import Answer
from medsweep.analysis.study.metric import MetricStudy
from medsweep.analysis.study.null import NullEvidence
from medsweep.analysis.study.wording import number, percent, span


def effects(analysis: Analysis) -> Table:
    """The primary family with its verdicts at both levels."""
    metric, level = analysis.primary.metric, percent(1 - analysis.plan.alpha)
    kinds = dict.fromkeys(answer.runs.test.kind for answer in analysis.answers if answer.runs is not None)
    caption = (
        f"Each arm against {analysis.control}: {metric.title}, arm minus control, patients as blocks (two-sided "
        "Wilcoxon signed-rank)"
    )
    if kinds:
        caption += f", and with the runs taken as random, too ({', '.join(kinds)}). The verdict is the weaker of both"
    head = (
        "arm",
        "n",
        "difference",
        f"{level} CI, runs random",
        "p, Holm, runs",
        f"{level} CI, patients",
        "p, Holm, patients",
        "patients alone",
        "runs random",
        "verdict",
    )
    rows = tuple(_effect(answer, metric.digits + 1, over_runs=bool(kinds)) for answer in analysis.answers)
    return Table("effects", f"{caption}.", head, rows, frozenset({0, 7, 8, 9}))


def _effect(answer: Answer, digits: int, *, over_runs: bool) -> Row:
    mean, runs = answer.patients.effect.mean, answer.runs
    return (
        answer.arm,
        str(answer.patients.effect.n),
        number(answer.estimate.value, digits, sign=True),
        DASH if runs is None else span(runs.test.estimate.low, runs.test.estimate.high, digits),
        DASH if runs is None else bare_p(runs.p_holm),
        span(mean.low, mean.high, digits),
        bare_p(answer.patients.wilcoxon.p_holm),
        str(answer.patients.verdict) if over_runs else DASH,
        DASH if runs is None else str(runs.verdict),
        str(answer.verdict),
    )


def robust(analysis: Analysis) -> Table:
    """The same differences by estimates that lean less on the normal distribution."""
    digits, level = analysis.primary.metric.digits + 1, percent(1 - analysis.plan.alpha)
    rows = tuple(
        (
            effect.arm,
            f"{effect.wins}/{effect.ties}/{effect.losses}",
            number(effect.p_better, 2),
            f"{number(effect.p_better_ci.low, 2)} to {number(effect.p_better_ci.high, 2)}",
            number(effect.rank_biserial, 2, sign=True),
            span(effect.bca.low, effect.bca.high, digits),
            number(effect.hodges_lehmann, digits, sign=True),
            span(effect.hodges_lehmann_ci.low, effect.hodges_lehmann_ci.high, digits),
            percent(round(effect.hodges_lehmann_ci.coverage, 3)),
        )
        for effect in analysis.primary.effects
    )
    head = (
        "arm",
        "win/tie/loss",
        "P(better)",
        f"{level} CI",
        "rank-biserial",
        f"{level} CI of mean, BCa",
        "Hodges-Lehmann",
        "its CI",
        "coverage",
    )
    caption = (
        "The same differences by counts, ranks and bootstrap, patients alone. A win is a patient for whom the arm is "
        "better, P(better) the share of wins with ties as halves; the rank-biserial correlation runs from "
        "\N{MINUS SIGN}1 to 1 and is positive where the arm is better."
    )
    return Table("robust", caption, head, rows)


def runs(analysis: Analysis) -> Table:
    """The second level of analysis, where there is one."""
    digits, level = analysis.primary.metric.digits + 1, percent(1 - analysis.plan.alpha)
    levels = [(answer, answer.runs) for answer in analysis.answers if answer.runs is not None]
    corrected = any(run.test.nadeau_bengio is not None for _, run in levels)
    rows = []
    for answer, run in levels:
        test = run.test
        wide = test.nadeau_bengio
        extra = (span(wide.low, wide.high, digits),) if wide is not None else ()
        rows.append(
            (
                answer.arm,
                str(test.patients),
                str(test.units),
                number(test.estimate.value, digits, sign=True),
                span(test.estimate.low, test.estimate.high, digits),
                number(test.estimate.df, 1),
                bare_p(test.estimate.p),
                bare_p(run.p_holm),
                *extra,
            )
        )
    units = "folds" if corrected else "seeds"
    overlap = (f"{level} CI, overlap",) if corrected else ()
    head = ("arm", "n", units, "difference", f"{level} CI", "df", "p", "p, Holm", *overlap)
    kind = levels[0][1].test.kind if levels else ""
    caption = f"With the runs taken as random, too ({kind}): what would hold for networks trained again."
    if corrected:
        caption += " The last interval allows for training sets that overlap (Nadeau and Bengio 2003)."
    return Table("runs", caption, head, tuple(rows))


def mixed(analysis: Analysis) -> Table:
    """The second opinion of a mixed model, where one was fitted."""
    digits = analysis.primary.metric.digits + 1
    fits = analysis.sensitivity.mixed
    rows = []
    for one in fits:
        if one.estimate is None:
            rows.append((one.arm, str(one.n_rows), DASH, DASH, DASH, one.reason))
            continue
        note = "; ".join([f"at 0: {', '.join(one.boundary)}"] if one.boundary else []) or (
            "" if one.converged else "not converged"
        )
        value = number(one.estimate.value, digits, sign=True)
        interval = span(one.estimate.low, one.estimate.high, digits)
        rows.append((one.arm, str(one.n_rows), value, interval, number(one.se_ratio, 2), note.replace("_", " x ")))
    rows += [(arm, DASH, DASH, DASH, DASH, "not tried, for the time it takes") for arm in analysis.sensitivity.unmixed]
    caption = (
        "Cross-check of the run level by a linear mixed model with patients, runs and patient x arm random (normal "
        "interval, so too narrow for few runs); SE ratio: its standard error over that of the test above."
    )
    head = ("arm", "scores", "difference", f"{percent(1 - analysis.plan.alpha)} CI", "SE ratio", "note")
    shown = any(one.fitted for one in fits)
    return Table("mixed", caption, head, tuple(rows) if shown else (), frozenset({0, 5}))


def null(analysis: Analysis) -> Table:
    """What speaks for no difference that matters."""
    digits = analysis.primary.metric.digits + 1
    narrow = percent(1 - 2 * analysis.plan.alpha)
    answers = {answer.arm: answer for answer in analysis.answers}
    rows = tuple(_null_row(one, answers[one.arm], digits) for one in analysis.null)
    bound = "lower" if analysis.primary.metric.higher_is_better else "upper"
    caption = (
        f"Null results at the margin of {analysis.plan.margin:g}, set beforehand. Equivalence: the {narrow} CI of the "
        "difference lies inside the margin (p of the two one-sided tests over patients); equivalent only where "
        "patients and runs both say so. Non-inferiority, patients alone: one-sided, so that a better arm passes as "
        "well. Posterior of the Bayesian signed-rank test: probability of worse, inside the margin, better; "
        "exploratory."
    )
    head = ("arm", "n", f"{narrow} CI", "p, TOST", "inside", f"{bound} bound", "p ", "not inferior")
    posterior = ("P(worse)", "P(inside)", "P(better)")
    return Table("null", caption, (*head, *posterior), rows, frozenset({0, 4, 7}))


def _null_row(one: NullEvidence, answer: Answer, digits: int) -> Row:
    bayes, not_worse = one.bayes, one.non_inferiority
    return (
        one.arm,
        str(bayes.n),
        span(*answer.narrow, digits),
        bare_p(answer.patients.equivalence.p),
        "yes" if answer.inside else "no",
        number(not_worse.bound, digits, sign=True),
        bare_p(not_worse.p),
        "void" if one.left_out else "shown" if not_worse.shown else "not shown",
        *(number(share, 2) for share in (bayes.p_worse, bayes.p_rope, bayes.p_better)),
    )


def exploratory(study: MetricStudy) -> Table:
    """A secondary metric against the control; no verdict."""
    digits = study.metric.digits
    described = {one.arm: one for one in study.descriptions}
    rows = tuple(
        (
            effect.arm,
            str(effect.n),
            number(described[effect.arm].median, digits),
            number(described[effect.arm].mean, digits),
            f"{described[effect.arm].n_finite}",
            str(described[effect.arm].missed),
            number(effect.mean.value, digits, sign=True),
            span(effect.mean.low, effect.mean.high, digits),
            f"{effect.wins}/{effect.ties}/{effect.losses}",
            bare_p(test.p_holm),
        )
        for effect, test in zip(study.effects, study.wilcoxon, strict=True)
    )
    unit = f" in {study.metric.unit}" if study.metric.unit else ""
    better = "higher" if study.metric.higher_is_better else "lower"
    caption = (
        f"Exploratory: {study.metric.title}{unit}, {better} is better. Means and differences are over the patients "
        "found (n found); medians, wins and ranks count a patient with a missed structure as worst."
    )
    level = percent(study.effects[0].mean.level)
    head = ("arm", "n", "median", "mean", "n found", "missed", "difference", f"{level} CI", "win/tie/loss", "p, Holm")
    return Table(f"explore-{study.metric.name}", caption, head, rows)


def over_secondary(studies: Sequence[MetricStudy]) -> Table:
    """The omnibus tests of the secondary metrics, exploratory."""
    rows = []
    for study in studies:
        test = study.omnibus
        if hasattr(test, "reason"):
            continue
        f = f"F({test.df1}, {test.df2}) = {number(test.f, 2)}"
        rows.append((study.metric.title, str(test.n), str(test.k), f, bare_p(test.p), number(test.kendall_w, 2)))
    caption = "Exploratory: do the arms differ on the other metrics? Friedman's test as Iman-Davenport F, Kendall's W."
    return Table("explore-omnibus", caption, ("metric", "n", "k", "F", "p", "W"), tuple(rows), frozenset({0, 3}))
