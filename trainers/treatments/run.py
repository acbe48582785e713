"""The treat stage: a pool in, the same pool with its images or masks changed by a list of treatments out.

A list that begins with real slices can make a pool of them alone, without one that goes in.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medsweep.data.folds import split
from medsweep.data.provenance import fitted_on, require_unseen, write_fitted_on
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.identity import derive_seed
from medsweep.trainers.pool import Pool
from medsweep.trainers.training.pictures import grid_png
from medsweep.trainers.treatments.config import (
    CorruptLabels,
    OnImages,
    Source,
    Spoiling,
    TreatConfig,
    Treatment,
    needs_pool,
)
from medsweep.trainers.treatments.image import treat_images
from medsweep.trainers.treatments.labels import Flags, boundary_shift, class_indices, treat_masks
from medsweep.trainers.treatments.sets import Material, patients_of, real_slices
from medsweep.trainers.treatments.statistics import Images, Masks
from medsweep.trial import Progress, Trial

SHOWN_SAMPLES = 16

Pairs = tuple[Images, Masks]


def run(config: TreatConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Stage function. Inputs: ``prepare``, ``pool`` where ``needs_pool``, and ``reference`` where ``needs_reference``.

    Leaves a pool, grid.png, treat.json with what each treatment changed, and fitted_on.json with the patients of the
    input pool and of the reference, the fold's training patients, whom treatments may measure, and those whose slices
    replace the pool. The pool says which samples were spoiled once a treatment changed the masks of a share alone.

    Raises:
        UserError: an input has seen a test patient of the fold, the pool is missing or does not fit the prepared
            slices, the count does not fit the inputs, or a treatment does not fit the data.
    """
    torch.set_num_threads(trial.threads)
    data = SliceSet.open(inputs["prepare"])
    material = _material(config, data, inputs, trial.device)
    pool = material.pool
    pairs: Pairs | None = None if pool is None else (np.array(pool.images), np.array(pool.masks))
    # real slices that replace the pool are whole, whatever was spoiled before
    replaced = bool(config.treatments) and isinstance(config.treatments[0], Source)
    spoiled = None if pool is None or replaced else pool.spoiled
    told: list[dict[str, Any]] = []
    total = len(config.treatments) + 1
    for place, treatment in enumerate(config.treatments):
        before = pairs
        pairs = treat(treatment, before, material, derive_seed("treat", config.fold.index, config.seed, place))
        told.append({"kind": treatment.kind} | _told(treatment, before, pairs, material))
        spoiled = _spoiled(treatment, before, pairs, spoiled)
        yield Progress(step=place + 1, total=total)
    images, masks = _given(pairs)
    each = data.slices_per_patient(material.train) if pool is None else pool.slices_per_patient
    Pool(images=images, masks=masks, slices_per_patient=each, spoiled=spoiled).save(trial.output)
    write_fitted_on(trial.output, sorted(_seen(config, inputs, material)))
    (trial.output / "treat.json").write_text(json.dumps(told, indent=2, sort_keys=True) + "\n")
    grid = grid_png(trial.output / "grid.png", images[:SHOWN_SAMPLES], masks[:SHOWN_SAMPLES], columns=4)
    yield Progress(step=total, total=total, metrics=_metrics(told), pictures={"grid": grid})


def _material(config: TreatConfig, data: SliceSet, inputs: Mapping[str, Path], device: str) -> Material:
    pool = Pool.open(inputs["pool"]) if "pool" in inputs else None
    parts = split(data.patients, config.fold)
    for role in sorted(inputs):
        require_unseen(inputs[role], (*parts.test, *parts.validation))
    if pool is None:
        size = _size_without_pool(config, data.slices_per_patient(parts.train))
    else:
        size = len(pool)
        _require_prepared_shape(pool, data, inputs["pool"])
        if config.count:
            raise UserError(
                f"treat has a count of {config.count} and the pool in {inputs['pool']}, which has {size} samples of "
                "its own; leave count at 0"
            )
    return Material(data, config.fold, parts.train, pool, size, inputs.get("reference"), device)


def _size_without_pool(config: TreatConfig, slices_per_patient: int) -> int:
    if needs_pool(config):
        kinds = [treatment.kind for treatment in config.treatments]
        raise UserError(
            f"the treatments {kinds} read a pool, and the trial has no input 'pool'; begin with real slices "
            "(duplicate-real, fresh-real or k-unique-real), and imitate no pool"
        )
    if config.count == 0:
        raise UserError(
            f"treat has no input 'pool' and a count of 0, so {config.treatments[0].kind} does not know how many "
            "samples to take; give count: 1 or more"
        )
    return config.count * (slices_per_patient if config.unit == "patients" else 1)


def treat(treatment: Treatment, pairs: Pairs | None, material: Material, seed: int) -> Pairs:
    """Images float32 (n, C, R, R) and masks uint8 (n, R, R) after one treatment; ``pairs`` is left as it was.

    Only real slices can begin without ``pairs``.
    """
    if isinstance(treatment, Source):
        return real_slices(material.data, patients_of(treatment, material.data, material.fold), material.size, seed)
    images, masks = _given(pairs)
    if isinstance(treatment, OnImages):
        return treat_images(treatment, images, masks, material, seed), masks
    return images, treat_masks(treatment, images, masks, material, seed)


def _given(pairs: Pairs | None) -> Pairs:
    if pairs is None:
        raise RuntimeError("a list of treatments without real slices was begun without a pool")
    return pairs


def _told(treatment: Treatment, before: Pairs | None, after: Pairs, material: Material) -> dict[str, float]:
    """``changes``, where there was something to change, and what is told of some kinds beside."""
    told: dict[str, float] = {"samples": len(after[1])} if before is None else changes(before, after)
    if isinstance(treatment, Source):
        patients = patients_of(treatment, material.data, material.fold)
        rows = material.data.rows(patients, foreground_only=True)
        told |= {"patients": len(patients), "slices": len(rows)}
    if isinstance(treatment, CorruptLabels):
        moved = class_indices(treatment.classes, material.data.classes)
        told |= boundary_shift(_given(before)[1], after[1], moved)
    return told


def _spoiled(treatment: Treatment, before: Pairs | None, after: Pairs, flags_n: Flags | None) -> Flags | None:
    """``flags_n`` and the samples whose mask ``treatment`` changed, where it changes a share of them."""
    if not isinstance(treatment, Spoiling) or treatment.share == 1:
        return flags_n
    changed_n: Flags = (_given(before)[1] != after[1]).any(axis=(1, 2))
    return changed_n if flags_n is None else flags_n | changed_n


def _seen(config: TreatConfig, inputs: Mapping[str, Path], material: Material) -> set[str]:
    patients = set(material.train).union(*(fitted_on(inputs[role]) for role in inputs if role != "prepare"))
    for treatment in config.treatments:
        if isinstance(treatment, Source):
            patients |= set(patients_of(treatment, material.data, material.fold))
    return patients


def changes(before: Pairs, after: Pairs) -> dict[str, float]:
    """Samples whose image or mask changed, mean absolute change of images, and share of mask pixels that changed."""
    gap_n = np.array([np.abs(new - old).mean() for old, new in zip(before[0], after[0], strict=True)])
    moved_n = (before[1] != after[1]).mean(axis=(1, 2))
    return {
        "samples": int(((gap_n > 0) | (moved_n > 0)).sum()),
        "image_change": float(gap_n.mean()),
        "mask_change": float(moved_n.mean()),
    }


def _metrics(told: list[dict[str, Any]]) -> dict[str, float]:
    return {
        f"{place}-{step['kind']}/{name}": float(value)
        for place, step in enumerate(told)
        for name, value in step.items()
        if name != "kind"
    }


def _require_prepared_shape(pool: Pool, data: SliceSet, folder: Path) -> None:
    if pool.images.shape[1:] != data.images.shape[1:]:
        raise UserError(
            f"the pool in {folder} holds images of shape {pool.images.shape[1:]}, the prepared slices are "
            f"{data.images.shape[1:]}; build the pool from the same prepared data"
        )
