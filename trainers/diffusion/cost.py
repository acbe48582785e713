"""What a diffusion model costs before any of its kind has been timed, and the trial that its memory is read off."""

from medsweep.trainers.diffusion.config import DiffusionConfig, DiffusionSettings
from medsweep.trainers.generation.prices import CPU_FLOPS, GPU_FLOPS, NOMINAL_CLASSES, NOMINAL_MODALITIES

SECONDS_PER_STEP = 0.05
"""What a step on a CPU costs beside its convolutions."""
GPU_SECONDS_PER_STEP = 0.02
"""What a step on a GPU cannot fall below. A guess."""


def flops_per_slice(config: DiffusionConfig) -> float:
    """Floating-point operations of training per slice shown, two per multiply-add: forward, and twice that backward."""
    from medsweep.trainers.diffusion.network import DenoiserArchitecture, macs  # it brings torch

    return 6 * macs(DenoiserArchitecture.of(config, NOMINAL_MODALITIES, NOMINAL_CLASSES))


def hours(config: DiffusionConfig) -> float:
    """Hours of one CPU core for the whole training."""
    return config.total_steps * (SECONDS_PER_STEP + config.batch_size * flops_per_slice(config) / CPU_FLOPS) / 3600


def gpu_hours(config: DiffusionConfig) -> float:
    """Hours alone on one GPU for the whole training; no GPU was ever timed."""
    seconds_per_step = max(GPU_SECONDS_PER_STEP, config.batch_size * flops_per_slice(config) / GPU_FLOPS)
    return config.total_steps * seconds_per_step / 3600


def probe(config: DiffusionConfig) -> DiffusionConfig:
    """Two steps of the same training; what memory does not depend on is neutral."""
    neutral = DiffusionSettings()
    same = {name: getattr(neutral, name) for name in ("noise_mean", "noise_sd", "unmasked_share", "ema_kimg")}
    fields = dict(config) | same | {"learning_rate": neutral.learning_rate, "mask_clip_px": 1.0}
    fields |= {"seed": 0, "start": None, "kimg": 2 * config.batch_size / 1000, "report_every_steps": 1}
    return DiffusionConfig(**fields)
