"""A store in which the smallest real sweep has been run, once for all tests of commands."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers.micro import write_micro
from medsweep.cli import app


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the micro sweep has been run."""
    folder = tmp_path_factory.mktemp("finished")
    sweep = write_micro(folder)
    where = ["--store", str(folder / "store"), "--results", str(folder / "results")]
    ran = CliRunner().invoke(app, ["run", str(sweep), *where, "--runner", "local", "--wandb", "offline"])
    assert ran.exit_code == 0, ran.output
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of that folder which a test may spoil."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))
