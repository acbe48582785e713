"""What would make the host wait for a GPU, counted on a CPU: values read back, and copies in either direction."""

import sys
import traceback
from collections.abc import Callable
from typing import Any, Self

import torch
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._python_dispatch import TorchDispatchMode

READ_BACK = {"tolist", "cpu", "numpy", "__array__", "cuda"}
"""Methods of a tensor that copy it, which a CPU has no operation for."""
UPLOADS = {"tensor", "as_tensor", "new_tensor"}
"""Functions that make a tensor of what is on the host."""
SYNCHRONOUS = {"_local_scalar_dense", "nonzero", "masked_select", "unique_dim", "_unique2", "bincount"}
"""Operations whose result decides what the host does next; the first is behind item, bool, float and int."""


class HostWaits:
    """Inside the ``with``, ``lines`` are the places that wait, once per wait."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._modes = (_Functions(self), _Operations(self))

    def note(self, what: str) -> None:
        frames = [frame for frame in traceback.extract_stack() if "trainers" in frame.filename]
        self.lines.append(f"{what}: {frames[-1].filename}:{frames[-1].lineno}" if frames else what)

    def __enter__(self) -> Self:
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)


class _Functions(TorchFunctionMode):
    def __init__(self, waits: HostWaits) -> None:
        self._waits = waits

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = (resolve_name(function) or getattr(function, "__name__", "")).split(".")[-1]
        moves = name == "to" and ("device" in kwargs or any(isinstance(a, torch.device | str) for a in args[1:]))
        moves &= "/torch/" not in sys._getframe(1).f_code.co_filename  # which knows that the tensor is there already
        if name in READ_BACK | UPLOADS or moves:
            self._waits.note(name)
        return function(*args, **kwargs)


class _Operations(TorchDispatchMode):
    def __init__(self, waits: HostWaits) -> None:
        super().__init__()
        self._waits = waits

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = function.overloadpacket.__name__
        by_mask = name.startswith("index") and any(
            index is not None and index.dtype == torch.bool
            for index in (args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else ())
        )
        if name in SYNCHRONOUS or by_mask:
            self._waits.note(name)
        return function(*args, **(kwargs or {}))
