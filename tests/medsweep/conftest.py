"""What the tests of stores and of commands start from."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers.commanding import Medsweep
from medsweep.cli import app
from medsweep.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


@pytest.fixture
def medsweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Medsweep:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])
