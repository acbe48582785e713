"""What a sweep may say about the segmenter (``segment:``), and the whole resolved config of one segment trial."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from medsweep.config import LATER, NOT_IDENTITY, NUMBER, Config
from medsweep.data.folds import Fold, split, unused_patients, with_all_patients
from medsweep.data.stage_config import FittedConfig
from medsweep.errors import nearest
from medsweep.trainers.segmentation.networks import NETWORKS, NetworkName, SegmenterNetwork

Unit = Literal["slices", "patients"]
Normalise = Literal["shared", "split-statistics", "split-affine"]

SECONDS_PER_STEP = 0.005
"""Fixed cost of a step on one CPU core, measured."""
SECONDS_PER_ACTIVATION = 3.5e-8
"""Cost of one activation of the U-Net, forward and backward, on one CPU core, measured at 32 and 64 px."""
GPU_SECONDS_PER_STEP = 0.004
"""What a step on a GPU cannot fall below: 330 kernels, their launches and the waits between them on an H200.

Predicted, as ``GPU_SECONDS_PER_ACTIVATION`` is, until ``benchmarks/gpu.py`` measures it.
"""
GPU_SECONDS_PER_ACTIVATION = 1.2e-11
"""Cost of one activation on an H200 by roofline: 50 bytes, forward and backward, at 4.3 TB/s."""
SECONDS_BESIDE_TRAINING = 10.0
"""Imports and loading."""
PROBED_AS_DEFAULT: Final = (
    "learning_rate", "weight_decay", "schedule", "warmup_steps", "mixing", "synthetic_share", "synthetic_weight",
    "synthetic_gate", "normalise", "pretrain_share", "foreground_share", "pixels_by", "report_every_steps",
)  # fmt: skip
"""Fields without any influence on memory; a batch has as many samples however they are mixed."""

OF_SYNTHETIC: Final = (
    "synthetic_share", "synthetic_weight", "synthetic_gate", "normalise", "max_pixel_loss", "pixels_by", "snapshots",
)  # fmt: skip
"""Fields that a training without synthetic samples does not read."""

PROBED_AS_ONE: Final = ("clip_norm", "ema_half_life_steps", "validate_every_steps")
"""Fields that take memory where they are not 0, however large they are."""

SNAPSHOT_PERCENTS: Final[Mapping[int, tuple[int, ...]]] = {0: (), 3: (25, 75, 100), 5: (10, 25, 50, 75, 100)}
"""After what percentage of the steps snapshots are taken, by their number."""


class SegmentSettings(Config):
    """The ``segment:`` section of a sweep. The defaults are those of the paper's 256 px runs."""

    steps: int = Field(default=20_000, ge=1)
    """Optimisation steps, the same whatever the count of synthetic samples. A sweep that names none gets a number by
    resolution, device and number of slices, which ``medsweep plan`` tells."""
    batch_size: int = Field(default=16, ge=2)
    """Samples in a step, real and synthetic together."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Peak of the schedule."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """Weight decay of the optimiser."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """``sgd``: Nesterov momentum of 0.99, which wants a ``learning_rate`` near 0.01."""
    schedule: Literal["cosine", "poly", "constant"] = "cosine"
    """``poly``: what is left of the steps to the power of 0.9."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps over which the learning rate rises to its peak; the schedule takes the rest."""
    clip_norm: float = Field(default=0.0, ge=0)
    """Largest Euclidean norm of the gradient of all weights; 0 does not clip."""
    ema_half_life_steps: int = Field(default=0, ge=0)
    """Half-life of the running average of the weights, which is then what is published and scored; 0 has none."""
    loss: Literal["dice-ce", "dice", "dice-focal"] = "dice-ce"
    """Dice and cross-entropy added, Dice alone, or Dice and focal loss added."""
    class_weights: Literal["none", "inverse-frequency"] = "none"
    """``inverse-frequency``: by the pixels of each class in the fold's real training slices, with mean 1."""
    network: NetworkName = "unet"
    """Architecture of the segmenter, whose width ``channels`` sets; or the name of a network that an installed package
    brings along. ``nnunet-2d`` is a ``resenc-unet`` with the training of nnU-Net, and sets ``optimizer``,
    ``learning_rate``, ``schedule``, ``warmup_steps``, ``weight_decay``, ``clip_norm``, ``ema_half_life_steps``,
    ``loss``, ``class_weights``, ``augment`` and ``foreground_share``."""
    channels: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(16, 32, 64, 128), min_length=2)
    """Width per level, as each network reads it. (24, 48, 96, 192, 384) suits all of ours."""
    residual_units: Annotated[Literal[0, 2], NUMBER] = 2
    """Residual units per level of a ``unet``; 0 is a plain U-Net and takes half the time."""
    augment: Literal["none", "rigid", "spatial", "full", "nnunet"] = "spatial"
    """``rigid``: rotation within 15 degrees, shift within a tenth of the side; ``spatial``: left-right flips too;
    ``full``: also scale, elastic deformation, brightness, contrast, gamma, noise and blur; ``nnunet``: that of nnU-Net,
    with any rotation and flips along both axes."""
    slices: Literal["all", "foreground"] = "all"
    """Which slices of the training patients are used; tests always see all slices of the test patients."""
    foreground_share: Annotated[float, Field(ge=0, le=1), LATER] = 0.0
    """Share of the real places of every batch that slices with a class get for sure, as nnU-Net oversamples them."""
    neighbours: Annotated[int, Field(ge=0, le=4), LATER] = 0
    """Slices on either side of each slice that the network sees beside it as further channels (2.5D); beyond the ends
    of a volume its last slice is repeated. Synthetic samples have no neighbours, so real slices alone can have any."""
    mixing: Literal["uniform", "fixed-exposure", "pretrain"] = "uniform"
    """``uniform``: one bag of real and synthetic samples; ``fixed-exposure``: ``synthetic_share`` of every batch is
    synthetic; ``pretrain``: synthetic samples alone for the first ``pretrain_share`` of the steps, then real ones. For
    ``pretrain`` the sweep adds a real-only arm of as many real steps by itself, and a contrast with it."""
    synthetic_share: Annotated[float, Field(gt=0, lt=1), LATER] = 0.5
    """Share of the slots of every batch that ``fixed-exposure`` gives to synthetic samples, whatever their number."""
    synthetic_weight: Annotated[float | None, Field(ge=0, le=1), LATER] = None
    """Weight of the loss of synthetic samples. None takes one loss over the whole batch; a number takes the losses of
    real and synthetic samples apart, each by its share of the batch, so 1 is what smaller weights are held against."""
    synthetic_gate: Annotated[Literal["none", "cosine", "random"], LATER] = "none"
    """``cosine``: the weight of the loss of synthetic samples follows the cosine of its gradient with that of the real
    samples, from 0 to 1, looked at every 64 steps; ``random``, its control: the weights of that training in random
    order, so it runs the gated training first. Under ``fixed-exposure``, beside ``synthetic_weight: 1.0``."""
    normalise: Annotated[Normalise, LATER] = "shared"
    """``split-statistics``: real and synthetic samples of a batch are normalised apart, and tests by the statistics of
    real ones; ``split-affine``: synthetic ones also have scales and shifts of their own. Under ``fixed-exposure``."""
    pretrain_share: float = Field(default=0.5, gt=0, lt=1)
    """Share of the steps that ``mixing: pretrain`` gives to synthetic samples alone."""
    min_iou: float = Field(default=0.0, ge=0, le=1)
    """Only samples on which the reference segmenter reaches this IoU are used; 0 uses all."""
    filter_mode: Literal["fixed-kept", "fixed-generated"] = "fixed-kept"
    """``fixed-kept``: the first ``count`` samples that pass; ``fixed-generated``: those that pass of the first
    ``count``, so the number of samples follows from the threshold."""
    filter_by: Literal["iou", "random"] = "iou"
    """``random``, the control of equal retention: as many samples as the IoU keeps, drawn among exactly those that
    were looked at to find them. The draw depends on fold and seed, never on the arm or its count."""
    max_pixel_loss: Annotated[float, Field(ge=0), LATER] = 0.0
    """Pixels of synthetic samples on whose label the judge has a cross-entropy above so many times the mean over all
    pixels with that label are left out of the loss; 0 leaves none out. FreeMask takes 1.25. The judge is the one that
    the pool is assessed by, see ``assess.judge``."""
    pixels_by: Annotated[Literal["loss", "random"], LATER] = "loss"
    """``random``, the control of ``max_pixel_loss``: as many pixels of each class, along the edge of the foreground and
    elsewhere, drawn at random. The draw depends on fold and seed."""
    validate_every_steps: int = Field(default=0, ge=0)
    """Where the fold has a validation part: steps between looks at it, which keep the best weights; 0 never."""
    snapshots: Annotated[Literal[0, 3, 5], NUMBER, LATER] = 0
    """Copies of the network in training, after 10, 25, 50, 75 and 100 % of the steps for 5 and 25, 75 and 100 % for 3,
    which the diagnose stage reads where the arm has synthetic samples. They hold weights, normalisation statistics and
    the second moments of AdamW; 0 keeps none."""
    report_every_steps: Annotated[int, Field(ge=1), NOT_IDENTITY] = 200
    """Steps between two reports of the loss."""

    @property
    def synthetic_slots(self) -> int:
        """Places of a batch for synthetic samples under ``fixed-exposure``."""
        return round(self.batch_size * self.synthetic_share)

    @property
    def pretrain_steps(self) -> int:
        """Steps on synthetic samples alone under ``pretrain``."""
        return round(self.steps * self.pretrain_share)

    @model_validator(mode="after")
    def _the_recipe_is_followed(self) -> "SegmentSettings":
        network = NETWORKS[self.network]
        for name, value in {**network.defaults, **network.recipe}.items():
            if name not in SegmentSettings.model_fields:
                text = f"segment.network {self.network} sets {name}, and segment has no such field"
                raise ValueError(f"{text}; {nearest(name, SegmentSettings.model_fields)}")
            if name not in self.model_fields_set:
                # frozen to all but its own making
                object.__setattr__(self, name, value)
        for name, value in network.recipe.items():
            if (given := getattr(self, name)) != value:
                raise ValueError(
                    f"segment.network {self.network} sets {name} to {value}, got {given}; leave segment.{name} out, or "
                    f"take a network without a recipe, such as {_without_recipe(network)}"
                )
        return self

    @model_validator(mode="after")
    def _fields_fit_together(self) -> "SegmentSettings":
        if (complaint := _unfit_share(self) or _unfit_sources(self) or _unfit_gate(self)) is not None:
            raise ValueError(complaint)
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps ({self.warmup_steps}) must be below steps ({self.steps})")
        if self.mixing == "pretrain" and not 0 < self.pretrain_steps < self.steps:
            raise ValueError(
                f"mixing pretrain gives {self.pretrain_steps} of {self.steps} steps to synthetic samples; choose a "
                "pretrain_share that leaves each phase a step"
            )
        if (complaint := NETWORKS[self.network].misfit(self.channels)) is not None:
            raise ValueError(f"segment.network {self.network} {complaint}, got segment.channels {list(self.channels)}")
        return self


def _without_recipe(network: SegmenterNetwork) -> str:
    """The same layers under another name, or else the default."""
    twins = [name for name, other in NETWORKS.items() if other.build is network.build and not other.recipe]
    return next(iter(twins), str(SegmentSettings.model_fields["network"].default))


def _unfit_share(settings: SegmentSettings) -> str | None:
    """Why a batch cannot have this share of synthetic samples."""
    size, share = settings.batch_size, settings.synthetic_share
    neutral = SegmentSettings.model_fields["synthetic_share"].default
    if settings.mixing != "fixed-exposure" and share == neutral:
        return None
    if settings.mixing != "fixed-exposure":
        return (
            f"synthetic_share ({share:g}) is read by mixing fixed-exposure alone, got mixing {settings.mixing}; "
            f"set mixing to fixed-exposure or leave synthetic_share at {neutral:g}"
        )
    if 0 < settings.synthetic_slots < size and abs(size * share - settings.synthetic_slots) < 1e-6:
        return None
    nearest = min(max(settings.synthetic_slots, 1), size - 1) / size
    return (
        f"mixing fixed-exposure gives synthetic_share ({share:g}) of every batch to synthetic samples, which is no "
        f"whole number of a batch_size of {size}; the nearest share that fits is {nearest:.6g}"
    )


def _unfit_sources(settings: SegmentSettings) -> str | None:
    """Why real and synthetic samples cannot be taken apart so."""
    if settings.normalise != "shared" and settings.mixing != "fixed-exposure":
        return (
            f"normalise {settings.normalise} needs real and synthetic samples in every batch, got mixing "
            f"{settings.mixing}; set mixing to fixed-exposure or normalise to shared"
        )
    if settings.normalise != "shared" and not NETWORKS[settings.network].batch_normalised:
        return (
            f"normalise {settings.normalise} takes batch normalisation apart, and segment.network {settings.network} "
            "has none; set normalise to shared or take another network"
        )
    if settings.synthetic_weight is not None and settings.mixing == "pretrain":
        return (
            f"synthetic_weight ({settings.synthetic_weight:g}) weighs synthetic against real samples of a batch, and "
            "mixing pretrain has one kind in each; set mixing to uniform or fixed-exposure, or remove the weight"
        )
    return None


def _unfit_gate(settings: SegmentSettings) -> str | None:
    """Why the synthetic loss cannot have such a gate."""
    gate = settings.synthetic_gate
    if gate == "none":
        return None
    if settings.synthetic_weight is not None:
        return f"synthetic_gate {gate} sets the weight of the synthetic loss, so remove synthetic_weight"
    if settings.mixing != "fixed-exposure":
        return (
            f"synthetic_gate {gate} needs real and synthetic samples in every batch, got mixing {settings.mixing}; set "
            "mixing to fixed-exposure or synthetic_gate to none"
        )
    if min(settings.synthetic_slots, settings.batch_size - settings.synthetic_slots) < 2:
        return (
            f"synthetic_gate {gate} needs two real and two synthetic samples in every batch, got {settings.batch_size} "
            f"of which {settings.synthetic_slots} are synthetic; raise batch_size"
        )
    return None


class SegmentConfig(SegmentSettings, FittedConfig):
    """All that a segment trial computes from."""

    count: int = Field(ge=0)
    """Synthetic samples in ``unit``, before the filter under ``fixed-generated``; 0 trains on real slices only."""
    candidates: int = Field(ge=0)
    """Synthetic samples, in ``unit``, among which the filter may choose; 0 without a filter."""
    unit: Unit
    resolution: int = Field(ge=8)
    """Side of a slice in pixels."""
    network_version: Annotated[int, LATER] = 1
    """``SegmenterNetwork.version`` of the network."""
    options: Annotated[dict[str, Any], LATER] = Field(default={})
    """Settings of the network's own."""

    @property
    def side_px(self) -> int:
        return self.resolution

    def training_patients(self, patients: Sequence[str]) -> tuple[str, ...]:
        """Those of all ``patients`` on whom the network is fitted, sorted."""
        return split(patients, self.fold).train

    @model_validator(mode="after")
    def _fields_fit_the_trial(self) -> "SegmentConfig":
        if self.min_iou > 0 and self.filter_mode == "fixed-generated" and self.candidates != self.count:
            raise ValueError(f"candidates ({self.candidates}) must be count ({self.count}) under fixed-generated")
        if self.min_iou > 0 and self.candidates < self.count:
            raise ValueError(f"candidates ({self.candidates}) must be at least count ({self.count}) with a filter")
        network = NETWORKS[self.network]
        halvings = network.halvings(self.channels)
        if self.resolution % 2**halvings:
            raise ValueError(
                f"{len(self.channels)} levels of segment.channels in a {self.network} need a resolution that is a "
                f"multiple of {2**halvings}, got {self.resolution}"
            )
        if (deepest := self.resolution // 2**halvings) < network.smallest_px:
            raise ValueError(
                f"segment.network {self.network} halves down to {network.smallest_px} px, and {len(self.channels)} "
                f"levels of segment.channels at a resolution of {self.resolution} end at {deepest}; take fewer levels"
            )
        return self


class JudgeConfig(SegmentConfig):
    """All that a judge trial computes from: the control's segmenter, fitted on the patients left out."""

    @model_validator(mode="after")
    def _somebody_is_left_out(self) -> "JudgeConfig":
        if self.fold.patients is None:
            raise ValueError(
                "assess.judge left-out needs training patients that the study leaves out; set data.patients below the "
                "training group, or assess.judge to control"
            )
        return self

    @property
    def borrows(self) -> Fold:
        """All training patients, since it is fitted on those whom the study leaves out."""
        return with_all_patients(self.fold)

    def training_patients(self, patients: Sequence[str]) -> tuple[str, ...]:
        """The training patients that the study leaves out, sorted.

        Raises:
            UserError: nobody is left out.
        """
        return unused_patients("assess.judge left-out", patients, self.fold)


def resolve(
    settings: SegmentSettings,
    *,
    fold: Fold,
    seed: int,
    count: int,
    candidates: int,
    unit: Unit,
    resolution: int,
    options: Mapping[str, Any] | None = None,
) -> SegmentConfig:
    """The config of one trial; fields that the trial never reads take neutral values, so arms share it.

    ``options`` are settings of the network's own.
    """
    fields: dict[str, Any] = dict(settings)
    if count == 0:
        fields |= {"mixing": "uniform", "min_iou": 0.0} | _defaults(*OF_SYNTHETIC)
        unit = "slices"
    if fields["min_iou"] == 0:
        candidates = 0
        fields |= _defaults("filter_mode", "filter_by")
    elif fields["filter_mode"] == "fixed-generated":
        candidates = count
    if fields["max_pixel_loss"] == 0:
        fields |= _defaults("pixels_by")
    if fields["mixing"] != "pretrain":
        fields |= _defaults("pretrain_share")
    network = NETWORKS[settings.network]
    if not network.reads_residual_units:
        fields |= _defaults("residual_units")
    if not fold.has_validation:
        fields |= _defaults("validate_every_steps")
    fields |= {"fold": fold, "seed": seed, "resolution": resolution, "unit": unit, "network_version": network.version}
    fields |= {"options": dict(options or {})}
    return SegmentConfig(**fields, count=count, candidates=candidates)


def _defaults(*names: str) -> dict[str, Any]:
    return {name: SegmentSettings.model_fields[name].default for name in names}


def judge_of(control: SegmentConfig) -> JudgeConfig:
    """The judge that is fitted as the control's segmenter on real slices is, on the patients left out."""
    return JudgeConfig(**dict(control) | _defaults("validate_every_steps"))


def hours(config: SegmentConfig) -> float:
    """CPU hours on one core, from the activations per step."""
    per_step = SECONDS_PER_STEP + SECONDS_PER_ACTIVATION * _activations(config)
    return (SECONDS_BESIDE_TRAINING + config.steps * per_step) / 3600


def gpu_hours(config: SegmentConfig) -> float:
    """Hours alone on one GPU; kernels are launched while those before them compute."""
    per_step = max(GPU_SECONDS_PER_STEP, GPU_SECONDS_PER_ACTIVATION * _activations(config))
    return (SECONDS_BESIDE_TRAINING + config.steps * per_step) / 3600


def _activations(config: SegmentConfig) -> float:
    """Activations of a step, those of another network in terms of the U-Net's."""
    per_pixel = sum(width / 4**level for level, width in enumerate(config.channels))
    units = 1 + config.residual_units / 2
    return float(config.batch_size * config.resolution**2 * per_pixel * units * NETWORKS[config.network].relative_cost)


def probe(config: SegmentConfig) -> SegmentConfig:
    """Two steps of the same training; what memory does not depend on is neutral.

    Two, since the optimiser's running means, made in the first step, are beside the graph from the second on. What
    decides which samples are loaded is kept, since on a GPU all of them may stay there.
    """
    neutral: dict[str, Any] = _defaults(*PROBED_AS_DEFAULT) | {"seed": 0, "steps": 2}
    neutral |= {name: type(getattr(config, name))(getattr(config, name) > 0) for name in PROBED_AS_ONE}
    neutral |= NETWORKS[config.network].recipe
    return type(config)(**dict(config) | neutral)
