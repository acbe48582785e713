"""What CUDA graphs do, on a CPU: the operations of a piece of work are kept with their very memory and repeated there.

As with CUDA, recording leaves no trace, the host runs no line of the work when it is replayed, and nothing in it may
read a value back.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

HOST_READS = ("aten::_local_scalar_dense", "aten::nonzero", "aten::equal")


def tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


class Tape(TorchDispatchMode):
    """Operations in their order, and what their targets held before."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self.before: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func._schema.name in HOST_READS:
            raise RuntimeError(f"{func} reads a value back, which cannot be recorded")
        if func._schema.is_mutable:
            self.before += [(x.detach(), x.detach().clone()) for x in tensors((args, kwargs))]
        made = func(*args, **kwargs)
        self.operations.append((func, args, kwargs, made))
        return made

    @torch.no_grad()
    def undo(self) -> None:
        for x, held in reversed(self.before):
            x.copy_(held)
        self.before = []

    @torch.no_grad()
    def repeat(self) -> None:
        for func, args, kwargs, made in self.operations:
            for x, new in zip(tensors(made), tensors(func(*args, **kwargs)), strict=True):
                if x.untyped_storage().data_ptr() != new.untyped_storage().data_ptr():
                    x.detach().copy_(new)


class TapeRecorder:
    """In the place of ``CudaRecorder``; counts what was asked of it."""

    def __init__(self) -> None:
        self.aside_calls, self.recordings, self.replays = 0, 0, 0

    def aside(self, work: Callable[[], Any]) -> Any:
        self.aside_calls += 1
        return work()

    def record(self, work: Callable[[], Any], generator: torch.Generator) -> Callable[[], Any]:
        self.recordings += 1
        state = generator.get_state()
        with Tape() as tape:
            made = work()
        tape.undo()
        generator.set_state(state)

        def replay() -> Any:
            self.replays += 1
            tape.repeat()
            return made

        return replay
