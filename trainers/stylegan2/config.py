"""What a GAN trial is: the settings of a sweep's ``gan:`` section, and the resolved, complete configuration."""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from medsweep.config import LATER, NOT_IDENTITY, Config
from medsweep.trainers.generators import GeneratorConfig, InitFrom, MaskForm

Variant = Literal["b-sg", "m-sg", "c-sg", "c-spade"]
"""B-SG emits image and mask together, M-SG masks alone, C-SG an image for a given mask, and C-SPADE the same with the
generator of SPADE."""

PAINTERS: Final = frozenset({"c-sg", "c-spade"})
"""Variants that are given a mask."""

Point = Literal["d-input", "d-blocks", "generator"]
"""Where C-SG is shown the mask: beside the image, before each lower block of D, after the demodulation in G."""

Preset = Literal["auto", "paper256", "tiny"]
Augment = Literal["none", "diffaugment", "ada", "ada-fixed"]
GeneratorForm = Literal["add", "concat", "affine"]
DiscriminatorForm = Literal["concat", "projection"]
Resize = Literal["area", "nearest"]
Loss = Literal["logistic", "relativistic"]
Weight = Annotated[float, Field(ge=0)]

WARM_UPS: Final = 3
"""Eager calls of a phase before it is recorded as a CUDA graph, steps of the training as any other. Libraries choose
algorithms and take their workspaces in them, and Adam its moments."""


class GanSettings(Config):
    """The ``gan:`` section of a sweep. A field that is None is taken from ``preset``."""

    preset: Preset = "auto"
    """``auto``: by resolution and batch; ``paper256``: the published 256 px setting for 8 GPUs; ``tiny``: for CPUs.
    A sweep that names neither this nor ``kimg`` gets ``tiny`` where generators hold no GPU."""
    injection: Literal["generator", "discriminator", "full"] | Annotated[tuple[Point, ...], Field(min_length=1)] = (
        "full"
    )
    """Where C-SG is shown the mask: a preset, or a list of points."""
    injection_form: GeneratorForm = "add"
    """In G: y + g E(m); the next convolution reads [y ; m]; or y (1 + gamma(m)) + beta(m)."""
    discriminator_form: DiscriminatorForm = "concat"
    """In D: masks join the features; or <features, embedding(m)> is added to the score (Miyato and Koyama 2018)."""
    condition_resize: Resize = "area"
    """How the mask is made smaller for lower resolutions; area averages keep thin structures."""
    mask_form: MaskForm = "signed-distance"
    """Continuous form of a label map: per-class signed distance in [-1, 1], or a softmax against blurred one-hot."""
    mask_clip_px: float | None = Field(default=None, gt=0)
    """Distance in pixels at which the signed distance saturates; None is resolution / 16, at least 2."""
    loss: Annotated[Loss, LATER] = "logistic"
    """``logistic``: that of StyleGAN2. ``relativistic``: D tells each real pair from a generated one beside it, and R1
    is joined by R2, the same penalty on generated pairs (Huang et al. 2024)."""
    kimg: float = Field(default=2000.0, gt=0)
    """Length of the training in thousands of real images shown to D. A sweep that names none gets one by resolution,
    device and number of slices, which ``medsweep plan`` tells."""
    batch_size: int | None = Field(default=None, ge=2)
    """Real images in a step; None takes that of ``preset``."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Step size of Adam in G and D."""
    latent_dim: int | None = Field(default=None, ge=1)
    """Numbers in a latent vector, and in a style."""
    mapping_layers: int | None = Field(default=None, ge=1)
    """Layers of the network that maps latents to styles."""
    channel_base: int | None = Field(default=None, ge=64)
    """Feature maps at resolution r: channel_base / r, at most channel_max and at least 4."""
    channel_max: int | None = Field(default=None, ge=4)
    """Most feature maps at any resolution."""
    r1_gamma: float | None = Field(default=None, ge=0)
    """Weight of the R1 penalty, and of R2 beside the relativistic loss; 0 switches them off."""
    r1_gamma_mask_ratio: float = Field(default=100.0, gt=0)
    """How much more R1 weighs on mask channels (B-SG, M-SG) than on image channels."""
    r1_every_steps: int = Field(default=16, ge=1)
    """R1, and R2 with it, are computed once in so many steps, with a weight so many times as large."""
    path_length_weight: float | None = Field(default=None, ge=0)
    """Weight of the path length penalty of G; 0 switches it off."""
    path_length_every_steps: int = Field(default=4, ge=1)
    """The path length penalty is computed once in so many steps, with a weight so many times as large."""
    style_mixing: float = Field(default=0.9, ge=0, le=1)
    """Probability that the styles of a batch change to a second latent at a random layer."""
    ema_kimg: float | None = Field(default=None, gt=0)
    """Half-life of the averaged generator in thousands of images."""
    ema_ramp_up: float | None = Field(default=None, ge=0)
    """The half-life is at most this share of the images seen so far; 0 is no ramp."""
    minibatch_std_group: int | None = Field(default=None, ge=1)
    """Samples over which D takes its standard deviation; ``batch_size`` is a multiple of it."""
    noise: bool = True
    """Noise inputs of G; off as an ablation."""
    augment: Augment = "diffaugment"
    """What D sees: plain pairs; always distorted ones; or distorted with probability p, adapted or fixed."""
    ada_target: float = Field(default=0.6, gt=0, lt=1)
    """Mean sign of D on real pairs that the adapted p aims at."""
    ada_kimg: float = Field(default=100.0, gt=0)
    """Thousands of images in which the adapted p can move by 1; the published 500 is too slow for short trainings."""
    ada_p: float = Field(default=0.4, ge=0, le=1)
    """Probability of every distortion with ``ada-fixed``."""
    lecam_weight: Weight = 0.0
    """LeCam regularisation of D (Tseng et al. 2021); published values are 1e-7 to 1e-5."""
    focal_frequency_weight: Weight = 0.0
    """Focal frequency loss of G on image channels (Jiang et al. 2021), between batch means: it mends regular artefacts,
    not the texture, whose random phases cancel in a mean."""
    spectrum_weight: Weight = 0.0
    """Distance of G's mean radial log spectrum from that of real images."""
    mismatch_weight: Weight = 0.0
    """C-SG, C-SPADE: weight of real images beside wrong masks as a third, generated-like term of D's loss."""
    segmenter_weight: Weight = 0.0
    """C-SG, C-SPADE: weight of a frozen segmenter's cross-entropy between the image made and its mask, in G's loss."""
    init_from: Annotated[InitFrom, LATER] = None
    """A published generator that the training begins from: its digest in this store, the path of its folder in another
    one, or ``SWEEP.yaml:ARM``. ``left-out`` first fits one on the training patients that the study leaves out. Several
    generators get one each by variant, as ``{m-sg: DIGEST, c-sg: DIGEST}``. It must have seen nobody held out."""
    flip: Annotated[bool, LATER] = False
    """Learn from every slice mirrored left to right too, where the dataset declares ``mirrored: left-right``."""
    report_every_steps: int = Field(default=100, ge=1)
    """Steps between two reports of the losses, and two looks at early stopping."""
    cuda_graphs: Annotated[bool, NOT_IDENTITY] = False
    """On a CUDA device: record the main phases once as graphs and replay them, which spares the host its launches. It
    never met a GPU."""
    compiled: Annotated[bool, NOT_IDENTITY] = False
    """On a CUDA device: run the main phases through ``torch.compile``. It never met a GPU."""

    @field_validator("injection", mode="before")
    @classmethod
    def _list_of_points(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _p_has_a_sign_to_follow(self) -> Self:
        if self.loss == "relativistic" and self.augment == "ada":
            raise ValueError(
                "augment: ada follows the sign of D's scores, which loss: relativistic leaves free, as it reads "
                "differences alone; use ada-fixed or diffaugment"
            )
        return self


class GanConfig(GanSettings, GeneratorConfig):
    """A GAN trial with nothing left to derive, made by ``resolve``; what its variant does not read is neutral."""

    variant: Variant
    injection: tuple[Point, ...]
    """Sorted points; empty for a variant that has no condition."""
    mask_clip_px: float = Field(gt=0)
    batch_size: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    latent_dim: int = Field(ge=1)
    mapping_layers: int = Field(ge=1)
    channel_base: int = Field(ge=64)
    channel_max: int = Field(ge=4)
    r1_gamma: float = Field(ge=0)
    path_length_weight: float = Field(ge=0)
    ema_kimg: float = Field(gt=0)
    ema_ramp_up: float = Field(ge=0)
    minibatch_std_group: int = Field(ge=1)

    @model_validator(mode="after")
    def _whole_groups(self) -> Self:
        if self.batch_size % self.group:
            raise ValueError(
                f"batch_size {self.batch_size} is no multiple of minibatch_std_group {self.group}; change one"
            )
        return self

    @property
    def group(self) -> int:
        """Samples that share a batch standard deviation."""
        return min(self.minibatch_std_group, self.batch_size)
