"""Section 5: how fast each phase of GAN training is, by resolution and setting, and what it puts on the device."""

import tempfile
import time
from pathlib import Path
from typing import Any

from gpu_sections.gan_product import Gan, config_of, gflop_per_image, plan
from gpu_sections.lookup import LARGE
from gpu_sections.predictions import CHECKPOINT, GAN
from gpu_sections.report import Report
from gpu_sections.sizes import GanSize, gans
from gpu_sections.timing import Profile, Timed, block_ms, first_call_seconds, host_ms, profiled, switched, timed, waits

SETTINGS: dict[str, dict[str, Any]] = {
    "plan": {},
    "tf32": {"half_from": None, "channels_last": False},
    "bf16 contiguous": {"channels_last": False},
}
STEPS = 16
"""One of them has R1 and four have path lengths."""


def run(report: Report) -> None:
    """What a trial does comes first, at all resolutions; then what it is compared with where that decides."""
    for size in gans(report):
        with report.part(f"{size.name}, plan"):
            as_planned(report, size)
    for size in sorted(gans(report), key=lambda size: size.name not in LARGE):
        for setting in ("tf32", "bf16 contiguous"):
            with report.part(f"{size.name}, {setting}"):
                measure(report, size, setting, benchmark=True)
        with report.part(f"{size.name}, plan without search"):
            measure(report, size, "plan", benchmark=False)
        if size == gans(report)[0]:
            with report.part("float32"):
                float32(report, size)
    for size in gans(report):
        with report.part(f"{size.name}, twice the batch"):
            batch = 2 * config_of("b-sg", size.resolution, **size.settings).batch_size
            measure(report, size, "plan", benchmark=True, batch_size=batch)


def make(report: Report, size: GanSize, setting: str, **more: Any) -> Gan:
    """A GAN under one setting."""
    config = config_of("b-sg", size.resolution, **size.settings | more)
    return Gan(config, plan(report.device, size.resolution, **SETTINGS[setting]))


def measure(report: Report, size: GanSize, setting: str, *, benchmark: bool, **more: Any) -> tuple[Gan, Timed]:
    """Time each phase warm, and tell the iteration that they make up; returns the GAN and the iteration."""
    gan = make(report, size, setting, **more)
    seconds = 0.0 if report.toy else 0.35
    with switched(tf32=True, benchmark=benchmark):
        warm_up = sum(first_call_seconds(gan.phase(phase), report.device) for phase in gan.due())
        times = {phase: timed(gan.phase(phase), report.device, seconds) for phase in gan.due()}
        host = sum(share * host_ms(gan.phase(phase), report.device) for phase, share in gan.due().items())
    told = {"gan": size.name, "setting": setting, "cudnn.benchmark": benchmark, "batch": gan.config.batch_size}
    whole, batch = iteration(times, gan.due()), gan.config.batch_size
    for phase, time_ms in times.items():
        report.row("phase", told | {"phase": phase}, ms=time_ms.ms)
    report.row(
        "gan",
        told,
        ms=whole.ms,
        **speeds(whole, batch),
        host_ms=host,
        warm_up_seconds=warm_up,
        tflop_per_s=gflop_per_image(gan.config) * batch / whole.median,
        predicted=f"{GAN[size.name]['GPU s/kimg']} s/kimg" if setting == "plan" and not more else None,
    )
    return gan, whole


def iteration(times: dict[str, Timed], due: dict[str, float]) -> Timed:
    """G + D + R1/16 + path length/4."""
    return Timed(*(sum(due[phase] * getattr(times[phase], end) for phase in due) for end in ("median", "low", "high")))


def speeds(time_ms: Timed, batch: int) -> dict[str, float]:
    """Of a batch per iteration."""
    return {"images_per_s": 1e3 * batch / time_ms.median, "s_per_kimg": time_ms.median / batch}


def as_planned(report: Report, size: GanSize) -> None:
    """What a trial does: phases, whole steps, waits, what runs on the device, and a checkpoint of the largest."""
    gan, iteration_ms = measure(report, size, "plan", benchmark=True)
    with switched(tf32=True, benchmark=True):
        whole_steps(report, size, gan)
        profiles = {phase: profiled(gan.phase(phase), report.device) for phase in gan.due()}
    tell_profile(report, size, gan.due(), profiles, iteration_ms.median)
    if size == gans(report)[0]:
        checkpoint(report, size, gan)


def whole_steps(report: Report, size: GanSize, gan: Gan) -> None:
    """Steps as a trial does them, with the running mean of the weights and what is read back."""
    steps = 2 if report.toy else STEPS
    number = iter(range(1, 10**6))
    low, median, high = sorted(block_ms(lambda: gan.step(next(number)), steps, report.device) for _ in range(3))
    first_plain = 16 * 10**6 + 2
    lines = waits(lambda: gan.step(first_plain), report.device)
    report.row(
        "step",
        {"gan": size.name, "setting": "plan", "batch": gan.config.batch_size},
        ms=Timed(median, low, high).ms,
        **speeds(Timed(median, low, high), gan.config.batch_size),
        waits=len(lines),
        lines=sorted(set(lines)),
        predicted=f"investigate above {GAN[size.name]['investigate above s/kimg']} s/kimg",
    )


def tell_profile(
    report: Report, size: GanSize, due: dict[str, float], profiles: dict[str, Profile], wall: float
) -> None:
    """What an iteration puts on the device, and the shares of D alone, where depthwise kernels weigh most."""
    busy = sum(share * profiles[phase].busy_ms for phase, share in due.items())
    report.row(
        "profile",
        {"gan": size.name, "setting": "plan", "phase": "iteration"},
        launches=sum(share * profiles[phase].launches for phase, share in due.items()),
        busy_ms=busy,
        busy_share=min(1.0, busy / wall),
        wait_share=max(0.0, 1 - busy / wall),
        predicted=f"{GAN[size.name]['launches']} launches",
    )
    for phase, profile in profiles.items():
        shares = {f"{family}_share": share for family, share in profile.shares.items()}
        setting = {"gan": size.name, "setting": "plan", "phase": phase}
        depthwise = profile.depthwise_ms / max(profile.busy_ms, 1e-9)
        report.row(
            "profile", setting, launches=profile.launches, busy_ms=profile.busy_ms, depthwise_share=depthwise, **shares
        )
        report.kernels(f"{size.name}, plan, {phase}", profile.top)


def checkpoint(report: Report, size: GanSize, gan: Gan) -> None:
    """Seconds and bytes of one checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        gan.save(Path(folder) / "c")
        seconds = time.perf_counter() - begun
        size_mb = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e6
    report.row("checkpoint", {"gan": size.name}, seconds=seconds, mb=size_mb, predicted=CHECKPOINT)


def float32(report: Report, size: GanSize) -> None:
    """Without TF32, three iterations of the largest GAN."""
    gan = make(report, size, "tf32")
    with switched(benchmark=True):
        for phase in gan.due():
            gan.phase(phase)()
        times = {phase: Timed(*[block_ms(gan.phase(phase), 3, report.device)] * 3) for phase in gan.due()}
    told = {"gan": size.name, "setting": "float32", "cudnn.benchmark": True, "batch": gan.config.batch_size}
    whole = iteration(times, gan.due())
    report.row("gan", told, ms=whole.ms, **speeds(whole, gan.config.batch_size))
