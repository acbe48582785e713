"""What a sweep may say about the assessment of pools (``assess:``), and the config of one assess trial."""

from typing import Annotated

from pydantic import Field

from medsweep.config import LATER, Config
from medsweep.data.folds import Fold, with_all_patients
from medsweep.data.stage_config import FittedConfig


class AssessSettings(Config):
    """The ``assess:`` section of a sweep."""

    halvings: int = Field(default=8, ge=1)
    """Random halvings of the training patients over which the distances and their null floor are averaged."""
    bootstraps: int = Field(default=200, ge=20)
    """Draws of training patients behind the interval of the Fréchet distance."""
    permutations: int = Field(default=200, ge=19)
    """Shuffled labellings behind the p of the kernel distance; the smallest p is 1 / (permutations + 1)."""
    inception: str | None = None
    """Path of the weights of Inception-v3 (pt_inception-2015-12-05-6726825d.pth), for its Fréchet and kernel distance;
    None leaves them out. Needs ``medsweep[inception]``; the path is part of the trial's address."""


class EmbedConfig(FittedConfig):
    """What an embed trial computes from: the fields of ``AssessSettings`` that say something of the real side."""

    halvings: int
    inception: str | None = None
    left_out: Annotated[bool, LATER] = False
    """Whether the slices of training patients that the study leaves out are looked at too, by which the variety of
    pools is told."""

    @property
    def borrows(self) -> Fold | None:
        """All training patients, where those are looked at whom the study leaves out."""
        return with_all_patients(self.fold) if self.left_out else None


class AssessConfig(AssessSettings, EmbedConfig):
    """All that an assess trial computes from."""

    relabelled: bool = False
    """Whether the pool's masks are what a segmenter sees, so that its agreement says nothing."""


def hours(config: AssessConfig) -> float:
    """CPU hours on one core: loading, one pass over a pool of some 400 samples, and the draws."""
    return _seconds(config, inception=300.0) / 3600


def gpu_hours(config: AssessConfig) -> float:
    """Hours with a GPU: all but the networks stays on the CPU. A prediction until ``benchmarks/gpu.py`` measures it."""
    return _seconds(config, inception=5.0) / 3600


def _seconds(config: AssessConfig, inception: float) -> float:
    draws = 0.15 * config.halvings + 0.005 * (config.bootstraps + config.permutations)
    return 8.0 + (inception if config.inception else 0.0) + draws


def embed_hours(config: EmbedConfig) -> float:
    """CPU hours on one core: loading and one pass over some 400 real slices; their number is not known here."""
    # 0.36 s per image and modality were measured; about 400 images of two modalities
    return (8.0 + (300.0 if config.inception else 0.0)) / 3600


def embed_gpu_hours(config: EmbedConfig) -> float:
    """Hours with a GPU: all but the networks stays on the CPU. A prediction until ``benchmarks/gpu.py`` measures it."""
    return (8.0 + (5.0 if config.inception else 0.0)) / 3600


def probe(config: AssessConfig) -> AssessConfig:
    """The networks over the same slices and pool, with as few draws as there may be: those take none of the GPU."""
    return AssessConfig(**dict(config) | {"halvings": 1, "bootstraps": 20, "permutations": 19, "seed": 0})


def embed_probe(config: EmbedConfig) -> EmbedConfig:
    """The whole trial, which takes seconds: its memory is that of one batch of slices in the network."""
    return config.model_copy(update={"halvings": 1, "seed": 0})
