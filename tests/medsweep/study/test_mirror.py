"""The W&B runs of a sweep say what its store says: every trial, every report at its step, every picture."""

import hashlib
import html
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from helpers.troubled import run_sweep, run_troubled
from helpers.wandb_content import published, require_same
from helpers.wandb_runs import WrittenRun, read_runs, read_table
from helpers.wandb_server import KEY, Served
from medsweep.cli import app
from medsweep.files import sha256_of
from medsweep.store.store import Store
from medsweep.study.session import open_sweep
from medsweep.study.stages import STAGES
from medsweep.tracking.mode import unreachable
from medsweep.tracking.tracker import run_id

ROOT = Path(__file__).parents[3]
OF_RAY = (b"169.254.169.254", b"metadata.google.internal")
"""Where Ray asks, as it starts, in which cloud it is."""


@dataclass
class Mirrored:
    folder: Path
    sweep: Path
    store: Store
    output: str
    runs: dict[str, WrittenRun]


@contextmanager
def watched(patch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """How each request begins that W&B, or anybody through a proxy, would get."""
    found: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            with suppress(OSError):  # closed
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.settimeout(1.0)
                        found.append(connection.recv(80))

        threading.Thread(target=take, daemon=True).start()
        for name in ("WANDB_BASE_URL", "HTTPS_PROXY", "HTTP_PROXY"):
            patch.setenv(name, f"http://127.0.0.1:{server.getsockname()[1]}")
        patch.setenv("NO_PROXY", "")
        yield found


@pytest.fixture
def callers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    with watched(monkeypatch) as found:
        yield found


@pytest.fixture(scope="module", params=["local", pytest.param("ray", marks=pytest.mark.slow)])
def mirrored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirrored]:
    folder = tmp_path_factory.mktemp("mirrored")
    runner = ["--runner", "ray", "--cpus", "2"] if request.param == "ray" else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_RUN_ID", "of-another-program")
        patch.setenv("WANDB_MODE", "")
        with pytest.MonkeyPatch.context() as inner, watched(inner) as found:
            sweep, store, told = run_troubled(folder, patch, "offline", *runner)
        assert [one for one in found if not any(host in one for host in OF_RAY)] == []
        yield Mirrored(folder, sweep, store, told, read_runs(store.root / "wandb" / "micro"))


def test_every_trial_that_the_sweep_uses_is_a_run_whoever_made_it(mirrored: Mirrored) -> None:
    trials = published(mirrored.store)
    failed = set(mirrored.runs) - set(trials) - {"report-micro"}
    assert set(trials) <= set(mirrored.runs)
    assert len(trials) == 17
    assert [mirrored.runs[name].summary["outcome"] for name in failed] == ["error"]
    assert f"W&B: {len(mirrored.runs)} runs mirrored in {mirrored.store.root / 'wandb' / 'micro'}" in mirrored.output
    assert "of them now; 0 failed\n" in mirrored.output


def test_every_report_is_at_its_step_with_its_pictures(mirrored: Mirrored) -> None:
    pictures = 0
    for name, folder in published(mirrored.store).items():
        run, stage = mirrored.runs[name], folder.parent.name
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        numbers = [{key: value for key, value in row.items() if not isinstance(value, str)} for row in run.rows]
        told = [{f"{stage}/{key}": value for key, value in line.items() if key != "total"} for line in lines]
        assert numbers == [pytest.approx(row) for row in told], name
        assert run.step_metrics == {f"{stage}/*": f"{stage}/step"}
        found = {sha256_of(path) for path in (folder / "output").rglob("*.png")}
        texts = [(row[f"{stage}/step"], item) for row in run.rows for item in row.items()]
        sent = [(step, key, value) for step, (key, value) in texts if isinstance(value, str)]
        assert {value for _, _, value in sent} == found, name
        numbered = {int(path.stem): sha256_of(path) for path in (folder / "output").glob("samples/*.png")}
        assert {step: value for step, key, value in sent if key == f"{stage}/samples"} == numbered
        pictures += len(sent)
    assert pictures > 10


def test_a_training_that_was_stopped_has_each_report_once(mirrored: Mirrored) -> None:
    (resumed,) = [run for run in mirrored.runs.values() if run.config.get("segment.steps") == 16 and run.rows[1:]]
    assert [row["segment/step"] for row in resumed.rows] == [4, 8, 12, 16, 16]
    assert (resumed.exit_code, resumed.summary["outcome"]) == (0, "complete")


def test_a_failed_trial_says_why_and_names_neither_patient_nor_path(mirrored: Mirrored) -> None:
    (name,) = set(mirrored.runs) - set(published(mirrored.store)) - {"report-micro"}
    run = mirrored.runs[name]
    assert name == run_id("segment", run.config["digest"])
    assert run.run.notes == "error: cannot read [hidden] of [hidden]: broken"
    assert (run.exit_code, run.summary["outcome"]) == (1, "error")
    assert [row["segment/step"] for row in run.rows] == [4, 8]
    pruned = next(run for run in mirrored.runs.values() if run.summary["outcome"] == "pruned")
    assert (pruned.exit_code, pruned.run.notes) == (0, "pruned: worse than the median at step 8")
    assert [row["segment/step"] for row in pruned.rows] == [4, 8]
    dry = next(run for run in mirrored.runs.values() if run.summary["outcome"] == "pool-dry")
    assert (dry.exit_code, dry.run.run_group) == (1, "dry")
    assert dry.run.notes.startswith("pool-dry: its pool ran dry")


def test_runs_say_what_they_are_as_scalars(mirrored: Mirrored) -> None:
    by_name = {run.run.display_name: run for run in mirrored.runs.values()}
    assert len(by_name) == len(mirrored.runs), "names tell runs apart"
    control, arm = by_name["score control fold 0 seed 0"], by_name["score b-sg count=4 fold 0 seed 0"]
    assert [run.run.run_group for run in (control, arm)] == ["control", "b-sg count=4"]
    assert control.run.job_type == "score"
    told = ("arm", "is_control", "dose", "pipeline", "fold", "seed", "dataset", "segment.steps")
    assert [control.config[key] for key in told] == ["control", True, 0, "none", 0, 0, "phantom (made up)", 12]
    assert [arm.config[key] for key in told] == ["b-sg count=4", False, 4, "b-sg", 0, 0, "phantom (made up)", 12]
    assert arm.config["gan.kimg"] == 0.032
    assert "gan.kimg" not in control.config, "the control has no generator"
    table = pd.read_parquet(published(mirrored.store)[arm.run.run_id] / "output" / "metrics.parquet")
    for metric in ("dice", "hd95_mm", "assd_mm", "surface_dice"):
        rows = table[(table["metric"] == metric) & (table["class"] == "organ") & np.isfinite(table["value"])]
        assert arm.summary[f"score/{metric}/organ"] == pytest.approx(rows["value"].mean())
    assert arm.summary["hours"] > 0
    told = [value for key, value in {**control.config, **arm.config}.items() if key != "_wandb"]
    assert not any(isinstance(value, list | dict) for value in told)


def test_the_sweep_itself_is_a_run_with_report_figures_tables_and_an_alert(mirrored: Mirrored) -> None:
    run, results = mirrored.runs["report-micro"], mirrored.folder / "results"
    assert run.run.job_type == "report"
    assert [title for title, _ in run.alerts] == ["medsweep: micro"]
    assert [text for _, text in run.alerts] == [run.run.notes] == [run.summary["headline"]]
    assert "against control on Dice" in run.run.notes
    assert run.run.notes in " ".join(html.unescape((results / "report.html").read_text()).split())
    sent = {key.removeprefix("report/"): value for row in run.rows for key, value in row.items()}
    for path in (results / "figures").glob("*.png"):
        assert sent[path.stem] == sha256_of(path)
    page = (run.folder / "files" / run.media["report/page"]).read_text()
    assert "<html" in page
    assert str(mirrored.folder) not in page
    keys = [key for key in run.media if key.startswith("report/tables/")]
    tables = {key.removeprefix("report/tables/"): read_table(run.folder / "files" / run.media[key]) for key in keys}
    means = pd.read_parquet(results / "results.parquet")
    means = means[np.isfinite(means["value"])].groupby(["arm", "class", "metric"])["value"].mean()
    told = {(row["arm"], row["class"], row["metric"]): float(row["mean"]) for row in tables["results"]}
    assert told == pytest.approx(means.to_dict(), rel=1e-4)
    assert all(row["verdict"] for row in tables["verdicts"])
    costs = {row["arm"]: row for row in tables["costs"]}
    hours = sum(run.summary["hours"] for run in mirrored.runs.values() if run.config.get("arm") == "b-sg count=4")
    assert float(costs["b-sg count=4"]["own_hours"]) == pytest.approx(hours, rel=1e-4)
    assert float(costs["b-sg count=4"]["hours"]) > hours
    assert not any("patient" in row for table in tables.values() for row in table)


def test_nothing_private_is_in_the_files(mirrored: Mirrored) -> None:
    patients = open_sweep(mirrored.sweep, mirrored.store.root, to="read").plan.patients
    assert len(patients) == 6
    assert {run.run.host for run in mirrored.runs.values()} == {""}
    for file in (mirrored.store.root / "wandb").rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        for private in (str(mirrored.folder), "/secret", *patients):
            assert private.encode() not in content, (file, private)


def test_a_second_build_changes_nothing_and_a_lost_run_is_written_again_without_a_request(
    mirrored: Mirrored, callers: list[bytes]
) -> None:
    mirror = mirrored.store.root / "wandb" / "micro"

    def files() -> dict[Path, tuple[int, int]]:
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in mirror.rglob("*") if path.is_file()}

    words = ["wandb", "build", str(mirrored.sweep), "--store", str(mirrored.store.root)]
    words += ["--results", str(mirrored.folder / "results")]
    before = files()
    told = CliRunner().invoke(app, words)
    assert (told.exit_code, files()) == (0, before), told.output
    assert "0 of them now; 0 failed" in told.output
    name = "score-" + mirrored.store.listing("score")[0][:16]
    shutil.rmtree(mirrored.runs[name].folder)
    # In a process of its own, since W&B's client sends some of what it sends as its process ends.
    command = [sys.executable, "-m", "medsweep", *words]
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    again = subprocess.run(command, check=True, capture_output=True, text=True, env=variables)
    assert f"W&B: {len(mirrored.runs)} runs mirrored in {mirror}, 1 of them now; 0 failed" in again.stdout
    assert read_runs(mirror)[name].rows == mirrored.runs[name].rows
    assert callers == []


def test_views_are_written_without_account_and_request(
    mirrored: Mirrored, callers: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    shutil.copytree(mirrored.folder / "results", tmp_path, dirs_exist_ok=True)
    words = ["dashboard", str(mirrored.sweep), "--store", str(mirrored.store.root), "--results", str(tmp_path)]
    told = CliRunner().invoke(app, [*words, "--dry-run"])
    assert told.exit_code == 0, told.output
    views = {view["name"]: json.dumps(view["spec"]) for view in json.loads((tmp_path / "dashboard.json").read_text())}
    assert "config:segment.steps.value" in views["Search"]
    verdicts = pd.read_csv(tmp_path / "tables" / "effects.csv")["verdict"]
    assert len(verdicts) > 0
    assert all(verdict in views["Verdicts of micro"] for verdict in verdicts)
    assert "cannot read [hidden] of [hidden]: broken" in views["Health and cost"]
    everything = "".join(views.values())
    asked = set(re.findall(rf'"(?:summary:)?((?:{"|".join(STAGES)})/[^"]+)"', everything))
    runs = mirrored.runs.values()
    assert len(asked) > 20
    assert asked <= {key for run in runs for key in (*run.summary, *(key for row in run.rows for key in row))}
    settings = {name for view in views.values() for name in re.findall(r'"config:([^"]+)\.value"', view)}
    assert {"arm", "dose", "fold", "seed", "segment.steps"} <= settings <= {key for run in runs for key in run.config}
    patients = open_sweep(mirrored.sweep, mirrored.store.root, to="read").plan.patients
    assert not any(private in everything for private in (str(mirrored.folder), "/secret", *patients))
    assert callers == []


def _push(mirrored: Mirrored, *more: str) -> Result:
    where = ["--store", str(mirrored.store.root), "--results", str(mirrored.folder / "results")]
    return CliRunner().invoke(app, ["wandb", "push", str(mirrored.sweep), *where, *more])


def test_push_brings_the_store_to_the_server_and_a_second_push_sends_nothing(
    mirrored: Mirrored, server: Served
) -> None:
    broken = next(name for name, run in mirrored.runs.items() if run.summary["outcome"] == "error")
    server.refused = lambda operation, asked: 403 if asked.get("name") == broken else 0
    told = _push(mirrored)
    count = len(mirrored.runs)
    assert told.exit_code == 1
    assert f"W&B: {count - 1} runs uploaded, 0 there before, 1 failed; {server.url}/lab/micro" in told.output
    assert f"failed: {broken}: " in told.output
    server.refused = lambda operation, asked: 0
    assert f"W&B: 1 runs uploaded, {count - 1} there before, 0 failed" in _push(mirrored).output
    _require_what_the_store_says(mirrored, server)
    for name, run in mirrored.runs.items():
        there = server.runs["micro", name]
        assert len(there.rows) == len(run.rows)
        for sent, written in zip(there.rows, run.rows, strict=True):
            numbers = {key: value for key, value in written.items() if isinstance(value, int | float)}
            assert {key: sent[key] for key in numbers} == pytest.approx(numbers), name
        assert there.exit_code == run.exit_code
        assert there.fields["jobType"] == run.run.job_type
        pictures = {value for row in run.rows for value in row.values() if isinstance(value, str)}
        stage = run.run.job_type
        complete = run.summary["outcome"] == "complete" and stage != "report"
        assert there.made == ({f"medsweep:{stage}/{run.config['digest']}"} if complete else set())
        read = {value for key, value in run.config.items() if key.startswith("inputs.")}
        assert {run_id(*one.removeprefix("medsweep:").split("/")) for one in there.used} == read, name
        assert pictures <= {hashlib.sha256(content).hexdigest() for content in there.files.values()}, name
    assert [alert["text"] for alert in server.alerts] == [mirrored.runs["report-micro"].run.notes]
    asked = dict(server.asked)
    page = mirrored.folder / "results" / "report.html"
    page.write_text(page.read_text().replace(" UTC", " UTC, made anew"))
    again = _push(mirrored)
    assert (again.exit_code, dict(server.asked)) == (0, asked), again.output
    assert f"W&B: 0 runs uploaded, {count} there before, 0 failed" in again.output
    _require_same_when_sent_twice(mirrored, server)


def _require_what_the_store_says(mirrored: Mirrored, server: Served) -> None:
    """Every trial, every report at its step, every picture, every edge, and how and why a trial ended."""
    trials = published(mirrored.store)
    (failed,) = set(mirrored.runs) - set(trials) - {"report-micro"}
    assert {name for _, name in server.runs} == {*trials, failed, "report-micro"}
    require_same(server, "micro", mirrored.store)
    outcomes = [run.summary["outcome"] for run in server.runs.values()]
    assert {"complete", "pruned", "pool-dry", "error"} == set(outcomes)
    assert server.runs["micro", failed].fields["notes"] == "error: cannot read [hidden] of [hidden]: broken"


def _require_same_when_sent_twice(mirrored: Mirrored, server: Served) -> None:
    """Also where the record of what was sent is lost; a run that is there in part gets what it lacks."""
    trials = [name for name in mirrored.runs if not name.startswith("report-") and mirrored.runs[name].rows]
    partly = next(name for name in trials if len(mirrored.runs[name].rows) == 5)
    first = {name: server.runs["micro", name].rows for name in trials}
    there = server.runs["micro", partly]
    del there.lines["wandb-history.jsonl"][4]
    there.lines["wandb-summary.json"] = {
        0: json.dumps(there.summary | {"segment/step": there.rows[-1]["segment/step"]})
    }
    (mirrored.store.root / "wandb" / "micro" / "pushed.json").unlink()
    told = _push(mirrored)
    assert {name: server.runs["micro", name].rows for name in trials} == first
    assert f"{len(trials) + 1} completed, " in told.output, "also the run of the report"
    patients = open_sweep(mirrored.sweep, mirrored.store.root, to="read").plan.patients
    for private in (str(mirrored.folder), sys.prefix, KEY, "/secret", *patients):
        assert not any(private.encode() in body for body in server.bodies), private


def test_online_without_a_key_ends_before_anything(mirrored: Mirrored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETRC", str(mirrored.folder / "nowhere"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    told = _push(mirrored)
    assert told.exit_code == 2
    assert "nobody is logged in to W&B at" in told.output
    for runner in ("ray", "local"):
        words = ["run", str(mirrored.sweep), "--store", str(mirrored.store.root), "--wandb", "online"]
        told = CliRunner().invoke(app, [*words, "--runner", runner])
        assert (told.exit_code, "nobody is logged in to W&B at" in told.output) == (2, True)


def test_a_run_stays_offline_where_the_server_refuses(mirrored: Mirrored, server: Served, tmp_path: Path) -> None:
    server.refused = lambda operation, asked: 401
    code, told = run_sweep(mirrored.folder / "first.yaml", mirrored.store.root, tmp_path, "--wandb", "online")
    assert code == 0
    assert "HTTP Error 401: Unauthorized); it stays offline, and medsweep wandb push uploads all later" in told
    assert f"runs mirrored in {mirrored.store.root / 'wandb' / 'first'}" in told
    assert server.runs == {}


def test_the_preflight_says_why_a_server_is_of_no_use(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unreachable() is None
    server.refused = lambda operation, asked: 401
    assert "cannot be used (HTTP Error 401" in (unreachable() or "")
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        monkeypatch.setattr("medsweep.tracking.mode.PREFLIGHT_SECONDS", 0.2)
        assert "timed out" in (unreachable() or "")
