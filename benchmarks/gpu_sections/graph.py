"""Section 10: phases as the product's CUDA graphs, then compiled main phases, then both.

The product makes graphs of the main phases; the penalties are recorded in the same way to see what that would gain.
"""

import copy
import time
from typing import Any

import torch

from gpu_sections.equal import cosine, relative
from gpu_sections.gan_product import MAIN, PHASES, Gan, compile_main_phases, config_of, plan
from gpu_sections.predictions import GRAPH
from gpu_sections.report import Report
from gpu_sections.sizes import GanSize, gans
from gpu_sections.timing import switched, timed
from medsweep.trainers.stylegan2.config import WARM_UPS
from medsweep.trainers.stylegan2.graphs import CudaRecorder, Recorder, Work

GRAPHED = ("64 px tiny b8", "64 px b32", "256 px b16")
STEPS = 3
SEED = 11
LIMIT = 1e-3
"""Relative difference of the weights after three steps."""
COMPILED, COMPILED_COSINE = 6e-2, 0.998
"""Of a gradient of compiled networks from the same networks as they are, both with the plan's precision."""


def run(report: Report) -> None:
    """Graphs of the smallest first, where they promise most."""
    sizes = tuple(reversed(gans(report)))
    with switched(tf32=True, benchmark=True):
        for size in sizes:
            if size.name in GRAPHED:
                phases_of(report, size)
        with report.part("compiled"):
            compiled(report, next((size for size in sizes if size.name == "128 px b32"), sizes[0]))
    if not report.on_gpu:
        report.needs_cuda("graph", {"note": "the work itself stood in for its replay"})


def phases_of(report: Report, size: GanSize) -> None:
    """The phases of one GAN beside those of an eager one; where one fails, the next gets new GANs."""
    pair: tuple[Gan, Gan] | None = None
    for phase in PHASES:
        with report.part(f"graph of {phase}, {size.name}"):
            (eager, graphed), pair = pair or (make(report, size), make(report, size, recorder_of(report))), None
            if phase in eager.due():
                predicted = GRAPH.get(size.name) if phase in MAIN else None
                row_of(report, size, phase, (eager, graphed), predicted=predicted)
            pair = eager, graphed


def make(report: Report, size: GanSize, recorder: Recorder | None = None) -> Gan:
    """A GAN as a trial trains it, with graphs where there is a recorder."""
    config = config_of("b-sg", size.resolution, **size.settings)
    return Gan(config, plan(report.device, size.resolution), recorder=recorder)


class StandIn:
    """Records nothing; on a CPU the work itself stands in for its replay."""

    def aside(self, work: Work) -> Any:
        """The work, here and now."""
        return work()

    def record(self, work: Work, generator: torch.Generator) -> Work:
        """The work."""
        return work


def recorder_of(report: Report) -> Recorder:
    """The product's own on a GPU."""
    return CudaRecorder() if report.on_gpu else StandIn()


def row_of(
    report: Report, size: GanSize, phase: str, pair: tuple[Gan, Gan], *, how: str = "graph", predicted: Any = None
) -> None:
    """The graph of a phase in the second GAN, against steps of the first from the same state with the same numbers."""
    eager, graphed = pair
    graphed.learner.load_state_dict(copy.deepcopy(eager.learner.state_dict()))
    work, replay = eager.phase(phase), graphed.phase(phase)
    for _ in range(WARM_UPS):
        work()
        replay()
    begun = time.perf_counter()
    replay()  # records first
    taken = time.perf_counter() - begun
    work()
    for _ in range(STEPS - 1):
        work()
        replay()
    apart = relative(eager.weights(phase), graphed.weights(phase))
    report.check(f"{how}/{size.name}/{phase}", apart, LIMIT)
    seconds = 0.0 if report.toy else 0.3
    before, after = timed(work, report.device, seconds), timed(replay, report.device, seconds)
    setting = {"gan": size.name, "phase": phase, "how": how}
    speed = {"eager_ms": before.median, "times_eager": before.median / after.median}
    report.row("graph", setting, ms=after.ms, **speed, relative=apart, capture_seconds=taken, predicted=predicted)


def compiled(report: Report, size: GanSize) -> None:
    """Compiled main phases: seconds to compile, gradient against eager, time; and then as graphs."""
    eager, fast = make(report, size), make(report, size)
    backend = "inductor" if report.on_gpu else "eager"
    compile_main_phases(fast, backend)
    for phase in MAIN:
        for gan in (eager, fast):
            gan.random.manual_seed(SEED)
        begun = time.perf_counter()
        fast.phase(phase)()
        gradient = fast.gradient(phase)
        taken = time.perf_counter() - begun
        eager.phase(phase)()
        r, c = relative(eager.gradient(phase), gradient), cosine(eager.gradient(phase), gradient)
        report.check(f"graph/compiled {phase}/relative", r, COMPILED)
        report.check(f"graph/compiled {phase}/cosine", c, COMPILED_COSINE, at_least=True)
        before = timed(eager.phase(phase), report.device, 0.0 if report.toy else 0.3)
        after = timed(fast.phase(phase), report.device, 0.0 if report.toy else 0.3)
        setting = {"gan": size.name, "phase": phase, "how": f"compiled ({backend})"}
        speed = {"eager_ms": before.median, "times_eager": before.median / after.median}
        report.row("graph", setting, ms=after.ms, **speed, relative=r, compile_seconds=taken)
    graphed = make(report, size, recorder_of(report))
    if not report.toy:  # a second tracing takes a CPU as long as all else here
        compile_main_phases(graphed, backend)
    for phase in MAIN:
        with report.part(f"compiled and graph, {phase}"):
            row_of(report, size, phase, (fast, graphed), how="compiled and graph")
