"""One process per section, all started at once. Each imports what it needs and waits for a line; one works at a time.

The driver never touches CUDA. A section that hangs is ended by its own process group, and one that dies costs itself.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from gpu_sections.record import Section, new_entry

BENCHMARKS = Path(__file__).parents[1]
ROOT = BENCHMARKS.parent
TAIL = 1500
"""Characters of a dead process's last words that are kept."""
Message = dict[str, Any]


def environment(**more: str) -> dict[str, str]:
    """That of a process that finds this package and the repository."""
    path = os.pathsep.join(filter(None, (str(BENCHMARKS), str(ROOT), os.environ.get("PYTHONPATH"))))
    return os.environ | {"PYTHONPATH": path} | more


class Worker:
    """The process of one section, from its imports to its end."""

    def __init__(self, name: str, section: Section, device: str, toy: bool) -> None:
        self._words = tempfile.TemporaryFile()  # noqa: SIM115
        command = [sys.executable, "-m", "gpu_sections.worker", name, device, *(["--toy"] if toy else [])]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            text=True,
            env=environment(**section.environment),
            start_new_session=True,  # so that ending it ends its children too
        )
        self._heard: queue.Queue[Message | None] = queue.Queue()
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()

    def _listen(self, stream: IO[str]) -> None:
        for line in stream:
            self._heard.put(json.loads(line))
        self._heard.put(None)

    def ready(self, deadline: float) -> bool:
        """Wait until it has imported; False if it died or the time of ``time.monotonic`` is over."""
        return any("ready" in message for message in self._messages(deadline))

    def run(self, limit_s: float) -> Iterator[Message]:
        """Let it work, and yield what it says until it ends, dies, or ``limit_s`` have passed."""
        with suppress(BrokenPipeError):
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        yield from self._messages(time.monotonic() + limit_s)

    def _messages(self, deadline: float) -> Iterator[Message]:
        while True:
            try:
                message = self._heard.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                yield {"timeout": True}
                return
            if message is None:
                return
            yield message
            if "ready" in message or "end" in message:
                return

    def end(self) -> None:
        """End the process and its children, whatever they do."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def last_words(self) -> str:
        """How the process ended and the end of what it wrote to its standard error."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.poll()
        self._words.seek(0)
        tail = self._words.read().decode(errors="replace").strip()[-TAIL:]
        return f"exit code {code}\n{tail}" if tail else f"exit code {code}"


def worked(worker: Worker, limit_s: float, facts: dict[str, Any], kernels: dict[str, Any]) -> dict[str, Any]:
    """Let a ready worker work, and return its entry; what it had said before an early end is kept."""
    entry = new_entry("failed")
    begun, ended = time.monotonic(), False
    for message in worker.run(limit_s):
        (kind, value), *_ = message.items()
        if kind in ("checks", "rows"):
            entry[kind].append(value)
        elif kind == "facts":
            facts |= value
        elif kind == "kernels":
            kernels |= value
        elif kind == "timeout":
            entry |= {"state": "timeout", "error": f"not done after {limit_s:.0f} s; what is here came before"}
            ended = True
        elif kind == "end":
            entry |= value
            ended = True
    entry["seconds"] = round(time.monotonic() - begun, 2)
    if not ended:
        entry["error"] = f"the process died: {worker.last_words()}"
    worker.end()
    return entry
