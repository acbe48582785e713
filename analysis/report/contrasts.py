"""Contrasts of arms and effects of a factorial, with the verdict on each."""

from medsweep.analysis.report.table import Columns, Table, bare_p, interval, table_of
from medsweep.analysis.report.topic import Topic
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.contrasts import ContrastTest
from medsweep.analysis.study.wording import number, percent


def contrasts(analysis: Analysis) -> Table:
    """Every contrast that the sweep asks for."""
    digits, level = analysis.primary.metric.digits + 1, percent(1 - analysis.rules.alpha)
    caption = (
        f"Contrasts of arms in {analysis.primary.metric.title}. Interval and p hold for all contrasts at once, runs "
        "random, with half of the error pooled over all arms."
    )
    if any(one.test.conditional for one in analysis.contrasts):
        caption += " One network per arm: they hold for these trained networks."
    columns: Columns[ContrastTest] = {
        "contrast": lambda test: test.name,
        "of": _weights,
        "n": lambda test: str(test.test.patients),
        "estimate": lambda test: number(test.estimate.value, digits, sign=True),
        f"{level} CI, all contrasts": lambda test: interval(test.estimate, digits),
        "df": lambda test: number(test.estimate.df, 1),
        "p, adjusted": lambda test: bare_p(test.estimate.p),
        "verdict": lambda test: str(test.verdict),
    }
    return table_of("contrasts", caption, analysis.contrasts, columns, text=("of", "verdict"))


def _weights(test: ContrastTest) -> str:
    return ", ".join(f"{number(weight, 2, sign=True)} {arm}" for arm, weight in test.weights.items())


def _methods(analysis: Analysis) -> tuple[str, ...]:
    if not analysis.contrasts:
        return ()
    return (
        f"Contrasts: {len(analysis.contrasts)} weighted sums of arms as one family (Sidak 1967), each with the error "
        "of its arms and of all arms in equal parts. Superior and inferior are meant for arms with positive weights.",
    )


TOPIC = Topic("contrasts", "Contrasts", lambda material: (contrasts(material.analysis),), _methods)
