"""A sweep that logs while it runs: at its end the server says what the store says."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers.micro import write_micro
from helpers.wandb_content import published, require_same
from helpers.wandb_server import Served
from medsweep.cli import app
from medsweep.store.store import Store
from medsweep.store.workspace import Workspace

SMALL = (("{folds: 2, seeds: 1}", "{folds: 2, only: [0], seeds: 1}"), ("[b-sg, mc-sg]", "[b-sg]"))
DRY = ("fixed:", "arms:\n  dry: {synthesise.count: 4, segment.min_iou: 0.999}\nfixed:")


@pytest.mark.parametrize("runner", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_the_server_says_what_the_store_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Served, runner: str
) -> None:
    monkeypatch.delenv("WANDB_SERVICE", raising=False)
    monkeypatch.setattr(Workspace, "checkpoint_due", lambda self: True)
    first = write_micro(tmp_path, *SMALL, ("sweep: micro", "sweep: first"), name="first.yaml")
    second = write_micro(tmp_path, *SMALL, DRY)
    for sweep, mode, expected in ((first, "disabled", 0), (second, "online", 1)):
        where = ["--store", str(tmp_path / "store"), "--results", str(tmp_path / "results")]
        told = CliRunner().invoke(app, ["run", str(sweep), *where, "--runner", runner, "--wandb", mode])
        assert told.exit_code == expected, told.output
    store = Store(tmp_path / "store")
    assert {name for _, name in server.runs} == {*published(store), "report-micro"}
    assert "; http" in told.output
    assert " failed" not in told.output.split("there before, 0 failed")[-1]
    require_same(server, "micro", store)
    assert not any(str(tmp_path).encode() in body for body in server.bodies)
