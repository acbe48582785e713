"""Named recipes: what the fields of ``gan:`` that a sweep leaves open are set to.

``auto`` and ``paper256`` follow the published training settings of StyleGAN2-ADA (Karras et al. 2020, arXiv 2006.06676,
appendix D and the configurations of its implementation); ``tiny`` is a choice of this project for CPUs.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

Preset = Literal["auto", "paper256", "tiny"]

Values = dict[str, Any]


def auto(resolution: int, batch_size: int | None) -> Values:
    """Batch, width, R1 and averaging by resolution and batch, as for one GPU."""
    batch = batch_size or max(8, min(32, 4096 // resolution))
    return {
        "batch_size": batch,
        "learning_rate": 0.0025,
        "latent_dim": 512,
        "mapping_layers": 2,
        "channel_base": 16384 if resolution < 512 else 32768,
        "channel_max": 512,
        "r1_gamma": 0.0002 * resolution**2 / batch,
        "path_length_weight": 2.0,
        "ema_kimg": batch * 10 / 32,
        "ema_ramp_up": 0.05,
        "minibatch_std_group": _group(batch, 4),
    }


def paper256(resolution: int, batch_size: int | None) -> Values:
    """The published 256 px setting, whose batch of 64 was shared by eight GPUs."""
    batch = batch_size or 64
    return auto(resolution, batch) | {
        "mapping_layers": 8,
        "r1_gamma": 1.0,
        "ema_kimg": 20.0,
        "ema_ramp_up": 0.0,
        "minibatch_std_group": _group(batch, 8),
    }


def tiny(resolution: int, batch_size: int | None) -> Values:
    """Narrow networks and a high learning rate for 32 or 64 px on a CPU; no path length penalty."""
    batch = batch_size or 8
    return auto(resolution, batch) | {
        "learning_rate": 0.005,
        "latent_dim": 64,
        "channel_base": 8 * resolution,
        "channel_max": 32,
        "r1_gamma": 0.5,
        "path_length_weight": 0.0,
    }


PRESETS: Final[Mapping[Preset, Callable[[int, int | None], Values]]] = {
    "auto": auto,
    "paper256": paper256,
    "tiny": tiny,
}


def _group(batch: int, wanted: int) -> int:
    """The largest group of the batch standard deviation, at most ``wanted``, that divides the batch."""
    return max(size for size in range(1, min(batch, wanted) + 1) if batch % size == 0)
