"""The report's sections in the order in which a reviewer asks; each holds only what the records can fill."""

from collections.abc import Mapping

from medsweep.analysis.report import design, dose, factors, overall, results
from medsweep.analysis.report.context import ReportContext
from medsweep.analysis.report.document import Block, Bullets, Document, Figure, Prose, Section, VerdictLine, Verdicts
from medsweep.analysis.report.methods import methods_of
from medsweep.analysis.report.pictures import grids_of
from medsweep.analysis.report.provenance import anchors_of, reproduction_section, trials_section
from medsweep.analysis.report.table import Table, without_dashes
from medsweep.analysis.stats.equivalence import Verdict
from medsweep.analysis.stats.omnibus import NoOmnibus
from medsweep.analysis.study.analyse import Analysis

SIGNS = {
    Verdict.SUPERIOR: "\N{BLACK UP-POINTING TRIANGLE}",
    Verdict.INFERIOR: "\N{BLACK DOWN-POINTING TRIANGLE}",
    Verdict.EQUIVALENT: "\N{BLACK SQUARE}",
    Verdict.NEGLIGIBLE: "\N{BLACK DIAMOND}",
    Verdict.INCONCLUSIVE: "\N{WHITE CIRCLE}",
}
"""The forest plot's marks, as text."""


def document_of(analysis: Analysis, context: ReportContext, figures: Mapping[str, Figure]) -> Document:
    """The report on one data set."""
    made = [
        _answer(analysis, context, figures),
        _section("patients", "Patients", _flow(analysis)),
        *_evidence(analysis, figures),
        _images(analysis, context, figures),
        _section("power", "Power", design.power(analysis)),
        _section("exclusions", "Exclusions", design.exclusions(analysis), design.causes(analysis)),
        _section("design", "Arms and trials", design.arms(analysis), design.plan(context), design.failures(context)),
        _section("methods", "Methods", Prose(methods_of(analysis), "methods")),
        reproduction_section(context),
        trials_section(analysis, context),
    ]
    return Document(
        title=context.sweep,
        question=context.question,
        headline=analysis.headline,
        meta=_meta(analysis, context),
        sections=tuple(section for section in made if section.blocks),
        anchors=anchors_of(analysis),
    )


def _answer(analysis: Analysis, context: ReportContext, figures: Mapping[str, Figure]) -> Section:
    """The primary picture, the verdict on every arm, and what they cannot say."""
    lines = tuple(
        VerdictLine(one.arm, str(one.verdict), SIGNS[one.verdict], one.lead, one.short, one.detail)
        for one in analysis.answers
    )
    limits = (analysis.scope, *analysis.limits, *context.limits)
    return _section("answer", "Answer", figures[_primary(figures)], Verdicts(lines), Bullets(limits))


def _primary(figures: Mapping[str, Figure]) -> str:
    return "dose" if "dose" in figures else "forest"


def _evidence(analysis: Analysis, figures: Mapping[str, Figure]) -> list[Section]:
    """What the answer rests on."""
    picture = {name: figure for name, figure in figures.items() if name != _primary(figures)}.get
    overall_blocks = (
        _no_omnibus(analysis),
        overall.omnibus(analysis),
        picture("ranks"),
        overall.ranks(analysis),
        overall.nemenyi(analysis),
        picture("pairwise"),
        overall.all_pairs(analysis),
        overall.flips(analysis),
    )
    retraining = (results.runs(analysis), results.mixed(analysis), picture("runs"), design.components(analysis))
    differences = (results.effects(analysis), picture("forest"), picture("paired"), results.robust(analysis))
    told = Bullets(factors.unshown(analysis))
    by_factor = (picture("factors"), factors.effects(analysis), picture("dependence"), factors.dependence(analysis))
    scores = (design.descriptions(analysis.primary), results.over_secondary(analysis.secondary))
    return [
        _section("differences", "Differences from the control", *differences),
        _section("nothing", "Evidence for no difference", results.null(analysis)),
        _section("dose", "Dose response", dose.shapes(analysis), dose.trends(analysis)),
        _section("retraining", "What retraining moves", *retraining),
        _section("factors", "Factors", *by_factor, told),
        _section("all-arms", "All arms and all pairs", *overall_blocks),
        _section("stability", "Stability of the ranking", picture("rankmap"), overall.stability(analysis)),
        _section("other-metrics", "Scores and other metrics", *scores, *map(results.exploratory, analysis.secondary)),
    ]


def _images(analysis: Analysis, context: ReportContext, figures: Mapping[str, Figure]) -> Section:
    return _section(
        "images",
        "Synthetic images",
        design.pools(analysis),
        figures.get("quality"),
        factors.quality(analysis.quality),
        factors.comparisons(analysis.quality),
        Bullets(factors.unjudged(analysis.quality)),
        figures.get("spectra"),
        design.filters(analysis),
        design.exposure(analysis),
        *grids_of(context),
    )


def _section(name: str, title: str, *blocks: Block | None) -> Section:
    """Without what is not there: no picture, no column, no row, no item."""
    known = [without_dashes(block) if isinstance(block, Table) else block for block in blocks]
    return Section(name, title, tuple(block for block in known if block is not None and not _is_empty(block)))


def _is_empty(block: Block) -> bool:
    match block:
        case Table():
            return not block.rows
        case Bullets():
            return not block.items
        case Verdicts():
            return not block.lines
        case _:
            return False


def _meta(analysis: Analysis, context: ReportContext) -> str:
    folds, seeds = len(analysis.folds), analysis.seeds
    parts = [
        context.dataset,
        f"{len(analysis.arms)} arms",
        f"n = {analysis.primary.n} patients",
        f"{folds} fold{'' if folds == 1 else 's'}",
        f"{seeds} seed{'' if seeds == 1 else 's'}",
        context.created,
    ]
    return " \N{MIDDLE DOT} ".join(parts)


def _flow(analysis: Analysis) -> Prose:
    """The way from the table's patients to the n of the tests, in one line."""
    steps = [step for step in analysis.primary.flow if step.unit == "patients"]
    text = f"{steps[0].before} patients in the results" if steps else ""
    for step in steps:
        if step.after < step.before:
            text += f" \N{RIGHTWARDS ARROW} {step.after} ({step.before - step.after} left out: {step.rule})"
    folds, seeds = len(analysis.folds), analysis.seeds
    runs = f"{folds} fold{'' if folds == 1 else 's'} x {seeds} seed{'' if seeds == 1 else 's'}"
    told = f"{runs} are averaged inside the patient, never stacked" if folds * seeds > 1 else "one run of each arm"
    return Prose(
        (
            f"{text} \N{RIGHTWARDS ARROW} n = {analysis.primary.n} in every arm. The patient is the unit: {told}, "
            "and no slice is a case.",
        )
    )


def _no_omnibus(analysis: Analysis) -> Prose | None:
    test = analysis.primary.omnibus
    return Prose((f"No omnibus test: {test.reason}.",)) if isinstance(test, NoOmnibus) else None
