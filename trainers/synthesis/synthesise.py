"""The synthesise stage: one pool of image-mask pairs from the generators of a fold, in an order that never changes.

Sample i depends on the seed and i alone, so a pool of 50 is the head of a pool of 500: batches have a fixed size and
fixed borders, and the samples of the last one that nobody asked for are dropped.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from pydantic import Field, model_validator

from medsweep.config import EXTENT, LATER, Config
from medsweep.data.fitted_on import require_within, write_fitted_on
from medsweep.data.folds import Fold, unused_patients, with_all_patients
from medsweep.data.slices import SliceSet
from medsweep.data.stage_config import FittedConfig
from medsweep.errors import UserError
from medsweep.identity import derive_seed
from medsweep.trainers.generators import Sampling, training_rows
from medsweep.trainers.measures.mask_validity import change_counts, postprocess, summary, valid_share, validity
from medsweep.trainers.synthesis.pipelines import PIPELINES, PipelineName, load_generators
from medsweep.trainers.synthesis.real_masks import Perturbation, RealMasks
from medsweep.trainers.synthesis.recipe import BATCH, Recipe
from medsweep.trainers.training.pictures import grid_png
from medsweep.trial import DivergedError, Progress, Trial

SHOWN = 16
SLICE_RANGE = 5.0
"""Prepared slices lie within +-5; generated ones are clipped to the same range."""

SLICES_PER_PATIENT = 30
SECONDS_PER_SLICE = 0.5
"""For one generator of the default width at 256 px on one CPU core."""

GPU_SECONDS_PER_SLICE = 0.02
"""With a GPU most of it is what the CPU does to masks; a guess until ``benchmarks/gpu.py`` measures it."""

STEP_PASSES = 1.2
"""What a step of a diffusion model costs, in slices of one that draws at once, with all that is done to masks."""

COMPARED = 512
"""Real masks, evenly spread, that generated ones are compared with."""

Step = Literal["largest-component", "fill-holes", "min-area"]


class SynthesiseSettings(Config):
    """The ``synthesise:`` section of a sweep, without the counts, which belong to its arms."""

    truncation: float = Field(default=1.0, ge=0, le=1)
    """How far latents keep from their mean (psi); 1 keeps the whole variety, 0 leaves one picture. Diffusion has
    none."""
    steps: Annotated[int, Field(ge=2), LATER] = 25
    """Diffusion: steps from noise to a sample, each of which asks the network twice."""
    guidance: Annotated[float, Field(ge=0), LATER] = 1.0
    """C-DM: how much more the mask weighs than it did in training (classifier-free guidance); 1 leaves it as it was, 0
    hides the mask. Any other value asks the network twice as often."""
    postprocess: tuple[Step, ...] = ()
    """What is done to generated masks, in this order, before a generator of images or the U-Net sees
    them."""
    min_area_px: int = Field(default=10, ge=1)
    """Components below this many pixels are what ``min-area`` takes away."""
    masks: Literal["training", "held-out"] = "training"
    """Whose real masks are painted by C-SG, C-SPADE and C-DM: those of the training patients, or of those that
    ``data.patients`` leaves out, whom no generator has seen."""
    perturb: Perturbation = Perturbation()
    """What is done to these masks before they are painted."""


class SynthesiseConfig(SynthesiseSettings, FittedConfig):
    """One pool."""

    count: Annotated[int, Field(ge=1), EXTENT]
    unit: Literal["slices", "patients"]
    """What ``count`` counts; a synthetic patient has as many slices as a training patient on average."""
    pipeline: PipelineName
    """Which generators make pairs, or masks and then images for them, or images for real masks."""
    resolution: int = Field(ge=8)
    """Side of a slice in pixels."""

    @model_validator(mode="after")
    def _real_masks_can_be_had(self) -> "SynthesiseConfig":
        if not PIPELINES[self.pipeline].paints_real_masks and (
            self.masks != "training" or not self.perturb.changes_nothing
        ):
            painters = ", ".join(name for name, pipeline in PIPELINES.items() if pipeline.paints_real_masks)
            raise ValueError(
                f"masks and perturb are read by pipelines of real masks alone ({painters}), not by {self.pipeline}; "
                "remove them"
            )
        if self.masks == "held-out" and self.fold.patients is None:
            raise ValueError(
                "masks: held-out needs training patients that the study leaves out; set data.patients below the "
                "training group"
            )
        return self

    @property
    def borrows(self) -> Fold | None:
        """All training patients, for masks of those whom the study leaves out."""
        return with_all_patients(self.fold) if self.masks == "held-out" else None

    @property
    def label(self) -> str:
        return self.pipeline

    @property
    def side_px(self) -> int:
        return self.resolution


def sampling_fields(settings: SynthesiseSettings, pipeline: PipelineName) -> dict[str, Any]:
    """All fields, neutral where ``pipeline`` does not read them.

    A pipeline that paints real masks has no generated masks to clean, the others have no real ones. Latents are drawn
    towards their mean by generators that do not work in steps.
    """
    neutral, made_by = SynthesiseSettings(), PIPELINES[pipeline]
    paints_real_masks = made_by.paints_real_masks
    generated = neutral if paints_real_masks else settings
    real = settings if paints_real_masks else neutral
    cut = generated if "min-area" in generated.postprocess else neutral
    cleaning = {"postprocess": generated.postprocess, "min_area_px": cut.min_area_px}
    drawing = {
        "truncation": (settings if made_by.truncated else neutral).truncation,
        "steps": (settings if made_by.stepwise else neutral).steps,
        "guidance": (settings if made_by.guided else neutral).guidance,
    }
    return cleaning | drawing | {"masks": real.masks, "perturb": real.perturb}


def hours(config: SynthesiseConfig) -> float:
    """Hours of one CPU core, a rough guess by resolution that does not know the width of the generators."""
    return _seconds(config, SECONDS_PER_SLICE) / 3600


def gpu_hours(config: SynthesiseConfig) -> float:
    """Hours on one GPU, as rough a guess."""
    return _seconds(config, GPU_SECONDS_PER_SLICE) / 3600


def _seconds(config: SynthesiseConfig, per_slice: float) -> float:
    slices = config.count * (SLICES_PER_PATIENT if config.unit == "patients" else 1)
    in_steps = STEP_PASSES * config.steps * (1 if config.guidance == 1 else 2)
    families = [family for family, _ in PIPELINES[config.pipeline].generators.values()]
    passes = sum(in_steps if family.stepwise else 1.0 for family in families)
    return slices * per_slice * (config.resolution / 256) ** 2 * passes


def probe(config: SynthesiseConfig) -> SynthesiseConfig:
    """One batch of the same generators; what is done to masks takes no memory of the GPU."""
    neutral = dict(SynthesiseSettings())
    return SynthesiseConfig(**dict(config) | neutral | {"count": BATCH, "unit": "slices", "seed": 0})


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


class MaskCleaner:
    """Applies the declared steps to generated masks, measures the masks before, and counts what the steps change."""

    def __init__(self, steps: Sequence[str], min_area_px: int, classes: int) -> None:
        self._steps, self._min_area_px, self._classes = steps, min_area_px, classes
        self._frames: list[pd.DataFrame] = []
        self._last_pixels: dict[str, NDArray[np.int64]] = {}
        self._pixels: dict[str, list[NDArray[np.int64]]] = {}

    @property
    def changes(self) -> dict[str, dict[str, int]]:
        """Samples and pixels that each step changed."""
        return {step: change_counts(np.concatenate(pixels)) for step, pixels in self._pixels.items()}

    def clean(self, labels_NRR: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Masks after the steps."""
        labels_NRR, self._last_pixels = postprocess(labels_NRR, self._steps, self._classes, self._min_area_px)
        return labels_NRR

    def record(self, first: int, raw_NRR: NDArray[np.uint8]) -> None:
        """Measure the masks last cleaned, from sample ``first`` on, as they were, and count what the steps changed."""
        frame = validity(raw_NRR, self._classes)
        self._frames.append(frame.assign(sample=frame["sample"] + first))
        for step, pixels_N in self._last_pixels.items():
            # a pool can end inside a batch, whose other samples are not recorded
            self._pixels.setdefault(step, []).append(pixels_N[: len(raw_NRR)])

    def write(self, folder: Path, real_NRR: NDArray[np.uint8]) -> dict[str, float]:
        """Write validity.parquet and validity.json; returns the latter, empty where masks are real."""
        if not self._frames:
            return {}
        frame = pd.concat(self._frames, ignore_index=True)
        frame.to_parquet(folder / "validity.parquet", index=False)
        metrics = {name: value for name, value in summary(frame, self._classes).items() if math.isfinite(value)}
        metrics["valid_share"] = valid_share(frame, validity(real_NRR, self._classes))
        (folder / "validity.json").write_text(json.dumps(metrics, indent=2, sort_keys=True) + "\n")
        return metrics
