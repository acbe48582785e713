"""A piece of work as a CUDA graph: recorded once, replayed with one launch.

Work that can be recorded reads and writes the same memory each time, copies nothing from or to the host, and draws from
generators that the graph knows. Gradients are dropped before the recording and made within it, so that they live in the
graph's own memory. On a CPU the work itself stands in for its replay.
"""

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch

Work = Callable[[], object]
WARM_UPS = 3
"""Calls before the recording, in which libraries choose algorithms and take their workspaces, and Adam its moments."""


def side_stream(device: str) -> torch.cuda.Stream | None:
    """A stream to warm up and record on; recording on the default stream is not allowed."""
    return torch.cuda.Stream() if device.startswith("cuda") else None


def warm_up(work: Work, stream: torch.cuda.Stream | None, times: int = WARM_UPS) -> None:
    """Run the work on the stream that will record it."""
    with on(stream):
        for _ in range(times):
            work()


def on(stream: torch.cuda.Stream | None) -> AbstractContextManager[object]:
    """Work on a stream, after what the current one has to do and before what it will be given next."""
    return nullcontext() if stream is None else _Ordered(stream)


class _Ordered:
    def __init__(self, stream: torch.cuda.Stream) -> None:
        self._stream, self._inner = stream, torch.cuda.stream(stream)

    def __enter__(self) -> None:
        self._stream.wait_stream(torch.cuda.current_stream())
        self._inner.__enter__()

    def __exit__(self, *error: object) -> None:
        self._inner.__exit__(*error)
        torch.cuda.current_stream().wait_stream(self._stream)


def record(
    work: Work,
    stream: torch.cuda.Stream | None,
    *,
    generators: Sequence[torch.Generator] = (),
    optimizers: Sequence[torch.optim.Optimizer] = (),
) -> Work:
    """Record warm work; returns what replays it. Recording itself runs nothing.

    ``generators`` are those that the work draws from, ``optimizers`` those that step or gather gradients in it.
    """
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    if stream is None:
        return work
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["capturable"] = True
    graph = torch.cuda.CUDAGraph()
    with warnings.catch_warnings():
        # newer versions of torch find the generators themselves, and say so
        warnings.simplefilter("ignore")
        for generator in generators:
            graph.register_generator_state(generator)
    torch.cuda.synchronize()
    with torch.cuda.graph(graph, stream=stream):
        kept = work()

    def replay() -> object:
        graph.replay()
        return kept

    return replay
