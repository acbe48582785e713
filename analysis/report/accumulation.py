"""Do errors of masks accumulate through C-SG: the sentence, misfit by source of masks, slopes, and {mask} x {image}."""

from collections.abc import Iterator

from medsweep.analysis.records import Estimate
from medsweep.analysis.report.document import Block, Bullets, Prose
from medsweep.analysis.report.table import DASH, Columns, Table, bare_p, interval, table_of
from medsweep.analysis.report.topic import Material, Topic
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.contrasts import ContrastTest
from medsweep.analysis.study.mechanisms.accumulation import AccumulationStudy
from medsweep.analysis.study.mechanisms.accumulation_wording import sentences
from medsweep.analysis.study.mechanisms.misfit import Source
from medsweep.analysis.study.wording import CONDITIONAL, number, percent


def _sources(study: AccumulationStudy, level: str) -> Table | None:
    """One row per source and judge."""
    if study.misfits is None:
        return None
    columns: Columns[Source] = {
        "masks and images": lambda one: one.name,
        "arm": lambda one: one.arm or DASH,
        "judge": lambda one: one.judge,
        "n": lambda one: str(one.n),
        "runs": lambda one: str(one.runs),
        "missed": lambda one: _percent(one.means["missed"]),
        "Dice": lambda one: number(one.means["dice"], 3),
        "HD95 (px)": lambda one: number(one.means["hd95_px"], 2),
        "ASSD (px)": lambda one: number(one.means["assd_px"], 2),
        "bias (px)": lambda one: number(one.means["bias_px"], 2, sign=True),
        "excess HD95 (px)": lambda one: DASH if one.excess is None else number(one.excess.value, 2, sign=True),
        f"{level} CI": lambda one: interval(one.excess, 2),
        "to the nearest mask (px)": lambda one: number(one.means["nearest_px"], 2),
        "log density": lambda one: number(one.means["log_density"], 1),
    }
    caption = (
        "How far masks lie from what a judge sees in their images. A missed sample counts in missed and Dice alone. "
        "Excess is over real slices that the same judge has not seen. Its interval is the wider of two: over samples "
        "and unseen patients, and over runs. The last two columns tell how unlike real masks of other people a mask is."
    )
    return table_of("accumulation-sources", caption, study.misfits.sources, columns, text=("arm", "judge"))


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _slopes(study: AccumulationStudy, level: str) -> Table | None:
    slopes = study.slopes
    if slopes is None:
        return None
    found = {
        "per px to the nearest mask of other people": slopes.beta,
        "M-SG masks minus perturbed ones, at equal distance": slopes.beyond,
        "per px of perturbation": slopes.dose,
    }
    columns: Columns[tuple[str, Estimate]] = {
        "misfit": lambda row: row[0],
        "px": lambda row: number(row[1].value, 2, sign=True),
        f"{level} CI": lambda row: interval(row[1], 2),
        "p": lambda row: bare_p(row[1].p),
    }
    caption = (
        f"What misfit goes with: least squares of the HD95 of each class of {slopes.on} samples on source, distance to "
        f"the nearest mask of other people, log area and class, with {slopes.clusters} runs as clusters."
    )
    rows = [(name, one) for name, one in found.items() if one is not None]
    return table_of("accumulation-slopes", caption, rows, columns)


def _contrasts(analysis: Analysis, study: AccumulationStudy, level: str) -> Table:
    metric = analysis.primary.metric
    rows = [test for family in study.tests.values() for test in family]
    conditional = any(test.test.conditional for test in rows)
    columns: Columns[ContrastTest] = {
        "cost": lambda test: test.name,
        "n": lambda test: str(test.test.patients),
        metric.title: lambda test: number(test.estimate.value, metric.digits + 1, sign=True),
        f"{level} CI, all of its kind": lambda test: interval(test.estimate, metric.digits + 1),
        "p, adjusted": lambda test: bare_p(test.estimate.p),
    }
    caption = (
        f"What masks and images cost in {metric.title}, above 0 where something is lost. The chain holds in its order. "
        "Image part and mask part add up to the shortfall. The interaction is what painted images cost more where "
        "masks are generated."
    )
    caption += f" All of it is {CONDITIONAL}." if conditional else ""
    return table_of("accumulation-costs", caption, rows, columns)


def _blocks(material: Material) -> Iterator[Block | None]:
    analysis, study = material.analysis, material.analysis.accumulation
    if study is None:
        return
    level = percent(1 - analysis.rules.alpha)
    yield Bullets(sentences(study, analysis.primary.metric))
    yield _sources(study, level)
    yield _slopes(study, level)
    yield _contrasts(analysis, study, level)
    if study.lost:
        yield Prose((f"Left out, since an arm of them has no score: {', '.join(study.lost)}.",))


def _methods(analysis: Analysis) -> tuple[str, ...]:
    if analysis.accumulation is None:
        return ()
    return (
        "Accumulation: costs are contrasts of arms as under Contrasts. Misfit is told beside real slices that the same "
        "judge has not seen. That C-SG obeys, or that errors add and do not accumulate, is said only where an interval "
        "leaves no room for more. Samples and patients are weighted by the Bayesian bootstrap (Rubin 1981). Standard "
        "errors of slopes are clustered by run (Liang and Zeger 1986).",
    )


TOPIC = Topic("accumulation", "Accumulation", _blocks, _methods)
