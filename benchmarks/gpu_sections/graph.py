"""Section 10: phases as CUDA graphs, then compiled main phases, then both. Style mixing is off throughout."""

import time
from typing import Any

from gpu_sections.capture import record, side_stream, warm_up
from gpu_sections.equal import cosine, relative
from gpu_sections.gan_product import MAIN, PHASES, Gan, compile_main_phases, config_of, plan
from gpu_sections.predictions import GRAPH
from gpu_sections.report import Report
from gpu_sections.sizes import GanSize, gans
from gpu_sections.timing import switched, timed

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
    """The phases of one GAN; where one fails, the next gets a new GAN, since it may have been left half way."""
    gan: Gan | None = None
    for phase in PHASES:
        with report.part(f"graph of {phase}, {size.name}"):
            current, gan = gan or make(report, size), None
            graphed(report, size, phase, current)
            gan = current


def make(report: Report, size: GanSize) -> Gan:
    """A GAN whose steps take nothing from the host."""
    config = config_of("b-sg", size.resolution, **size.settings | {"style_mixing": 0.0})
    return Gan(config, plan(report.device, size.resolution))


def graphed(report: Report, size: GanSize, phase: str, gan: Gan) -> None:
    """One phase as one graph, against three eager steps from the same state with the same random numbers."""
    if phase not in gan.due():
        return
    work = gan.phase(phase)
    eager = timed(work, report.device, 0.0 if report.toy else 0.3)
    replay, apart, taken = captured(report, gan, phase, work)
    time_ms = timed(replay, report.device, 0.0 if report.toy else 0.3, 50)
    setting = {"gan": size.name, "phase": phase, "how": "graph"}
    report.row(
        "graph",
        setting,
        ms=time_ms.ms,
        eager_ms=eager.median,
        times_eager=eager.median / time_ms.median,
        relative=apart,
        capture_seconds=taken,
        predicted=GRAPH.get(size.name) if phase in MAIN else None,
    )
    report.check(f"graph/{size.name}/{phase}", apart, LIMIT)


def captured(report: Report, gan: Gan, phase: str, work: Any) -> tuple[Any, float, float]:
    """The replay of a phase, how far it is from eager steps, and the seconds that recording took."""
    stream = side_stream(report.device)
    warm_up(work, stream)
    state = gan.hold()
    gan.random.manual_seed(SEED)
    warm_up(work, stream, STEPS)
    expected = gan.weights(phase)
    state.restore()
    begun = time.perf_counter()
    replay = record(work, stream, generators=[gan.random], optimizers=[gan.adam(phase)])
    taken = time.perf_counter() - begun
    gan.random.manual_seed(SEED)
    for _ in range(STEPS):
        replay()
    return replay, relative(expected, gan.weights(phase)), taken


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
    for phase in MAIN:
        with report.part(f"compiled and graph, {phase}"):
            replay, apart, _ = captured(report, fast, phase, fast.phase(phase))
            time_ms = timed(replay, report.device, 0.0 if report.toy else 0.3, 50)
            setting = {"gan": size.name, "phase": phase, "how": "compiled and graph"}
            report.row("graph", setting, ms=time_ms.ms, relative=apart)
