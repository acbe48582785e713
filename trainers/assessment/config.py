"""What a sweep may say about the assessment of pools (``assess:``), and the config of one assess trial."""

from pydantic import Field

from medsweep.config import Config
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


class AssessConfig(AssessSettings, FittedConfig):
    """All that an assess trial computes from."""


def hours(config: AssessConfig) -> float:
    """CPU hours on one core: loading and two passes of the segmenter; the pool's size is not known here."""
    # 0.36 s per image and modality were measured; about 400 real and 400 synthetic ones of two modalities
    return _seconds(config, inception=600.0) / 3600


def gpu_hours(config: AssessConfig) -> float:
    """Hours with a GPU: all but the networks stays on the CPU. A prediction until ``benchmarks/gpu.py`` measures it."""
    return _seconds(config, inception=10.0) / 3600


def _seconds(config: AssessConfig, inception: float) -> float:
    inception = inception if config.inception else 0.0
    return 10.0 + inception + 0.5 * config.halvings + 0.01 * (config.bootstraps + config.permutations)


def probe(config: AssessConfig) -> AssessConfig:
    """The networks over the same slices and pool, with as few draws as there may be: those take none of the GPU."""
    return AssessConfig(**dict(config) | {"halvings": 1, "bootstraps": 20, "permutations": 19, "seed": 0})
