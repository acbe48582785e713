"""Drivers of the toy sweep in processes of their own, for the tests of faults and of signals."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from helpers import toy

HERE = Path(toy.__file__).parent
DRIVER = HERE / "toy_run.py"
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (HERE.parent, HERE.parents[1])))}


def hear_interrupts() -> None:
    """A child of a background job would be born with SIGINT ignored, and one under nohup with SIGHUP."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def processes_of(marker: str) -> dict[int, str]:
    """Command lines of the living processes that inherited ``marker`` in their environment."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if marker.encode() in path.read_bytes():
                found[int(path.parent.name)] = (path.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


def start(folder: Path, *options: str, runner: str = "local") -> subprocess.Popen[str]:
    """A driver of its own, past its imports."""
    words = [sys.executable, str(DRIVER), str(folder / "store"), str(folder / "log"), runner, *options]
    process = subprocess.Popen(
        words,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_interrupts,  # noqa: PLW1509
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    return process


def ended(process: subprocess.Popen[str]) -> dict[str, object]:
    """What a driver said at its end."""
    told, _ = process.communicate()
    return dict(json.loads(told.splitlines()[-1]))


def said_by(script: str, folder: Path, *words: str) -> Any:
    """The JSON that a script of this folder prints last, which makes a cluster of its own and works in ``folder``."""
    bucket = {name: value for name, value in os.environ.items() if name.startswith(("AWS", "MEDSWEEP"))}
    ran = subprocess.run(
        [sys.executable, str(HERE / script), str(folder), *words],
        env={**ENVIRONMENT, **bucket, "RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return json.loads(ran.stdout.splitlines()[-1])
