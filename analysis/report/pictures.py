"""Every picture that the records can fill, with its caption and a text for those who cannot see it."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from medsweep.analysis.factors.factors import FactorStudy
from medsweep.analysis.figures.cd import draw_critical_difference
from medsweep.analysis.figures.dependence import draw_dependence
from medsweep.analysis.figures.dose import draw_dose
from medsweep.analysis.figures.factors import draw_factors
from medsweep.analysis.figures.forest import draw_forest
from medsweep.analysis.figures.paired import draw_paired
from medsweep.analysis.figures.pairwise import draw_pairwise
from medsweep.analysis.figures.quality import draw_quality
from medsweep.analysis.figures.rankmap import draw_rank_map
from medsweep.analysis.figures.runs import draw_runs
from medsweep.analysis.figures.spectra import draw_spectra
from medsweep.analysis.figures.style import Drawn
from medsweep.analysis.report.context import ReportContext
from medsweep.analysis.report.document import Figure
from medsweep.analysis.stats.omnibus import Omnibus
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.wording import number, percent

FOLDER = "figures"
HEAVY = 400_000
"""Bytes from which the page holds a picture's PNG instead of its SVG."""


def draw_all(folder: Path, analysis: Analysis, context: ReportContext) -> dict[str, Figure]:
    """Draw into ``folder``/figures; by name."""
    made = {one.name: one for one in _drawn(folder / FOLDER, analysis)}
    if context.spectra is not None and not context.spectra.empty:
        drawn = draw_spectra(context.spectra, folder / FOLDER / "spectra")
        made["spectra"] = figure_of("spectra", drawn, *_spectra(context.spectra))
    return made


def _drawn(folder: Path, analysis: Analysis) -> Iterator[Figure]:
    if analysis.dose:
        yield figure_of("dose", draw_dose(analysis, folder / "dose"), *_dose(analysis))
    yield figure_of("forest", draw_forest(analysis, folder / "forest"), *_forest(analysis))
    if isinstance(analysis.primary.omnibus, Omnibus):
        drawn = draw_critical_difference(analysis, folder / "ranks")
        yield figure_of("ranks", drawn, *_critical_difference(analysis, analysis.primary.omnibus))
    if len(analysis.arms) > 2:
        metric = analysis.primary.metric
        yield figure_of(
            "pairwise",
            draw_pairwise(analysis.sensitivity.pairwise, metric, folder / "pairwise", control=analysis.control),
            *_pairwise(analysis),
        )
        yield figure_of(
            "rankmap",
            draw_rank_map(analysis.ranking, folder / "rankmap", control=analysis.control),
            *_rank_map(analysis),
        )
    metric, margin = analysis.primary.metric, analysis.plan.margin
    yield figure_of("paired", draw_paired(analysis.paired, metric, margin, folder / "paired"), *_paired(analysis))
    if isinstance(analysis.factors, FactorStudy):
        drawn = draw_factors(analysis.factors, metric, margin, folder / "factors")
        yield figure_of("factors", drawn, *_factors(analysis, analysis.factors))
        if analysis.factors.dependence:
            drawn = draw_dependence(analysis.factors, metric, margin, folder / "dependence")
            yield figure_of("dependence", drawn, *_dependence(analysis, analysis.factors))
    if analysis.quality is not None and analysis.quality.metrics:
        yield figure_of("quality", draw_quality(analysis.quality, folder / "quality"), *_quality(analysis))
    yield figure_of("runs", draw_runs(analysis, folder / "runs"), *_runs(analysis))


def figure_of(name: str, drawn: Drawn, caption: str, alt: str) -> Figure:
    """A drawn picture as the report shows it."""
    shown = drawn.svg if drawn.svg.stat().st_size < HEAVY else drawn.png
    return Figure(name, caption, alt, shown, f"{FOLDER}/{drawn.png.name}", drawn.csv)


def _spectra(curves: pd.DataFrame) -> tuple[str, str]:
    caption = (
        "Radial power spectra, synthetic over real images, by frequency in cycles per image: 1 is the texture of real "
        "images, a fall to the right blur, a rise noise."
    )
    kinds = ", ".join(map(str, curves["kind"].unique()))
    return caption, f"Curves of the ratio of synthetic to real power by frequency for {kinds}."


def grids_of(context: ReportContext) -> tuple[Figure, ...]:
    """Pictures that the caller brought."""
    return tuple(
        Figure(f"grid-{place}", f"{one.title}. {one.caption}", one.title, one.path, str(one.path))
        for place, one in enumerate(context.grids, start=1)
    )


def _dose(analysis: Analysis) -> tuple[str, str]:
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
    return (
        caption,
        f"Differences in {metric.title} from {analysis.control} by count of synthetic samples. {'; '.join(means)}.",
    )


def _forest(analysis: Analysis) -> tuple[str, str]:
    level, narrow = percent(1 - analysis.plan.alpha), percent(1 - 2 * analysis.plan.alpha)
    over_runs = any(answer.runs for answer in analysis.answers)
    what = " with runs taken as random; dashed: patients alone, for these trained models" if over_runs else ""
    caption = (
        f"Every arm against the control. Thin line: {level} CI; thick line: {narrow} CI, the interval behind the "
        f"equivalence test{what}; grey band: margin; arrow head: goes on beyond the axis. Mark by verdict, hollow for "
        "inconclusive."
    )
    digits = analysis.primary.metric.digits
    told = [
        f"{answer.arm} {number(answer.estimate.value, digits, sign=True)}, {answer.verdict}"
        for answer in analysis.answers
    ]
    return (
        caption,
        f"Forest plot of differences in {analysis.primary.metric.title} from {analysis.control}: {'; '.join(told)}.",
    )


def _critical_difference(analysis: Analysis, test: Omnibus) -> tuple[str, str]:
    caption = (
        "Critical-difference diagram: mean rank over patients, 1 is best. A bar, or its absence, says nothing "
        "about the size of a difference; see the forest plot."
    )
    order = sorted(zip(test.mean_ranks, test.arms, strict=True))
    told = ", ".join(f"{arm} {number(rank, 2)}" for rank, arm in order)
    return caption, f"Mean ranks from best to worst: {told}."


def _runs(analysis: Analysis) -> tuple[str, str]:
    metric = analysis.primary.metric
    marks = "; mark by fold" if len(analysis.folds) > 1 else ""
    caption = f"What retraining moves: mean {metric.title} of each run, by arm; bar: mean over runs{marks}."
    spread = [f"{one.arm} {number(one.between_seeds, metric.digits + 1)}" for one in analysis.components]
    return caption, f"Strip of run means of {metric.title} per arm; SD between seeds: {', '.join(spread)}."


def _pairwise(analysis: Analysis) -> tuple[str, str]:
    found, metric = analysis.sensitivity.pairwise, analysis.primary.metric
    caption = (
        f"All pairs: mean difference in {metric.title} (row minus column), win/tie/loss over patients, and "
        f"Holm-adjusted p; bold where it is below {found.alpha:g}. Colour repeats the difference."
    )
    shown = [pair for pair in found.pairs if pair.p_holm < found.alpha]
    told = "; ".join(
        f"{pair.first} against {pair.second} {number(pair.mean.value, metric.digits, sign=True)}" for pair in shown
    )
    return caption, f"Matrix of {len(found.pairs)} pairs of arms, {len(shown)} of which differ: {told or 'none'}."


def _rank_map(analysis: Analysis) -> tuple[str, str]:
    found = analysis.ranking
    caption = (
        f"Ranks when patients are resampled: share of {found.resamples} resamples in which the arm has the rank; a "
        "frame marks the rank on all patients."
    )
    told = ", ".join(f"{one.arm} {100 * one.share_first:.0f}%" for one in found.arms)
    return caption, f"Heat map of bootstrap ranks; share of resamples in which the arm leads: {told}."


def _quality(analysis: Analysis) -> tuple[str, str]:
    study = analysis.quality
    assert study is not None
    caption = (
        "Quality against utility: one mark per generator, its measure against the benefit of the arms that draw on it; "
        f"Spearman's rho with {percent(study.level)} bootstrap interval. Exploratory."
    )
    told = ", ".join(f"{one.metric.replace('_', ' ')} {number(one.rho, 2, sign=True)}" for one in study.metrics)
    return caption, f"Small multiples of benefit against measures of pools; Spearman's rho: {told}."


def _paired(analysis: Analysis) -> tuple[str, str]:
    metric = analysis.primary.metric
    caption = (
        f"Each patient's difference in {metric.title} from {analysis.control}, sorted, for the arms whose difference "
        "is shown or largest: triangle up where the arm is better, down where it is worse, ring for a tie; larger "
        "marks are outliers by Tukey's fences; grey band: margin."
    )
    told = [f"{one.arm}: better in {one.better}, worse in {one.worse} patients" for one in analysis.paired]
    return caption, f"Waterfalls of differences per patient. {'; '.join(told)}."


def _factors(analysis: Analysis, study: FactorStudy) -> tuple[str, str]:
    caption = (
        f"What the factors do to {analysis.primary.metric.title}: contrasts of levels, averaged over the other "
        f"factors. Black: patients alone, thin {percent(study.level)} CI, thick the interval that equivalence goes "
        "by; dashed: runs random; filled where every interval of the row leaves out 0; grey band: margin."
    )
    digits = analysis.primary.metric.digits + 1
    told = [
        f"{one.name} {t.label} {number(t.patients.value, digits, sign=True)}"
        for one in study.effects
        for t in one.terms
    ]
    return caption, f"Effects of factors: {'; '.join(told)}."


def _dependence(analysis: Analysis, study: FactorStudy) -> tuple[str, str]:
    caption = (
        f"Mean {analysis.primary.metric.title} along each numeric factor, the others averaged out, with "
        f"{percent(study.level)} CI over patients; dashed: runs random; thick: steps shown at both levels."
    )
    told = [f"{one.factor}: {one.course}" for one in study.dependence]
    return caption, f"Partial dependence on numeric factors. {'; '.join(told)}."
