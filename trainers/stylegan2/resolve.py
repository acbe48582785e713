"""From the ``gan:`` section of a sweep to the complete configuration of one GAN.

The presets ``auto`` and ``paper256`` follow the published training settings of StyleGAN2-ADA (Karras et al. 2020, arXiv
2006.06676, appendix D and the configurations of its implementation); ``tiny`` is a choice of this project for CPUs.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from medsweep.config import require_exhaustive
from medsweep.data.folds import Fold
from medsweep.trainers.stylegan2.config import PAINTERS, Augment, GanConfig, GanSettings, Point, Preset, Variant

Fields = dict[str, Any]

INJECTION_PRESETS: Final[Mapping[str, tuple[Point, ...]]] = {
    "generator": ("generator",),
    "discriminator": ("d-blocks", "d-input"),
    "full": ("d-blocks", "d-input", "generator"),
}

READ_BY_AUGMENT: Final[Mapping[Augment, tuple[str, ...]]] = {
    "none": (),
    "diffaugment": (),
    "ada": ("ada_target", "ada_kimg"),
    "ada-fixed": ("ada_p",),
}
"""Fields of ``gan:`` that one kind of augmentation reads and no other."""
require_exhaustive("READ_BY_AUGMENT", READ_BY_AUGMENT, Augment)


def auto(resolution: int, batch_size: int | None) -> Fields:
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


def paper256(resolution: int, batch_size: int | None) -> Fields:
    """The published 256 px setting, whose batch of 64 was shared by eight GPUs."""
    batch = batch_size or 64
    return auto(resolution, batch) | {
        "mapping_layers": 8,
        "r1_gamma": 1.0,
        "ema_kimg": 20.0,
        "ema_ramp_up": 0.0,
        "minibatch_std_group": _group(batch, 8),
    }


def tiny(resolution: int, batch_size: int | None) -> Fields:
    """Narrow networks and a high learning rate for 32 or 64 px on a CPU; no path length penalty."""
    return auto(resolution, batch_size or 8) | {
        "learning_rate": 0.005,
        "latent_dim": 64,
        "channel_base": 8 * resolution,
        "channel_max": 32,
        "r1_gamma": 0.5,
        "path_length_weight": 0.0,
    }


PRESETS: Final[Mapping[Preset, Callable[[int, int | None], Fields]]] = {
    "auto": auto,
    "paper256": paper256,
    "tiny": tiny,
}
require_exhaustive("PRESETS", PRESETS, Preset)


def _group(batch: int, largest: int) -> int:
    """The largest group of the batch standard deviation, at most ``largest``, that divides the batch."""
    return max(size for size in range(1, min(batch, largest) + 1) if batch % size == 0)


def resolve(settings: GanSettings, variant: Variant, fold: Fold, seed: int, resolution: int) -> GanConfig:
    """The complete configuration of one GAN, in which a setting that ``variant`` does not read has a neutral value.

    Two sweeps that differ only in such a setting therefore share the trial.

    Raises:
        ValidationError: ``resolution`` is not a power of two from 16 to 512.
    """
    fields: Fields = dict(settings)
    for name, value in PRESETS[settings.preset](resolution, settings.batch_size).items():
        fields[name] = value if fields[name] is None else fields[name]
    fields |= {"preset": "auto", "init_from": None}
    injection = settings.injection
    points = INJECTION_PRESETS[injection] if isinstance(injection, str) else injection
    fields["injection"] = tuple(sorted(set(points))) if variant in PAINTERS else ()
    if variant == "c-spade":  # G is shown the mask in any case, and has neither a mapping nor noise
        fields["injection"] = tuple(point for point in fields["injection"] if point != "generator")
        fields |= {"mapping_layers": 1, "noise": False, "style_mixing": 0.0, "path_length_weight": 0.0}
    fields |= _neutral_condition(variant, fields["injection"])
    clip_px = settings.mask_clip_px or max(2.0, resolution / 16)
    fields["mask_clip_px"] = clip_px if settings.mask_form == "signed-distance" else 1.0
    fields |= _neutral_training(fields)
    return GanConfig(**fields, variant=variant, fold=fold, seed=seed, resolution=resolution)


def _neutral_condition(variant: Variant, points: tuple[Point, ...]) -> Fields:
    """Fields that only a condition, or only one of its points, gives a meaning."""
    neutral: Fields = {}
    if "generator" not in points:
        neutral["injection_form"] = "add"
    if not {"d-input", "d-blocks"} & set(points):
        neutral |= {"discriminator_form": "concat", "mismatch_weight": 0.0}
    if not points and variant != "c-spade":
        neutral["condition_resize"] = "area"
    if variant in PAINTERS:
        return neutral | {"r1_gamma_mask_ratio": 1.0}
    neutral["segmenter_weight"] = 0.0
    return neutral | ({"focal_frequency_weight": 0.0, "spectrum_weight": 0.0} if variant == "m-sg" else {})


def _neutral_training(fields: Fields) -> Fields:
    neutral: Fields = {}
    if fields["r1_gamma"] == 0:
        neutral |= {"r1_every_steps": 1, "r1_gamma_mask_ratio": 1.0}
    if fields["path_length_weight"] == 0:
        neutral["path_length_every_steps"] = 1
    read = READ_BY_AUGMENT[fields["augment"]]
    for name in {name for names in READ_BY_AUGMENT.values() for name in names}.difference(read):
        neutral[name] = GanSettings.model_fields[name].default
    return neutral
