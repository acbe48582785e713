"""The tutorial's commands, typed as they stand on the page, one after the other in an empty folder."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from medsweep.cli import app

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "tutorial" / "own-answer.md"
BLOCK = re.compile(r"^```(sh|yaml|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAVED = re.compile(r"Save this as `([^`]+)`:\n\n$")


def steps() -> list[tuple[str, str]]:
    """``sh`` and a command, ``python`` and code, or the name of a file and what is saved in it, in order."""
    text, found = PAGE.read_text(encoding="utf-8"), []
    for block in BLOCK.finditer(text):
        kind, content = block.groups()
        if kind == "sh":
            found += [("sh", line) for line in content.splitlines()]
        elif kind == "yaml":
            saved = SAVED.search(text[: block.start()])
            assert saved, "the page says where each file is saved"
            found.append((saved[1], content))
        else:
            found.append((kind, content))
    return found


def go(folder: Path, chosen: list[tuple[str, str]]) -> None:
    """Do some steps in a folder; the first that fails is named with what it said."""
    (folder / "bin").mkdir(exist_ok=True)
    command = folder / "bin" / "medsweep"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m medsweep "$@"\n')
    command.chmod(0o755)
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "BROWSER": "true", "WANDB_MODE": "offline", "PYTHONPATH": str(ROOT)}
    for kind, content in chosen:
        if kind not in ("sh", "python"):
            (folder / kind).write_text(content)
            continue
        words = ["sh", "-c", content] if kind == "sh" else [sys.executable, "-c", content]
        ran = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{content}\n{ran.stdout}\n{ran.stderr}"


def test_the_page_is_read_whole() -> None:
    kinds = [kind for kind, _ in steps()]
    assert kinds.count("sh") >= 12
    assert kinds.count("question.yaml") == kinds.count("python") == 1
    assert all(content.startswith("medsweep ") for kind, content in steps() if kind == "sh")


def test_every_command_of_the_page_can_be_typed() -> None:
    for kind, line in steps():
        command, words = typer.main.get_command(app), shlex.split(line)[1:]
        while kind == "sh" and hasattr(command, "commands"):
            assert words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        if kind == "sh":
            command.make_context(line, words)


@pytest.mark.slow
def test_the_whole_tutorial(tmp_path: Path) -> None:
    go(tmp_path, steps())
    assert (tmp_path / "results" / "quickstart" / "report.html").is_file()
    assert (tmp_path / "results" / "my-question" / "report.html").is_file()
    assert (tmp_path / "predicted" / "volumes.csv").is_file()
