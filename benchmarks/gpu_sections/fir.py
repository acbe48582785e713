"""Section 9: the low-pass of G and D in several ways: forward, gradient, gradient of the gradient; and ADA's warp."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gpu_sections.filters import DOUBLINGS, FILTERS, shifted
from gpu_sections.report import Report
from gpu_sections.timing import profiled, switched, timed
from medsweep.trainers.stylegan2.augment.ada import warp

SAMPLES = 16
SHAPES = ((256, 64), (128, 128), (64, 256), (512, 32))
"""Side and channels."""
TYPES = {"float32": torch.float32, "bf16": torch.bfloat16}
LAYOUTS = {"channels-last": torch.channels_last, "contiguous": torch.contiguous_format}
WRONG = {"float32": 1e-5, "bf16": 2e-2}
"""Largest difference from today's filter over the largest value."""
Operation = Callable[[Tensor], Tensor]


def run(report: Report) -> None:
    """Shapes in the order of their weight; the compiled filter last, since compiling takes seconds."""
    samples, shapes = (2, ((16, 8),)) if report.toy else (SAMPLES, SHAPES)
    with report.part("bandwidth"):
        bandwidth = copy_rate(report)
    with switched(tf32=True, benchmark=True):
        with report.part("ADA's warp"):
            ada_warp(report)
        for side, channels in shapes:
            for kind, dtype in TYPES.items():
                # the plan is channels-last, so what it is compared with is measured once
                for layout, memory_format in list(LAYOUTS.items())[: 2 if (side, channels) == shapes[0] else 1]:
                    with report.part(f"{side} px, {channels}, {kind}, {layout}"):
                        x = torch.randn(samples, channels, side, side, device=report.device, dtype=dtype)
                        setting = {"side": side, "channels": channels, "type": kind, "layout": layout}
                        compare(report, setting, x.contiguous(memory_format=memory_format), bandwidth)
        with report.part("shifted, compiled"):
            compiled(report, samples, *shapes[0], bandwidth)
    report.row("fir", {"way": "a Triton kernel with its adjoint"}, left_out="nobody has written it")


def copy_rate(report: Report) -> float:
    """GB/s of a copy within the device, reads and writes counted."""
    source = torch.randn(2**20 if report.toy else 2**28, device=report.device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / timed(lambda: target.copy_(source), report.device, 0.1).median / 1e6


def operations() -> dict[str, dict[str, Operation]]:
    """By what is done, the ways to do it, today's first."""
    done: dict[str, dict[str, Operation]] = {}
    for name, padding, stride in (("pad 2", 2, 1), ("pad 1", 1, 1), ("halve", 1, 2)):
        done[name] = {way: lambda x, f=f, p=padding, s=stride: f(x, p, s) for way, f in FILTERS.items()}
    return done | {"double": dict(DOUBLINGS)}


def compare(report: Report, setting: dict[str, Any], x: Tensor, bandwidth: float) -> None:
    """All ways for one input."""
    for done, ways in operations().items():
        expected = next(iter(ways.values()))(x)
        for way, operation in ways.items():
            found = operation(x)
            wrong = float((found - expected).abs().max() / expected.abs().max())
            told = setting | {"done": done, "way": way}
            report.check(f"fir/{'/'.join(map(str, told.values()))}", wrong, WRONG[setting["type"]])
            measure(report, told, operation, x, bandwidth)


def measure(report: Report, told: dict[str, Any], operation: Operation, x: Tensor, bandwidth: float) -> None:
    """Times of the three orders of derivative, and the share of the copy's bandwidth that the forward pass reaches."""
    x = x.detach().requires_grad_()
    y = operation(x)
    slope = torch.randn_like(y).requires_grad_()
    (first,) = torch.autograd.grad(y, x, slope, create_graph=True)
    again = torch.randn_like(first)
    seconds = 0.0 if report.toy else 0.012
    with torch.no_grad():
        forward = timed(lambda: operation(x), report.device, seconds, 20)
    gradient = timed(lambda: torch.autograd.grad(y, x, slope, retain_graph=True), report.device, seconds, 20)
    second = timed(lambda: torch.autograd.grad(first, slope, again, retain_graph=True), report.device, seconds, 20)
    rate = (x.nbytes + y.nbytes) / forward.median / 1e6
    report.row(
        "fir",
        told,
        ms=forward.ms,
        gradient_ms=gradient.median,
        second_ms=second.median,
        gb_per_s=rate,
        of_copy=rate / bandwidth,
    )


def ada_warp(report: Report) -> None:
    """ADA's warp as R1 needs it, by time and launches; a filter per map would be derived map by map."""
    samples, side = (2, 16) if report.toy else (32, 64)
    x = torch.randn(samples, 4, side, side, device=report.device, requires_grad=True)
    turn = torch.eye(2, device=report.device).expand(samples, 2, 2) * 1.1
    shift = torch.zeros(samples, 2, device=report.device)

    def r1() -> Tensor:
        (slope,) = torch.autograd.grad((warp(x, turn, shift) ** 2).sum(), x, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), x)[0]

    for name, work in (("forward", lambda: warp(x, turn, shift)), ("R1", r1)):
        work()
        profile = profiled(work, report.device)
        told = {"samples": samples, "side": side, "what": name}
        report.row("warp", told, ms=timed(work, report.device, 0.1).ms, launches=profile.launches)


def compiled(report: Report, samples: int, side: int, channels: int, bandwidth: float) -> None:
    """The shifted sum as one kernel, forward; no compiled graph has a second derivative."""
    backend = "inductor" if report.on_gpu else "eager"
    operation = torch.compile(lambda x: shifted(x, 2, 1), dynamic=False, backend=backend)
    for layout, memory_format in LAYOUTS.items():
        x = torch.randn(samples, channels, side, side, device=report.device).bfloat16()
        x = x.contiguous(memory_format=memory_format)
        told = {"side": side, "channels": channels, "type": "bf16", "layout": layout}
        told |= {"done": "pad 2", "way": f"shifted, compiled ({backend})"}
        with torch.no_grad():
            wrong = float((operation(x) - shifted(x, 2, 1)).abs().max())
            forward = timed(lambda x=x: operation(x), report.device, 0.05)
        rate = (x.nbytes + operation(x).nbytes) / forward.median / 1e6
        report.row("fir", told, ms=forward.ms, gb_per_s=rate, of_copy=rate / bandwidth, differs=wrong)
