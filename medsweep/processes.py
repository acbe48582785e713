"""The processes that this one started, and what those started in turn."""

import os
import signal
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

Process = tuple[int, int]
"""Id of a process and its start time in clock ticks since boot: an id alone is used again."""


def descendants(pid: int | None = None) -> set[Process]:
    """Living processes below ``pid``, or below this process; nothing where there is no ``/proc``."""
    children: dict[int, list[Process]] = defaultdict(list)
    for path in Path("/proc").glob("[0-9]*/stat"):
        if (fields := _living(path)) is not None:
            children[int(fields[1])].append((int(path.parent.name), int(fields[19])))
    below: set[Process] = set()
    todo = [os.getpid() if pid is None else pid]
    while todo:
        for process in children[todo.pop()]:
            below.add(process)
            todo.append(process[0])
    return below


def process_start(pid: int) -> int | None:
    """Start time of a living process in clock ticks since boot, or None where there is no such process."""
    fields = _living(Path(f"/proc/{pid}/stat"))
    return None if fields is None else int(fields[19])


def is_alive(process: Process) -> bool:
    """Whether that very process still runs."""
    pid, started = process
    return process_start(pid) == started


def _living(stat: Path) -> list[str] | None:
    """What the kernel says of a process, from its state on; None of one that has ended."""
    try:
        # The name of the program stands in brackets before these fields, and may hold spaces and brackets itself.
        fields = stat.read_text(errors="replace").rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if fields[0] == "Z" else fields


def end(processes: set[Process], patience_seconds: float = 0.0) -> None:
    """Kill those of ``processes`` that still live after ``patience_seconds``."""
    until = time.monotonic() + patience_seconds
    while (living := {process for process in processes if is_alive(process)}) and time.monotonic() < until:
        time.sleep(0.05)
    for pid, _ in living:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
