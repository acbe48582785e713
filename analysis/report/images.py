"""The synthetic images: measures of the pools, what filters kept, and whether better images helped."""

from collections.abc import Container, Iterator, Mapping
from functools import partial
from typing import Final

from medsweep.analysis.figures.quality import draw_quality
from medsweep.analysis.figures.spectra import draw_spectra
from medsweep.analysis.questions.quality import QualityStudy
from medsweep.analysis.questions.utility import MetricComparison, MetricUtility
from medsweep.analysis.report.document import Block, Bullets, Figure
from medsweep.analysis.report.table import DASH, Columns, Table, bare_p, interval, table_of
from medsweep.analysis.report.topic import Material, Topic
from medsweep.analysis.study.analyse import Analysis, PoolSummary
from medsweep.analysis.study.wording import number, percent, span
from medsweep.metric_record import Place, Question
from medsweep.metrics import METRICS, record_of, shown_in

ASKED: Final[Mapping[Question, str]] = {
    "fidelity": "Do its images look like real ones? Distances and shares of samples beside real slices",
    "variety": "Is it as varied? Recall, coverage, effective numbers, and the training patients it is as varied as at "
    "most, since images unlike any real one count as varied in all but recall and coverage",
    "texture": "Is its texture right? Spectra and fine detail, against real slices",
    "misfit": "Do its masks fit its images? Agreement with the judge, which is the control's network or "
    "one fitted on the patients left out; arms with different judges can be compared in the excess alone",
}
"""What is asked of a pool, in the order of the tables."""


def pools(analysis: Analysis) -> tuple[Table, ...]:
    """How good the synthetic pools are, a table per question; those without a measure are left out."""
    told = "mean over distinct pools (SD; number of pools). A floor is what real patients have among themselves."
    tables = (
        _pool_table(
            f"pools-{question}", f"{question.capitalize()} of the synthetic pools. {asked}: {told}", analysis, question
        )
        for question, asked in ASKED.items()
    )
    return tuple(table for table in tables if table.rows)


def filters(analysis: Analysis) -> Table:
    """What filters kept, and what that did to diversity."""
    filtered = {
        pool.arm
        for pool in analysis.pools
        if (pool.metric == "retention" and pool.mean < 1) or pool.metric == "pixels_ignored"
    }
    caption = (
        "Filters: samples looked at, share kept, and what the choice did to diversity: Vendi score and coverage of "
        "what was kept beside those of as many samples drawn at random; foreground area of kept masks over all. Left "
        "out: pixels of the kept samples without a part in the loss."
    )
    return _pool_table("filters", caption, analysis, "filters", arms=filtered)


def exposure(analysis: Analysis) -> Table:
    """What each arm's network was trained on."""
    caption = "Training slices of each arm, and how many were seen in all steps: mean over runs (SD; number of runs)."
    return _pool_table("exposure", caption, analysis, "exposure")


def _pool_table(name: str, caption: str, analysis: Analysis, place: Place, arms: Container[str] | None = None) -> Table:
    """One row per arm (of ``arms``) that has any of the metrics shown there; metrics that none has are left out."""
    summaries = {(pool.arm, pool.metric): pool for pool in analysis.pools}
    metrics = [metric for metric in shown_in(place) if any((arm.name, metric) in summaries for arm in analysis.arms)]
    rows = []
    for arm in analysis.arms:
        cells = [summaries.get((arm.name, metric)) for metric in metrics]
        if any(cells) and (arms is None or arm.name in arms):
            rows.append((arm.name, *map(_pool_cell, cells)))
    return Table(name, caption, ("arm", *(METRICS[metric].title for metric in metrics)), tuple(rows))


def _pool_cell(summary: PoolSummary | None) -> str:
    if summary is None:
        return DASH
    spread = "" if summary.n < 2 else f" ({summary.sd:.2g}; {summary.n})"
    return f"{summary.mean:.4g}{spread}"


def quality(study: QualityStudy) -> Table:
    """Every measure of pools against benefit."""
    caption = (
        "Quality against utility: Spearman's rho of each measure of the pools with the benefit of the arms that draw "
        f"on them, over generators, with {percent(study.level)} bootstrap interval; bend: correlation with the squared "
        "rank, negative where middling values are best; matched: inside fold and seed. "
        f"{study.note[:1].upper()}{study.note[1:]}"
    )
    columns: Columns[MetricUtility] = {
        "measure": lambda judged: _title(judged.metric),
        "better": lambda judged: DASH if judged.better == "none" else judged.better,
        "generators": lambda judged: str(judged.n),
        "rho": lambda judged: number(judged.rho, 2, sign=True),
        "CI": lambda judged: interval(judged, 2),
        "p": lambda judged: bare_p(judged.p),
        "p, Holm": lambda judged: bare_p(judged.p_holm),
        "bend": lambda judged: number(judged.bend, 2, sign=True),
        "CI ": lambda judged: span(judged.bend_low, judged.bend_high, 2),
        "rho, matched": lambda judged: number(judged.rho_matched, 2, sign=True),
        "right direction": lambda judged: {True: "yes", False: "no", None: DASH}[judged.as_meant],
    }
    return table_of("quality", caption, study.metrics, columns, text=("better", "right direction"))


def _title(measure: str) -> str:
    record = record_of(measure)
    return record.title if record else measure.replace("_", " ")


def unjudged(study: QualityStudy) -> tuple[str, ...]:
    """One sentence on the measures that so few generators cannot judge, reason by reason."""
    by_reason: dict[str, list[str]] = {}
    for measure in study.not_judged:
        by_reason.setdefault(measure.reason, []).append(measure.name.replace("_", " "))
    return tuple(
        f"Quality against utility, not judged: {', '.join(names)} ({why.replace('_', ' ')})."
        for why, names in by_reason.items()
    )


def comparisons(study: QualityStudy) -> Table:
    """Which of two measures goes further with benefit."""
    caption = "Measures compared: strength of the first's association with benefit less that of the second, bootstrap."
    columns: Columns[MetricComparison] = {
        "measure": lambda pair: _title(pair.first),
        "against": lambda pair: _title(pair.second),
        "generators": lambda pair: str(pair.n),
        "difference in abs(rho)": lambda pair: number(pair.difference, 2, sign=True),
        "CI": lambda pair: interval(pair, 2),
    }
    return table_of("quality-comparisons", caption, study.comparisons, columns, text=("against",))


def _quality_picture(material: Material, study: QualityStudy) -> Figure | None:
    if not study.metrics:
        return None
    caption = (
        "Quality against utility: one mark per generator, its measure against the benefit of the arms that draw on it; "
        f"Spearman's rho with {percent(study.level)} bootstrap interval. Exploratory."
    )
    rhos = ", ".join(
        f"{measure.metric.replace('_', ' ')} {number(measure.rho, 2, sign=True)}" for measure in study.metrics
    )
    alt = f"Small multiples of benefit against measures of pools; Spearman's rho: {rhos}."
    return material.picture("quality", partial(draw_quality, study), caption, alt)


def _spectra_picture(material: Material) -> Figure | None:
    curves = material.context.spectra
    if curves is None or curves.empty:
        return None
    caption = (
        "Radial power spectra, synthetic over real images, by frequency in cycles per image: 1 is the texture of real "
        "images, a fall to the right blur, a rise noise."
    )
    kinds = ", ".join(map(str, curves["kind"].unique()))
    alt = f"Curves of the ratio of synthetic to real power by frequency for {kinds}."
    return material.picture("spectra", partial(draw_spectra, curves), caption, alt)


def _blocks(material: Material) -> Iterator[Block | None]:
    analysis, study = material.analysis, material.analysis.quality
    yield from pools(analysis)
    yield Bullets(material.context.agreement)
    if study is not None:
        yield _quality_picture(material, study)
        yield quality(study)
        yield comparisons(study)
        yield Bullets(unjudged(study))
    yield _spectra_picture(material)
    yield filters(analysis)
    yield exposure(analysis)


TOPIC = Topic("images", "Synthetic images", _blocks, folded=True)
