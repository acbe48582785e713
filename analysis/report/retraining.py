"""What retraining moves: differences with the runs as random, and the spread of runs."""

import math
from collections.abc import Iterator
from functools import partial

from medsweep.analysis.figures.runs import draw_runs
from medsweep.analysis.report.document import Block, Figure
from medsweep.analysis.report.table import DASH, Columns, Table, bare_p, folded, interval, table_of
from medsweep.analysis.report.topic import Material, Topic
from medsweep.analysis.stats.arm_family import ArmTest
from medsweep.analysis.stats.method_tests import Components
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.answers import Answer
from medsweep.analysis.study.wording import counted, number, percent, span


def runs(analysis: Analysis) -> Table:
    """The tests behind the verdicts, in numbers."""
    digits, level = analysis.primary.metric.digits + 1, percent(1 - analysis.rules.alpha)
    tested = [(answer, answer.test) for answer in analysis.answers if answer.test is not None]
    kinds = ", ".join(dict.fromkeys(test.kind for _, test in tested))
    caption = f"The tests behind the verdicts. Taken as random: {kinds}. p is adjusted over all arms."
    if any(test.nadeau_bengio is not None for _, test in tested):
        caption += " The last interval is the arm's alone, and allows for training sets that overlap."
    columns: Columns[tuple[Answer, ArmTest]] = {
        "arm": lambda one: one[0].arm,
        "n": lambda one: str(one[1].patients),
        "units": lambda one: str(one[1].units),
        "difference": lambda one: number(one[0].estimate.value, digits, sign=True),
        "SE": lambda one: number(one[0].estimate.se, digits),
        "df": lambda one: number(one[0].estimate.df, 1),
        f"{level} CI, all arms": lambda one: interval(one[0].estimate, digits),
        "p, adjusted": lambda one: bare_p(one[0].estimate.p),
        f"{level} CI, overlap": lambda one: interval(one[1].nadeau_bengio, digits),
    }
    return table_of("runs", caption, tested, columns)


def components(analysis: Analysis) -> Table:
    """Variance components."""

    def sd(value: float) -> str:
        """A dash where the design does not tell it."""
        return DASH if math.isnan(value) else number(value, analysis.primary.metric.digits + 1)

    caption = (
        f"Spread of {analysis.primary.metric.title} as SDs (needs two seeds): of run means inside a fold, and its "
        "components of patient, run and the rest."
    )
    columns: Columns[Components] = {
        "arm": lambda arm: arm.arm,
        "between seeds": lambda arm: sd(arm.between_seeds),
        "patient": lambda arm: sd(arm.patient),
        "run": lambda arm: sd(arm.run),
        "residual": lambda arm: sd(arm.residual),
    }
    return table_of("components", caption, analysis.components, columns)


def _picture(material: Material) -> Figure:
    analysis, metric = material.analysis, material.analysis.primary.metric
    marks = "; mark by fold" if len(analysis.folds) > 1 else ""
    caption = f"What retraining moves: mean {metric.title} of each run, by arm; bar: mean over runs{marks}."
    spread = [f"{arm.arm} {number(arm.between_seeds, metric.digits + 1)}" for arm in analysis.components]
    alt = f"Strip of run means of {metric.title} per arm; SD between seeds: {', '.join(spread)}."
    return material.picture("runs", partial(draw_runs, analysis), caption, alt)


def _blocks(material: Material) -> Iterator[Block | None]:
    yield _picture(material)
    yield folded(runs(material.analysis))
    yield folded(components(material.analysis))


def _methods(analysis: Analysis) -> tuple[str, ...]:
    found, paired = analysis.seed_correlation, analysis.rules.seeds == "paired"
    if found is None:
        return ()
    taken = "are paired: what moves all arms of a seed alike is taken out" if paired else "belong to their arm alone"
    return (
        f"Runs of one seed {taken}. Estimated correlation of the run means of two arms under one fold and seed: "
        f"{number(found.value, 2)} ({percent(found.level)} CI {span(found.low, found.high, 2)}; Shrout and Fleiss "
        f"1979, ICC(3,1), {found.arms} arms under {counted(found.runs, 'run')}).",
    )


TOPIC = Topic("retraining", "What retraining moves", _blocks, _methods)
