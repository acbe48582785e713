"""The main phases of a GAN training as CUDA graphs: recorded once, then replayed with one launch each.

A graph repeats kernels on the memory that they were recorded with. So what the host decides before each call is copied
into that memory first: the numbers of the slices that a phase reads, and the real pairs that it is given. What a phase
decides on the host after its kernels stays outside. Random numbers come from a generator that the graph moves on.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from medsweep.trainers.stylegan2.batches import Batches, PairBatch
from medsweep.trainers.stylegan2.config import WARM_UPS

Tensors = dict[str, Tensor]
Work = Callable[[], Tensors]
MainPhase = Callable[[PairBatch | None], Tensors]
"""A phase on a batch of real pairs, or on none, which ends with a step of its optimiser."""


class Recorder(Protocol):
    """What makes graphs; ``CudaRecorder`` but for tests and benchmarks."""

    def aside(self, work: Work) -> Tensors:
        """Run the work where a later recording of it runs."""

    def record(self, work: Work, generator: torch.Generator) -> Work:
        """Record the work, which draws from ``generator``; running nothing. What is returned replays it.

        A replay returns the same tensors each time, with new values.
        """


class CudaRecorder:
    """Records on one stream of its own, as the default stream cannot be recorded."""

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()

    def aside(self, work: Work) -> Tensors:
        """Run the work on that stream, after what the current one has to do and before what it is given next."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            made = work()
        torch.cuda.current_stream().wait_stream(self._stream)
        return made

    def record(self, work: Work, generator: torch.Generator) -> Work:
        """Record the work; its memory is kept from others as long as the graph lives."""
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(generator)
        torch.cuda.synchronize()
        with torch.cuda.graph(graph, stream=self._stream):
            made = work()

        def replay() -> Tensors:
            graph.replay()
            return made

        return replay


class GraphedPhase:
    """A main phase: eager for ``WARM_UPS`` calls, then recorded, and replayed from then on."""

    def __init__(self, phase: MainPhase, adam: torch.optim.Optimizer, batches: Batches, recorder: Recorder):
        self._phase, self._adam, self._batches, self._recorder = phase, adam, batches, recorder
        self.forget()

    def forget(self) -> None:
        """Drop the graph, since a training that goes on from a checkpoint has its state in other memory."""
        self._warm_ups = 0
        self._rows: list[Tensor] = []
        self._real: PairBatch | None = None
        self._replay: Work | None = None

    def __call__(self, real: PairBatch | None) -> Tensors:
        """One call of the phase; the tensors returned are the caller's."""
        if self._warm_ups < WARM_UPS:
            self._warm_ups += 1
            return self._warm_up(real)
        if self._replay is None:
            self._replay = self._record(real)
        else:
            self._fill(real)
        return {name: value.clone() for name, value in self._replay().items()}

    def _warm_up(self, real: PairBatch | None) -> Tensors:
        """An eager call that notes how many batches of rows the phase draws."""
        self._rows = []

        def noted() -> Tensor:
            self._rows.append(self._batches.next_rows().clone())
            return self._rows[-1]

        with self._batches.rows_from(noted):
            return self._recorder.aside(lambda: self._phase(real))

    def _fill(self, real: PairBatch | None) -> None:
        """Put what the next replay reads into the memory that it reads."""
        for rows in self._rows:
            rows.copy_(self._batches.next_rows())
        if real is not None and self._real is not None:
            self._real.x.copy_(real.x)
            if real.condition is not None and self._real.condition is not None:
                self._real.condition.copy_(real.condition)

    def _record(self, real: PairBatch | None) -> Work:
        if real is not None:
            self._real = PairBatch(real.x.clone(), None if real.condition is None else real.condition.clone())
        self._fill(real)

        def work() -> Tensors:
            held = iter(self._rows)
            with self._batches.rows_from(lambda: next(held)):
                return self._phase(self._real)

        self._adam.zero_grad(set_to_none=True)  # so that gradients are made in the graph's own memory
        with _capturable(self._adam):
            return self._recorder.record(work, self._batches.random)


@contextmanager
def _capturable(adam: torch.optim.Optimizer) -> Iterator[None]:
    """An optimiser refuses to be recorded unless it was told of it; fused kernels are the same in both cases."""
    for group in adam.param_groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group in adam.param_groups:
            group["capturable"] = False
