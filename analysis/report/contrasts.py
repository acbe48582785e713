"""Contrasts of arms and effects of a factorial, with the verdict on each."""

from collections.abc import Sequence

from medsweep.analysis.report.table import Columns, Table, bare_p, interval, table_of
from medsweep.analysis.report.topic import Material, Topic
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.contrasts import ContrastTest
from medsweep.analysis.study.wording import number, percent


def contrasts(analysis: Analysis) -> Table:
    """Every contrast that the sweep asks for."""
    caption = f"Contrasts of arms in {analysis.primary.metric.title}."
    return _table("contrasts", caption, analysis, analysis.contrasts)


def reference_levels(analysis: Analysis) -> Table:
    """Arms against the same real slices again and against as many new ones."""
    caption = (
        f"What is added, at equal exposure, in {analysis.primary.metric.title}: an arm against an arm of as many real "
        "slices, the same ones again or new ones. Part of a difference from real data alone is that real slices are "
        "seen less often."
    )
    return _table("reference-levels", caption, analysis, analysis.levels)


def _table(name: str, caption: str, analysis: Analysis, tests: Sequence[ContrastTest]) -> Table:
    digits, level = analysis.primary.metric.digits + 1, percent(1 - analysis.rules.alpha)
    caption += (
        " Interval and p hold for all contrasts at once, runs random, with half of the error pooled over all arms."
    )
    if any(one.test.conditional for one in tests):
        caption += " They hold for these trained networks."
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
    return table_of(name, caption, tests, columns, text=("of", "verdict"))


def _weights(test: ContrastTest) -> str:
    return ", ".join(f"{number(weight, 2, sign=True)} {arm}" for arm, weight in test.weights.items())


def _methods(analysis: Analysis) -> tuple[str, ...]:
    if not analysis.contrasts:
        return ()
    return (
        f"Contrasts: {len(analysis.contrasts)} weighted sums of arms as one family (Sidak 1967), each with the error "
        "of its arms and of all arms in equal parts. Superior and inferior are meant for arms with positive weights.",
    )


def _blocks(material: Material) -> tuple[Table, ...]:
    return contrasts(material.analysis), reference_levels(material.analysis)


TOPIC = Topic("contrasts", "Contrasts", _blocks, _methods)
