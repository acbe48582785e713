"""The synthesise stage: one pool of image-mask pairs from the generators of a fold, in an order that never changes.

Sample i depends on the seed and i alone, so a pool of 50 is the head of a pool of 500: batches have a fixed size and
fixed borders, and the samples of the last one that nobody asked for are dropped.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from medsweep.data.fitted_on import require_within, write_fitted_on
from medsweep.data.folds import unused_patients
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.identity import derive_seed
from medsweep.trainers.generators import Sampling, training_rows
from medsweep.trainers.synthesis.config import COMPARED, SHOWN, SLICE_RANGE, SynthesiseConfig
from medsweep.trainers.synthesis.mask_cleaner import MaskCleaner
from medsweep.trainers.synthesis.pipelines import PIPELINES, load_generators
from medsweep.trainers.synthesis.real_masks import RealMasks
from medsweep.trainers.synthesis.recipe import BATCH, Recipe
from medsweep.trainers.training.pictures import grid_png
from medsweep.trial import DivergedError, Progress, Trial


def run(config: SynthesiseConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Write a ``medsweep.trainers.pool.Pool`` and a grid of its first pairs to ``trial.output``.

    Inputs: ``prepare``, and the generators of the pipeline by role.

    Raises:
        UserError: a generator was fitted to other slices or patients than the fold's training slices, or masks of
            held-out patients are asked for and there are none.
        DivergedError: an image is not finite.
    """
    torch.set_num_threads(trial.threads)
    pipeline = PIPELINES[config.pipeline]
    slices = SliceSet.open(inputs["prepare"])
    patients, rows = training_rows(slices, config.fold)
    per_patient = slices.slices_per_patient(patients)
    total = config.count * (per_patient if config.unit == "patients" else 1)
    for role in pipeline.generators:
        require_within(f"{role} generator", inputs[role], patients)
    seed = derive_seed("synthesise", config.fold.index, config.seed)
    cleaner = MaskCleaner(config.postprocess, config.min_area_px, len(slices.classes))
    borrowed, painted_rows = painted(config, slices, rows)
    recipe = Recipe(
        generators=load_generators(
            pipeline, inputs, slices, trial.device, Sampling(steps=config.steps, guidance=config.guidance)
        ),
        real_masks=RealMasks(slices, painted_rows, seed, config.perturb),
        seed=seed,
        truncation=config.truncation,
        clean=cleaner.clean,
    )
    shape = (total, len(slices.modalities), slices.resolution, slices.resolution)
    images = open_memmap(trial.output / "images.npy", mode="w+", dtype=np.float32, shape=shape)
    masks = open_memmap(trial.output / "masks.npy", mode="w+", dtype=np.uint8, shape=(total, *shape[2:]))
    for first in range(0, total, BATCH):
        batch, last = pipeline.make(recipe, first), min(first + BATCH, total)
        if not np.isfinite(batch.images).all():
            raise DivergedError(f"{config.pipeline} gave NaN or infinity among samples {first} to {last - 1}")
        images[first:last] = np.clip(batch.images, -SLICE_RANGE, SLICE_RANGE)[: last - first]
        masks[first:last] = batch.labels[: last - first]
        if batch.raw is not None:
            cleaner.record(first, batch.raw[: last - first])
        if last < total:
            yield Progress(step=last, total=total)
    images.flush()
    masks.flush()
    if pipeline.paints_real_masks:
        sources = np.array([recipe.real_masks.row(index) for index in range(total)], np.int64)
        np.save(trial.output / "rows.npy", sources, allow_pickle=False)
    spread = rows[np.linspace(0, len(rows) - 1, min(len(rows), COMPARED)).astype(np.int64)]
    metrics = cleaner.write(trial.output, np.asarray(slices.masks[spread]))
    about: dict[str, Any] = {"samples": total, "slices_per_patient": per_patient, "postprocess": cleaner.changes}
    if not config.perturb.changes_nothing:
        about["perturb"] = recipe.real_masks.effect(masks)
    (trial.output / "pool.json").write_text(json.dumps(about, indent=2, sort_keys=True) + "\n")
    write_fitted_on(trial.output, (*patients, *borrowed))
    grid = grid_png(trial.output / "grid.png", images[:SHOWN], masks[:SHOWN], columns=4)
    yield Progress(step=total, total=total, metrics=metrics, pictures={"grid": grid})


def painted(
    config: SynthesiseConfig, slices: SliceSet, training: NDArray[np.int64]
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The patients borrowed for their masks, and the rows of the real masks to be painted.

    Raises:
        UserError: nobody is left out of the training group, or none of their slices shows a class.
    """
    if config.masks == "training":
        return (), training
    borrowed = unused_patients("masks: held-out", slices.patients, config.fold)
    rows = slices.rows(borrowed, foreground_only=True)
    if len(rows) == 0:
        raise UserError(
            f"none of the {len(borrowed)} training patients left out, from {borrowed[0]!r} on, has a slice with "
            "foreground to paint; lower data.patients"
        )
    return borrowed, rows
