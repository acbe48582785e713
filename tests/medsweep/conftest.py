"""What the tests of stores, of commands and of W&B start from."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers.commanding import Medsweep
from helpers.micro import write_micro
from helpers.wandb_server import Served, logged_in
from medsweep.cli import app
from medsweep.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    """A server of S3 in this process; the environment variables by which it is reached."""
    from helpers.buckets import s3_server

    with s3_server() as variables:
        yield variables


@pytest.fixture
def medsweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Medsweep:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with logged_in(monkeypatch) as served:
        yield served


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the micro sweep has been run, with W&B offline; nothing may change it."""
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
