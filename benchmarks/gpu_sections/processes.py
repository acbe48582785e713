"""Processes that hear lines and answer in lines: new interpreters, or forks of one that has imported all they need.

Most of a toy run would be imports of torch. CUDA does not outlive a fork, so only what stays on a CPU is forked.
"""

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

BENCHMARKS = Path(__file__).parents[1]
ROOT = BENCHMARKS.parent
TAIL = 1500
"""Characters of a dead process's last words that are kept."""
_ABOVE_STANDARD = 3, 4096


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """That of a process that finds this package and the repository."""
    path = os.pathsep.join(filter(None, (str(BENCHMARKS), str(ROOT), os.environ.get("PYTHONPATH"))))
    return os.environ | {"PYTHONPATH": path} | more


class Process:
    """``python -m MODULE ARGUMENTS``, whose standard error is kept; with ``leads`` it ends with all its children."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        more: Mapping[str, str] | None = None,
        *,
        forks: bool = False,
        leads: bool = False,
    ) -> None:
        self._words = tempfile.TemporaryFile()  # noqa: SIM115
        self._leads = leads
        start = self._fork if forks else self._begin
        self.stdin, self.stdout = start(module, arguments, dict(more or {}))

    def _begin(self, module: str, arguments: Sequence[str], more: dict[str, str]) -> tuple[IO[str], IO[str]]:
        begun = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            text=True,
            env=environment(more),
            start_new_session=self._leads,
        )
        self.pid, self._wait = begun.pid, begun.wait
        return begun.stdin, begun.stdout

    def _fork(self, module: str, arguments: Sequence[str], more: dict[str, str]) -> tuple[IO[str], IO[str]]:
        hears, tells = os.pipe()
        listens, says = os.pipe()

        def run() -> None:
            if self._leads:
                os.setsid()
            for target, source in enumerate((hears, says, self._words.fileno())):
                os.dup2(source, target)
            # a fork holds the pipes of its brothers too, which would never end
            os.closerange(*_ABOVE_STANDARD)
            sys.stdin, sys.argv = os.fdopen(0), [module, *arguments]
            os.environ.update(more)
            importlib.import_module(module).main()

        forked = multiprocessing.get_context("fork").Process(target=run)
        forked.start()
        os.close(hears)
        os.close(says)

        def wait(seconds: float | None = None) -> int:
            forked.join(seconds)
            if forked.exitcode is None:
                raise subprocess.TimeoutExpired(module, seconds or 0.0)
            return forked.exitcode

        self.pid, self._wait = forked.pid, wait
        return os.fdopen(tells, "w"), os.fdopen(listens)

    def tell(self, line: str) -> None:
        """Send a line, if there is still somebody."""
        with suppress(BrokenPipeError):
            self.stdin.write(line + "\n")
            self.stdin.flush()

    def end(self) -> None:
        """End the process, and its children if it leads them, whatever they do."""
        with suppress(ProcessLookupError, PermissionError):
            (os.killpg if self._leads else os.kill)(self.pid, signal.SIGKILL)
        self._wait()

    def last_words(self) -> str:
        """How the process ended and the end of what it wrote to its standard error."""
        code = None
        with suppress(subprocess.TimeoutExpired):
            code = self._wait(5)
        self._words.seek(0)
        tail = self._words.read().decode(errors="replace").strip()[-TAIL:]
        return f"exit code {code}\n{tail}" if tail else f"exit code {code}"
