"""The steps of the tutorial as they stand on its page, and how to do one in a folder and time it."""

import ctypes
import os
import re
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial" / "own-answer.md"
BLOCK = re.compile(r"^```(sh|yaml|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAVED = re.compile(r"Save this as `([^`]+)`:\n\n$")
SUBREAPER = 36  # of prctl(2)


@dataclass(frozen=True)
class Step:
    """``kind`` is ``sh``, ``python``, or the name of the file in which ``content`` is saved."""

    kind: str
    content: str

    @property
    def trains(self) -> bool:
        return self.kind == "sh" and self.content.startswith(("medsweep demo", "medsweep run"))

    @property
    def title(self) -> str:
        return (
            self.content if self.kind == "sh" else {"python": "the lines of Python"}.get(self.kind, f"save {self.kind}")
        )


@dataclass(frozen=True)
class Spent:
    """Seconds on the clock and of all cores."""

    step: Step
    wall_s: float
    cpu_s: float


def steps() -> list[Step]:
    """All steps of the page in order."""
    text, found = PAGE.read_text(encoding="utf-8"), []
    for block in BLOCK.finditer(text):
        kind, content = block.groups()
        if kind == "sh":
            found += [Step("sh", line) for line in content.splitlines()]
        elif kind == "yaml":
            saved = SAVED.search(text[: block.start()])
            assert saved, "the page says where each file is saved"
            found.append(Step(saved[1], content))
        else:
            found.append(Step(kind, content))
    return found


class CpuMeter:
    """Counts the CPU seconds of all that this process starts, Ray's workers too, whose parent lets them go unseen."""

    def __init__(self) -> None:
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)  # so that what a command leaves behind stays below this process
        self._ticks: dict[tuple[int, int], int] = {}
        threading.Thread(target=self._watch, daemon=True).start()

    def seconds(self) -> float:
        """So far."""
        self._look()
        return sum(self._ticks.values()) / os.sysconf("SC_CLK_TCK")

    def _watch(self) -> None:
        while True:
            self._look()
            time.sleep(0.2)

    def _look(self) -> None:
        parents, ticks = dict[int, int](), dict[int, tuple[int, int]]()
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                pid, fields = int(path.parent.name), path.read_text().rpartition(")")[2].split()
                parents[pid] = int(fields[1])
                ticks[pid] = int(fields[19]), int(fields[11]) + int(fields[12])
        for pid, (began, spent) in ticks.items():
            above = parents[pid]
            while above not in (0, os.getpid()):
                above = parents.get(above, 0)
            if above:
                self._ticks[pid, began] = spent


def do(step: Step, folder: Path, python: Path, environment: dict[str, str], meter: CpuMeter) -> Spent:
    """Do one step. A command that fails is named with what it said."""
    started, before = time.monotonic(), meter.seconds()
    if step.kind in ("sh", "python"):
        words = ["bash", "-c", step.content] if step.kind == "sh" else [str(python), "-c", step.content]
        ran = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{step.content}\n{ran.stdout}\n{ran.stderr}"
    else:
        (folder / step.kind).write_text(step.content)
    return Spent(step, time.monotonic() - started, meter.seconds() - before)


def environment(commands: Path) -> dict[str, str]:
    """The environment of a terminal whose first folder of commands is ``commands``."""
    path = f"{commands}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "BROWSER": "true", "WANDB_MODE": "offline"}
