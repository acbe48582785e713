"""The tutorial's commands, typed as they stand on the page, one after the other in an empty folder."""

import os
import shlex
import sys
from pathlib import Path

import pytest
import typer.main

from helpers.tutorial import ROOT, CpuMeter, Step, do, environment, steps
from medsweep.cli import app


def test_the_page_is_read_whole() -> None:
    kinds = [step.kind for step in steps()]
    assert kinds.count("sh") >= 12
    assert kinds.count("question.yaml") == kinds.count("python") == 1
    assert all(step.content.startswith("medsweep ") for step in steps() if step.kind == "sh")


def test_every_command_of_the_page_can_be_typed() -> None:
    for line in (step.content for step in steps() if step.kind == "sh"):
        command, words = typer.main.get_command(app), shlex.split(line)[1:]
        while hasattr(command, "commands"):
            assert words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        command.make_context(line, words)


def test_the_time_of_what_a_command_leaves_behind_is_counted(tmp_path: Path) -> None:
    busy = f"{sys.executable} -c 'import time; end = time.process_time() + 0.7\nwhile time.process_time() < end: pass'"
    unseen = "import os, signal, subprocess; signal.signal(signal.SIGCHLD, signal.SIG_IGN); subprocess.Popen"
    step = Step("python", f"{unseen}({busy!r}, shell=True).wait()")
    assert do(step, tmp_path, Path(sys.executable), dict(os.environ), CpuMeter()).cpu_s > 0.1


@pytest.mark.slow
def test_the_whole_tutorial(tmp_path: Path) -> None:
    command = tmp_path / "bin" / "medsweep"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m medsweep "$@"\n')
    command.chmod(0o755)
    meter, terminal = CpuMeter(), {**environment(command.parent), "PYTHONPATH": str(ROOT)}
    for step in steps():
        do(step, tmp_path, Path(sys.executable), terminal, meter)
    assert (tmp_path / "results" / "quickstart" / "report.html").is_file()
    assert (tmp_path / "results" / "my-question" / "report.html").is_file()
    assert (tmp_path / "predicted" / "volumes.csv").is_file()
