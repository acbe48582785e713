"""From a number to the trials behind it: digest, W&B run and the command that explains each."""

import shlex

from medsweep.analysis.report.context import ReportContext
from medsweep.analysis.report.document import Bullets, Code, Prose, Section, TrialLine, Trials
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.table.trials import TrialRef


def anchors_of(analysis: Analysis) -> dict[str, int]:
    """Arm -> number of the list of its trials."""
    return {arm.name: number for number, arm in enumerate(analysis.arms, start=1)}


def command_for(trial: TrialRef, store: str) -> str:
    """What to type to see which configuration and inputs a trial has."""
    return shlex.join(["medsweep", "why", trial.shown, "--store", store]) if trial.digest else ""


def trials_section(analysis: Analysis, context: ReportContext) -> Section:
    """Every arm with its trials."""
    lines = {arm.name: [] for arm in analysis.arms}  # type: dict[str, list[TrialLine]]
    for one in analysis.trials:
        command = command_for(one, context.store)
        run_id = one.run_id if one.digest else ""
        lines[one.arm].append(TrialLine(one.fold, one.seed, one.outcome, one.shown, run_id, command))
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
