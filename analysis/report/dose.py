"""The dose response: its picture, its shape, the onset of harm, and the contrasts behind both."""

from collections.abc import Iterator
from functools import partial

from medsweep.analysis.figures.dose import draw_dose
from medsweep.analysis.records import Estimate
from medsweep.analysis.report.document import Block, Figure
from medsweep.analysis.report.table import DASH, Columns, Table, bare_p, folded, interval, table_of
from medsweep.analysis.report.topic import Material, Topic
from medsweep.analysis.stats.dose_response import DoseSeries, Trend
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.wording import CONDITIONAL, number, percent


def trends(analysis: Analysis) -> Table:
    """Contrasts per series with at least two counts."""
    digits, level = analysis.primary.metric.digits + 1, percent(1 - analysis.rules.alpha)
    contrasts = [
        (series, trend, name, estimate, over_runs)
        for series in analysis.dose
        if (trend := series.trend) is not None
        for name, estimate, over_runs in (
            ("slope", trend.linear, trend.linear_runs),
            ("bend", trend.quadratic, trend.quadratic_runs),
        )
    ]
    scale = contrasts[0][1].scale if contrasts else 1.0
    caption = (
        f"Dose response per series, the control as dose 0, on log2(1 + count / {scale:g}). A negative bend rises first "
        "and falls later. Page: one-sided p for rising and for falling values. Exploratory, without correction."
    )
    columns: Columns[tuple[DoseSeries, Trend, str, Estimate, Estimate | None]] = {
        "series": lambda row: row[0].name,
        "contrast": lambda row: row[2],
        "n": lambda row: str(len(row[0].patients)),
        "estimate": lambda row: number(row[3].value, digits, sign=True),
        f"{level} CI, patients alone": lambda row: interval(row[3], digits),
        "p": lambda row: bare_p(row[3].p),
        f"{level} CI, runs random": lambda row: interval(row[4], digits),
        "p, Page rising": lambda row: bare_p(row[1].page_rising.p) if row[2] == "slope" else "",
        "p, Page falling": lambda row: bare_p(row[1].page_falling.p) if row[2] == "slope" else "",
    }
    return table_of("trends", caption, contrasts, columns, text=("contrast",))


def shapes(analysis: Analysis) -> Table:
    """Shape and onset of harm per series."""
    margin = analysis.rules.margin
    caption = (
        "Shape of each dose response, and the count from which harm is shown. Harm: the first count whose interval, "
        f"for all arms at once as in the verdicts, lies on the harmful side of 0, and of the margin of {margin:g}. "
        "Shape: what patients alone and runs as random both support; up is better. That no count shows harm is no "
        "proof of harmlessness."
    )
    if any(answer.conditional for answer in analysis.answers):
        caption += f" All of it is {CONDITIONAL}."
    columns: Columns[DoseSeries] = {
        "series": lambda series: series.name,
        "counts": lambda series: ", ".join(str(point.count) for point in series.points),
        "shape": lambda series: str(series.shape),
        "patients alone": lambda series: str(series.shape_patients),
        "runs random": lambda series: DASH if series.shape_runs is None else str(series.shape_runs),
        "harm": lambda series: series.harm.zero.text if series.harm else DASH,
        "beyond margin": lambda series: series.harm.margin.text if series.harm else DASH,
    }
    return table_of("shapes", caption, analysis.dose, columns, text=columns)


def picture(material: Material) -> Figure | None:
    """Differences by count, None where no arms differ in the count alone."""
    analysis = material.analysis
    if not analysis.dose:
        return None
    level, metric = percent(1 - analysis.rules.alpha), analysis.primary.metric
    caption = (
        f"Dose response. Circles: patients, arm minus control in {metric.title}; squares: difference with the {level} "
        "CI for all arms at once, which the verdict uses; triangles at the edge: beyond the axis; grey band: margin of "
        f"{analysis.rules.margin:g}. Triangles over a panel: count from which harm is shown, hollow against 0, filled "
        "against the margin. Slope and bend: contrasts on log dose, the control as dose 0, each interval by itself."
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
        "falling: slope and largest count shown in one direction; else unclear. Exploratory. Harm begins at the first "
        "count whose interval, adjusted over all arms as in the verdicts, lies on the harmful side of 0, or of the "
        "margin."
    )
    return (text,)


def _blocks(material: Material) -> Iterator[Block | None]:
    yield picture(material)
    yield folded(shapes(material.analysis))
    yield folded(trends(material.analysis))


TOPIC = Topic("dose", "Dose response", _blocks, _methods)
