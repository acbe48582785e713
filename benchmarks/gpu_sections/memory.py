"""Section 4: caps hold, running out of memory has its name, and what a context and the choice of algorithms take."""

import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import torch

from gpu_sections.gan_product import Gan, config_of, plan
from gpu_sections.report import Report
from gpu_sections.sizes import SMALL
from gpu_sections.timing import switched
from medsweep.execution.failures import classify, first_line
from medsweep.execution.gpu_memory import CONTEXT_MIB, Gpu, allocator_share
from medsweep.trainers.stylegan2.cost import divides

CAP, SMALL_CAP = 0.125, 0.05
BLOCK_MIB = 1024
CLEAN_MIB = 64
"""What a process may hold after it has given all back."""


def run(report: Report) -> None:
    """Context and caps first, then peaks; the context is read before anything is on the device."""
    idle_mib = used_by_all_mib() if report.on_gpu else None
    with report.part("context"):
        context(report, idle_mib)
    with report.part("cap"):
        cap(report)
    with report.part("probe"):
        probe(report)
    with report.part("begin again"):
        begin_again(report)
    for resolution in (16,) if report.toy else (256, 128, 64):
        with report.part(f"peaks at {resolution} px"):
            peaks(report, resolution)


def used_by_all_mib() -> float | None:
    """MiB in use on the GPU as the driver tells it, without a context of our own; None where it cannot be asked."""
    if not shutil.which("nvidia-smi"):
        return None
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    lines = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout.split()
    return float(lines[0]) if lines and lines[0].replace(".", "").isdigit() else None


def gan_of(resolution: int, device: str, toy: bool, micro_batches: int = 1, **settings: Any) -> Gan:
    """A GAN of the preset for one GPU, or a toy."""
    config = config_of("b-sg", resolution, **(SMALL | {"path_length_weight": 2.0} if toy else {}) | settings)
    return Gan(config, plan(device, resolution), micro_batches)


def context(report: Report, idle_mib: float | None) -> None:
    """What the driver takes for a process beside what torch has reserved, after a step has loaded its kernels."""
    resolution = 16 if report.toy else 64
    gan = gan_of(resolution, report.device, report.toy)
    with switched(tf32=True, benchmark=True):
        gan.step(1)
    if not report.on_gpu:
        report.needs_cuda("context", {"after": "one step", "constant MiB": CONTEXT_MIB})
        return
    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info()
    taken_mib = (total - free - torch.cuda.memory_reserved()) / 2**20 - (idle_mib or 0.0)
    setting = {"after": "one step", "idle MiB": idle_mib, "constant MiB": CONTEXT_MIB}
    report.row("context", setting, context_mib=taken_mib)
    report.check("memory/context", taken_mib, CONTEXT_MIB, "MiB")


def cap(report: Report) -> None:
    """Fill a capped process: it must fail within a block of its cap, and under the right name."""
    if not report.on_gpu:
        report.needs_cuda("cap", {"share": CAP})
        return
    gpu = Gpu()
    gpu.begin(CAP)
    cap_mib = allocator_share(CAP, gpu.total_mib()) * gpu.total_mib()
    blocks: list[torch.Tensor] = []
    try:
        while len(blocks) * BLOCK_MIB < gpu.total_mib():
            blocks.append(torch.empty(BLOCK_MIB * 2**18, device=report.device))
        outcome, said = "nothing failed", ""
    except Exception as error:
        outcome, said = classify(error), first_line(error)
    held_mib = float(len(blocks) * BLOCK_MIB)
    blocks.clear()
    gpu.begin(1.0)
    report.row("cap", {"share": CAP, "cap MiB": cap_mib}, held_mib=held_mib, outcome=outcome, said=said)
    report.check("memory/cap is kept", held_mib, cap_mib, "MiB")
    report.check("memory/cap can be filled", held_mib, cap_mib - 2 * BLOCK_MIB, "MiB", at_least=True)
    report.check("memory/cap has its name", float(outcome != "out-of-memory"), 0)


def first_fit(attempt: Callable[[int], object], most: int) -> tuple[int | None, list[tuple[int, BaseException]]]:
    """Double the micro-batches until ``attempt`` no longer raises; None where even ``most`` do not fit."""
    failures: list[tuple[int, BaseException]] = []
    parts = 1
    while True:
        try:
            attempt(parts)
            return parts, failures
        except Exception as error:
            error.__traceback__ = None  # holds the tensors of the attempt
            failures.append((parts, error))
        if parts >= most or classify(failures[-1][1]) != "out-of-memory":
            return None, failures
        parts = min(2 * parts, most)


def probe(report: Report) -> None:
    """A GAN that does not fit its share: how the first failure reads, and how many micro-batches make it fit."""
    resolution, batch = (16, 8) if report.toy else (256, 64)
    gpu = Gpu()
    most = divides(config_of("b-sg", resolution, **(SMALL if report.toy else {}) | {"batch_size": batch}))

    def attempt(parts: int) -> None:
        report.clear()
        if report.on_gpu:
            gpu.begin(SMALL_CAP)
        elif parts == 1:
            raise RuntimeError("out of memory, as a CPU that stands in for a GPU says")
        gan = gan_of(resolution, report.device, report.toy, parts, batch_size=batch)
        with switched(tf32=True, benchmark=True):
            gan.step(1)

    parts, failures = first_fit(attempt, most)
    report.clear()
    if report.on_gpu:
        gpu.begin(1.0)
    for tried, error in failures:
        setting = {"share": SMALL_CAP, "batch": batch, "micro-batches": tried}
        report.row("probe", setting, type=type(error).__name__, said=first_line(error), outcome=classify(error))
    report.row("probe", {"share": SMALL_CAP, "batch": batch, "micro-batches": parts}, fits=parts is not None)
    report.check("memory/probe finds what fits", float(parts is None), 0)
    named = all(classify(error) == "out-of-memory" for _, error in failures)
    report.check("memory/probe's failures have their name", float(not named), 0)


def begin_again(report: Report) -> None:
    """After a large step, the next trial of the process starts from nothing."""
    if not report.on_gpu:
        report.needs_cuda("begin again")
        return
    gan_of(16 if report.toy else 256, report.device, report.toy).step(1)
    gpu = Gpu()
    gpu.begin(1.0)
    peak_mib = gpu.peak_mib()
    report.row("begin again", {"after": "a large step"}, reserved_mib=peak_mib)
    report.check("memory/begin starts from nothing", peak_mib, CLEAN_MIB, "MiB")


def peaks(report: Report, resolution: int) -> None:
    """Peak of two steps, with and without the search for algorithms, which reserves its workspaces."""
    reserved: dict[bool, float] = {}
    for benchmark in (False, True):
        report.clear()
        if report.on_gpu:
            torch.cuda.reset_peak_memory_stats()
        gan = gan_of(resolution, report.device, report.toy, r1_every_steps=1, path_length_every_steps=1)
        with switched(tf32=True, benchmark=benchmark):
            gan.step(1)
            gan.step(2)
        del gan
        setting = {"resolution": resolution, "cudnn.benchmark": benchmark}
        if not report.on_gpu:
            report.needs_cuda("peak", setting)
            continue
        reserved[benchmark] = torch.cuda.max_memory_reserved() / 2**20
        allocated = torch.cuda.max_memory_allocated() / 2**20
        report.row("peak", setting, reserved_mib=reserved[benchmark], allocated_mib=allocated)
