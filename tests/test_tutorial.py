"""The tutorial's commands, typed as they stand on the page, one after the other in an empty folder."""

import shlex
import sys
from pathlib import Path

import pytest
import typer.main

from helpers.tutorial import ROOT, do, environment, steps
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


@pytest.mark.slow
def test_the_whole_tutorial(tmp_path: Path) -> None:
    command = tmp_path / "bin" / "medsweep"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m medsweep "$@"\n')
    command.chmod(0o755)
    for step in steps():
        do(step, tmp_path, Path(sys.executable), {**environment(command.parent), "PYTHONPATH": str(ROOT)})
    assert (tmp_path / "results" / "quickstart" / "report.html").is_file()
    assert (tmp_path / "results" / "my-question" / "report.html").is_file()
    assert (tmp_path / "predicted" / "volumes.csv").is_file()
