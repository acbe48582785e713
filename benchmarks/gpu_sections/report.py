"""What a section writes to: checks, rows and facts, each sent to the driver the moment it is known."""

import gc
import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import torch

from gpu_sections.record import finite

Setting = dict[str, Any]
NEEDS_CUDA = "needs CUDA"


class Report:
    """The findings of one section on one device."""

    def __init__(self, stream: IO[str], device: str, toy: bool) -> None:
        self._stream, self.device, self.toy = stream, device, toy
        self.on_gpu = device.startswith("cuda")
        self._failures: list[str] = []

    def say(self, kind: str, value: Any) -> None:
        """One line to the driver."""
        self._stream.write(json.dumps({kind: finite(value)}, allow_nan=False) + "\n")
        self._stream.flush()

    def fact(self, name: str, value: Any) -> None:
        """Something that holds for the whole run."""
        self.say("facts", {name: value})

    def check(self, name: str, value: float, limit: float, unit: str = "", *, at_least: bool = False) -> None:
        """A number that must not be above ``limit``, or not below it; NaN fails either way."""
        ok = value >= limit if at_least else value <= limit
        told = {"value": float(value), "limit": float(limit), "unit": unit, "at_least": at_least, "ok": bool(ok)}
        self.say("checks", {"name": name, **told})

    def row(self, what: str, setting: Setting, **measured: Any) -> None:
        """One measurement under one setting."""
        self.say("rows", {"what": what, "setting": setting, **measured})

    def needs_cuda(self, what: str, setting: Setting | None = None) -> None:
        """Say that a measurement was left out for want of a GPU."""
        self.row(what, setting or {}, left_out=NEEDS_CUDA)

    def kernels(self, name: str, kernels: list[dict[str, Any]]) -> None:
        """The kernels that take most, for ``kernels.json``."""
        self.say("kernels", {name: kernels})

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A part of the section that may fail alone; the others go on unless the device itself no longer answers."""
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            self.failed(name, error)
            error.__traceback__ = None  # holds the tensors of the part
            if not self._answers():
                raise RuntimeError(f"the device no longer answers after {name}") from error
        self.clear()

    def failed(self, name: str, error: BaseException) -> None:
        """Take note of a part that raised."""
        where = traceback.extract_tb(error.__traceback__)[-1:]
        place = "".join(f" at {frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in where)
        self._failures.append(f"{name}: {type(error).__name__}{place}: {str(error).strip()[:500]}")

    def clear(self) -> None:
        """Give back what the last part left in the allocator."""
        gc.collect()
        if self.on_gpu:
            torch.cuda.empty_cache()

    def end(self) -> None:
        """Say that the section has ended."""
        self.say("end", {"state": "failed" if self._failures else "done", "error": "\n".join(self._failures) or None})

    def _answers(self) -> bool:
        if not self.on_gpu:
            return True
        try:
            torch.ones(1, device=self.device).add_(1)
            torch.cuda.synchronize()
        except RuntimeError:  # what torch raises for all that CUDA and its allocator say
            return False
        return True
