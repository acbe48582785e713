"""What a sweep may say about treatments: one small record per kind, told apart by ``kind``."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import Field, field_validator, model_validator

from medsweep.config import EXTENT, Config
from medsweep.data.folds import Fold, whole
from medsweep.data.stage_config import FittedConfig
from medsweep.errors import nearest
from medsweep.trainers.measures.mask_validity import STEPS

MEASURED = 32


class DuplicateReal(Config):
    """Replace the pool by real training slices, each once in a shuffled order, then all over again."""

    kind: Literal["duplicate-real"]


class FreshReal(Config):
    """Replace the pool by slices of training patients that ``data.patients`` leaves out: the upper bound."""

    kind: Literal["fresh-real"]


class UniqueReal(Config):
    """Replace the pool by the slices of few training patients, repeated."""

    kind: Literal["k-unique-real"]
    patients: int = Field(ge=1)
    """Their number; draws are nested, so the 2 are among the 5."""


class Noise(Config):
    """Add white noise, independent between pixels and modalities."""

    kind: Literal["noise"]
    sd: float = Field(gt=0)
    """In units of ``unit``."""
    law: Literal["gaussian", "rician"] = "gaussian"
    """``rician`` is the law of magnitude images; the smallest value of a plane stands for no signal."""
    unit: Literal["prepared", "background", "tissue"] = "prepared"
    """``prepared``: the scale of prepared slices, whose SD is about 1. ``background`` and ``tissue``: the SD, by
    modality, of pixels of real training slices without and with a label."""


class Blur(Config):
    """Convolve with a Gaussian."""

    kind: Literal["blur"]
    sigma_px: float = Field(gt=0)


class Unsharp(Config):
    """Add ``amount`` times what a Gaussian blur takes away."""

    kind: Literal["unsharp"]
    sigma_px: float = Field(gt=0)
    amount: float = Field(gt=0)


class _Matched(Config):
    target: Literal["real", "pool"] = "real"
    """``real``: training slices. ``pool``: the pool as it came, which makes real slices look synthetic."""
    measured: int = Field(default=MEASURED, ge=1)
    """With ``target: pool``, its first samples that the target is measured on: never all, so that the target does not
    depend on the pool's size."""

    @model_validator(mode="after")
    def _measured_is_read(self) -> "_Matched":
        if self.target == "real" and self.measured != MEASURED:
            raise ValueError(f"measured ({self.measured}) is read with target: pool alone; remove it")
        return self


class Histogram(_Matched):
    """Give each image, per modality, the mean histogram of the target."""

    kind: Literal["histogram"]
    per_class: bool = False
    """Match the pixels of each class of the mask to those of the same class."""


class MatchSpectrum(_Matched):
    """Give each image, per modality, the radial power spectrum of the target, with gains from 0.5 to 3."""

    kind: Literal["match-spectrum"]


class PaintGaussian(Config):
    """Paint an image from the mask alone: a Gaussian per class and modality with the moments of real training pixels.

    The generative model of SynthSeg (Billot et al. 2023) with its priors narrowed to the training set.
    """

    kind: Literal["paint-gaussian"]
    bias_sd: float = Field(default=0.0, ge=0)
    """SD of a smooth field added to each modality, on the scale of prepared slices."""
    bias_px: float = Field(default=16.0, gt=0)
    """SD of the Gaussian that smooths the field."""
    blur_px: float = Field(default=0.0, ge=0)
    """SD of a Gaussian blur of the painted image; 0 is none."""

    @model_validator(mode="after")
    def _bias_px_is_read(self) -> "PaintGaussian":
        if self.bias_sd == 0 and self.bias_px != 16:
            raise ValueError(f"bias_px ({self.bias_px:g}) is read with a bias_sd above 0 alone; remove it")
        return self


class Relabel(Config):
    """Replace each mask by what the reference segmenter sees in the image."""

    kind: Literal["relabel"]


class CorruptLabels(Config):
    """Move the boundaries of masks: all by ``bias_px``, each place by a smooth random amount of SD ``random_px``."""

    kind: Literal["corrupt-labels"]
    bias_px: float = 0.0
    """Above 0 the classes grow. A broken number is rounded up or down by sample, such that its mean holds."""
    classes: tuple[str, ...] = ()
    """Classes that grow or shrink by ``bias_px`` as one region; none means the whole foreground."""
    random_px: float = Field(default=0.0, ge=0)
    """SD of the displacement of every boundary between classes."""
    smooth_px: float = Field(default=8.0, gt=0)
    """SD of the Gaussian that smooths the random displacement."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Probability that a sample is changed."""

    @model_validator(mode="after")
    def _does_something_with_what_it_is_given(self) -> "CorruptLabels":
        if self.bias_px == 0 and self.random_px == 0:
            raise ValueError("bias_px and random_px are both 0, which changes nothing; set one of them")
        if self.random_px == 0 and self.smooth_px != 8:
            raise ValueError(f"smooth_px ({self.smooth_px:g}) is read with a random_px above 0 alone; remove it")
        if self.bias_px == 0 and self.classes:
            raise ValueError(f"classes {list(self.classes)} are read with bias_px alone; remove them")
        return self


class FlipClasses(Config):
    """Give wrong classes to a share of the masks, with boundaries where they were."""

    kind: Literal["flip-classes"]
    share: float = Field(gt=0, le=1)
    """Probability that a sample is changed."""
    classes: tuple[str, str] | None = None
    """Two classes to exchange; None gives every component another foreground class at random."""


class Mismatch(Config):
    """Give samples the mask of another, earlier sample, so that image and mask are each real and do not belong."""

    kind: Literal["mismatch"]
    share: float = Field(default=1.0, gt=0, le=1)
    """Probability that a sample is changed; the first of a pool never is."""


class Postprocess(Config):
    """Repair masks by the steps of ``medsweep.trainers.measures.mask_validity.postprocess``."""

    kind: Literal["postprocess"]
    steps: tuple[str, ...] = Field(min_length=1)
    min_area_px: int = Field(default=10, ge=1)

    @model_validator(mode="after")
    def _steps_are_known(self) -> "Postprocess":
        for step in self.steps:
            if step not in STEPS:
                raise ValueError(f"unknown mask repair {step!r}; {nearest(step, STEPS)}")
        if len(set(self.steps)) < len(self.steps):
            raise ValueError(f"steps {list(self.steps)} name one twice; name each once")
        if "min-area" not in self.steps and self.min_area_px != 10:
            raise ValueError(f"min_area_px ({self.min_area_px}) is read by the step min-area alone; remove it")
        return self


Source = DuplicateReal | FreshReal | UniqueReal
OnImages = Noise | Blur | Unsharp | Histogram | MatchSpectrum | PaintGaussian
OnMasks = Relabel | CorruptLabels | FlipClasses | Mismatch | Postprocess
Spoiling = CorruptLabels | FlipClasses | Mismatch
"""Those that may change the masks of a share of the samples alone."""
Treatment = Annotated[Source | OnImages | OnMasks, Field(discriminator="kind")]

KINDS: Final[Mapping[str, type[Config]]] = {
    get_args(model.model_fields["kind"].annotation)[0]: model
    for union in (Source, OnImages, OnMasks)
    for model in get_args(union)
}


class TreatSettings(Config):
    """The ``treat:`` section of a sweep."""

    treatments: tuple[Treatment, ...] = ()
    """Applied in this order."""

    @field_validator("treatments", mode="before")
    @classmethod
    def _names_are_known(cls, given: Any) -> Any:
        """Name the nearest kind or parameter, which the error of a union does not."""
        for one in given if isinstance(given, list | tuple) else ():
            if not isinstance(one, dict) or not isinstance(kind := one.get("kind"), str):
                continue
            if kind not in KINDS:
                raise ValueError(f"unknown treatment {kind!r}; {nearest(kind, KINDS)}")
            for name in one.keys() - KINDS[kind].model_fields.keys():
                raise ValueError(f"unknown key {name!r} in {kind}; {nearest(name, KINDS[kind].model_fields)}")
        return _tuples(given)

    @model_validator(mode="after")
    def _source_comes_first(self) -> "TreatSettings":
        for treatment in self.treatments[1:]:
            if isinstance(treatment, Source):
                raise ValueError(f"treatment {treatment.kind!r} replaces the pool, so it must be the first of the list")
        return self


def _tuples(value: Any) -> Any:
    """JSON lists as tuples, at any depth: what a strict config takes once JSON was parsed."""
    if isinstance(value, dict):
        return {name: _tuples(item) for name, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


class TreatConfig(TreatSettings, FittedConfig):
    """All that a treat trial computes from."""

    count: Annotated[int, Field(ge=0), EXTENT] = 0
    """Samples, in ``unit``, where the trial has no input pool; 0 where it has one, which says how many there are."""
    unit: Literal["slices", "patients"] = "slices"
    """What ``count`` counts; a patient has as many slices as a training patient on average."""

    @model_validator(mode="after")
    def _somebody_is_left_out(self) -> "TreatConfig":
        if self._takes_fresh and self.fold.patients is None:
            raise ValueError(
                "fresh-real needs training patients that the study leaves out; set data.patients below the training "
                "part"
            )
        return self

    @property
    def borrows(self) -> Fold | None:
        """All training patients, for treatments that take those whom the study leaves out."""
        return whole(self.fold) if self._takes_fresh else None

    @property
    def patients_needed(self) -> int:
        """The most that a ``k-unique-real`` asks for."""
        return max((one.patients for one in self.treatments if isinstance(one, UniqueReal)), default=0)

    @property
    def label(self) -> str:
        """The treatments in their order."""
        return " + ".join(treatment.kind for treatment in self.treatments)

    @property
    def _takes_fresh(self) -> bool:
        return any(isinstance(treatment, FreshReal) for treatment in self.treatments)


def needs_pool(settings: TreatSettings) -> bool:
    """Whether the stage reads a pool; it does not where real slices replace it and nothing imitates it."""
    if not settings.treatments or not isinstance(settings.treatments[0], Source):
        return True
    return any(isinstance(one, _Matched) and one.target == "pool" for one in settings.treatments)


def needs_reference(settings: TreatSettings) -> bool:
    """Whether the stage reads the reference segmenter."""
    return any(isinstance(treatment, Relabel) for treatment in settings.treatments)


def hours(config: TreatConfig) -> float:
    """CPU hours on one core: loading, and a pass per treatment over a pool of some hundred samples at 256 px."""
    return (5.0 + 30.0 * len(config.treatments)) / 3600
