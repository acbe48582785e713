"""How near StyleGAN2 training comes to the convolutions it consists of, and to a plain PyTorch peer.

Three measurements with one thread at 64 px, base 2048, at most 128 feature maps, batch 8, 3 channels:

1. peak: every learned convolution of G and D alone (forward, gradient of input, gradient of weight), as often as the
   phases need it. Low-pass filters, linear layers and everything elementwise are left out, so they count as loss of the
   phases. The process that does this keeps its memory, so that no page fault lowers the bar.
2. ours: the phases of ``GanLearner``: images/s, GFLOP/s of the learned convolutions, share of the peak.
3. peer: the networks and losses as a user writes them down: one kernel per sample in a grouped convolution, dense
   low-pass filters, separate elementwise operations, the Adam of torch.

Times are CPU seconds, since others may use the machine. Each side lives in a process of its own, since ours keeps freed
memory while it trains, as the product does, and the peer does not. The sides take turns; speeds and shares come from
the best round, ratios from the median of the rounds. Memory is VmHWM of a side's process (Linux).

The last lines are ADA's warp in R1, ours beside the same convolutions of PyTorch with a derivative per group.

    python benchmarks/stylegan2.py [--rounds N]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from stylegan2_peer import PlainTraining
from torch import Tensor
from torch.nn import functional

from medsweep.data.folds import Fold
from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.stylegan2.architecture import Architecture
from medsweep.trainers.stylegan2.augment import ada
from medsweep.trainers.stylegan2.config import GanSettings
from medsweep.trainers.stylegan2.learner import GanLearner
from medsweep.trainers.stylegan2.resolve import resolve
from medsweep.trainers.training.host_memory import kept_memory

N, R = 8, 64
SETTINGS = GanSettings(channel_base=2048, channel_max=128, batch_size=N, augment="none", style_mixing=0.0)
CONFIG = resolve(SETTINGS, "b-sg", Fold(index=0, of=2), 0, R)
PLAN = Architecture.of(CONFIG, modalities=1, classes=2)
PHASES = {"G": 1.0, "D": 1.0, "R1": 1 / CONFIG.r1_every_steps, "path length": 1 / CONFIG.path_length_every_steps}
"""Times per iteration."""
IMAGES = {"G": N, "D": N, "R1": N, "path length": N // 2}
Side = dict[str, Callable[[], object]]


class Conv(NamedTuple):
    """A learned convolution from I to O features; ``side`` is that of the input in pixels."""

    inputs: int
    outputs: int
    kernel: int
    side: int
    stride: int = 1
    transposed: bool = False
    first: bool = False
    """Whether its input is the image."""

    def gflop(self, samples: int) -> float:
        """Of the forward pass, two per multiply-add; each gradient costs the same."""
        positions = self.side if self.transposed else (self.side - self.kernel % 2 * (self.stride - 1)) // self.stride
        return 2e-9 * samples * self.inputs * self.outputs * self.kernel**2 * positions**2


def convolutions() -> tuple[list[Conv], list[Conv]]:
    """Those of G and those of D."""
    width, g, d = PLAN.width, [], [Conv(PLAN.channels, PLAN.width(R), 1, R, first=True)]
    for r in PLAN.resolutions:
        if r > 4:
            g.append(Conv(width(r // 2), width(r), 3, r // 2, 2, transposed=True))
            d.append(Conv(width(r), width(r), 3, r))
            d.append(Conv(width(r), width(r // 2), 3, r + 1, 2))
            d.append(Conv(width(r), width(r // 2), 1, r // 2))
        g += [Conv(width(r), width(r), 3, r), Conv(width(r), PLAN.channels, 1, r)]
    return g, [*d, Conv(width(4) + 1, width(4), 3, 4)]


def isolated_seconds(conv: Conv, samples: int, rounds: int) -> tuple[float, float, float]:
    """Best CPU seconds of the forward pass, the gradient of the input and that of the weight.

    Where both gradients together take less than one after the other, the weight's is what it adds to the input's.
    """
    x = torch.randn(samples, conv.inputs, conv.side, conv.side)
    shape = (conv.inputs, conv.outputs) if conv.transposed else (conv.outputs, conv.inputs)
    weight = torch.randn(*shape, conv.kernel, conv.kernel)
    padding = conv.kernel // 2 if conv.stride == 1 else 0
    operation = functional.conv_transpose2d if conv.transposed else functional.conv2d
    y = operation(x, weight, stride=conv.stride, padding=padding)
    geometry = (None, [conv.stride] * 2, [padding] * 2, [1, 1], conv.transposed, [0, 0], 1)
    backward = torch.ops.aten.convolution_backward
    forward = best(lambda: operation(x, weight, stride=conv.stride, padding=padding), rounds)
    masks = ([True, False, False], [False, True, False], [True, True, False])
    to_input, to_weight, both = (best(lambda m=m: backward(y, x, weight, *geometry, m), rounds) for m in masks)
    return forward, to_input, max(0.0, min(to_weight, both - to_input))


def peak(rounds: int) -> dict[str, tuple[float, float]]:
    """GFLOP and isolated seconds of each phase's convolutions."""
    g, d = convolutions()
    passes = {  # layers, samples, how many forward passes, input gradients, weight gradients
        "G": ((g, N, (1, 1, 1)), (d, N, (1, 1, 0))),
        "D": ((g, N, (1, 0, 0)), (d, 2 * N, (1, 1, 1))),
        "R1": ((d, N, (2, 2, 2)),),
        "path length": ((g, N // 2, (2, 2, 2)),),
    }
    seconds: dict[tuple[Conv, int], tuple[float, float, float]] = {}
    totals = {}
    for phase, networks in passes.items():
        gflop = spent = 0.0
        for layers, samples, counts in networks:
            for conv in layers:
                if (conv, samples) not in seconds:
                    seconds[conv, samples] = isolated_seconds(conv, samples, rounds)
                # the image needs no gradient while D learns, and one only once in R1
                to_input = counts[1] - 1 if conv.first and phase in ("D", "R1") else counts[1]
                use = (counts[0], to_input, counts[2])
                gflop += conv.gflop(samples) * sum(use)
                spent += sum(count * cost for count, cost in zip(use, seconds[conv, samples], strict=True))
        totals[phase] = (gflop, spent)
    return totals


def ours() -> Side:
    """The phases of the learner, on random slices."""
    random = np.random.default_rng(0)
    data = TrainingSet(
        patients=("p",),
        images=torch.from_numpy(random.standard_normal((64, 1, R, R), dtype=np.float32)),
        channels=torch.from_numpy(random.uniform(-1, 1, (64, 2, R, R)).astype(np.float16)),
        labels=random.integers(0, 2, (64, R, R), dtype=np.uint8),
    )
    learner = GanLearner(CONFIG, data, "cpu")
    phases, real = learner.phases, learner.batches.real()
    return {
        "G": phases.generator,
        "D": lambda: phases.discriminator(real, 1),
        "R1": lambda: phases.r1(real),
        "path length": phases.path_length,
    }


def peer() -> Side:
    """The phases of the plain PyTorch side."""
    plain = PlainTraining(PLAN, CONFIG)
    return dict(zip(PHASES, (plain.generator, plain.discriminator, plain.r1, plain.path_length), strict=True))


KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**34), "MALLOC_MMAP_THRESHOLD_": str(2**34)}
"""Tells the allocator of glibc to return nothing to the system."""

SIDES: dict[str, Callable[[], Side]] = {"ours": ours, "peer": peer}


def cpu_seconds(work: Callable[[], object]) -> float:
    """Of one call."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def best(work: Callable[[], object], rounds: int) -> float:
    """Fewest CPU seconds of ``rounds`` calls after a first one that is not counted."""
    work()
    return min(cpu_seconds(work) for _ in range(rounds))


class OwnProcess:
    """One side in a process of its own that runs a phase when it is told to."""

    def __init__(self, side: str):
        command = [sys.executable, __file__, "--task", side]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, what: str) -> float:
        """CPU seconds of a phase, or what else ``answer`` knows."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        print(what, file=self._child.stdin, flush=True)
        return float(self._child.stdout.readline())

    def end(self) -> float:
        """Peak memory in MiB."""
        peak_mib = self.ask("memory")
        self._child.communicate()
        return peak_mib


def answer(side: str) -> None:
    """Run phases as they are named on standard input."""
    with kept_memory() if side == "ours" else nullcontext():
        phases = SIDES[side]()
        for line in sys.stdin:
            if line.strip() == "memory":
                print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024, flush=True)
            else:
                print(cpu_seconds(phases[line.strip()]), flush=True)


def in_turn(rounds: int) -> tuple[dict[str, dict[str, list[float]]], dict[str, float]]:
    """CPU seconds by side, phase and round, and peak memory by side."""
    sides = {name: OwnProcess(name) for name in SIDES}
    taken: dict[str, dict[str, list[float]]] = {name: {phase: [] for phase in PHASES} for name in sides}
    for number in range(rounds + 1):
        for phase in PHASES:
            for name, side in sides.items():
                spent = side.ask(phase)
                if number:  # the first round warms up
                    taken[name][phase].append(spent)
    return taken, {name: side.end() for name, side in sides.items()}


def in_fresh_process(task: str, rounds: int, **environment: str) -> Any:
    """What ``--task`` prints, from a fresh process."""
    command = [sys.executable, __file__, "--task", task, "--rounds", str(rounds)]
    finished = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | environment)
    return json.loads(finished.stdout)


def warp_seconds(rounds: int) -> tuple[float, float]:
    """CPU seconds of a gradient of the square of a gradient through ADA's warp: ours, and plain convolutions."""
    x = torch.randn(N, 3, R, R, requires_grad=True)
    turn_N22, shift_N2 = torch.eye(2).expand(N, 2, 2) * 0.9, torch.full((N, 2), 1.5)

    def second_derivative() -> None:
        (slope,) = torch.autograd.grad(ada.warp(x, turn_N22, shift_N2).square().sum(), x, create_graph=True)
        torch.autograd.grad(slope.square().sum(), x)

    def plain(x: Tensor, kernel: Tensor, stride: tuple[int, int], padding: int, adjoint: bool) -> Tensor:
        operation = functional.conv_transpose2d if adjoint else functional.conv2d
        return operation(x, kernel, stride=stride, padding=padding, groups=len(kernel))

    spent = best(second_derivative, rounds)
    with mock.patch.object(ada, "strided_filter", plain):
        return spent, best(second_derivative, rounds)


def report(rounds: int) -> Iterator[str]:
    """The lines of the report."""
    isolated = in_fresh_process("peak", rounds, **KEEP_MEMORY)
    taken, peak_mib = in_turn(rounds)
    ceiling = [sum(isolated[phase][i] for phase in ("G", "D")) for i in (0, 1)]
    yield f"torch {torch.__version__}, 1 thread; peak over the main phases: {ceiling[0] / ceiling[1]:.1f} GFLOP/s"
    yield f"{'phase':<12}{'ms':>8}{'images/s':>10}{'GFLOP/s':>9}{'of peak':>9}{'peer ms':>9}{'peer/ours':>11}"
    for phase, (gflop, seconds) in isolated.items():
        fastest = {name: min(times[phase]) for name, times in taken.items()}
        medians = {name: statistics.median(times[phase]) for name, times in taken.items()}
        yield (
            f"{phase:<12}{fastest['ours'] * 1e3:8.0f}{IMAGES[phase] / fastest['ours']:10.1f}"
            f"{gflop / fastest['ours']:9.1f}{seconds / fastest['ours']:9.0%}{fastest['peer'] * 1e3:9.0f}"
            f"{medians['peer'] / medians['ours']:11.2f}"
        )
    main = sum(min(taken["ours"][phase]) for phase in ("G", "D"))
    yield f"main phases: {ceiling[1] / main:.0%} of peak"
    iteration = {
        name: sum(share * statistics.median(times[phase]) for phase, share in PHASES.items())
        for name, times in taken.items()
    }
    yield (
        f"iteration (G + D + R1/16 + path length/4): ours {iteration['ours'] * 1e3:.0f} ms, "
        f"peer {iteration['peer'] * 1e3:.0f} ms, peer/ours {iteration['peer'] / iteration['ours']:.2f}"
    )
    yield "peak memory: " + ", ".join(f"{side} {mib:.0f} MiB" for side, mib in peak_mib.items())
    warp, plain = warp_seconds(rounds)
    yield f"second derivative of ADA's warp: ours {warp * 1e3:.0f} ms, plain {plain * 1e3:.0f} ms: {plain / warp:.2f}"


def main() -> None:
    """Print the report, or one of its measurements as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--task", choices=["peak", *SIDES])
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.task == "peak":
        print(json.dumps(peak(options.rounds)))
    elif options.task in SIDES:
        answer(options.task)
    else:
        for line in report(options.rounds):
            print(line, flush=True)


if __name__ == "__main__":
    main()
