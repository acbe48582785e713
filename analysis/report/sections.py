"""The report's sections in the order in which a reviewer asks; each holds only what the records can fill."""

import shlex
from collections.abc import Iterable
from pathlib import Path

from medsweep.analysis.report import contrasts, design, dose, factors, images, overall, results, retraining
from medsweep.analysis.report.document import (
    Block,
    Bullets,
    Code,
    Document,
    Prose,
    Section,
    TrialLine,
    Trials,
    Verdicts,
)
from medsweep.analysis.report.table import Table, without_dashes
from medsweep.analysis.report.topic import Material, ReportContext, Topic
from medsweep.analysis.stats.equivalence import Verdict
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.wording import counted

SIGNS = {
    Verdict.SUPERIOR: "\N{BLACK UP-POINTING TRIANGLE}",
    Verdict.INFERIOR: "\N{BLACK DOWN-POINTING TRIANGLE}",
    Verdict.EQUIVALENT: "\N{BLACK SQUARE}",
    Verdict.NEGLIGIBLE: "\N{BLACK DIAMOND}",
    Verdict.INCONCLUSIVE: "\N{WHITE CIRCLE}",
}
"""The forest plot's marks, as text."""


def document_of(analysis: Analysis, context: ReportContext, folder: Path) -> Document:
    """The report on one data set; its pictures are drawn into ``folder``."""
    material = Material(analysis, context, folder)
    sections = [
        *(_section(topic.name, topic.title, topic.blocks(material)) for topic in TOPICS),
        _section("methods", "Methods", [Prose(_methods(analysis), "methods")]),
        reproduction_section(context),
        trials_section(analysis, context),
    ]
    return Document(
        title=context.sweep,
        question=context.question,
        headline=analysis.headline,
        meta=_meta(analysis, context),
        sections=tuple(section for section in sections if section.blocks),
        anchors={arm.name: number for number, arm in enumerate(analysis.arms, start=1)},
    )


def _methods(analysis: Analysis) -> tuple[str, ...]:
    paragraphs = [text for topic in TOPICS for text in topic.methods(analysis)]
    return (design.design_paragraph(analysis), *paragraphs, design.rules_paragraph(analysis))


def _answer(material: Material) -> tuple[Block, ...]:
    """The primary picture, the verdict on every arm, and what they cannot say."""
    analysis = material.analysis
    lines = tuple((SIGNS[answer.verdict], answer) for answer in analysis.answers)
    limits = (analysis.scope, *analysis.limits, *material.context.limits)
    return (dose.picture(material) or results.forest(material), Verdicts(lines), Bullets(limits))


def _section(name: str, title: str, blocks: Iterable[Block | None]) -> Section:
    """Without what is not there: no picture, no column, no row, no item."""
    trimmed = [without_dashes(block) if isinstance(block, Table) else block for block in blocks]
    return Section(name, title, tuple(block for block in trimmed if block is not None and not _is_empty(block)))


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
    facts = [
        context.dataset,
        f"{len(analysis.arms)} arms",
        f"n = {analysis.primary.n} patients",
        counted(len(analysis.folds), "fold"),
        counted(analysis.seeds, "seed"),
        context.created,
    ]
    return " \N{MIDDLE DOT} ".join(facts)


def _flow(analysis: Analysis) -> Prose:
    """The way from the table's patients to the n of the tests, in one line."""
    steps = [step for step in analysis.primary.flow if step.unit == "patients"]
    text = f"{steps[0].before} patients in the results" if steps else ""
    for step in steps:
        if step.after < step.before:
            text += f" \N{RIGHTWARDS ARROW} {step.after} ({step.before - step.after} left out: {step.rule})"
    folds, seeds = len(analysis.folds), analysis.seeds
    runs = f"{counted(folds, 'fold')} x {counted(seeds, 'seed')}"
    averaged = f"{runs} are averaged inside the patient, never stacked" if folds * seeds > 1 else "one run of each arm"
    return Prose(
        (
            f"{text} \N{RIGHTWARDS ARROW} n = {analysis.primary.n} in every arm. The patient is the unit: {averaged}, "
            "and no slice is a case.",
        )
    )


def trials_section(analysis: Analysis, context: ReportContext) -> Section:
    """Every arm with its trials."""
    lines: dict[str, list[TrialLine]] = {arm.name: [] for arm in analysis.arms}
    for trial in analysis.trials:
        command = shlex.join(["medsweep", "why", trial.shown, "--store", context.store]) if trial.digest else ""
        run_id = trial.run_id if trial.digest else ""
        lines[trial.arm].append(TrialLine(trial.fold, trial.seed, trial.outcome, trial.shown, run_id, command))
    project = f" of project {context.wandb_project}" if context.wandb_project else ""
    text = (
        "The networks behind the numbers of each arm; the command tells the configuration and the inputs of one. W&B "
        f"runs{project} have the ids listed. A digest is the folder of the trial in the store; the patients' scores "
        "of each are in the results table under it."
    )
    blocks = (Prose((text,)), Trials(tuple((arm, tuple(lines)) for arm, lines in lines.items())))
    return Section("trials", "Trials", blocks)


def reproduction_section(context: ReportContext, record: str = "analysis.json") -> Section:
    """The command, the versions, and where the full numbers are."""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(context.versions.items()))
    sentences = [
        f"Versions: {versions}." if versions else "Versions: not recorded.",
        f"All numbers in full precision: {record}; tables/ and figures/ hold each table and the data of each figure as "
        "CSV, beside this page. Resampling uses fixed seeds: the same results give the same numbers.",
    ]
    return Section("reproduction", "Reproduction", (Code(context.command, "command"), Bullets(tuple(sentences))))


TOPICS = (
    Topic("answer", "Answer", _answer),
    contrasts.TOPIC,
    Topic("patients", "Patients", lambda material: (_flow(material.analysis),)),
    results.DIFFERENCES,
    results.NOTHING,
    dose.TOPIC,
    retraining.TOPIC,
    factors.TOPIC,
    overall.ALL_ARMS,
    overall.STABILITY,
    results.OTHER_METRICS,
    images.TOPIC,
    design.POWER,
    design.EXCLUSIONS,
    design.ARMS,
)
"""Every section but the last three, which need the others or the context alone. A new one is listed here."""
