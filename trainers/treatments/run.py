"""The treat stage: changes the images or masks of a pool by a list of treatments.

A list that begins with real slices makes a pool of them alone, and then needs no input pool.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medsweep.data.fitted_on import read_fitted_on, require_unseen, write_fitted_on
from medsweep.data.folds import split
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.identity import derive_seed
from medsweep.trainers.pool import Pool
from medsweep.trainers.training.pictures import grid_png
from medsweep.trainers.treatments.base import Pairs, TreatmentContext
from medsweep.trainers.treatments.config import KINDS, TreatConfig
from medsweep.trainers.treatments.real_slices import RealSlices
from medsweep.trial import Progress, Trial

SHOWN_SAMPLES = 16


def run(config: TreatConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Stage function. Inputs: ``prepare``, and ``pool``, ``reference`` and ``law`` (an assess trial) where the settings
    need them.

    Leaves a pool, grid.png, treat.json with what each treatment changed, and fitted_on.json with the patients of the
    inputs, the fold's training patients, whom treatments may measure, and those whose slices get into the pool. The
    pool says which samples were spoiled once a treatment changed the masks of a share alone.

    Raises:
        UserError: an input has seen a test patient of the fold, the pool is missing or does not fit the prepared
            slices, the count does not fit the inputs, or a treatment does not fit the data.
        PoolDryError: a treatment reached too few samples.
    """
    torch.set_num_threads(trial.threads)
    context = _context(config, inputs, trial.device)
    data, pool = context.data, context.pool
    if pool is None:
        pairs = Pairs(np.array(data.images[:0], np.float32), np.array(data.masks[:0]))
    else:
        pairs = Pairs(np.array(pool.images), np.array(pool.masks), pool.rows)
    # real slices that replace the pool are whole, whatever was spoiled before
    spoiled_n = None if pool is None or config.replaces_pool else pool.spoiled
    report: list[dict[str, Any]] = []
    total = len(config.treatments) + 1
    for place, treatment in enumerate(config.treatments):
        before, seed = pairs, derive_seed("treat", config.fold.index, config.seed, place)
        pairs = treatment.apply(before, context, seed)
        report.append({"kind": treatment.kind, **treatment.effect(before, pairs, context)})
        if treatment.spoils_a_share:
            changed_n = (before.masks != pairs.masks).any(axis=(1, 2))
            spoiled_n = changed_n if spoiled_n is None else spoiled_n | changed_n
        yield Progress(step=place + 1, total=total)
    per_patient = data.slices_per_patient(context.train) if pool is None else pool.slices_per_patient
    Pool(pairs.images, pairs.masks, per_patient, spoiled_n, pairs.rows).save(trial.output)
    write_fitted_on(trial.output, sorted(_seen(config, inputs, context)))
    (trial.output / "treat.json").write_text(json.dumps(report, indent=2, sort_keys=True) + "\n")
    head = (pairs.images[:SHOWN_SAMPLES], pairs.masks[:SHOWN_SAMPLES])
    grid = grid_png(trial.output / "grid.png", *head, columns=4)
    yield Progress(step=total, total=total, metrics=_metrics(report), pictures={"grid": grid})


def _context(config: TreatConfig, inputs: Mapping[str, Path], device: str) -> TreatmentContext:
    data = SliceSet.open(inputs["prepare"])
    patients = split(data.patients, config.fold)
    for role in sorted(inputs):
        require_unseen(inputs[role], (*patients.test, *patients.validation))
    if "pool" not in inputs:
        pool, size = None, _size_without_pool(config, data.slices_per_patient(patients.train))
    else:
        pool = Pool.open(inputs["pool"], data.images.shape[1:])
        size = len(pool)
        if config.count:
            raise UserError(
                f"treat has a count of {config.count} and the pool in {inputs['pool']}, which has {size} samples of "
                "its own; leave count at 0"
            )
    return TreatmentContext(
        data,
        config.fold,
        patients.train,
        pool,
        size,
        reference=inputs.get("reference"),
        device=device,
        seed=config.seed,
        law=inputs.get("law"),
    )


def _size_without_pool(config: TreatConfig, slices_per_patient: int) -> int:
    if config.needs_pool:
        kinds = [treatment.kind for treatment in config.treatments]
        replacing = ", ".join(kind for kind, model in KINDS.items() if issubclass(model, RealSlices))
        raise UserError(
            f"the treatments {kinds} read a pool, and the trial has no input 'pool'; begin with real slices "
            f"({replacing}), and imitate no pool"
        )
    if config.count == 0:
        raise UserError(
            f"treat has no input 'pool' and a count of 0, so {config.treatments[0].kind} does not know how many "
            "samples to take; give count: 1 or more"
        )
    return config.count * (slices_per_patient if config.unit == "patients" else 1)


def _seen(config: TreatConfig, inputs: Mapping[str, Path], context: TreatmentContext) -> set[str]:
    patients = set(context.train).union(*(read_fitted_on(inputs[role]) for role in inputs if role != "prepare"))
    for treatment in config.treatments:
        patients.update(treatment.drawn_patients(context))
    return patients


def _metrics(report: list[dict[str, Any]]) -> dict[str, float]:
    return {
        f"{place}-{step['kind']}/{name}": float(value)
        for place, step in enumerate(report)
        for name, value in step.items()
        if name != "kind"
    }
