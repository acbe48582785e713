"""Class by class: what the mean over classes hides."""

from collections.abc import Iterator
from functools import partial

from medsweep.analysis.figures.classes import draw_classes
from medsweep.analysis.report.document import Block, Figure
from medsweep.analysis.report.table import DASH, Columns, Table, bare_p, interval, table_of
from medsweep.analysis.report.topic import Material, Topic
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.classes import ClassResult
from medsweep.analysis.study.wording import CONDITIONAL, number, percent


def by_class(analysis: Analysis) -> Table:
    """Every class under every arm."""
    metric, level = analysis.primary.metric, percent(1 - analysis.rules.alpha)
    digits = metric.digits + 1
    caption = (
        f"{metric.title} of each class by itself, and the difference from {analysis.control}, exploratory. Intervals "
        "and p hold for all arms at once, not for all classes. Missed structures are those of runs that trained."
        f"{_scope(analysis)}"
    )
    columns: Columns[ClassResult] = {
        "class": lambda one: one.name,
        "arm": lambda one: one.arm,
        "n": lambda one: str(one.n),
        "mean": lambda one: number(one.mean, metric.digits),
        "missed": lambda one: str(one.missed),
        "difference": lambda one: DASH if one.difference is None else number(one.difference.value, digits, sign=True),
        f"{level} CI, all arms": lambda one: interval(one.difference, digits),
        "p, adjusted": lambda one: DASH if one.difference is None else bare_p(one.difference.p),
    }
    return table_of("by-class", caption, analysis.by_class, columns, text=("arm",))


def _scope(analysis: Analysis) -> str:
    return f" All of it is {CONDITIONAL}." if all(answer.conditional for answer in analysis.answers) else ""


def _picture(material: Material) -> Figure:
    analysis, metric = material.analysis, material.analysis.primary.metric
    level = percent(1 - analysis.rules.alpha)
    caption = (
        f"Class by class: difference in {metric.title} from {analysis.control} with {level} CI for all arms at once, "
        "unadjusted for classes; filled where it leaves out 0; grey band: margin; arrow head: goes on beyond the axis."
    )
    told = [
        f"{one.arm}, {one.name} {number(one.difference.value, metric.digits, sign=True)}"
        for one in analysis.by_class
        if one.difference is not None
    ]
    alt = f"Differences in {metric.title} from {analysis.control} by class: {'; '.join(told)}."
    return material.picture("classes", partial(draw_classes, analysis), caption, alt)


def _blocks(material: Material) -> Iterator[Block | None]:
    if material.analysis.by_class:
        yield by_class(material.analysis)
        if any(result.difference is not None for result in material.analysis.by_class):
            yield _picture(material)


TOPIC = Topic("classes", "Class by class", _blocks)
