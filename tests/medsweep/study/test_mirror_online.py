"""A sweep that logs while it runs: at its end the server says what the store says."""

import sys
from pathlib import Path

import pytest

from helpers.troubled import run_troubled
from helpers.wandb_content import published, require_same
from helpers.wandb_server import KEY, Served
from medsweep.study.session import open_sweep


@pytest.mark.parametrize(
    ("runner", "pools"),
    [("local", False), *(pytest.param(runner, True, marks=pytest.mark.slow) for runner in ("local", "ray"))],
)
def test_the_server_says_what_the_store_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Served, runner: str, pools: bool
) -> None:
    monkeypatch.delenv("WANDB_SERVICE", raising=False)
    more = ["--runner", "ray", "--cpus", "2"] if runner == "ray" else []
    sweep, store, told = run_troubled(tmp_path, monkeypatch, "online", *more, pools=pools)
    (failed,) = {name for _, name in server.runs} - {*published(store), "report-micro"}
    assert {name for _, name in server.runs} == {*published(store), failed, "report-micro"}
    assert "; http" in told
    assert " 0 failed" in told.split("completed, ")[-1], told
    require_same(server, "micro", store)
    broken = server.runs["micro", failed]
    assert (broken.exit_code, broken.summary["outcome"]) == (1, "error")
    assert broken.fields["notes"] == "error: cannot read [hidden] of [hidden]: broken"
    assert [row["segment/step"] for row in broken.rows] == [4, 8]
    (longer,) = [run for run in server.runs.values() if run.config.get("segment.steps") == 16 and run.rows[1:]]
    assert [row["segment/step"] for row in longer.rows if "segment/loss" in row] == [4, 8, 12, 16, 16]
    outcomes = [run.summary["outcome"] for run in server.runs.values()]
    assert {"complete", "pruned", "error"} | ({"pool-dry"} if pools else set()) == set(outcomes)
    patients = open_sweep(sweep, store.root, to="read").plan.patients
    for private in (str(tmp_path), sys.prefix, str(Path(__file__).parents[3]), KEY, "/secret", *patients):
        assert not any(private.encode() in body for body in server.bodies), private
    assert {run.fields.get("host") or "" for run in server.runs.values()} == {""}
