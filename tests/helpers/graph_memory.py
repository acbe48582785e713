"""How much memory the graphs of autograd hold: counted where tensors are kept for the backward pass, on any device."""

from types import TracebackType

import torch
from torch import Tensor


class GraphMemory:
    """Inside the ``with``, bytes of the tensors that graphs keep: ``now``, and at the most so far."""

    def __init__(self) -> None:
        self.now = self.peak = 0
        self._hooks = torch.autograd.graph.saved_tensors_hooks(lambda tensor: _Kept(self, tensor), _Kept.give)

    def __enter__(self) -> "GraphMemory":
        self._hooks.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hooks.__exit__(kind, error, trace)

    def add(self, count: int) -> None:
        self.now += count
        self.peak = max(self.peak, self.now)


class _Kept:
    """One kept tensor; it dies with the graph, which it must not point back to."""

    def __init__(self, memory: GraphMemory, tensor: Tensor) -> None:
        self._memory, self._tensor = memory, tensor.detach()
        memory.add(tensor.nbytes)

    def give(self) -> Tensor:
        return self._tensor

    def __del__(self) -> None:
        self._memory.add(-self._tensor.nbytes)
