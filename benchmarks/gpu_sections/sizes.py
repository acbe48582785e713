"""How large the sections work: on the GPU that is measured, and as a toy."""

from dataclasses import dataclass, field
from typing import Any

from gpu_sections.report import Report


@dataclass(frozen=True)
class GanSize:
    """One GAN whose speed is measured."""

    name: str
    resolution: int
    settings: dict[str, Any] = field(default_factory=dict)


SMALL = {"preset": "tiny", "channel_base": 64, "channel_max": 8, "latent_dim": 16, "batch_size": 4}
GANS = (
    GanSize("256 px b16", 256),
    GanSize("128 px b32", 128),
    GanSize("64 px b32", 64),
    GanSize("64 px tiny b8", 64, {"preset": "tiny"}),
)
TOY_GANS = (GanSize("256 px b16", 16, SMALL | {"path_length_weight": 2.0}),)
"""Named after what it stands in for, so that predictions and decisions find it."""


def gans(report: Report) -> tuple[GanSize, ...]:
    """The GANs to time, the largest first."""
    return TOY_GANS if report.toy else GANS


def checked_gan(report: Report) -> tuple[int, dict[str, Any]]:
    """Resolution and settings of the networks that are compared number by number."""
    if report.toy:
        return 16, {"channel_base": 64, "channel_max": 8, "latent_dim": 16, "batch_size": 4}
    return 64, {"channel_base": 2048, "channel_max": 128, "latent_dim": 512, "batch_size": 8}
