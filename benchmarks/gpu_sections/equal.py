"""Section 2: every phase of GAN training against the same phase on the CPU in float32; waits; what repeats.

Both sides start from the same weights and get the same random numbers. Of the gradient g of a whole phase, r is
|g - g_ref| / |g_ref| and c the cosine. One input of a leaky ReLU that rounds to the other side of 0 moves r by some
5e-5, so an r of float32 a little above its limit is looked at before it is believed.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gpu_sections.gan_product import MAIN, PHASES, Gan, config_of, plan, same_numbers
from gpu_sections.report import Report
from gpu_sections.sizes import checked_gan
from gpu_sections.timing import block_ms, not_repeatable, switched, waits

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "b-sg": ("b-sg", {"augment": "diffaugment"}),
    "c-sg add": ("c-sg", {"injection": "full", "augment": "ada-fixed", "ada_p": 0.4}),
    "c-sg projection": (
        "c-sg",
        {"injection_form": "concat", "discriminator_form": "projection", "augment": "none", "spectrum_weight": 0.1},
    ),
    "m-sg": ("m-sg", {"mask_form": "soft-one-hot", "lecam_weight": 1e-6}),
}
COSINE = 0.998
TOY = 3.0
"""Of narrow networks, whose sums have few terms to average over, this much more is allowed for."""


@dataclass(frozen=True)
class Precision:
    """How a side computes, and how far its gradients may be from those of the CPU."""

    channels_last: bool = False
    tf32: bool = False
    half: bool = False
    main: float = 1e-4
    penalty: float = 1e-4
    cosine: bool = False


PRECISIONS = {
    "float32": Precision(),
    "float32 channels-last": Precision(channels_last=True),
    "tf32": Precision(tf32=True, main=1e-2, penalty=5e-2, cosine=True),
    "plan": Precision(channels_last=True, tf32=True, half=True, main=6e-2, penalty=5e-2, cosine=True),
}
"""The limits of tf32 are guesses; on a CPU the plan gave r = 0.026 for G, 0.011 for D and c = 0.9997."""


@dataclass(frozen=True)
class Outcome:
    """What a phase leaves."""

    gradient: Tensor
    weights: Tensor
    scalars: dict[str, float]


def run(report: Report) -> None:
    """Numbers first, then waits and repeatability."""
    resolution, sizes = checked_gan(report)
    for name, (variant, settings) in VARIANTS.items():
        with report.part(name):
            config = config_of(variant, resolution, path_length_weight=2.0, **sizes | settings)
            compare(report, name, config)
    for name in ("b-sg", "c-sg add"):
        variant, settings = VARIANTS[name]
        config = config_of(variant, resolution, path_length_weight=2.0, **sizes | settings)
        with report.part(f"waits of {name}"):
            count_waits(report, name, config)
        with report.part(f"repeatability of {name}"):
            repeatability(report, name, config)


def compare(report: Report, name: str, config: Any) -> None:
    """All phases under all precisions."""
    reference = outcomes(config, "cpu", Precision())
    found: dict[str, dict[str, Outcome]] = {}
    for precision, how in PRECISIONS.items():
        found[precision] = outcomes(config, report.device, how)
        for phase in PHASES:
            judge(report, f"{name}/{phase}/{precision}", reference[phase], found[precision][phase])
    for phase in PHASES:
        one, other = (found[layout][phase].gradient for layout in ("float32", "float32 channels-last"))
        report.check(f"equal/{name}/{phase}/channels-last against contiguous", relative(one, other), 1e-4)
    half = outcomes(config, report.device, PRECISIONS["plan"], only="R1", half=True)["R1"]
    r, c = relative(reference["R1"].gradient, half.gradient), cosine(reference["R1"].gradient, half.gradient)
    report.row("equal", {"variant": name, "phase": "R1", "precision": "bf16, for the record"}, relative=r, cosine=c)


def outcomes(
    config: Any, device: str, how: Precision, only: str | None = None, half: bool | None = None
) -> dict[str, Outcome]:
    """What each phase leaves, each from the same state."""
    settings = plan(device, config.resolution, tf32=how.tf32, channels_last=how.channels_last)
    with switched(tf32=how.tf32):
        gan = Gan(config, settings)
        gan.shake()
        state, found = gan.hold(), {}
        for number, phase in enumerate(PHASES):
            if only not in (None, phase):
                continue
            state.restore()
            gan.forget()
            with same_numbers(number):
                scalars = gan.phase(phase, half=(how.half and phase in MAIN) if half is None else half)()
            named = {key: float(value) for key, value in scalars.items() if key.startswith(("loss", "r1", "path"))}
            found[phase] = Outcome(gan.gradient(phase), gan.weights(phase), named)
    return found


def judge(report: Report, name: str, reference: Outcome, found: Outcome) -> None:
    """The checks of one variant/phase/precision, and a row with all that differs."""
    variant, phase, precision = name.split("/")
    how = PRECISIONS[precision]
    more = TOY if report.toy else 1.0
    limit = more * (how.main if phase in MAIN else how.penalty)
    r, c = relative(reference.gradient, found.gradient), cosine(reference.gradient, found.gradient)
    report.check(f"equal/{name}/relative", r, limit)
    if how.cosine:
        report.check(f"equal/{name}/cosine", c, 1 - more**2 * (1 - COSINE), at_least=True)
    weights = relative(reference.weights, found.weights)
    report.check(f"equal/{name}/weights", weights, limit)
    differs = {
        key: abs(value - found.scalars[key]) / max(abs(value), 1e-12) for key, value in reference.scalars.items()
    }
    setting = {"variant": variant, "phase": phase, "precision": precision}
    report.row("equal", setting, relative=r, cosine=c, weights=weights, loss=max(differs.values(), default=0.0))


def relative(reference: Tensor, found: Tensor) -> float:
    """|found - reference| / |reference|."""
    return float((found - reference).norm() / reference.norm())


def cosine(reference: Tensor, found: Tensor) -> float:
    """Of the angle between two vectors."""
    return float(reference @ found / (reference.norm() * found.norm()))


def count_waits(report: Report, name: str, config: Any) -> None:
    """Waits of whole steps: one with both penalties, and one with neither."""
    gan = Gan(config, plan(report.device, config.resolution))
    with switched(tf32=True, benchmark=True):
        for number in range(1, 4):
            gan.step(number)
        due = config.r1_every_steps * config.path_length_every_steps
        for kind, number in (("with penalties", due + 1), ("plain", due + 2)):
            lines = waits(lambda number=number: gan.step(number), report.device)
            report.row("waits", {"variant": name, "step": kind}, waits=len(lines), lines=sorted(lines))
            if report.on_gpu:
                report.check(f"equal/{name}/waits of a step, {kind}", len(lines), 1, "waits")


def repeatability(report: Report, name: str, config: Any) -> None:
    """What has no deterministic form in each phase, and what deterministic algorithms cost."""
    gan = Gan(config, plan(report.device, config.resolution))
    with switched(tf32=True):
        for phase in PHASES:
            work = gan.phase(phase)
            work()
            free = block_ms(work, 2, report.device)
            operations = not_repeatable(work)
            before = torch.are_deterministic_algorithms_enabled()
            torch.use_deterministic_algorithms(True, warn_only=True)
            try:
                bound = block_ms(work, 2, report.device)
            finally:
                torch.use_deterministic_algorithms(before)
            setting = {"variant": name, "phase": phase}
            report.row("deterministic", setting, cost=bound / free - 1, operations=operations)
