"""What follows from the measurements for the code: rules that were fixed before anything was measured. Knows no torch.

Each rule reads the record and says what was measured, what the rule is, what follows, and where the constant stands. A
difference below twice the range of the blocks is none.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from gpu_sections.lookup import LARGE, checks, gan_row, row, rows, savings, told
from gpu_sections.record import Record

TYPICAL_STEPS = 2_000_000 / 32
"""Steps of a training of 2,000 kimg with a batch of 32."""
SHARES = (0.125, 0.25, 0.5, 1.0)


class Decision(NamedTuple):
    """One rule applied."""

    measured: str
    rule: str
    then: str
    where: str

    @property
    def cells(self) -> list[str]:
        """As a row of a table."""
        return list(self)


@dataclass(frozen=True)
class Rule:
    """A rule and the constant that it sets."""

    rule: str
    where: str
    judge: Callable[[Record], tuple[str, str] | None]
    """What was measured and what follows; None where the measurement is missing."""


def decisions(record: Record) -> list[Decision]:
    """All rules applied to a record."""
    made = []
    for rule in RULES:
        found = rule.judge(record)
        measured, then = found if found is not None else ("not measured", "stays as it is")
        made.append(Decision(measured, rule.rule, then, rule.where))
    return made


def half_precision(record: Record) -> tuple[str, str] | None:
    """Does bfloat16 pay?"""
    found, judged = savings(record, "tf32", "plan"), checks(record, "equal", "/plan/")
    if not found or not judged:
        return None
    right, enough = all(check["ok"] for check in judged), min(found.values()) >= 0.15
    measured = f"saves {told(found)}; its checks {'hold' if right else 'fail'}"
    return measured, "bfloat16 stays" if right and enough else "half_from=None"


def layout(record: Record) -> tuple[str, str] | None:
    """Does channels-last pay?"""
    found = savings(record, "bf16 contiguous", "plan")
    if not found:
        return None
    return f"saves {told(found)}", "channels-last stays" if min(found.values()) >= 0.05 else "channels_last=False"


def depthwise(record: Record) -> tuple[str, str] | None:
    """Is the low-pass worth another form?"""
    profile = row(record, "gan", "profile", gan="256 px b16", phase="D")
    if profile is None:
        return None
    share = profile["depthwise_share"]
    measured = f"{share:.0%} of the busy time of D"
    if share <= 0.10:
        return measured, "the filter stays"
    fastest = fastest_filters(record)
    return measured, f"on a GPU take the fastest: {fastest}" if fastest else "above 10 %, but no other was measured"


def fastest_filters(record: Record) -> str:
    """The fastest way by what is done, for bfloat16 in channels-last, all derivatives added up over the shapes."""
    totals: dict[tuple[str, str], float] = {}
    for found in rows(record, "fir", "fir", type="bf16", layout="channels-last"):
        if "gradient_ms" in found:
            key = (found["setting"]["done"], found["setting"]["way"])
            totals[key] = totals.get(key, 0.0) + found["ms"]["median"] + found["gradient_ms"] + found["second_ms"]
    best = {}
    for (done, way), spent in totals.items():
        if done not in best or spent < totals[done, best[done]]:
            best[done] = way
    return ", ".join(f"{done}: {way}" for done, way in best.items())


def penalties(record: Record) -> tuple[str, str] | None:
    """May R1 and path lengths compute in TF32?"""
    judged = [check for phase in ("R1", "path length") for check in checks(record, "equal", f"/{phase}/tf32/")]
    judged = [
        check for check in judged if check["name"].endswith(("relative", "cosine")) and check["value"] is not None
    ]
    if not judged:
        return None
    r = max(check["value"] for check in judged if check["name"].endswith("relative"))
    c = min(check["value"] for check in judged if check["name"].endswith("cosine"))
    return f"r up to {r:.2g}, c down to {c:.5f}", "TF32 stays" if r <= 5e-2 and c >= 0.998 else "penalties without TF32"


def determinism(record: Record) -> tuple[str, str] | None:
    """Can equal bits be promised on GPUs?"""
    found = rows(record, "equal", "deterministic")
    if not found:
        return None
    operations = sorted({name for one in found for name in one["operations"]})
    cost = max(one["cost"] for one in found)
    measured = f"costs up to {cost:.0%}; without deterministic form: {', '.join(operations) or 'none'}"
    if cost <= 0.10 and not operations:
        return measured, "on by default, and equal bits are promised on GPUs"
    return measured, "off; docs/reference/generators.md says that bits may differ on GPUs"


def search(record: Record) -> tuple[str, str] | None:
    """Does the search for algorithms pay back?"""
    said, worth = [], []
    for gan in LARGE:
        on, off = gan_row(record, gan, "plan"), gan_row(record, gan, "plan", benchmark=False)
        if on is None or off is None:
            continue
        warm_up, gain = on["warm_up_seconds"], (off["ms"]["median"] - on["ms"]["median"]) / 1e3
        needed = warm_up / gain if gain > 0 else math.inf
        said.append(f"{gan}: {warm_up:.1f} s, {gain * 1e3:.2f} ms per step, pays after {needed:,.0f} steps")
        worth.append(needed < TYPICAL_STEPS)
    if not said:
        return None
    return "; ".join(said), "on, but for trainings shorter than that" if all(worth) else "off"


def spare(record: Record) -> tuple[str, str] | None:
    """Does the search reserve more than is kept free?"""
    ratios = []
    for resolution in (64, 128, 256):
        on, off = (
            row(record, "memory", "peak", resolution=resolution, **{"cudnn.benchmark": benchmark})
            for benchmark in (True, False)
        )
        if on and off:
            ratios.append(on["reserved_mib"] / off["reserved_mib"])
    if not ratios:
        return None
    measured = f"reserved with over without: up to {max(ratios):.2f}"
    return measured, "SPARE stays" if max(ratios) <= 1.15 else f"probe without it, or SPARE = {max(ratios):.2f}"


def context(record: Record) -> tuple[str, str] | None:
    """What a process takes beside its tensors."""
    found = row(record, "memory", "context")
    if found is None:
        return None
    return f"{found['context_mib']:.0f} MiB", f"CONTEXT_MIB = {found['context_mib'] * 1.2:.0f}"


def prices(record: Record) -> tuple[str, str] | None:
    """What the planner multiplies with."""
    plans = [found for gan in LARGE if (found := gan_row(record, gan, "plan")) is not None]
    small = row(record, "gan", "profile", gan="64 px tiny b8", phase="iteration")
    host_us = record["facts"].get("host us per launch")
    if not plans or small is None or host_us is None:
        return None
    rate, seconds = median(one["tflop_per_s"] for one in plans), small["launches"] * host_us / 1e6
    measured = f"{rate:.1f} TFLOP/s at 128 and 256 px, {small['launches']:.0f} launches of {host_us} us"
    return measured, f"GPU_FLOPS = {rate:.3g}e12, GPU_SECONDS_PER_STEP = {seconds:.3g}"


def unet_price(record: Record) -> tuple[str, str] | None:
    """What a step of a U-Net costs at least."""
    found = row(record, "unet", "unet", step="as it is")
    if found is None:
        return None
    return f"{found['ms']['median']:.2f} ms", f"GPU_SECONDS_PER_STEP = {found['ms']['median'] / 1e3:.2g}"


def slice_price(record: Record) -> tuple[str, str] | None:
    """What a sample of a pool costs."""
    found = row(record, "assess", "synthesise")
    if found is None:
        return None
    return f"{found['seconds_per_slice']:.4f} s at 256 px", f"GPU_SECONDS_PER_SLICE = {found['seconds_per_slice']:.2g}"


def waiting(record: Record) -> tuple[str, str] | None:
    """Who makes the host wait?"""
    found = [
        *rows(record, "equal", "waits"),
        *rows(record, "gan", "step"),
        *rows(record, "unet", "unet", step="as it is"),
    ]
    if not found:
        return None
    lines = sorted({line for one in found if one["waits"] > 1 for line in one["lines"]})
    most = max(one["waits"] for one in found)
    return f"up to {most} per step", "nothing to do" if most <= 1 else f"mend {', '.join(lines)}"


def graphs(record: Record) -> tuple[str, str] | None:
    """Where do graphs pay?"""
    found = {
        gan: [
            one["times_eager"]
            for one in rows(record, "graph", "graph", gan=gan, how="graph")
            if one["setting"]["phase"] in ("G", "D")
        ]
        for gan in ("64 px tiny b8", "64 px b32", "256 px b16")
    }
    gains = {gan: min(values) for gan, values in found.items() if values}
    if not gains:
        return None
    measured = ", ".join(f"{gan} {gain:.2f} times" for gan, gain in gains.items())
    if gains.get("256 px b16", 0.0) >= 1.1:
        return measured, "gan.cuda_graphs on everywhere"
    small = max((gain for gan, gain in gains.items() if gan.startswith("64")), default=0.0)
    return measured, "gan.cuda_graphs on below 128 px" if small >= 1.5 else "no graphs"


def compiling(record: Record) -> tuple[str, str] | None:
    """When does compiling pay back?"""
    found = [one for one in rows(record, "graph", "graph") if "compile_seconds" in one]
    if not found:
        return None
    spent = sum(one["compile_seconds"] for one in found)
    gain = sum(one["eager_ms"] - one["ms"]["median"] for one in found) / 1e3
    needed = 3 * spent / gain if gain > 0 else math.inf
    measured = f"{spent:.0f} s to compile, {gain * 1e3:.2f} ms saved per step"
    return measured, f"main phases of trainings beyond {needed:,.0f} steps" if needed < math.inf else "never"


def unet_precision(record: Record) -> tuple[str, str] | None:
    """bfloat16 or float32 with TF32 in the U-Net?"""
    half = row(record, "unet", "unet", step="as it is")
    full = row(record, "unet", "unet", step="float32")
    if half is None or full is None:
        return None
    measured = f"bf16 {half['ms']['median']:.2f} ms, float32 {full['ms']['median']:.2f} ms"
    return measured, "float32 with TF32" if full["ms"]["median"] <= half["ms"]["median"] else "bfloat16 stays"


def scoring(record: Record) -> tuple[str, str] | None:
    """Does scoring hold a GPU for nothing?"""
    patient = row(record, "unet", "score", part="all")
    step = row(record, "unet", "unet", step="as it is")
    if patient is None or step is None:
        return None
    share = 40 * patient["seconds"] / (20_000 * step["ms"]["median"] / 1e3)
    measured = f"40 patients take {share:.0%} of 20,000 steps"
    return (
        measured,
        "scoring as it is" if share <= 0.2 else "scoring with gpus: 0, or argmax and resizing on the device",
    )


def sharing(record: Record) -> tuple[str, str] | None:
    """How many trials should share a GPU?"""
    found = {
        work: [(one["setting"]["processes"], one["times_one"]) for one in rows(record, "share", "share", work=work)]
        for work in ("tiny", "unet", "gan")
    }
    said, most = [], {}
    for work, points in found.items():
        if not points:
            continue
        said.append(f"{work} " + ", ".join(f"{count}: {gain:.2f}" for count, gain in points))
        most[work] = enough(points)
    if not said:
        return None
    then = ", ".join(f"{work} at most {count} at once" for work, count in most.items())
    return "; ".join(said), f"{then}; a share is the larger of memory and busy share, rounded up to {SHARES}"


def enough(points: Sequence[tuple[int, float]]) -> int:
    """The smallest count beyond which throughput grows by less than 15 %."""
    for (count, gain), (_, next_gain) in pairwise(points):
        if next_gain < 1.15 * gain:
            return count
    return points[-1][0]


def checkpoints(record: Record) -> tuple[str, str] | None:
    """How often may a checkpoint be written?"""
    found = row(record, "gan", "checkpoint")
    if found is None:
        return None
    return (
        f"{found['seconds']:.2f} s, {found['mb']:.0f} MB",
        f"CHECKPOINT_SECONDS = {max(60.0, 30 * found['seconds']):.0f}",
    )


def exactness(record: Record) -> tuple[str, str] | None:
    """Does TF32 move what is published?"""
    found = {
        name: one["relative"]
        for one in rows(record, "assess", "assess", products="TF32")
        if (name := one["setting"]["what"]) in ("frechet", "kid", "iou_mean")
    }
    if not found:
        return None
    measured = ", ".join(f"{name} moves by {value:.1e}" for name, value in found.items())
    moved = max(found.values()) > 1e-3
    return measured, "exact products are not optional" if moved else "exact products stay, at no risk to metrics"


def as_a_whole(record: Record) -> tuple[str, str] | None:
    """May the pages say that it has run on a GPU?"""
    deciding = {
        name: record["sections"].get(name, {"state": "not run", "checks": []}) for name in ("equal", "resume", "memory")
    }
    failed = [
        name
        for name, entry in deciding.items()
        if entry["state"] != "done" or not all(one["ok"] for one in entry["checks"])
    ]
    if record["device"] != "cuda" or record["toy"]:
        return "no full run on a GPU", "the pages still say that no GPU was at hand"
    if failed:
        return f"not passed: {', '.join(failed)}", "the table goes into the page, and the warning stays"
    return "equal, resume and memory passed", "the table goes into the page, and the warning goes"


DEVICE = "trainers/generation/device.py"
RULES = (
    Rule("bfloat16 stays if it saves 15 % and its checks hold", f"{DEVICE}: device_settings", half_precision),
    Rule("channels-last stays if it saves 5 %", f"{DEVICE}: device_settings", layout),
    Rule("above 10 % of D at 256 px: the fastest filter", "trainers/stylegan2/layers.py: low_pass, halve", depthwise),
    Rule("TF32 in penalties if r <= 0.05 and c >= 0.998", "trainers/stylegan2/learner.py: step", penalties),
    Rule("on if it costs 10 % at most and all repeats", f"{DEVICE}: applied", determinism),
    Rule("on where gain per step times steps is above the warm-up", f"{DEVICE}: applied", search),
    Rule("above 15 %: probe without the search, or SPARE", "medsweep/execution/gpu_memory.py: SPARE", spare),
    Rule("measured times 1.2", "medsweep/execution/gpu_memory.py: CONTEXT_MIB", context),
    Rule(
        "median rate; launches times host us",
        "trainers/generation/prices.py, trainers/stylegan2/cost.py: GPU_FLOPS, GPU_SECONDS_PER_STEP",
        prices,
    ),
    Rule("time of a step at 256 px", "trainers/segmentation/config.py: GPU_SECONDS_PER_STEP", unet_price),
    Rule("time of a sample at 256 px", "trainers/synthesis/config.py: GPU_SECONDS_PER_SLICE", slice_price),
    Rule("at most one wait per step", "trainers/stylegan2/batches.py, trainers/segmentation/", waiting),
    Rule(
        "1.5 times at 64 px: below 128 px; 1.1 times at 256 px: everywhere",
        f"{DEVICE}, trainers/stylegan2/phases.py",
        graphs,
    ),
    Rule("gain times steps above three times compiling; never penalties", f"{DEVICE}: device_settings", compiling),
    Rule("the faster one", "trainers/segmentation/train.py: UNetLearner", unet_precision),
    Rule("above 20 % of training: no GPU for scoring", "trainers/scoring/score.py", scoring),
    Rule("the last count that adds 15 %", "medsweep/execution/gpu_memory.py: share_for", sharing),
    Rule("at least 60 s, and 30 times a checkpoint", "medsweep/store/workspace.py: CHECKPOINT_SECONDS", checkpoints),
    Rule(
        "a metric that moves by more than 1e-3 needs exact products",
        "trainers/assessment/, trainers/synthesis/",
        exactness,
    ),
    Rule("the warning goes only if equal, resume and memory passed", "docs/explanation/performance.md", as_a_whole),
)
