"""One process per section, all started at once. Each imports what it needs and waits for a line; one works at a time.

The driver never touches CUDA. A section that hangs is ended by its own process group, and one that dies costs itself.
"""

import json
import queue
import threading
import time
from collections.abc import Iterator
from typing import IO, Any

from gpu_sections.processes import Process
from gpu_sections.record import Section, new_entry

Message = dict[str, Any]


class Worker:
    """The process of one section, from its imports to its end."""

    def __init__(self, name: str, section: Section, device: str, toy: bool, *, forks: bool = False) -> None:
        arguments = [name, device, *(["--toy"] if toy else [])]
        self._process = Process("gpu_sections.worker", arguments, section.environment, forks=forks, leads=True)
        self._heard: queue.Queue[Message | None] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True)

    def _listen(self, stream: IO[str]) -> None:
        for line in stream:
            self._heard.put(json.loads(line))
        self._heard.put(None)

    def ready(self, deadline: float) -> bool:
        """Wait until it has imported; False if it died or the time of ``time.monotonic`` is over."""
        self._listener.start()
        return any("ready" in message for message in self._messages(deadline))

    def run(self, limit_s: float) -> Iterator[Message]:
        """Let it work, and yield what it says until it ends, dies, or ``limit_s`` have passed."""
        self._process.tell("go")
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
        self._process.end()

    def last_words(self) -> str:
        """How the process ended and the end of what it wrote to its standard error."""
        return self._process.last_words()


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
