"""Commands that are told are such as can be typed: by name where the shell finds it, else by path."""

import sys
from pathlib import Path

import pytest

from medsweep.commands.typed import companion, typed


def installed(folder: Path, name: str = "medsweep") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "other"))
    return tmp_path


def test_what_the_shell_finds_is_called_by_its_name(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(installed(here / "other"))])
    assert typed("open", "a sweep.yaml") == "medsweep open 'a sweep.yaml'"


@pytest.mark.parametrize("another", [False, True], ids=["none is found", "another is found"])
def test_what_the_shell_does_not_find_is_called_by_its_path(
    here: Path, monkeypatch: pytest.MonkeyPatch, another: bool
) -> None:
    if another:
        installed(here / "other")
    monkeypatch.setattr(sys, "argv", [str(installed(here / ".venv" / "bin"))])
    assert typed("open", "quickstart") == ".venv/bin/medsweep open quickstart"


def test_a_module_is_started_as_one(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/anywhere/medsweep/__main__.py"])
    monkeypatch.setattr(sys, "executable", str(installed(here / "env" / "bin", "python")))
    assert typed("open", "quickstart") == "env/bin/python -m medsweep open quickstart"
    assert companion("wandb") == "env/bin/wandb"
