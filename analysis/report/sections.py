"""The report's sections in the order in which a reviewer asks; each holds only what the records can fill."""

import shlex
from collections.abc import Iterable
from pathlib import Path

from medsweep.analysis.report import (
    accumulation,
    cases,
    classes,
    contrasts,
    design,
    dose,
    factors,
    images,
    mechanism,
    needed,
    overall,
    results,
    retraining,
    texture,
    wrong,
)
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
from medsweep.analysis.study.wording import counted, counted_between, number

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
        *(_section(topic.name, topic.title, topic.blocks(material), folded=topic.folded) for topic in TOPICS),
        _section("methods", "Methods", [Prose(_methods(analysis), "methods")], folded=True),
        Section("references", "References", (Bullets(REFERENCES),), folded=True),
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
    """The control's own level, the verdict on every arm, the picture of them, and what they cannot say."""
    analysis = material.analysis
    lines = tuple((SIGNS[answer.verdict], answer) for answer in analysis.answers)
    limits = (analysis.scope, *analysis.limits, *material.context.limits)
    level = Prose((_control_level(analysis),))
    return (level, Bullets(analysis.why), Verdicts(lines, analysis.dead), results.forest(material), Bullets(limits))


def _control_level(analysis: Analysis) -> str:
    """Where the control stands, without which no difference can be judged."""
    metric = analysis.primary.metric
    control = next(arm for arm in analysis.primary.descriptions if arm.arm == analysis.control)
    runs = sum(run.arm == analysis.control for run in analysis.runs)
    left_out = "" if control.n == control.n_finite else f"; {control.n - control.n_finite} more have no finite score"
    name = "" if analysis.control == "control" else f", {analysis.control},"
    return (
        f"The control{name} reaches a mean {metric.in_unit} of {number(control.mean, metric.digits)} "
        f"(SD {number(control.sd, metric.digits)} over n = {counted(control.n_finite, 'patient')}{left_out}; "
        f"{counted(runs, 'run')})."
    )


def _section(name: str, title: str, blocks: Iterable[Block | None], *, folded: bool = False) -> Section:
    """Without what is not there: no picture, no column, no row, no item."""
    trimmed = [without_dashes(block) if isinstance(block, Table) else block for block in blocks]
    found = tuple(block for block in trimmed if block is not None and not _is_empty(block))
    return Section(name, title, found, folded)


def _is_empty(block: Block) -> bool:
    match block:
        case Table():
            return not block.rows
        case Bullets():
            return not block.items
        case Verdicts():
            return not (block.lines or block.dead)
        case _:
            return False


def _meta(analysis: Analysis, context: ReportContext) -> str:
    facts = [
        context.dataset,
        f"{len(analysis.arms)} arms",
        f"n = {analysis.primary.n} patients",
        counted(len(analysis.folds), "fold"),
        counted_between(analysis.fewest_seeds, analysis.seeds, "seed"),
        context.created,
    ]
    return " \N{MIDDLE DOT} ".join(facts)


def trials_section(analysis: Analysis, context: ReportContext) -> Section:
    """Every arm with its trials."""
    lines: dict[str, list[TrialLine]] = {arm.name: [] for arm in analysis.arms}
    for trial in analysis.trials:
        told = trial.digest and context.store
        command = shlex.join(["medsweep", "show", trial.shown, "--store", context.store]) if told else ""
        run_id = trial.run_id if trial.run_id in context.wandb_runs else ""
        lines[trial.arm].append(TrialLine(trial.fold, trial.seed, trial.outcome, trial.shown, run_id, command))
    text = "The networks behind the numbers of each arm."
    if context.store:
        store = shlex.join(["--store", context.store])
        text += (
            " The command shows configuration, inputs and curves of a trial. Type log in place of show for all that it "
            "reported. A digest is the folder of the trial in the store; the patients' scores of each are in the "
            f"results table under it. The first pairs of every pool: medsweep samples SWEEP {store}."
        )
    if context.wandb_project:
        text += f" The ids of W&B runs are those in project {context.wandb_project}."
    blocks = (Prose((text,)), Trials(tuple((arm, tuple(lines)) for arm, lines in lines.items())))
    return Section("trials", "Trials", blocks, folded=True)


def reproduction_section(context: ReportContext, record: str = "analysis.json") -> Section:
    """The command, the versions, and where the full numbers are."""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(context.versions.items()))
    sentences = [
        f"Versions: {versions}." if versions else "Versions: not recorded.",
        f"All numbers in full precision: {record}; tables/ and figures/ hold each table and the data of each figure as "
        "CSV, beside this page. Resampling uses fixed seeds: the same results give the same numbers.",
    ]
    command = (Code(context.command, "command"),) if context.command else ()
    return Section("reproduction", "Reproduction", (*command, Bullets(tuple(sentences))), folded=True)


TOPICS = (
    Topic("answer", "Answer", _answer),
    contrasts.TOPIC,
    classes.TOPIC,
    wrong.TOPIC,
    cases.SAMPLES,
    needed.TOPIC,
    cases.SCORES,
    results.DIFFERENCES,
    results.NOTHING,
    dose.TOPIC,
    mechanism.TOPIC,
    accumulation.TOPIC,
    texture.TOPIC,
    retraining.TOPIC,
    cases.COHORT,
    factors.TOPIC,
    overall.ALL_ARMS,
    overall.STABILITY,
    results.OTHER_METRICS,
    images.TOPIC,
    design.POWER,
    design.EXCLUSIONS,
    design.ARMS,
)
"""Every section but the last four, which need the others or the context alone. A new one is listed here.

What follows on retraining starts closed."""
REFERENCES = (
    "Benavoli A, Corani G, Mangili F. Should we really use post-hoc tests based on mean-ranks? J Mach Learn Res "
    "2016;17(5):1-10.",
    "Clopper CJ, Pearson ES. The use of confidence or fiducial limits illustrated in the case of the binomial. "
    "Biometrika 1934;26:404-413.",
    "Demšar J. Statistical comparisons of classifiers over multiple data sets. J Mach Learn Res 2006;7:1-30.",
    "Dunnett CW. A multiple comparison procedure for comparing several treatments with a control. J Am Stat Assoc "
    "1955;50:1096-1121.",
    "Efron B. Better bootstrap confidence intervals. J Am Stat Assoc 1987;82:171-185.",
    "Friedman M. The use of ranks to avoid the assumption of normality implicit in the analysis of variance. J Am Stat "
    "Assoc 1937;32:675-701.",
    "Hillis SL. A comparison of denominator degrees of freedom methods for multiple observer ROC analysis. Stat Med "
    "2007;26:596-619.",
    "Hodges JL, Lehmann EL. Estimates of location based on rank tests. Ann Math Stat 1963;34:598-611.",
    "Holm S. A simple sequentially rejective multiple test procedure. Scand J Stat 1979;6:65-70.",
    "Iman RL, Davenport JM. Approximations of the critical region of the Friedman statistic. Commun Stat A "
    "1980;9:571-595.",
    "Liang K-Y, Zeger SL. Longitudinal data analysis using generalized linear models. Biometrika 1986;73:13-22.",
    "Nadeau C, Bengio Y. Inference for the generalization error. Mach Learn 2003;52:239-281.",
    "Nemenyi PB. Distribution-free multiple comparisons. PhD thesis, Princeton University 1963.",
    "Page EB. Ordered hypotheses for multiple treatments: a significance test for linear ranks. J Am Stat Assoc "
    "1963;58:216-230.",
    "Rubin DB. The Bayesian bootstrap. Ann Stat 1981;9:130-134.",
    "Satterthwaite FE. An approximate distribution of estimates of variance components. Biometrics Bull "
    "1946;2:110-114.",
    "Schuirmann DJ. A comparison of the two one-sided tests procedure and the power approach for assessing the "
    "equivalence of average bioavailability. J Pharmacokinet Biopharm 1987;15:657-680.",
    "Shapley LS. A value for n-person games. Contributions to the Theory of Games II. Ann Math Stud 1953;28:307-317.",
    "Shrout PE, Fleiss JL. Intraclass correlations: uses in assessing rater reliability. Psychol Bull 1979;86:420-428.",
    "Šidák Z. Rectangular confidence regions for the means of multivariate normal distributions. J Am Stat Assoc "
    "1967;62:626-633.",
    "Wilcoxon F. Individual comparisons by ranking methods. Biometrics Bull 1945;1:80-83.",
)
"""What the methods rest on."""
