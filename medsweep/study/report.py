"""From published trials to tables, statistics, pictures and the report."""

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from medsweep.analysis.report.across import write_across
from medsweep.analysis.report.page import Format, write_report
from medsweep.analysis.report.topic import MissingTrial, PlanRow, ReportContext, SamplePicture
from medsweep.analysis.stats.sequential import Look
from medsweep.analysis.study.analyse import Analysis, analyse
from medsweep.analysis.study.mechanisms.misfit import NO_SAMPLES
from medsweep.analysis.study.mechanisms.why import WhyAsked
from medsweep.analysis.table.reduction import MissingScoresError
from medsweep.analysis.table.user_table import NO_DIAGNOSIS
from medsweep.data.catalogue import CATALOGUE
from medsweep.data.config import DataConfig
from medsweep.data.folds import Split, patients_of, split
from medsweep.data.slices import SliceSet
from medsweep.data.source import dataset_name, is_made_up
from medsweep.errors import UserError
from medsweep.execution.attempt import package_versions
from medsweep.execution.driver import Failure
from medsweep.execution.plan_tasks import labels_of
from medsweep.identity import short
from medsweep.planning.cost import StageCost
from medsweep.store.location import Location
from medsweep.store.sound import sound_file
from medsweep.store.store import Store
from medsweep.study.arm_infos import arm_infos
from medsweep.study.dead_arms import dead_arms
from medsweep.study.grid_names import kinds_of_pictures
from medsweep.study.patients import of_patients
from medsweep.study.reference_levels import reference_levels
from medsweep.study.samples import sample_table
from medsweep.study.stages import Settings, StudySweep
from medsweep.study.tables import (
    agreement_left_out,
    best_table,
    case_table,
    cut_of,
    diagnosis_table,
    patient_table,
    pool_table,
    profile_curves,
    tidy_table,
)
from medsweep.sweep.plan import Decision, Plan
from medsweep.tracking.mirror import Mirror
from medsweep.trainers.pool import EDGES, SPECTRA, VARIETY
from medsweep.trainers.segmentation.config import Unit
from medsweep.trainers.synthesis.pipelines import FAMILIES
from medsweep.trainers.training.pictures import PALETTE
from medsweep.trial import COMPLETE

Cohort = tuple[SliceSet, list[Split]]
"""The prepared slices, and the folds that networks are trained on."""
ACROSS = "across"
"""Folder beside those of the sweeps for what they say together."""


def make_tables(sweep: StudySweep, plan: Plan[Settings], store: Store) -> dict[str, pd.DataFrame]:
    """Results, patients and pools.

    Beside them ``cases`` where a patient has several, ``results_best`` where networks looked for the weights that
    validation liked, and ``diagnosis`` where they were diagnosed.
    """
    dataset = dataset_name(sweep.base.data)
    cases = case_table(plan, store, dataset)
    results = of_patients(cases)
    tables = {"results": results, "patients": patient_table(results), "pools": pool_table(plan, store)}
    more = {
        "cases": cases if len(cases) > len(results) else cases.head(0),
        "results_best": best_table(plan, store, dataset),
        "diagnosis": diagnosis_table(plan, store),
    }
    return tables | {name: table for name, table in more.items() if not table.empty}


def results_table(sweep: StudySweep, plan: Plan[Settings], store: Store) -> pd.DataFrame:
    """The tidy table of all scores."""
    return tidy_table(plan, store, dataset_name(sweep.base.data))


def make_report(
    sweep: StudySweep,
    plan: Plan[Settings],
    store: Store,
    tables: Mapping[str, pd.DataFrame],
    folder: Path,
    *,
    stage_costs: Sequence[StageCost],
    ran: Mapping[str, int],
    decisions: Mapping[str, Decision],
    failures: Sequence[Failure],
    command: str,
    limits: Sequence[str] = (),
    look: Look | None = None,
    formats: Sequence[Format] = ("html",),
) -> tuple[Analysis, Path]:
    """Run the statistics and write the report, analysis.json, figures and their data into ``folder``.

    Arms without a network are named, and the others compared.

    Raises:
        UserError: the control has no network, or no other arm has one; or some scores are missing and the sweep
            declares no rule for that.
    """
    dead = dead_arms(plan, decisions, failures, complete_cases=sweep.analysis.missing == "complete-cases")
    cohort = _cohort(plan, store)
    try:
        analysis = analyse(
            tables["results"],
            tables["pools"],
            sweep.analysis,
            arms=arm_infos(plan.arms),
            n_real=cohort and _real_training_size(*cohort, sweep.base.synthesise.unit),
            test_over_train=test_over_train(plan, store),
            dead=dead,
            look=look,
            why=_asked(sweep, plan, store, tables),
        )
    except MissingScoresError as error:
        raise UserError(f"{error} (`analysis:` in the sweep); medsweep run tries these trials again") from None
    context = replace(
        _context(sweep, plan, store, cohort),
        plan=tuple(_plan_row(cost, ran.get(cost.stage, 0)) for cost in stage_costs),
        failures=tuple(
            MissingTrial(f"{lost.trial.stage} {lost.label} ({short(lost.trial.digest)})", lost.outcome, lost.message)
            for lost in failures
        ),
        command=command,
        limits=tuple(limits),
    )
    return analysis, write_report(folder, analysis, context, formats=formats)


def _asked(sweep: StudySweep, plan: Plan[Settings], store: Store, tables: Mapping[str, pd.DataFrame]) -> WhyAsked:
    """The sections of the sweep that ask why, with what the store has for them."""
    section = sweep.file.accumulation
    return WhyAsked(
        sweep.file.mechanism,
        sweep.file.texture,
        section,
        levels={} if sweep.file.mechanism else reference_levels(plan.arms),
        diagnosis=tables.get("diagnosis", NO_DIAGNOSIS),
        samples=NO_SAMPLES if section is None else sample_table(plan, store, section),
    )


def _context(sweep: StudySweep, plan: Plan[Settings], store: Store, cohort: Cohort | None) -> ReportContext:
    """What the report takes from the store beside the scores."""
    legend = _legend(cohort[0]) if cohort else ()
    runs = frozenset(Mirror(store.root, sweep.name).runs("trial"))
    return ReportContext(
        sweep=sweep.name,
        question=sweep.file.question,
        dataset=_dataset_line(sweep.base.data, cohort),
        grids=tuple(_grids(plan, store, legend)),
        overlays=_overlays(plan, store, legend),
        classes=tuple(name for name, _ in legend),
        spectra=_spectra(plan, store),
        edges=profile_curves(plan, store, EDGES),
        variety=profile_curves(plan, store, VARIETY),
        agreement=agreement_left_out(plan, store),
        store=str(store),
        wandb_project=sweep.name if runs else "",
        wandb_runs=runs,
        versions=package_versions(),
        created=_now(),
    )


def test_over_train(plan: Plan, store: Store) -> float | None:
    """Patients tested for each one trained on, in the fold with the most, which widens intervals most."""
    cohort = _cohort(plan, store)
    return max(len(patients_of(fold.test)) / len(patients_of(fold.train)) for fold in cohort[1]) if cohort else None


def _plan_row(cost: StageCost, ran: int) -> PlanRow:
    return PlanRow(cost.stage, cost.trials, cost.naive, ran, cost.reuse - ran, cost.hours_each * cost.trials)


def make_across(
    analyses: Sequence[Analysis],
    questions: Sequence[str],
    folder: Path,
    *,
    store: Location,
    command: str,
    formats: Sequence[Format],
) -> Path:
    """Write what several sweeps say together into ``folder``; returns the page.

    Raises:
        UserError: they do not ask the same of different data.
    """
    context = ReportContext(
        sweep="all data sets",
        question=" / ".join(questions),
        dataset=", ".join(analysis.dataset for analysis in analyses),
        command=command,
        store=str(store),
        versions=package_versions(),
        created=_now(),
    )
    return write_across(folder, analyses, context, formats=formats)


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())


def _cohort(plan: Plan, store: Store) -> Cohort | None:
    """The prepared slices and the folds that networks are trained on; None before anything is prepared."""
    digest = next((digest for digest, trial in plan.trials.items() if trial.stage == "prepare"), None)
    if digest is None or store.outcome("prepare", digest) != COMPLETE:
        return None
    slices = SliceSet.open(store.output("prepare", digest))
    folds = {cut_of(trial) for trial in plan.trials.values() if trial.stage == "segment"}
    return slices, [split(slices.patients, fold) for fold in sorted(folds, key=lambda fold: fold.index)]


def _real_training_size(slices: SliceSet, folds: Sequence[Split], unit: Unit) -> float:
    """Mean number of real training patients or slices over the folds."""
    if unit == "patients":
        return float(np.mean([len(patients_of(fold.train)) for fold in folds]))
    return float(np.mean([len(slices.rows(fold.train, foreground_only=True)) for fold in folds]))


def _terms(data: DataConfig) -> str:
    spec = CATALOGUE.get(data.dataset)
    if spec is None or spec.publishable or is_made_up(data):
        return ""
    return f"; the terms of {spec.title} forbid publishing its slices, and samples of generators fitted on it, unasked"


def _dataset_line(data: DataConfig, cohort: Cohort | None) -> str:
    name = dataset_name(data)
    if cohort is None:
        return name
    slices, folds = cohort
    sizes = " or ".join(str(size) for size in sorted({len(patients_of(fold.train)) for fold in folds}))
    people = f"{len(patients_of(slices.patients))} patients"
    if len(slices.patients) > len(patients_of(slices.patients)):
        people += f" with {len(slices.patients)} cases"
    kinds = "modality" if len(slices.modalities) == 1 else "modalities"
    return (
        f"{name}: {people}, {len(slices.index)} slices at {slices.resolution} px, "
        f"{len(slices.modalities)} {kinds} ({', '.join(slices.modalities)}), "
        f"classes {', '.join(slices.classes[1:])}; {sizes} training patients{_terms(data)}"
    )


def _legend(slices: SliceSet) -> tuple[tuple[str, str], ...]:
    """Each foreground class with its colour in the grids of pairs."""
    colours = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in PALETTE[1:].astype(int).tolist()]
    return tuple(zip(slices.classes[1:], itertools.cycle(colours), strict=False))


def _overlays(plan: Plan, store: Store, legend: tuple[tuple[str, str], ...]) -> dict[str, SamplePicture]:
    """What the networks of every arm and replicate see in their worst patients, by the digest of the scoring trial."""
    pictures = {}
    for (arm, replicate), leaf in plan.leaves.items():
        stage = plan.trials[leaf].stage
        path = store.output(stage, leaf) / "overlay.png"
        if store.outcome(stage, leaf) == COMPLETE and path.is_file():
            title = f"Seen by {arm}, fold {replicate.fold}, seed {replicate.seed}"
            caption = (
                "The test patients with the lowest mean Dice of this network, the worst on top, each by its fullest "
                "slice: image, reference, image, prediction."
            )
            pictures[leaf] = SamplePicture(title, caption, path, legend)
    return pictures


def _grids(plan: Plan, store: Store, legend: tuple[tuple[str, str], ...]) -> list[SamplePicture]:
    """Real pairs once, then the pairs of each kind of pool in the plan's first replicate."""
    grids: list[SamplePicture] = []
    seen: set[str] = set()
    labels, kinds = labels_of(plan), kinds_of_pictures(plan)
    for digest, kind in kinds.items():
        trial = plan.trials[digest]
        if kind in seen or store.outcome(trial.stage, digest) != COMPLETE:
            continue
        seen.add(kind)
        output = store.folder_with(store.manifest(trial.stage, digest), (".png",)) / "output"
        if trial.stage in FAMILIES:
            caption = "Training slices and their masks, on the generators' scale."
            grids.append(SamplePicture(kind, caption, output / "real.png", legend))
        else:
            caption = f"First samples of the pool {labels[digest]} ({short(digest)}), before any filter."
            grids.append(SamplePicture(f"Synthetic pairs: {kind}", caption, output / "grid.png", legend))
    return grids


def _spectra(plan: Plan, store: Store) -> pd.DataFrame | None:
    """Mean radial spectra of the pools of each kind beside those of the real slices; None where none were left behind.

    Columns kind, modality, cycles, real, synthetic; pools assessed by versions that left no spectra are left out.
    """
    frames, kinds = [], kinds_of_pictures(plan)
    for digest, trial in plan.trials.items():
        if trial.stage != "assess" or store.outcome("assess", digest) != COMPLETE:
            continue
        kind, path = kinds.get(trial.inputs["pool"]), sound_file(store, "assess", digest, SPECTRA)
        if kind is not None and path is not None:
            frames.append(pd.read_parquet(path).assign(kind=kind))
    if not frames:
        return None
    curves = pd.concat(frames).groupby(["kind", "modality", "cycles"], sort=False)
    return curves[["real", "synthetic"]].mean().reset_index()
