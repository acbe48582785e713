"""What retraining moves: differences with the runs as random, and the spread of runs."""

import math
from collections.abc import Iterator
from functools import partial

from medsweep.analysis.figures.runs import draw_runs
from medsweep.analysis.report.document import Block, Figure
from medsweep.analysis.report.table import DASH, Columns, Table, bare_p, interval, table_of
from medsweep.analysis.report.topic import Material, Topic
from medsweep.analysis.stats.method_tests import Components
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.evidence import RunEvidence
from medsweep.analysis.study.wording import number, percent


def runs(analysis: Analysis) -> Table:
    """The second level of analysis, where there is one."""
    digits, level = analysis.primary.metric.digits + 1, percent(1 - analysis.rules.alpha)
    levels = [(answer.arm, answer.runs) for answer in analysis.answers if answer.runs is not None]
    corrected = any(run.test.nadeau_bengio is not None for _, run in levels)
    kind = levels[0][1].test.kind if levels else ""
    caption = f"With the runs taken as random, too ({kind}): what would hold for networks trained again."
    if corrected:
        caption += " The last interval allows for training sets that overlap (Nadeau and Bengio 2003)."
    columns: Columns[tuple[str, RunEvidence]] = {
        "arm": lambda row: row[0],
        "n": lambda row: str(row[1].test.patients),
        "folds" if corrected else "seeds": lambda row: str(row[1].test.units),
        "difference": lambda row: number(row[1].test.estimate.value, digits, sign=True),
        f"{level} CI": lambda row: interval(row[1].test.estimate, digits),
        "df": lambda row: number(row[1].test.estimate.df, 1),
        "p": lambda row: bare_p(row[1].test.estimate.p),
        "p, Holm": lambda row: bare_p(row[1].p_holm),
        f"{level} CI, overlap": lambda row: interval(row[1].test.nadeau_bengio, digits),
    }
    return table_of("runs", caption, levels, columns)


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
    yield runs(material.analysis)
    yield _picture(material)
    yield components(material.analysis)


TOPIC = Topic("retraining", "What retraining moves", _blocks)
