"""The segment stage: train one segmenter for a fixed number of steps and leave its weights behind."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medsweep.data.fitted_on import require_unseen, write_fitted_on
from medsweep.data.folds import split
from medsweep.data.ignored import IGNORED
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.files import write_json
from medsweep.identity import derive_seed
from medsweep.trainers.measures.structures import Counts, dice
from medsweep.trainers.pool import Pool
from medsweep.trainers.segmentation import cpu
from medsweep.trainers.segmentation.augment import augment
from medsweep.trainers.segmentation.config import SegmentConfig
from medsweep.trainers.segmentation.filtering import survivors
from medsweep.trainers.segmentation.gate import EVERY, CosineGate, ShuffledGate
from medsweep.trainers.segmentation.network import (
    BEST,
    BEST_WEIGHTS,
    SegmenterArchitecture,
    build,
    save_segmenter,
    save_weights,
)
from medsweep.trainers.segmentation.networks import NETWORKS
from medsweep.trainers.segmentation.optimisation import (
    Loss,
    RunningAverage,
    cross_entropy_by_source,
    learning_rate,
    levels_of,
    make_loss,
    make_optimizer,
    over_levels,
)
from medsweep.trainers.segmentation.predictions import segment_volume
from medsweep.trainers.segmentation.samples import BatchOrder, TrainingSamples, gather
from medsweep.trainers.segmentation.snapshots import Snapshots
from medsweep.trainers.segmentation.sources import SplitNormalisation, loss_by_source
from medsweep.trainers.training.loop import train
from medsweep.trainers.training.restore import load_optimizer
from medsweep.trial import Progress, Trial


@dataclass
class BestWeights:
    """Weights at the step with the highest validation Dice so far; the earlier of two equals."""

    data: SliceSet
    patients: Sequence[str]
    """The fold's validation patients."""
    step: int = 0
    """0 before anything was scored."""
    dice: float = -1.0
    weights: dict[str, Tensor] | None = None

    def offer(self, model: nn.Module, step: int) -> float:
        """Score the weights of ``model`` and keep a copy if they are the best; returns their Dice, in [0, 1].

        The mode of the model is as before afterwards.

        Raises:
            UserError: no validation patient has foreground.
        """
        training = model.training
        value = validation_dice(model.eval(), self.data, self.patients)
        model.train(training)
        if value > self.dice:
            self.step, self.dice = step, value
            self.weights = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
        return value

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"step": self.step, "dice": self.dice, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Return to what ``state_dict`` returned."""
        self.step, self.dice, self.weights = state["step"], state["dice"], state["weights"]


@torch.no_grad()
def validation_dice(model: nn.Module, data: SliceSet, patients: Sequence[str]) -> float:
    """Mean Dice over patients and the foreground classes that their references have, on the original grid.

    Ignored voxels have no part in it.

    Raises:
        UserError: there is no such class.
    """
    values = []
    for patient in sorted(patients):
        reference_ZHW, predicted_ZHW = data.reference(patient), segment_volume(model, data, patient)
        if data.ignores:
            predicted_ZHW[reference_ZHW == IGNORED] = 0
        for label in range(1, len(data.classes)):
            counts = Counts.of(reference_ZHW == label, predicted_ZHW == label)
            if counts.n_ref:
                values.append(dice(counts))
    if not values:
        raise UserError(
            f"segment.validate_every_steps needs foreground in the {len(patients)} validation patients, there is none; "
            "raise replicates.validation or set segment.validate_every_steps to 0"
        )
    return float(np.mean(values))


class UNetLearner:
    """One segmenter, its optimiser and what is kept beside it: the running average and the best weights.

    Initial weights, batch order and augmentation depend on fold and seed, never on the arm, so that arms of one
    replicate are paired. What is neither weights nor optimiser nor kept beside them is a pure function of the step.
    On CUDA devices with bfloat16 the network computes in it under autocast, and the loss in float32. No batch is worked
    in micro-batches, since most networks normalise over the batch and every loss takes Dice over it.
    """

    def __init__(
        self,
        config: SegmentConfig,
        samples: TrainingSamples,
        architecture: SegmenterArchitecture,
        best: BestWeights | None = None,
        gated: Path | None = None,
    ) -> None:
        """``gated``: output of the training whose weights of the synthetic loss a random gate shuffles."""
        self._config, self._samples = config, samples
        device = samples.device
        self.model = build(architecture, self._seed("weights")).to(device).train()
        if device.type == "cpu" and NETWORKS[architecture.network].faster_channels_last:
            cpu.prepare(self.model)
        weighted = config.class_weights != "none"
        pixels_K = samples.pixels_per_class(architecture.classes) if weighted else np.zeros(0, np.int64)
        self._loss = make_loss(config, pixels_K, device, ignores=samples.ignores)
        split_apart = config.normalise != "shared"
        self._split = SplitNormalisation(self.model, config.normalise) if split_apart else None
        self._weights = [*self.model.parameters(), *(self._split.own.values() if self._split else ())]
        self._optimizer = make_optimizer(config, self._weights)
        half_life = config.ema_half_life_steps
        self._average = RunningAverage(self.model, half_life) if half_life else None
        self.gate = _gate_of(config, gated)
        self.snapshots = Snapshots(config) if config.snapshots else None
        self.best = best
        """Given where the best weights are to be kept."""
        self._half = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        self._order = BatchOrder(
            config, samples.real, samples.synthetic, samples.with_foreground() if config.foreground_share else None
        )
        self.seen = {"real": 0, "synthetic": 0}

    @property
    def final_model(self) -> nn.Module:
        """What is left behind and scored: the running average where there is one, else the network itself."""
        return self.model if self._average is None else self._average.model

    def step(self, number: int) -> Mapping[str, float | Tensor]:
        """One step; returns the loss, its cross-entropy by source of the samples, the learning rate, and the gradient's
        norm and validation Dice where known.

        What is known to the device alone stays there, so that the next step begins before this one has ended.
        """
        rate = learning_rate(self._config, number)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        images, masks, synthetic_N = self._batch(number)
        with torch.autocast("cuda", torch.bfloat16) if self._half else nullcontext():
            output = self._split(images, synthetic_N) if self._split else self.model(images)
        levels = [logits.float() for logits in levels_of(output)]
        scalars: dict[str, float | Tensor] = {"learning_rate": rate}
        if isinstance(self.gate, CosineGate) and number % EVERY == 0:
            self.gate.look(self._loss, levels, masks, synthetic_N, self._weights)
        weight = self._config.synthetic_weight
        if self.gate is not None:
            scalars["synthetic_weight"] = weight = self.gate.use(number)
        loss = over_levels(self._loss_by(synthetic_N, weight), levels, masks)
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        if self._config.clip_norm:
            norm = nn.utils.clip_grad_norm_(self._weights, self._config.clip_norm)
            scalars["gradient_norm"] = norm.detach()
        self._optimizer.step()
        if self._average is not None:
            self._average.update(number)
        if self.snapshots is not None:
            self.snapshots.take(number, self.model, self._optimizer)
        scalars["loss"] = loss.detach()
        of_step = levels[0].detach()
        scalars |= cross_entropy_by_source(of_step, masks, synthetic_N, ignores=self._samples.ignores)
        if self.best is not None and (number % self._config.validate_every_steps == 0 or number == self._config.steps):
            scalars["validation_dice"] = self.best.offer(self.final_model, number)
        return scalars

    def _loss_by(self, synthetic_N: NDArray[np.bool_], weight: float | None) -> Loss:
        """The loss of a batch in which these samples are synthetic; without a weight both kinds are taken together."""
        if weight is None:
            return self._loss
        return lambda logits, labels: loss_by_source(self._loss, logits, labels, synthetic_N, weight)

    def _batch(self, number: int) -> tuple[Tensor, Tensor, NDArray[np.bool_]]:
        """Images and masks of a step, and which of them are synthetic."""
        rows = self._order.batch(number)
        synthetic_N = rows >= self._samples.real
        made = int(synthetic_N.sum())
        self.seen = {"real": self.seen["real"] + len(rows) - made, "synthetic": self.seen["synthetic"] + made}
        draws = torch.Generator().manual_seed(self._seed("augment", number))
        return *augment(*self._samples.batch(rows), draws, self._config.augment), synthetic_N

    def _seed(self, purpose: str, *more: int) -> int:
        return derive_seed("segment", purpose, self._config.fold.index, self._config.seed, *more)

    def state_dict(self) -> dict[str, Any]:
        """Weights, normalisation statistics, optimiser, exposure, and what is kept beside the weights."""
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "seen": self.seen,
            "average": self._average.model.state_dict() if self._average else None,
            "best": self.best.state_dict() if self.best else None,
        }
        # no keys of what is not there, so that checkpoints from before there was any can be continued
        state |= {"snapshots": self.snapshots.state_dict()} if self.snapshots else {}
        state |= {"gate": self.gate.state_dict()} if isinstance(self.gate, CosineGate) else {}
        return state | ({"own": dict(self._split.own)} if self._split else {})

    def load_state_dict(self, state: dict[str, Any]) -> Sequence[str]:
        """Return to what ``state_dict`` returned, on whichever device; nothing is lost."""
        self.model.load_state_dict(state["model"])
        load_optimizer(self._optimizer, state["optimizer"])
        self.seen = dict(state["seen"])
        if self._average:
            self._average.model.load_state_dict(state["average"])
        if self.best:
            self.best.load_state_dict(state["best"])
        if self.snapshots:
            self.snapshots.load_state_dict(state["snapshots"])
        if isinstance(self.gate, CosineGate):
            self.gate.load_state_dict(state["gate"])
        for name, value in (self._split.own if self._split else {}).items():
            value.data.copy_(state["own"][name])
        return ()

    def pictures(self, step: int, folder: Path) -> Mapping[str, Path]:
        """None: the score stage draws what the network sees."""
        return {}


def _gate_of(config: SegmentConfig, gated: Path | None) -> CosineGate | ShuffledGate | None:
    if gated is not None:
        return ShuffledGate(config, gated)
    return CosineGate(config.steps) if config.synthetic_gate == "cosine" else None


def run(config: SegmentConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Stage function, also of judges.

    Inputs: ``prepare``; ``pool`` where count > 0; ``scores`` where min_iou is too; ``judge`` where max_pixel_loss is;
    ``gated``, the training with the cosine gate, where synthetic_gate is random.
    Leaves network.safetensors, network.json, exposure.json and fitted_on.json. With a filter it also leaves filter.json
    (see ``survivors`` and ``without_doubted``), whose numbers are in exposure.json and in the last report too. Where
    the best weights were looked for on validation patients, they are in best.safetensors, with their step and Dice in
    best.json. Snapshots are in snapshot-PERCENT.safetensors, the weights of a cosine gate in gate.npy.

    Raises:
        PoolDryError: too few synthetic samples.
        DivergedError: the loss is no longer finite.
        UserError: the pool does not fit the data, or its generator has seen a test patient.
    """
    data = SliceSet.open(inputs["prepare"])
    patients = split(data.patients, config.fold)
    for role in sorted(inputs):
        require_unseen(inputs[role], (*patients.test, *patients.validation))
    fitted = config.training_patients(data.patients)
    samples = gather(config, data, fitted, inputs, trial.device, gpu_share=trial.gpu_share)
    filtered: dict[str, float] = dict(samples.pixels_ignored)
    if samples.choice is not None and config.min_iou > 0:
        # before training, so that what is missing is found early
        filtered |= survivors(config, Pool.open(inputs["pool"]), samples.choice, inputs["scores"])
    architecture = SegmenterArchitecture.of(config, modalities=len(data.modalities), classes=len(data.classes))
    best = BestWeights(data, patients.validation) if config.validate_every_steps and patients.validation else None
    gated = inputs["gated"] if config.synthetic_gate == "random" else None
    learner = UNetLearner(config, samples, architecture, best, gated)
    for progress in train(learner, config.steps, trial, report_every_steps=config.report_every_steps):
        yield progress

    save_segmenter(learner.final_model, architecture, trial.output)
    if learner.snapshots is not None:
        learner.snapshots.save(trial.output)
    if isinstance(learner.gate, CosineGate):
        learner.gate.save(trial.output)
    write_fitted_on(trial.output, fitted)
    write_json(trial.output / "exposure.json", exposure(learner, samples) | filtered)
    if filtered:
        write_json(trial.output / "filter.json", filtered)
    if best is not None and best.weights is not None:
        save_weights(best.weights, trial.output / BEST_WEIGHTS)
        write_json(trial.output / BEST, {"step": best.step, "dice": best.dice})
    yield replace(progress, metrics={**progress.metrics, **filtered})


def exposure(learner: UNetLearner, samples: TrainingSamples) -> dict[str, float]:
    """How much real and synthetic data there was and was seen; ``retention`` is kept over generated, 1 without any."""
    generated = samples.choice.generated if samples.choice else 0
    gate = {} if learner.gate is None else {"synthetic_weight_mean": learner.gate.mean}
    return gate | {
        "real_slices": samples.real,
        "synthetic_slices": samples.synthetic,
        "real_slices_seen": learner.seen["real"],
        "synthetic_slices_seen": learner.seen["synthetic"],
        "generated": generated,
        "kept": samples.synthetic,
        "retention": samples.synthetic / generated if generated else 1.0,
    }
