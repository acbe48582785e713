"""Times, launches and waits of a piece of work on a device: CUDA events on a GPU, the clock on a CPU."""

import statistics
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

Work = Callable[[], object]
BLOCKS = 3
TOP = 15
"""Kernels that are named."""
FAMILIES = {
    "elementwise": ("elementwise", "vectorized", "unrolled", "foreach", "multi_tensor"),
    "layout": ("nchwtonhwc", "nhwctonchw", "transpose"),
    "copy": ("memcpy", "memset", "copy_"),
}
"""Families of kernels by what their names contain."""
READS = ("aten::_local_scalar_dense", "aten::nonzero", "aten::equal")
"""Operations that a host must wait for; what a CPU can show of waits."""


@dataclass(frozen=True)
class Timed:
    """Milliseconds per call: median, lowest and highest of the blocks."""

    median: float
    low: float
    high: float

    @property
    def ms(self) -> dict[str, float]:
        """As a row holds it."""
        return {"median": round(self.median, 4), "low": round(self.low, 4), "high": round(self.high, 4)}


def synchronise(device: str) -> None:
    """Wait until the device has done all that it was told."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def block_ms(work: Work, times: int, device: str) -> float:
    """Milliseconds per call over ``times`` calls, with the device idle before and after."""
    synchronise(device)
    if not device.startswith("cuda"):
        begun = time.perf_counter()
        for _ in range(times):
            work()
        return (time.perf_counter() - begun) * 1e3 / times
    first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    first.record()
    for _ in range(times):
        work()
    last.record()
    torch.cuda.synchronize()
    return float(first.elapsed_time(last)) / times


def timed(work: Work, device: str, seconds: float = 0.4, most: int = 100) -> Timed:
    """Time warm work in three blocks that take about ``seconds`` together; a toy gives none, and one call is all."""
    once = block_ms(work, 1, device)
    if not seconds:
        return Timed(once, once, once)
    times = max(1, min(most, int(seconds * 1e3 / BLOCKS / max(once, 1e-3))))
    low, median, high = sorted(block_ms(work, times, device) for _ in range(BLOCKS))
    return Timed(median, low, high)


def host_ms(work: Work, device: str) -> float:
    """Milliseconds that one call keeps the host busy, where it does not wait for the device; the median of three."""

    def once() -> float:
        synchronise(device)
        begun = time.perf_counter()
        work()
        spent = (time.perf_counter() - begun) * 1e3
        synchronise(device)
        return spent

    return statistics.median(once() for _ in range(BLOCKS))


def first_call_seconds(work: Work, device: str, calls: int = 3) -> float:
    """Seconds of the first calls, which hold the choice of algorithms."""
    synchronise(device)
    begun = time.perf_counter()
    for _ in range(calls):
        work()
    synchronise(device)
    return time.perf_counter() - begun


@contextmanager
def switched(*, tf32: bool = False, benchmark: bool = False, deterministic: bool = False) -> Iterator[None]:
    """Set the global switches of torch for a while, all of them whatever they were."""
    cudnn = torch.backends.cudnn
    before = torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic
    try:
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = tf32, benchmark, deterministic
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = before[1:]


@dataclass(frozen=True)
class Profile:
    """What one call puts on the device. On a CPU operations stand in for kernels."""

    launches: float
    busy_ms: float
    """Time in which at least one kernel ran."""
    depthwise_ms: float
    """Time in convolutions whose every group has one input channel, forward and backward."""
    shares: dict[str, float]
    """Of the busy time, by family of kernels."""
    top: list[dict[str, Any]]
    """Name, milliseconds and number per call of the kernels that take most."""


def profiled(work: Work, device: str, times: int = 1) -> Profile:
    """Profile ``times`` calls of warm work."""
    on_gpu = device.startswith("cuda")
    kinds = [torch.profiler.ProfilerActivity.CPU] + [torch.profiler.ProfilerActivity.CUDA] * on_gpu
    with torch.profiler.profile(activities=kinds, record_shapes=True) as profile:
        for _ in range(times):
            work()
        synchronise(device)
    events = list(profile.events())
    spans = [(event.name, event.time_range.start, event.time_range.end) for event in events if _ran(event, on_gpu)]
    busy = covered_us([span[1:] for span in spans])
    spent, count = Counter[str](), Counter[str]()
    for name, start, end in spans:
        spent[name] += end - start
        count[name] += 1
    named = [
        {"name": name[:160], "ms": round(us / 1e3 / times, 4), "count": count[name] / times}
        for name, us in spent.most_common(TOP)
    ]
    total = max(sum(spent.values()), 1e-9)
    shares = {
        family: sum(us for name, us in spent.items() if any(part in name.lower() for part in parts)) / total
        for family, parts in FAMILIES.items()
    }
    field = "device_time_total" if on_gpu else "cpu_time_total"
    depthwise = sum(getattr(event, field) for event in events if _is_depthwise(event))
    return Profile(len(spans) / times, busy / 1e3 / times, depthwise / 1e3 / times, shares, named)


def _ran(event: Any, on_gpu: bool) -> bool:
    """Whether an event of the profiler is something that ran on the device."""
    if on_gpu:
        annotation = getattr(event, "is_user_annotation", False) or event.name.startswith(("Optimizer.", "Profiler"))
        return str(event.device_type).endswith("CUDA") and not annotation
    return event.name.startswith("aten::") and not event.cpu_children


def _is_depthwise(event: Any) -> bool:
    place = {"aten::convolution": 1, "aten::convolution_backward": 2}.get(event.name)
    shapes = event.input_shapes or []
    if place is None or len(shapes) <= place or len(shapes[place]) != 4:
        return False
    weight, x = shapes[place], shapes[place - 1]
    return weight[1] == 1 and weight[0] > 1 and x[1] == weight[0]


def covered_us(spans: list[tuple[float, float]]) -> float:
    """Length of the union of some intervals."""
    total, reach = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reach))
        reach = max(reach, end)
    return total


class _Reads(TorchDispatchMode):
    """Notes the line of this repository at which a value is read back."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name in READS:
            self.lines.append(_line_of_ours())
        return func(*args, **(kwargs or {}))


def _line_of_ours() -> str:
    frames = [frame for frame in traceback.extract_stack()[:-2] if "site-packages" not in frame.filename]
    return _short(frames[-1].filename, frames[-1].lineno) if frames else "elsewhere"


def _short(filename: str, line: int | None) -> str:
    return "/".join(Path(filename).parts[-3:]) + f":{line}"


def waits(work: Work, device: str) -> list[str]:
    """File and line of every wait of the host for the device in warm work.

    On a CPU nobody waits; there it is the reads of single values that would be waits on a GPU.
    """
    if not device.startswith("cuda"):
        with _Reads() as reads:
            work()
        return reads.lines
    synchronise(device)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return [_short(one.filename, one.lineno) for one in caught if "synchronizing" in str(one.message)]


def not_repeatable(work: Work) -> list[str]:
    """Operations of ``work`` that have no deterministic form, by the words of torch's warning; one form is used."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            work()
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
    told = {str(one.message).split(" does not have")[0] for one in caught if "deterministic" in str(one.message)}
    return sorted(told)
