"""What a GAN trial is: the settings of a sweep's ``gan:`` section, and the resolved, complete configuration."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from medsweep.config import Config
from medsweep.data.folds import Fold

Variant = Literal["b-sg", "m-sg", "c-sg"]
"""B-SG emits image and mask together, M-SG masks alone, C-SG an image for a given mask."""

Point = Literal["d-input", "d-blocks", "generator"]
"""Where C-SG is shown the mask: beside the image, before each lower block of D, after the demodulation in G."""

INJECTION_PRESETS: Final[Mapping[str, tuple[Point, ...]]] = {
    "generator": ("generator",),
    "discriminator": ("d-blocks", "d-input"),
    "full": ("d-blocks", "d-input", "generator"),
}

MaskForm = Literal["signed-distance", "one-hot"]


class GanSettings(Config):
    """The ``gan:`` section of a sweep; the defaults suit 256 px on a GPU."""

    injection: Literal["generator", "discriminator", "full"] | Annotated[tuple[Point, ...], Field(min_length=1)] = (
        "full"
    )
    """Where C-SG is shown the mask: a preset, or a list of points."""
    mask_form: MaskForm = "signed-distance"
    """Continuous form of a label map: per-class signed distance in [-1, 1], or one-hot in {-1, 1}."""
    mask_clip_px: float | None = Field(default=None, gt=0)
    """Distance in pixels at which the signed distance saturates; None is resolution / 16, at least 2."""
    kimg: float = Field(default=2000.0, gt=0)
    """Length of the training in thousands of real images shown to D."""
    batch_size: int = Field(default=32, ge=2)
    learning_rate: float = Field(default=0.0025, gt=0)
    latent_dim: int = Field(default=512, ge=1)
    mapping_layers: int = Field(default=2, ge=1)
    channel_base: int = Field(default=16384, ge=64)
    """Feature maps at resolution r: channel_base / r, at most channel_max and at least 4."""
    channel_max: int = Field(default=512, ge=4)
    r1_gamma: float | None = Field(default=None, ge=0)
    """Weight of the R1 penalty; None is 0.0002 * resolution^2 / batch_size, 0 switches it off."""
    r1_gamma_mask_ratio: float = Field(default=100.0, gt=0)
    """How much more R1 weighs on mask channels (B-SG, M-SG) than on image channels."""
    r1_every_steps: int = Field(default=16, ge=1)
    path_length_weight: float = Field(default=2.0, ge=0)
    """Weight of the path length penalty of G; 0 switches it off."""
    path_length_every_steps: int = Field(default=4, ge=1)
    style_mixing: float = Field(default=0.9, ge=0, le=1)
    """Probability that the styles of a batch change to a second latent at a random layer."""
    ema_kimg: float | None = Field(default=None, gt=0)
    """Half-life of the averaged generator in thousands of images; None is batch_size * 10 / 32."""
    ema_ramp_up: float = Field(default=0.05, gt=0)
    """The half-life is at most this share of the images seen so far."""
    minibatch_std_group: int = Field(default=4, ge=1)
    augment: Literal["none", "diffaugment"] = "diffaugment"
    """What D sees: plain images, or translated, cut-out ones of changed brightness and contrast."""
    report_every_steps: int = Field(default=100, ge=1)

    @field_validator("injection", mode="before")
    @classmethod
    def _list_of_points(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _whole_groups(self) -> Self:
        group = min(self.minibatch_std_group, self.batch_size)
        if self.batch_size % group:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of minibatch_std_group {group}; change one")
        return self


class GanConfig(GanSettings):
    """A GAN trial with nothing left to derive, made by ``resolve``; what its variant does not read is neutral."""

    variant: Variant
    fold: Fold
    """Whose training patients the GAN is fitted on."""
    seed: int
    resolution: int
    """Side of a slice in pixels."""
    injection: tuple[Point, ...]
    """Sorted points; empty for a variant that has no condition."""
    mask_clip_px: float = Field(gt=0)
    r1_gamma: float = Field(ge=0)
    ema_kimg: float = Field(gt=0)

    @field_validator("resolution")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value not in (16, 32, 64, 128, 256, 512):
            raise ValueError(f"resolution must be a power of two from 16 to 512, got {value}")
        return value

    @property
    def total_steps(self) -> int:
        """Optimisation steps that show at least ``kimg`` thousand real images."""
        return max(1, -(-round(self.kimg * 1000) // self.batch_size))


def resolve(settings: GanSettings, variant: Variant, fold: Fold, seed: int, resolution: int) -> GanConfig:
    """The complete configuration of one GAN, in which a setting that ``variant`` does not read has a neutral value.

    Two sweeps that differ only in such a setting therefore share the trial.

    Raises:
        ValidationError: ``resolution`` is not a power of two from 16 to 512.
    """
    given = dict(settings)
    given["injection"] = _points(settings.injection) if variant == "c-sg" else ()
    if variant == "c-sg":
        given["r1_gamma_mask_ratio"] = 1.0
    if settings.mask_form != "signed-distance":
        given["mask_clip_px"] = 1.0
    elif settings.mask_clip_px is None:
        given["mask_clip_px"] = max(2.0, resolution / 16)
    if settings.r1_gamma is None:
        given["r1_gamma"] = 0.0002 * resolution**2 / settings.batch_size
    if settings.ema_kimg is None:
        given["ema_kimg"] = settings.batch_size * 10 / 32
    if given["r1_gamma"] == 0:
        given |= {"r1_every_steps": 1, "r1_gamma_mask_ratio": 1.0}
    if settings.path_length_weight == 0:
        given["path_length_every_steps"] = 1
    return GanConfig(**given, variant=variant, fold=fold, seed=seed, resolution=resolution)


def _points(injection: str | tuple[Point, ...]) -> tuple[Point, ...]:
    named = INJECTION_PRESETS[injection] if isinstance(injection, str) else injection
    return tuple(sorted(set(named)))
