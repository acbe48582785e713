"""The dose response: its picture, its shape, the onset of harm, and the contrasts behind both."""

from functools import partial

from medsweep.analysis.figures.dose import draw_dose
from medsweep.analysis.report.document import Figure
from medsweep.analysis.report.table import DASH, Row, Table, bare_p
from medsweep.analysis.report.topic import Material, Topic
from medsweep.analysis.stats.dose_response import DoseSeries
from medsweep.analysis.stats.dose_shape import HarmOnset, Onset
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.wording import number, percent, span


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
            DASH if run is None else span(run.low, run.high, digits),
            bare_p(trend.page_rising.p) if name == "slope" else "",
            bare_p(trend.page_falling.p) if name == "slope" else "",
        )
        for series, trend in found
        for name, one, run in (
            ("slope", trend.linear, trend.linear_runs),
            ("bend", trend.quadratic, trend.quadratic_runs),
        )
    ]
    scale = found[0][1].scale if found else 1.0
    caption = (
        f"Dose response per series, the control as dose 0, on log2(1 + count / {scale:g}). A negative bend rises first "
        "and falls later. Page: one-sided p for rising and for falling values. Exploratory, without correction."
    )
    head = (
        "series",
        "contrast",
        "n",
        "estimate",
        f"{level} CI",
        "p",
        f"{level} CI, runs random",
        "p, Page rising",
        "p, Page falling",
    )
    return Table("trends", caption, head, tuple(rows), frozenset({0, 1}))


def shapes(analysis: Analysis) -> Table:
    """Shape and onset of harm per series."""
    margin = analysis.plan.margin
    rows = tuple(_shape(series) for series in analysis.dose)
    caption = (
        "Shape of each dose response, and the count from which harm is shown: first count whose interval lies wholly "
        f"on the harmful side of 0, and of the margin of {margin:g}, Holm-adjusted over the series' counts. Shape: "
        "what patients alone and runs as random both support; up is better. That no count shows harm is no proof of "
        "harmlessness."
    )
    head = (
        "series",
        "counts",
        "shape",
        "patients alone",
        "runs random",
        "harm",
        "harm, runs",
        "beyond margin",
        "so, runs",
    )
    return Table("shapes", caption, head, rows, frozenset(range(len(head))))


def _shape(series: DoseSeries) -> Row:
    counts = ", ".join(str(point.count) for point in series.points)
    both = (series.harm, series.harm_runs)
    harm = [_onset(one, "zero_holm") for one in both]
    beyond = [_onset(one, "margin_holm") for one in both]
    runs = DASH if series.shape_runs is None else str(series.shape_runs)
    return (series.name, counts, str(series.shape), str(series.shape_patients), runs, *harm, *beyond)


def _onset(harm: HarmOnset | None, name: str) -> str:
    if harm is None:
        return DASH
    onset: Onset = getattr(harm, name)
    return onset.text


def picture(material: Material) -> Figure | None:
    """Differences by count, the report's first picture; None where no arms differ in the count alone."""
    analysis = material.analysis
    if not analysis.dose:
        return None
    level, metric = percent(1 - analysis.plan.alpha), analysis.primary.metric
    caption = (
        f"Dose response. Circles: patients, arm minus control in {metric.title}; squares: mean with {level} CI; "
        "grey triangles at the edge: number of patients beyond the axis; grey band: margin of "
        f"{analysis.plan.margin:g}. Triangles at the top: count from which harm is shown, hollow against 0, filled "
        f"against the margin. Slope and bend (linear and quadratic contrast on log dose, {level} CI) and Page's "
        "one-sided p include the control as dose 0."
    )
    means = [
        f"{series.name}: "
        + ", ".join(f"{number(p.mean.value, metric.digits, sign=True)} at {p.count}" for p in series.points)
        for series in analysis.dose
    ]
    alt = f"Differences in {metric.title} from {analysis.control} by count of synthetic samples. {'; '.join(means)}."
    return material.picture("dose", partial(draw_dose, analysis), caption, alt)


def _methods(analysis: Analysis) -> tuple[str, ...]:
    trends = [series.trend for series in analysis.dose if series.trend is not None]
    if not trends:
        return ()
    text = (
        f"Dose response: contrasts of each patient's scores on log2(1 + count / {trends[0].scale:g}), linear and "
        "quadratic orthogonal to it, one-sample t over patients and with runs random; Page's L in both directions. "
        "Flat: every count equivalent to the control; umbrella (dip): a bend, and the best (worst) interior count "
        "shown to differ from the control and from the largest count, Bonferroni over interior counts; rising or "
        "falling: slope and largest count shown in one direction; else unclear. Harm begins at the first count whose "
        "interval lies on the harmful side of 0, or of the margin, Holm over counts. Exploratory."
    )
    return (text,)


TOPIC = Topic(
    "dose", "Dose response", lambda material: (shapes(material.analysis), trends(material.analysis)), _methods
)
