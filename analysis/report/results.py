"""Tables of results: differences, runs, dose, ranks, and the exploratory metrics."""

from collections.abc import Iterable

from analysis.answers import Answer
from analysis.posthoc import Nemenyi
from analysis.report.table import Row, Table, bare_p
from analysis.study import Analysis, MetricStudy
from analysis.wording import number, percent, span


def effects(analysis: Analysis) -> Table:
    """The primary family with its verdicts."""
    metric, level = analysis.primary.metric, percent(1 - analysis.plan.alpha)
    digits = metric.digits + 1

    def row(answer: Answer) -> Row:
        """One arm."""
        effect, wilcoxon = answer.patients.effect, answer.patients.wilcoxon
        return (
            answer.arm,
            str(effect.n),
            number(effect.mean.value, digits, sign=True),
            span(effect.mean.low, effect.mean.high, digits),
            f"{effect.wins}/{effect.ties}/{effect.losses}",
            bare_p(wilcoxon.p),
            bare_p(wilcoxon.p_holm),
            bare_p(answer.patients.equivalence.p),
            str(answer.verdict),
        )

    head = ("arm", "n", "mean difference", f"{level} CI", "win/tie/loss", "p", "p, Holm", "p, TOST", "verdict")
    caption = (
        f"Each arm against {analysis.control!r}, patients as blocks: {metric.label}, arm minus control. A win is a "
        "patient for whom the arm is better. p: two-sided Wilcoxon signed-rank."
    )
    return Table("effects", caption, head, tuple(map(row, analysis.answers)), frozenset({0, 8}))


def robust(analysis: Analysis) -> Table:
    """The same differences by estimates that lean less on the normal distribution."""
    digits, level = analysis.primary.metric.digits + 1, percent(1 - analysis.plan.alpha)
    rows = tuple(
        (
            effect.arm,
            span(effect.bca.low, effect.bca.high, digits),
            number(effect.hodges_lehmann, digits, sign=True),
            span(effect.hodges_lehmann_ci.low, effect.hodges_lehmann_ci.high, digits),
            percent(round(effect.hodges_lehmann_ci.coverage, 3)),
            number(effect.rank_biserial, 2, sign=True),
        )
        for effect in analysis.primary.effects
    )
    head = ("arm", f"{level} CI of mean, BCa", "Hodges-Lehmann", "its CI", "coverage", "rank-biserial")
    caption = (
        "The same differences by bootstrap and by ranks. Rank-biserial correlation runs from "
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
                number(test.estimate.value, digits, sign=True),
                span(test.estimate.low, test.estimate.high, digits),
                number(test.estimate.df, 1),
                bare_p(test.estimate.p),
                bare_p(run.p_holm),
                *extra,
                str(answer.patients.verdict),
                str(run.verdict),
            )
        )
    extra_head = (f"{level} CI, overlap",) if corrected else ()
    head = ("arm", "mean difference", f"{level} CI", "df", "p", "p, Holm", *extra_head, "patients alone", "runs random")
    kind = levels[0][1].test.kind if levels else ""
    caption = f"With the runs taken as random, too ({kind}): what would hold for networks trained again."
    return Table("runs", caption, head, tuple(rows), frozenset({0, len(head) - 2, len(head) - 1}))


def trends(analysis: Analysis) -> Table:
    """Contrasts per series with at least two counts."""
    digits, level = analysis.primary.metric.digits + 1, percent(1 - analysis.plan.alpha)
    found = [(series, series.trend) for series in analysis.dose if series.trend is not None]
    rows = [
        (
            series.name,
            name,
            str(len(series.patients)),
            number(one.value, digits, sign=True),
            span(one.low, one.high, digits),
            bare_p(one.p),
            f"{bare_p(trend.page_p_rising)} / {bare_p(trend.page_p_falling)}" if name == "slope" else "",
        )
        for series, trend in found
        for name, one in (("slope", trend.linear), ("bend", trend.quadratic))
    ]
    scale = found[0][1].scale if found else 1.0
    caption = (
        f"Dose response per series, the control as dose 0, on log2(1 + count / {scale:g}). A negative bend rises first "
        "and falls later. Page: one-sided p for rising / falling. Exploratory, without correction."
    )
    head = ("series", "contrast", "n", "estimate", f"{level} CI", "p", "p, Page")
    return Table("trends", caption, head, tuple(rows), frozenset({0, 1}))


def nemenyi(analysis: Analysis) -> Table:
    """p of all pairs, lower triangle."""
    pairs = analysis.primary.nemenyi
    caption = (
        "Nemenyi's test, p of all pairs. The verdict on a pair depends on the other arms in the table (Benavoli, "
        "Corani and Mangili 2016): read it beside the comparisons with the control."
    )
    if pairs is None:
        return Table("nemenyi", caption, (), ())
    head = ("arm", *(str(i + 1) for i in range(len(pairs.arms) - 1)))
    rows = tuple((f"{i + 1}. {arm}", *_lower_row(pairs, i)) for i, arm in enumerate(pairs.arms))
    return Table("nemenyi", caption, head, rows)


def _lower_row(pairs: Nemenyi, i: int) -> Iterable[str]:
    return (bare_p(pairs.p[i][j]) if j < i else "" for j in range(len(pairs.arms) - 1))


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
        f"Exploratory: {study.metric.label}{unit}, {better} is better. Means and differences are over the patients "
        "found (n found); medians, wins and ranks count a patient with a missed structure as worst."
    )
    level = percent(study.effects[0].mean.level)
    head = (
        "arm",
        "n",
        "median",
        "mean",
        "n found",
        "missed",
        "mean difference",
        f"{level} CI",
        "win/tie/loss",
        "p, Holm",
    )
    return Table(f"explore-{study.metric.name}", caption, head, rows)
