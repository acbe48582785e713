"""The segment stage: train one U-Net for a fixed number of steps, then score it on the fold's test patients."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medsweep.data.folds import split
from medsweep.data.provenance import require_unseen, write_fitted_on
from medsweep.data.slices import SliceSet
from medsweep.identity import derive_seed
from medsweep.trial import Progress, Trial
from trainers.loop import train
from trainers.segmentation.augment import spatial
from trainers.segmentation.config import SegmentConfig
from trainers.segmentation.evaluate import draw_overlay, evaluate, summary
from trainers.segmentation.network import Architecture, build, save_segmenter
from trainers.segmentation.samples import BatchOrder, Samples, gather


class UNetLearner:
    """Dice plus cross-entropy under AdamW with cosine decay.

    Initial weights, batch order and augmentation depend on fold and seed, never on the arm, so that arms of one
    replicate are paired. All but the weights and the optimiser is a pure function of the step.
    """

    def __init__(self, config: SegmentConfig, samples: Samples, architecture: Architecture) -> None:
        from monai.losses import DiceCELoss

        self._config, self._samples = config, samples
        device = samples.device
        self.model = build(architecture, self._seed("weights")).to(device).train()
        # Dice over the whole batch: slices without foreground have no Dice of their own.
        self._loss = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self._order = BatchOrder(config, samples.real, samples.synthetic)
        self.seen = {"real": 0, "synthetic": 0}

    def step(self, number: int) -> Mapping[str, float]:
        """One step; returns the loss and the learning rate."""
        rate = self._rate(number)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        rows = self._order.batch(number)
        real = int((rows < self._samples.real).sum())
        self.seen = {"real": self.seen["real"] + real, "synthetic": self.seen["synthetic"] + len(rows) - real}
        images, masks = self._samples.batch(rows)
        if self._config.augment != "none":
            draws = torch.Generator().manual_seed(self._seed("augment", number))
            images, masks = spatial(images, masks, draws, flip=self._config.augment == "spatial")
        loss = self._loss(self.model(images), masks[:, None])
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return {"loss": loss.item(), "learning_rate": rate}

    def _rate(self, number: int) -> float:
        """Cosine decay from the peak at the first step towards 0 (Loshchilov and Hutter 2017, one cycle)."""
        return self._config.learning_rate * 0.5 * (1 + math.cos(math.pi * (number - 1) / self._config.steps))

    def _seed(self, purpose: str, *more: int) -> int:
        return derive_seed("segment", purpose, self._config.fold.index, self._config.seed, *more)

    def state(self) -> dict[str, Any]:
        """Weights, normalisation statistics, optimiser and exposure."""
        return {"model": self.model.state_dict(), "optimizer": self._optimizer.state_dict(), "seen": self.seen}

    def load(self, state: dict[str, Any]) -> None:
        """Return to a state that ``state()`` gave."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.seen = dict(state["seen"])

    def pictures(self, step: int, folder: Path) -> Mapping[str, Path]:
        """None: the overlay is drawn once, at the end."""
        return {}


def run(config: SegmentConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Stage function. Inputs: ``prepare``; ``pool`` where count is above 0; ``scores`` where min_iou is too.

    Leaves metrics.parquet (see ``evaluate``; validation.parquet likewise, where the fold has a validation part),
    network.safetensors, network.json, exposure.json, fitted_on.json and
    overlay.png.

    Raises:
        PoolDryError: too few synthetic samples.
        DivergedError: the loss is no longer finite.
        UserError: the pool does not fit the data, or its generator has seen a test patient.
    """
    data = SliceSet.open(inputs["prepare"])
    parts = split(data.patients, config.fold)
    for role in sorted(inputs):
        require_unseen(inputs[role], (*parts.test, *parts.validation))
    samples = gather(config, data, parts.train, inputs, trial.device)
    architecture = Architecture(
        modalities=len(data.modalities),
        classes=len(data.classes),
        channels=config.channels,
        residual_units=config.residual_units,
    )
    learner = UNetLearner(config, samples, architecture)
    yield from train(learner, config.steps, trial, report_every_steps=config.report_every_steps)

    model = learner.model.eval()
    save_segmenter(model, architecture, trial.output)
    metrics = evaluate(model, data, parts.test)
    metrics.to_parquet(trial.output / "metrics.parquet", index=False)
    watched = _validated(model, data, parts.validation, trial.output)
    write_fitted_on(trial.output, parts.train)
    _write_json(trial.output / "exposure.json", exposure(learner, samples))
    overlay = draw_overlay(model, data, parts.test, trial.output / "overlay.png")
    last = summary(metrics) | watched
    yield Progress(step=config.steps, total=config.steps, metrics=last, pictures={"overlay": overlay})


def _validated(model: nn.Module, data: SliceSet, patients: Sequence[str], output: Path) -> dict[str, float]:
    """Score the fold's validation patients, where it has any, into validation.parquet."""
    if not patients:
        return {}
    metrics = evaluate(model, data, patients)
    metrics.to_parquet(output / "validation.parquet", index=False)
    return {name.replace("test_", "validation_"): value for name, value in summary(metrics).items()}


def exposure(learner: UNetLearner, samples: Samples) -> dict[str, float]:
    """How much real and synthetic data there was and was seen; ``retention`` is kept over generated, 1 without any."""
    return {
        "real_slices": samples.real,
        "synthetic_slices": samples.synthetic,
        "real_slices_seen": learner.seen["real"],
        "synthetic_slices_seen": learner.seen["synthetic"],
        "generated": samples.generated,
        "kept": samples.synthetic,
        "retention": samples.synthetic / samples.generated if samples.generated else 1.0,
    }


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
