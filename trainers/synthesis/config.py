"""What a pool is made to, as a sweep says it and as one trial has it, and what it may cost."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from medsweep.config import EXTENT, LATER, Config
from medsweep.data.folds import Fold, with_all_patients
from medsweep.data.stage_config import FittedConfig
from medsweep.trainers.synthesis.pipelines import PIPELINES, PipelineName
from medsweep.trainers.synthesis.real_masks import Perturbation
from medsweep.trainers.synthesis.recipe import BATCH

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
