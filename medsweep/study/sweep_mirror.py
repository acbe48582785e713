"""Writes the offline W&B runs of a sweep, and tells nothing anew where all that they are made from is as it was."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medsweep.data.source import dataset_name
from medsweep.execution.driver import Failure
from medsweep.files import sha256_of
from medsweep.store.manifest import DamagedError
from medsweep.store.store import Store
from medsweep.study.made_report import code
from medsweep.study.mirror import mirrored_runs
from medsweep.study.report_run import files_of, report_run
from medsweep.study.stages import Settings, StudySweep
from medsweep.sweep.plan import Plan
from medsweep.tracking.mirror import Built, Mirror


def mirror_sweep(
    mirror: Mirror,
    sweep: StudySweep,
    plan: Plan[Settings],
    store: Store,
    failures: Sequence[Failure],
    *,
    results: Path | None,
) -> Built:
    """Write a run for every trial of ``plan`` that has ended; with ``results`` also that of the sweep itself."""
    dataset = dataset_name(sweep.base.data)
    made_from = told_from(plan, dataset, store, failures)
    of_report = None if results is None else with_report(made_from, results)
    kept = mirror.kept("trial", made_from)
    if kept is not None and (results is None or mirror.kept("report", of_report) is not None):
        return kept
    told = mirrored_runs(plan, dataset, store, failures)
    built = mirror.build(told.runs, "trial", None if told.unreadable else made_from)
    failed = {**built.failed, **told.unreadable}
    about = None if results is None else report_run(sweep.name, results, told.runs, plan.patients)
    if about is not None:
        also = mirror.build([about], "report", of_report)
        built = replace(also, written=built.written + also.written)
        failed |= also.failed
    return replace(built, failed=failed)


def told_from(plan: Plan[Settings], dataset: str, store: Store, failures: Sequence[Failure]) -> str | None:
    """Digest of all that is told of the trials of a plan that have ended: the code, the plan, and their manifests.

    None where a manifest is damaged, or where a trial failed without being published: its folder may change.
    """
    published = store.look((trial.stage, digest) for digest, trial in plan.trials.items())
    if any(isinstance(manifest, DamagedError) for manifest in published.values()):
        return None
    if any(failure.trial.digest not in published for failure in failures):
        return None
    told = {
        "code": code(),
        "dataset": dataset,
        "sweep": plan.sweep,
        "patients": plan.patients,
        "arms": [(arm.name, arm.settings.model_dump_json(), arm.is_control) for arm in plan.arms],
        "leaves": [(arm, at.cut.model_dump_json(), at.seed, leaf) for (arm, at), leaf in plan.leaves.items()],
        "trials": [
            (digest, trial.stage, trial.config.model_dump_json(), trial.seed, dict(trial.inputs))
            for digest, trial in plan.trials.items()
        ],
        "extras": sorted(plan.extras),
        "published": {digest: vars(manifest) for digest, manifest in published.items()},
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def with_report(trials: str | None, results: Path) -> str | None:
    """The same for the run of the sweep itself: also of what lies in the folder of its report."""
    if trials is None:
        return None
    files = {path.relative_to(results).as_posix(): sha256_of(path) for path in files_of(results)}
    return hashlib.sha256(json.dumps([trials, files], sort_keys=True).encode()).hexdigest()
