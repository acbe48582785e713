"""What a diffusion trial is: the settings of a sweep's ``diffusion:`` section, and the resolved configuration."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from medsweep.config import LATER, Config
from medsweep.data.folds import Fold
from medsweep.trainers.generators import GeneratorConfig, InitFrom, MaskForm

DiffusionVariant = Literal["b-dm", "c-dm"]
"""B-DM draws image and mask together, C-DM an image for a given mask."""

LOWEST: Final = 8
"""Side in pixels of the features of the U-Net's deepest level, which attends to itself."""
GROUPS: Final = 8
"""Groups of its normalisation, so widths are multiples of it."""
MASK_FORM: Final[MaskForm] = "signed-distance"


class DiffusionSettings(Config):
    """The ``diffusion:`` section of a sweep. A field that is None follows from the resolution."""

    kimg: float = Field(default=2000.0, gt=0)
    """Length of the training in thousands of real slices shown."""
    batch_size: int | None = Field(default=None, ge=1)
    """Slices in a step; None is 16 up to 64 px and 32 above."""
    learning_rate: float = Field(default=0.0005, gt=0)
    """Step size of Adam."""
    width: Annotated[int, Field(ge=8, multiple_of=GROUPS)] | None = None
    """Feature maps of the U-Net at full resolution; None is 32 up to 64 px and 64 above. Deeper levels have twice as
    many, and from the third on four times as many above 64 px."""
    blocks: int | None = Field(default=None, ge=1)
    """Residual blocks per level; None is 1 up to 64 px and 2 above."""
    mask_clip_px: float | None = Field(default=None, gt=0)
    """Distance in pixels at which the signed distances of masks saturate; None is resolution / 16, at least 2."""
    noise_mean: float = -1.2
    """Mean of the logarithm of the noise level in training; larger slices may want more noise."""
    noise_sd: float = Field(default=1.2, gt=0)
    """Its standard deviation."""
    unmasked_share: float = Field(default=0.1, gt=0, lt=1)
    """C-DM: share of the slices that are shown without their mask, which ``synthesise.guidance`` rests on."""
    ema_kimg: float = Field(default=500.0, gt=0)
    """Half-life of the averaged network in thousands of slices; at most a twentieth of those seen so far."""
    init_from: Annotated[InitFrom, LATER] = None
    """A published generator that the training begins from: its digest in this store, the path of its folder in another
    one, or ``SWEEP.yaml:ARM``. ``left-out`` first fits one on the training patients that the study leaves out. Several
    generators get one each by variant, as ``{m-sg: DIGEST, c-sg: DIGEST}``. It must have seen nobody held out."""
    flip: Annotated[bool, LATER] = False
    """Learn from every slice mirrored left to right too, where the dataset declares ``mirrored: left-right``."""
    report_every_steps: int = Field(default=100, ge=1)
    """Steps between two reports of the loss, and two looks at early stopping."""


class DiffusionConfig(DiffusionSettings, GeneratorConfig):
    """A diffusion trial with nothing left to derive, made by ``resolve``."""

    variant: DiffusionVariant
    batch_size: int = Field(ge=1)
    width: int = Field(ge=8, multiple_of=GROUPS)
    blocks: int = Field(ge=1)
    mask_clip_px: float = Field(gt=0)

    @property
    def mask_form(self) -> MaskForm:
        """How masks are shown: as signed distances alone."""
        return MASK_FORM


def resolve(
    settings: DiffusionSettings, variant: DiffusionVariant, fold: Fold, seed: int, resolution: int
) -> DiffusionConfig:
    """The complete configuration of one training, in which what ``variant`` does not read has a neutral value.

    Raises:
        ValidationError: ``resolution`` is not a power of two from 16 to 512.
    """
    small = resolution <= 64
    by_resolution: dict[str, Any] = {
        "batch_size": 16 if small else 32,
        "width": 32 if small else 64,
        "blocks": 1 if small else 2,
        "mask_clip_px": max(2.0, resolution / 16),
    }
    fields = dict(settings) | {"init_from": None}
    fields |= {name: value for name, value in by_resolution.items() if fields[name] is None}
    if variant == "b-dm":
        fields["unmasked_share"] = DiffusionSettings.model_fields["unmasked_share"].default
    return DiffusionConfig(**fields, variant=variant, fold=fold, seed=seed, resolution=resolution)
