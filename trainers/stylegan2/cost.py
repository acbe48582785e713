"""What a GAN costs before any of its kind has been timed or measured: hours, and the trial that its memory is read off.

Hours come from the multiply-adds of the convolutions, counted layer by layer, and from constants of the device that a
trial computes on.
"""

from typing import Final

from medsweep.trainers.generation.prices import CPU_FLOPS, GPU_FLOPS, NOMINAL_CLASSES, NOMINAL_MODALITIES
from medsweep.trainers.stylegan2.architecture import LOWEST, SPADE_HIDDEN, Architecture
from medsweep.trainers.stylegan2.config import WARM_UPS, GanConfig, GanSettings

PROBED_AS_ONE: Final = (
    "r1_gamma",
    "path_length_weight",
    "lecam_weight",
    "focal_frequency_weight",
    "spectrum_weight",
    "mismatch_weight",
    "segmenter_weight",
)
"""Weights of terms that take memory where they are not 0, however large they are."""

PROBED_AS_DEFAULT: Final = ("style_mixing", "ada_target", "ada_kimg", "ada_p")
"""Fields without any influence on memory."""

SECONDS_PER_STEP = 0.03
"""What a step on a CPU costs beside its convolutions, however small the networks are; counts only at 32 or 64 px."""

GPU_SECONDS_PER_STEP = 0.02
"""What a step on a GPU cannot fall below: some 2,500 kernels, launched in 8 microseconds each. Predicted likewise."""

R1_PASSES = 10.5
"""Cost of an R1 step in forward passes of D: 3.5 times forward and backward, measured with double backward."""

PATH_LENGTH_PASSES = 10.5


def generator_macs(architecture: Architecture) -> float:
    """Multiply-adds of one image through the synthesis of G."""
    if architecture.generator == "spade":
        return spade_macs(architecture)
    shown, joined = architecture.condition_width("generator"), architecture.joined_width
    maps_per_channel = {"add": 1, "affine": 2, "concat": 0}[architecture.injection_form]
    total = 0.0
    for r in architecture.resolutions:
        width, pixels = architecture.width(r), r * r
        total += 9 * width * width * pixels + width * architecture.channels * pixels
        total += maps_per_channel * shown * width * pixels
        if r > 4:  # a transposed convolution works at half the resolution, its low-pass at the full one
            inputs = architecture.width(r // 2) + (joined if r == 8 else 0)
            total += 9 * inputs * width * pixels / 4 + 16 * width * pixels
            total += 9 * joined * width * pixels
    return total


def spade_macs(architecture: Architecture) -> float:
    """Multiply-adds of one image through the generator of SPADE."""
    K, total = architecture.condition_channels, 0.0
    widths = [architecture.width(r) for r in architecture.resolutions]

    def norm(channels: int) -> float:
        hidden = min(SPADE_HIDDEN, channels)
        return 9.0 * hidden * (K + 2 * channels)

    for r, inputs, outputs in zip(architecture.resolutions, [widths[0], *widths[:-1]], widths, strict=True):
        middle = min(inputs, outputs)
        skip = norm(inputs) + inputs * outputs if inputs != outputs else 0
        total += r * r * (norm(inputs) + norm(middle) + 9 * middle * (inputs + outputs) + skip)
    R = architecture.resolution
    return total + architecture.latent_dim * widths[0] * LOWEST**2 + 9 * widths[-1] * architecture.channels * R * R


def discriminator_macs(architecture: Architecture) -> float:
    """Multiply-adds of one image through D."""
    R = architecture.resolution
    total: float = (architecture.channels + architecture.condition_width("d-input")) * architecture.width(R) * R * R
    for r in architecture.resolutions[1:]:
        hidden, out, pixels = architecture.width(r), architecture.width(r // 2), r * r
        inputs = hidden + (architecture.condition_width("d-blocks") if r < architecture.resolution else 0)
        total += pixels * (9 * inputs * hidden + 16 * hidden) + pixels / 4 * (9 * hidden * out + (16 + out) * inputs)
    last = architecture.width(4)
    return total + 16 * 9 * (last + 1) * last + 16 * last * last + 16 * architecture.projected_width * last


def flops_per_image(config: GanConfig) -> float:
    """Floating-point operations of training per real image shown, two per multiply-add.

    In passes: the step of G takes 3 of G and 2 of D (no weight gradients), the step of D takes 1 of G and 6 of D (real
    and generated, each forward and backward) and 3 more where it also judges wrong masks; lazy penalties are spread
    over their interval. The relativistic loss adds 1 of D to the step of G, and penalises generated pairs as well.
    """
    architecture = Architecture.of(config, NOMINAL_MODALITIES, NOMINAL_CLASSES)
    passes_g, passes_d = 4.0, 11.0 if config.mismatch_weight else 8.0
    relativistic = config.loss == "relativistic"
    passes_d += relativistic
    if config.r1_gamma:
        passes_d += (1 + relativistic) * R1_PASSES / config.r1_every_steps
        passes_g += relativistic / config.r1_every_steps
    if config.path_length_weight:
        passes_g += PATH_LENGTH_PASSES / 2 / config.path_length_every_steps
    return 2 * (passes_g * generator_macs(architecture) + passes_d * discriminator_macs(architecture))


def hours(config: GanConfig) -> float:
    """Hours of one CPU core for the whole training."""
    seconds_per_step = SECONDS_PER_STEP + config.batch_size * flops_per_image(config) / CPU_FLOPS
    return config.total_steps * seconds_per_step / 3600


def gpu_hours(config: GanConfig) -> float:
    """Hours alone on one GPU for the whole training; kernels are launched while those before them compute."""
    seconds_per_step = max(GPU_SECONDS_PER_STEP, config.batch_size * flops_per_image(config) / GPU_FLOPS)
    return config.total_steps * seconds_per_step / 3600


def divides(config: GanConfig) -> int:
    """Most micro-batches that a batch can be worked in with the gradient of the whole, to rounding.

    The groups of the batch standard deviation stay whole. LeCam moves its anchors by the mean scores of the whole batch
    before they are used, and the two terms that compare spectra square a mean over the batch, so these allow only one.
    """
    if config.lecam_weight or config.focal_frequency_weight or config.spectrum_weight:
        return 1
    return config.batch_size // config.group


def probe(config: GanConfig) -> GanConfig:
    """Two steps of the same training that visit all phases and diagnostics; what memory does not depend on is neutral.

    Two, since the optimisers' running means, made in the first step, are beside the graphs from the second on. CUDA
    graphs are recorded after their warm-ups, so these come before.
    """
    fields = dict(config)
    fields |= {name: 1.0 if fields[name] else 0.0 for name in PROBED_AS_ONE}
    fields |= {name: GanSettings.model_fields[name].default for name in PROBED_AS_DEFAULT}
    steps = 2 + (WARM_UPS if config.cuda_graphs else 0)
    fields |= {"seed": 0, "kimg": steps * config.batch_size / 1000, "report_every_steps": 1, "learning_rate": 0.0025}
    fields |= {"r1_every_steps": 1, "path_length_every_steps": 1, "r1_gamma_mask_ratio": 1.0, "mask_clip_px": 1.0}
    fields |= {"ema_kimg": 1.0, "ema_ramp_up": 0.0, "start": None}
    return GanConfig(**fields)
