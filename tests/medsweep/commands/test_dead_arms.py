"""An arm that ends without a network is named everywhere, and hides no other arm's result."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from helpers.commanding import Medsweep
from helpers.micro import write_micro
from medsweep.cli import app
from medsweep.study.dead_arms import dead_arms
from medsweep.study.session import open_sweep

DRY_ARM = (
    ("gan.pipeline: [b-sg, mc-sg]\n", "gan.pipeline: [b-sg]\n  segment.min_iou: [0.0, 1.0]\n"),
    ("analysis: {", "analysis: {missing: refuse, "),
)


@pytest.fixture(scope="module")
def dry(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which a sweep has been run of whose filter keeps nothing, and what the run said."""
    folder = tmp_path_factory.mktemp("dry")
    sweep = write_micro(folder, *DRY_ARM)
    where = ["--store", str(folder / "store"), "--results", str(folder / "results")]
    ran = CliRunner().invoke(app, ["run", str(sweep), *where, "--runner", "local", "--wandb", "disabled"])
    assert ran.exit_code == 1, ran.output
    return folder, ran.output


@pytest.fixture
def copy(dry: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of that folder which a test may spoil."""
    return Path(shutil.copytree(dry[0], tmp_path / "copy"))


def where(folder: Path) -> list[str]:
    return ["--store", str(folder / "store"), "--results", str(folder / "results")]


def test_the_other_arms_are_reported_and_the_dead_one_is_named(dry: tuple[Path, str]) -> None:
    folder, told = dry
    record = json.loads((folder / "results" / "analysis.json").read_text())
    assert [answer["arm"] for answer in record["answers"]] == ["b-sg min_iou=0 count=4"]
    (dead,) = record["dead"]
    assert dead["reason"].startswith("no network: its pool ran dry, 0 of 8 synthetic samples passed segment.min_iou 1")
    assert dead["reason"].endswith("lower that threshold, raise synthesise.headroom, or drop the arm")
    assert f"{dead['arm']}: {dead['reason']}" == told.splitlines()[-2]
    page = (folder / "results" / "report.html").read_text()
    assert re.search(r'figure-grid-1(?:(?!</figure>).)*<i style="background: #[0-9a-f]{6}"></i>', page, re.DOTALL)
    table = pd.read_parquet(folder / "results" / "results.parquet")
    assert set(table.loc[table["arm"] == dead["arm"], "status"]) == {"absent"}


def test_no_run_advises_another_where_it_would_end_alike(dry: tuple[Path, str], medsweep: Medsweep, copy: Path) -> None:
    again = medsweep("run", copy / "micro.yaml", *where(copy))
    assert again.exit_code == 1
    for told in (dry[1], again.output):
        assert "to try again" not in told
        assert "running again would end alike" in told
        assert "pool-dry: segment" in told
    assert again.output.splitlines()[-2] == dry[1].splitlines()[-2]


def test_status_counts_it_as_failed_and_why_names_it(medsweep: Medsweep, copy: Path) -> None:
    shown = medsweep("status", copy / "micro.yaml", "--store", copy / "store").output.splitlines()
    rows = {line.split()[0]: line.split() for line in shown}
    assert rows["segment"] == ["segment", "4", "0", "0", "0", "2"]
    assert rows["score"] == ["score", "4", "0", "0", "2", "0"]
    assert sum(line.startswith("pool-dry: segment") for line in shown) == 2
    assert "no network: its pool ran dry, 0 of 8" in shown[-1]
    session = open_sweep(copy / "micro.yaml", copy / "store")
    arm = session.dead()[0].arm
    leaf = session.plan.leaves_of(arm)[0]
    told = medsweep("why", leaf[:16], "--store", copy / "store").output
    assert f"for arm {arm}, is not published" in told
    assert "ended as pool-dry: its pool ran dry, 0 of 8" in told
    network = session.plan.trials[leaf].inputs["network"]
    assert "ended as pool-dry" in medsweep("why", network[:16], "--store", copy / "store").output


def test_a_dead_control_is_one_line(medsweep: Medsweep, copy: Path) -> None:
    write_micro(copy, *DRY_ARM, ("{synthesise.count: 0}", "{synthesise.count: 4, segment.min_iou: 1.0}"))
    ran = medsweep("run", copy / "micro.yaml", *where(copy), "--runner", "local", "--wandb", "disabled")
    assert ran.exit_code == 1, ran.output
    last = ran.output.splitlines()[-1]
    assert last.startswith("no report: nothing to compare, since every arm is held against")
    assert "that has no network: its pool ran dry" in last


def test_an_arm_that_is_dry_in_one_fold_is_set_aside_unless_complete_cases_are_asked_for(copy: Path) -> None:
    session = open_sweep(copy / "micro.yaml", copy / "store")
    arm = session.dead()[0].arm
    second = session.plan.leaves_of(arm)[1]
    spared = session.plan.trials[second].inputs["network"]
    decisions = {
        **session.decisions,
        spared: session.decisions[session.plan.trials[second].inputs["prepare"]],
        second: session.decisions[session.plan.trials[second].inputs["prepare"]],
    }
    failures = [failure for failure in session.failures if failure.trial.digest != spared]
    (dead,) = dead_arms(session.plan, decisions, failures)
    assert dead.reason.startswith("no network in 1 of 2 runs: its pool ran dry")
    assert dead_arms(session.plan, decisions, failures, complete_cases=True) == ()


def test_an_arm_that_nobody_tried_is_not_dead(tmp_path: Path) -> None:
    assert open_sweep(write_micro(tmp_path, *DRY_ARM), tmp_path / "store").dead() == ()
