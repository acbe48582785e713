"""What the tests of stores, of commands and of W&B start from."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers.commanding import Medsweep
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
