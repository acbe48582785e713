"""What is at W&B in part is completed, and nothing is there twice; with the real client and a server of our own."""

import hashlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.wandb_server import Served, ServedRun
from medsweep.files import sha256_of
from medsweep.tracking import client
from medsweep.tracking.mirror import Mirror
from medsweep.tracking.mirrored_run import MirroredRun, Picture, PlainTable, ReportRow
from medsweep.tracking.push import Pushed, push
from medsweep.tracking.tracker import run_id
from medsweep.tracking.wandb import WandbTracker
from medsweep.trial import Progress

DIGEST = "0123456789abcdef" * 4
NAME = run_id("gan", DIGEST)


@pytest.fixture
def server(server: Served) -> Iterator[Served]:
    yield server
    client._tear_down()


@pytest.fixture
def run(tmp_path: Path) -> MirroredRun:
    rows = []
    for step in range(10, 60, 10):
        path = tmp_path / f"{step}.png"
        Image.fromarray(np.full((8, 8), step, np.uint8)).save(path)
        picture = Picture(path, sha256_of(path))
        names = ("samples", "real") if step == 50 else ("samples",)
        rows.append(ReportRow(step=step, metrics={"loss": 1 / step}, pictures=dict.fromkeys(names, picture)))
    about = {"project": "s", "name": "gan b-sg", "group": "b-sg", "job_type": "gan", "tags": ("b-sg", "fold-0")}
    config = {"arm": "b-sg", "gan.r1_gamma": 1.0}
    summary = {"outcome": "complete", "hours": 0.5}
    return MirroredRun(run_id=NAME, rows=tuple(rows), config=config, summary=summary, **about)


def pushed(tmp_path: Path, run: MirroredRun) -> Pushed:
    mirror = Mirror(tmp_path / "store", "s")
    assert mirror.build([run]).failed == {}
    return push(mirror, None, None, {run.run_id: run})


def require_whole(there: ServedRun, run: MirroredRun) -> None:
    """All that the run tells is there, each report once and in order."""
    rows = [row for row in there.rows if "gan/loss" in row]
    assert [row["gan/step"] for row in rows] == [10, 20, 30, 40, 50]
    assert [row["gan/loss"] for row in rows] == pytest.approx([row.metrics["loss"] for row in run.rows])
    lines = there.lines["wandb-history.jsonl"]
    counted = [json.loads(lines[at])["_step"] for at in sorted(lines)]
    assert counted == sorted(set(counted)), "W&B drops what is not later than what is there"
    for row in run.rows:
        keys = {f"gan/{name}" for name in row.pictures}
        assert keys <= {key for one in there.rows if one["gan/step"] == row.step for key in one}, row.step
    sent = {hashlib.sha256(content).hexdigest() for content in there.files.values()}
    assert {picture.sha256 for row in run.rows for picture in row.pictures.values()} <= sent
    assert {key: there.summary[key] for key in ("outcome", "hours", "gan/step")} == {
        "outcome": "complete", "hours": 0.5, "gan/step": 50,
    }  # fmt: skip
    assert there.summary["gan/loss"] == pytest.approx(1 / 50)
    assert {key: there.config[key] for key in run.config} == run.config
    assert (there.fields["displayName"], there.exit_code) == ("gan b-sg", 0)
    assert step_metric(there) == ("gan/*", "gan/step")


@pytest.mark.parametrize("kept", [1, 3, 5])
def test_a_run_of_which_the_first_reports_are_there_gets_the_others(
    server: Served, tmp_path: Path, run: MirroredRun, kept: int
) -> None:
    early = replace(run, rows=run.rows[:kept], summary={}, config={})
    assert pushed(tmp_path / "early", early).uploaded == (NAME,)
    told = pushed(tmp_path, run)
    assert (told.uploaded, told.completed, told.failed) == ((), (NAME,), {})
    require_whole(server.runs["s", NAME], run)
    asked = dict(server.asked)
    assert pushed(tmp_path, run).there == (NAME,)
    assert dict(server.asked) == asked, "a second push sends nothing"


def test_a_run_that_says_something_new_gets_it_and_no_report_twice(
    server: Served, tmp_path: Path, run: MirroredRun
) -> None:
    pushed(tmp_path, run)
    changed = replace(run, config={**run.config, "arms": "b-sg, dry"})
    assert pushed(tmp_path, changed).completed == (NAME,)
    require_whole(server.runs["s", NAME], changed)


def test_reports_that_are_not_its_first_ones_are_left_alone(server: Served, tmp_path: Path, run: MirroredRun) -> None:
    pushed(tmp_path / "other", replace(run, rows=run.rows[1:3]))
    told = pushed(tmp_path, run)
    assert "its 2 reports there are not the first of its 5; delete it at W&B" in told.failed[NAME]
    assert [row["gan/step"] for row in server.runs["s", NAME].rows] == [20, 30]


def live(folder: Path, run: MirroredRun, server: Served, *, after: int = 0, down_from: int = 99) -> None:
    """Log a run as its trial would, ``after`` reports of earlier attempts; the server is down from a report on."""
    tracker = WandbTracker(folder, "online")
    part = folder.parent / "part"
    part.mkdir(exist_ok=True)
    lines = [json.dumps({"step": row.step, "total": 50, **row.metrics}) for row in run.rows[:after]]
    (part / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    tracker.begin(replace(run, config={"arm": "b-sg"}), part)
    for number, row in enumerate(run.rows[after:], after):
        if number == down_from:
            wait_for(lambda: len(server.runs["s", NAME].rows) == down_from)
            server.refused = lambda operation, asked: 503
        samples = {"samples": row.pictures["samples"].path}
        tracker.log(Progress(step=row.step, total=50, metrics=row.metrics, pictures=samples))
    tracker.end("complete")
    server.refused = lambda operation, asked: 0


def step_metric(there: ServedRun) -> tuple[str, str]:
    """Keys and what they are drawn over, from W&B's own words, in which metrics are numbered from 1."""
    metrics = there.config["_wandb"]["m"]
    drawn = next(metric for metric in metrics if "2" in metric)
    return drawn["2"], metrics[drawn["5"] - 1]["1"]


def wait_for(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(0.05)


def test_a_run_that_is_logged_live_is_right_from_its_first_report_and_gets_what_only_the_store_knows(
    server: Served, tmp_path: Path, run: MirroredRun
) -> None:
    tracker = WandbTracker(tmp_path / "live", "online")
    tracker.begin(run, tmp_path / "none")
    for number, row in enumerate(run.rows):
        samples = {"samples": row.pictures["samples"].path}
        tracker.log(Progress(step=row.step, total=50, metrics=row.metrics, pictures=samples))
        if number == 0:
            wait_for(lambda: len(server.runs["s", NAME].rows) == 1)
            there = server.runs["s", NAME]
            fields = {name: there.fields[name] for name in ("displayName", "groupName", "jobType", "tags")}
            tags = ["b-sg", "fold-0"]
            assert fields == {"displayName": "gan b-sg", "groupName": "b-sg", "jobType": "gan", "tags": tags}
            assert run.config.items() <= there.config.items()
            assert set(there.rows[0]) == {"gan/step", "gan/loss", "gan/samples"}
            assert step_metric(there) == ("gan/*", "gan/step")
    tracker.end("complete")
    told = pushed(tmp_path, run)
    assert (told.completed, told.failed) == ((NAME,), {})
    require_whole(server.runs["s", NAME], run)


def test_a_run_that_was_logged_live_goes_on_after_a_crash_without_a_hole(
    server: Served, tmp_path: Path, run: MirroredRun
) -> None:
    live(tmp_path / "live", replace(run, rows=run.rows[:2]), server)
    # The third report is in the store, and the worker was killed before it was sent.
    live(tmp_path / "live", run, server, after=3)
    there = server.runs["s", NAME].rows
    assert [row["gan/step"] for row in there] == [10, 20, 30, 40, 50], "what is there is not sent again"
    assert pushed(tmp_path, run).failed == {}


def test_an_outage_in_mid_run_costs_the_trial_nothing_and_the_push_brings_the_rest(
    server: Served, tmp_path: Path, run: MirroredRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "FINISH_SECONDS", 2.0)
    live(tmp_path / "live", run, server, down_from=2)
    client._tear_down()
    assert len(server.runs["s", NAME].rows) < 5
    told = pushed(tmp_path, run)
    assert told.failed == {}
    require_whole(server.runs["s", NAME], run)


def test_in_an_outage_the_server_is_asked_once_in_a_while_and_not_by_each_trial(
    server: Served, tmp_path: Path, run: MirroredRun, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr("medsweep.tracking.wandb.time.monotonic", lambda: now[0])
    server.refused = lambda operation, asked: 503
    tracker = WandbTracker(tmp_path / "live", "online")
    for at in (1.0, 2.0, 1000.0):
        now[0] = at
        tracker.begin(run, tmp_path / "none")
        tracker.log(Progress(step=1, total=50))
        tracker.end("complete")
    assert dict(server.asked) == {"Viewer": 2}
    assert len(caplog.records) == 2
    assert "W&B is told of no trial for 10 minutes (http" in caplog.text


def test_a_failure_is_the_run_of_its_trial_until_the_trial_completes(
    server: Served, tmp_path: Path, run: MirroredRun
) -> None:
    told = {"notes": "error: broken", "exit_code": 1, "summary": {"outcome": "error"}}
    failed = replace(run, rows=run.rows[:2], **told)  # type: ignore[arg-type]
    live(tmp_path / "live", replace(run, rows=run.rows[:3]), server)
    assert pushed(tmp_path, failed).completed == (NAME,), "the trial went back to its checkpoint before it failed"
    there = server.runs["s", NAME]
    assert (there.fields["notes"], there.exit_code, there.summary["outcome"]) == ("error: broken", 1, "error")
    assert [row["gan/step"] for row in there.rows] == [10, 20, 30]
    server.refused = lambda operation, asked: 500 if operation == "ForgetNotes" else 0
    assert "not all else (HTTP Error 500" in pushed(tmp_path, run).failed[NAME]
    server.refused = lambda operation, asked: 0
    assert pushed(tmp_path, run).completed == (NAME,)
    require_whole(there, run)
    assert "notes" not in there.fields


def test_pictures_that_never_arrived_are_sent_again(
    server: Served, tmp_path: Path, run: MirroredRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")  # what the client says is read all the same
    server.refused = lambda operation, asked: 403 if operation == "upload" else 0
    assert "its reports are there, and not all else (HTTP Error 403" in pushed(tmp_path, run).failed[NAME]
    assert not any(name.endswith(".png") for name in server.runs["s", NAME].files)
    server.refused = lambda operation, asked: 0
    assert pushed(tmp_path, run).completed == (NAME,)
    require_whole(server.runs["s", NAME], run)
    named = {item["path"] for row in server.runs["s", NAME].rows for item in row.values() if isinstance(item, dict)}
    assert named == {name for name in server.runs["s", NAME].files if name.endswith(".png")}


def test_a_report_that_has_changed_is_sent_after_the_one_before(server: Served, tmp_path: Path) -> None:
    mirror = Mirror(tmp_path / "store", "s")
    for number, verdict in enumerate(("inconclusive", "inferior"), 1):
        table = PlainTable(("arm", "verdict"), (("b-sg", verdict),))
        about = {"run_id": "report-s", "project": "s", "name": "report of s", "group": "report", "job_type": "report"}
        report = MirroredRun(**about, tables={"verdicts": table}, rows=(ReportRow(step=0, metrics={}),))  # type: ignore[arg-type]
        assert mirror.build([report], "report").failed == {}
        told = push(mirror, None, None, {}, report)
        assert (told.failed, len(told.uploaded + told.completed)) == ({}, 1)
        there = server.runs["s", "report-s"]
        counted = [json.loads(line)["_step"] for _, line in sorted(there.lines["wandb-history.jsonl"].items())]
        assert counted == list(range(2 * number)), "W&B drops what is not later than what is there"
        page = there.files[there.rows[-1]["report/tables/verdicts"]["path"]].decode()
        assert verdict in page


@pytest.mark.parametrize("status", [401, 500])
def test_a_server_that_refuses_is_named_and_a_later_push_brings_all(
    server: Served, tmp_path: Path, run: MirroredRun, status: int
) -> None:
    server.refused = lambda operation, asked: status
    told = pushed(tmp_path, run)
    assert f"cannot be asked (HTTP Error {status}" in told.failed[NAME]
    server.refused = lambda operation, asked: 0
    assert pushed(tmp_path, run).uploaded == (NAME,)
    require_whole(server.runs["s", NAME], run)


def test_a_server_that_says_nothing_is_named_in_time(
    server: Served, tmp_path: Path, run: MirroredRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medsweep.tracking.mode.PREFLIGHT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        assert "cannot be asked (timed out)" in pushed(tmp_path, run).failed[NAME]
