"""What a GAN costs before any of its kind has been timed: multiply-adds of the convolutions, counted layer by layer."""

from medsweep.trainers.stylegan2.config import GanConfig
from medsweep.trainers.stylegan2.networks import Architecture

CPU_FLOPS = 40e9
"""Floating-point operations per second that one modern CPU core sustains in convolutions of this size."""

SECONDS_PER_STEP = 0.03
"""What a step costs beside its convolutions, however small the networks are; counts only at 32 or 64 px."""

R1_PASSES = 10.5
"""Cost of an R1 step in forward passes of D: 3.5 times forward and backward, measured with double backward."""

PATH_LENGTH_PASSES = 10.5

NOMINAL_MODALITIES, NOMINAL_CLASSES = 4, 4
"""Stand in for the data's own numbers, which enter only the first and last layers."""


def generator_macs(plan: Architecture) -> float:
    """Multiply-adds of one image through the synthesis of G."""
    shown, joined = plan.condition_width("generator"), plan.joined_width
    maps_per_channel = {"add": 1, "affine": 2, "concat": 0}[plan.injection_form]
    total = 0.0
    for r in plan.resolutions:
        width, pixels = plan.width(r), r * r
        total += 9 * width * width * pixels + width * plan.channels * pixels
        total += maps_per_channel * shown * width * pixels
        if r > 4:  # a transposed convolution works at half the resolution, its low-pass at the full one
            inputs = plan.width(r // 2) + (joined if r == 8 else 0)
            total += 9 * inputs * width * pixels / 4 + 16 * width * pixels
            total += 9 * joined * width * pixels
    return total


def discriminator_macs(plan: Architecture) -> float:
    """Multiply-adds of one image through D."""
    R = plan.resolution
    total = (plan.channels + plan.condition_width("d-input")) * plan.width(R) * R * R
    for r in plan.resolutions[1:]:
        hidden, out, pixels = plan.width(r), plan.width(r // 2), r * r
        inputs = hidden + (plan.condition_width("d-blocks") if r < plan.resolution else 0)
        total += pixels * (9 * inputs * hidden + 16 * hidden) + pixels / 4 * (9 * hidden * out + (16 + out) * inputs)
    last = plan.width(4)
    return total + 16 * 9 * (last + 1) * last + 16 * last * last + 16 * plan.projected_width * last


def flops_per_image(config: GanConfig) -> float:
    """Floating-point operations of training per real image shown, two per multiply-add.

    In passes: the step of G takes 3 of G and 2 of D (no weight gradients), the step of D takes 1 of G and 6 of D (real
    and generated, each forward and backward) and 3 more where it also judges wrong masks; lazy penalties are spread
    over their interval.
    """
    plan = Architecture.of(config, NOMINAL_MODALITIES, NOMINAL_CLASSES)
    passes_g, passes_d = 4.0, 11.0 if config.mismatch_weight else 8.0
    if config.r1_gamma:
        passes_d += R1_PASSES / config.r1_every_steps
    if config.path_length_weight:
        passes_g += PATH_LENGTH_PASSES / 2 / config.path_length_every_steps
    return 2 * (passes_g * generator_macs(plan) + passes_d * discriminator_macs(plan))


def hours(config: GanConfig) -> float:
    """Hours of one CPU core for the whole training."""
    seconds_per_step = SECONDS_PER_STEP + config.batch_size * flops_per_image(config) / CPU_FLOPS
    return config.total_steps * seconds_per_step / 3600
