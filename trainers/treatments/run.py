"""The treat stage: a pool in, the same pool with its images or masks changed by a list of treatments out."""

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
from medsweep.trial import Progress, Trial
from trainers.pictures import grid_png
from trainers.pool import Pool
from trainers.treatments.config import CorruptLabels, OnImages, Source, TreatConfig, Treatment
from trainers.treatments.image import treat_images
from trainers.treatments.labels import boundary_shift, class_indices, treat_masks
from trainers.treatments.sets import Material, patients_of, real_slices
from trainers.treatments.statistics import Images, Masks

SHOWN_SAMPLES = 16

Pairs = tuple[Images, Masks]


def run(config: TreatConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Stage function. Inputs: ``prepare``, ``pool``, and ``reference`` where ``needs_reference``.

    Leaves a pool, grid.png, treat.json with what each treatment changed, and fitted_on.json with the patients of the
    input pool and of the reference, the fold's training patients, whom treatments may measure, and those whose slices
    replace the pool.

    Raises:
        UserError: an input has seen a test patient of the fold, the pool does not fit the prepared slices, or a
            treatment does not fit the data.
    """
    torch.set_num_threads(trial.threads)
    data, pool = SliceSet.open(inputs["prepare"]), Pool.open(inputs["pool"])
    parts = split(data.patients, config.fold)
    for role in sorted(inputs):
        require_unseen(inputs[role], (*parts.test, *parts.validation))
    _require_prepared_shape(pool, data, inputs["pool"])
    material = Material(data, config.fold, parts.train, pool, inputs.get("reference"), trial.device)
    pairs: Pairs = np.array(pool.images), np.array(pool.masks)
    told: list[dict[str, Any]] = []
    total = len(config.treatments) + 1
    for place, treatment in enumerate(config.treatments):
        before = pairs
        pairs = treat(treatment, before, material, derive_seed("treat", config.fold.index, config.seed, place))
        told.append(
            {"kind": treatment.kind} | changes(before, pairs) | _particulars(treatment, before, pairs, material)
        )
        yield Progress(step=place + 1, total=total)
    images, masks = pairs
    Pool(images=images, masks=masks, slices_per_patient=pool.slices_per_patient).save(trial.output)
    write_fitted_on(trial.output, sorted(_seen(config, inputs, material)))
    (trial.output / "treat.json").write_text(json.dumps(told, indent=2, sort_keys=True) + "\n")
    grid = grid_png(trial.output / "grid.png", images[:SHOWN_SAMPLES], masks[:SHOWN_SAMPLES], columns=4)
    yield Progress(step=total, total=total, metrics=_metrics(told), pictures={"grid": grid})


def treat(treatment: Treatment, pairs: Pairs, material: Material, seed: int) -> Pairs:
    """Images float32 (n, C, R, R) and masks uint8 (n, R, R) after one treatment; ``pairs`` is left as it was."""
    images, masks = pairs
    if isinstance(treatment, Source):
        return real_slices(material.data, patients_of(treatment, material.data, material.fold), len(masks), seed)
    if isinstance(treatment, OnImages):
        return treat_images(treatment, images, masks, material, seed), masks
    return images, treat_masks(treatment, images, masks, material, seed)


def _particulars(treatment: Treatment, before: Pairs, after: Pairs, material: Material) -> dict[str, float]:
    """What is told of some kinds beside ``changes``."""
    if isinstance(treatment, Source):
        patients = patients_of(treatment, material.data, material.fold)
        return {"patients": len(patients), "slices": len(material.data.rows(patients, foreground_only=True))}
    if isinstance(treatment, CorruptLabels):
        return boundary_shift(before[1], after[1], class_indices(treatment.classes, material.data.classes))
    return {}


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
