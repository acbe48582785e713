"""Sweeps whose store is a bucket behind a server of S3: the same results, and the same faults, to real processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from helpers import toy
from helpers.buckets import new_bucket
from helpers.clusters import cluster_of
from helpers.driving import DRIVER, ended
from helpers.driving import ENVIRONMENT as DRIVEN
from helpers.runner_contract import Notebook, plan_of, results_of
from helpers.toy_run import context_of, long_plan
from medsweep.execution.driver import Summary, run_plan
from medsweep.execution.failures import TrialFailedError, failed_trials, notes, set_apart
from medsweep.execution.memory_probe import granted, measured
from medsweep.execution.runner import Ledger, LocalRunner, RunPolicy
from medsweep.execution.task import RunContext, Task
from medsweep.identity import short
from medsweep.store.bucket import Bucket, BucketError
from medsweep.store.bucket_lease import RELEASED, BucketLease
from medsweep.store.bucket_trial import BucketTrial
from medsweep.store.cache import CacheSpec
from medsweep.store.collection import check_store
from medsweep.store.lease import LeaseLostError
from medsweep.store.location import BucketUrl
from medsweep.store.opening import open_store, store_at
from medsweep.store.store import DamagedError, Manifest, Store
from medsweep.store.workspace import PublishedError, Workspace
from medsweep.sweep.plan import Plan

DIGEST = "ab" * 32


def manifest_of(stage: str, digest: str, files: Mapping[str, str]) -> Manifest:
    return Manifest(
        stage=stage, version=1, digest=digest, config={}, inputs={}, reads={}, outcome="complete", message="",
        seconds=1.0, estimated_hours=0.1, files=dict(files), metrics={}, host={}, versions={}, finished="now",
    )  # fmt: skip


@pytest.fixture
def url(s3: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BucketUrl:
    monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / "here"))
    monkeypatch.setenv("MEDSWEEP_UPLOAD_SECONDS", "0")
    url = new_bucket()
    open_store(url, "run")
    return url


def run(plan: Plan, url: BucketUrl, notebook: Notebook | None = None, cache: CacheSpec | None = None) -> Summary:
    context = RunContext(store=url, stages=toy.STAGES, cache=cache)
    return run_plan(plan, context, LocalRunner(), notebook or Notebook())


def start(folder: Path, url: BucketUrl, *options: str, machine: str = "here") -> subprocess.Popen[str]:
    """A driver of the toy sweep, past its imports, with a working folder of its own per ``machine``."""
    words = [sys.executable, str(DRIVER), str(url), str(folder / "log"), "local", *options]
    variables = {name: value for name, value in os.environ.items() if name.startswith(("AWS", "MEDSWEEP"))}
    process = subprocess.Popen(
        words,
        env={**DRIVEN, **variables, "MEDSWEEP_WORK": str(folder / machine)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    return process


def steps(folder: Path) -> list[str]:
    return (folder / "log").read_text().splitlines() if (folder / "log").exists() else []


@pytest.mark.parametrize("cached", [False, True])
def test_a_bucket_gives_what_a_folder_gives(tmp_path: Path, url: BucketUrl, cached: bool) -> None:
    plan, log = plan_of(log=tmp_path / "log"), tmp_path / "log"
    run_plan(plan, RunContext(store=tmp_path / "folder", stages=toy.STAGES), LocalRunner(), Notebook())
    log.unlink()
    cache = CacheSpec(root=tmp_path / "cache") if cached else None
    first = run(plan, url, cache=cache)
    assert first.ok
    assert results_of(plan, store_at(url)) == results_of(plan, Store(tmp_path / "folder"))
    second = run(plan, url, cache=cache)
    assert second.ok
    assert not second.ran
    assert len(log.read_text().splitlines()) == len(set(log.read_text().splitlines())) == 12
    assert list(Bucket(url).entries("leases")) == []
    manifest = store_at(url).manifest("measure", next(iter(plan.leaves.values())))
    folder = Store(tmp_path / "folder")
    assert store_at(url).size(manifest) == folder.size(folder.manifest("measure", manifest.digest)) > 0


def test_another_machine_goes_on_from_the_checkpoint_of_a_killed_driver(tmp_path: Path, url: BucketUrl) -> None:
    driver = start(tmp_path, url, "pause=0.3", "steps=3")
    while len(steps(tmp_path)) < 5:
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    shutil.rmtree(tmp_path / "here")
    begun = steps(tmp_path)
    told = ended(start(tmp_path, url, "pause=0.3", "steps=3", machine="there"))
    assert told["code"] == 0
    repeated = len(steps(tmp_path)) - len(set(steps(tmp_path)))
    assert repeated <= 2
    assert len(set(begun)) >= 5
    calm = long_plan(tmp_path / "calm", steps=3, pause=0.0)
    run_plan(calm, context_of(tmp_path / "store"), LocalRunner(), Notebook())
    plan = long_plan(tmp_path / "log", steps=3, pause=0.3)
    assert results_of(plan, store_at(url)) == results_of(calm, Store(tmp_path / "store"))


class Stops(Notebook):
    """Stops the run at the third step of a trial."""

    def progressed(self, digest: str, step: int, total: int) -> None:
        if step == 3:
            raise KeyboardInterrupt


def test_a_run_that_is_stopped_lets_go_and_another_machine_goes_on(
    tmp_path: Path, url: BucketUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = long_plan(tmp_path / "log", pause=0.0, steps=6)
    stopped = run_plan(plan, context_of(url), LocalRunner(), Stops())
    assert (stopped.stopped, stopped.exit_code) == (True, 130)
    assert [entry.size for entry in Bucket(url).entries("leases")] == [len(RELEASED)]
    monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / "there"))
    assert run_plan(plan, context_of(url), LocalRunner(), Notebook()).ok
    assert len(steps(tmp_path)) - len(set(steps(tmp_path))) <= 3, "a checkpoint goes up now and then"


def test_two_drivers_share_the_trials(tmp_path: Path, url: BucketUrl) -> None:
    drivers = [start(tmp_path, url, "pause=0.05", machine=machine) for machine in ("here", "there")]
    told = [ended(driver) for driver in drivers]
    assert [one["code"] for one in told] == [0, 0]
    assert len(steps(tmp_path)) == len(set(steps(tmp_path))) == 4 * 8


def test_what_was_not_uploaded_whole_is_not_published(
    tmp_path: Path, url: BucketUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = BucketTrial._upload

    def torn(
        trial: BucketTrial, part: Path, hashes: dict[str, str], top: str, but: frozenset[str] = frozenset()
    ) -> None:
        whole(trial, part, dict(list(hashes.items())[:1]), top)
        for expected in hashes.values():
            trial._bucket.put(f"{top}/{trial._trial}/{expected}", b"half")
        raise BucketError("the bucket went away")

    plan = plan_of(counts=(2,))
    monkeypatch.setattr(BucketTrial, "_upload", torn)
    monkeypatch.setattr("medsweep.execution.failures.BACKOFF_SECONDS", 0.01)
    torn_run = run(plan, url)
    assert {failure.outcome for failure in torn_run.failures} == {"store-away"}
    assert list(Bucket(url).entries("published")) == []
    monkeypatch.undo()
    monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / "there"))
    assert run(plan, url).ok
    assert len(results_of(plan, store_at(url))) == len(plan.leaves)


def test_a_bucket_that_is_away_for_a_moment_costs_a_try(url: BucketUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, tries = BucketTrial.publish, []

    def publish(trial: BucketTrial, part: Path) -> bool:
        tries.append(trial)
        if len(tries) == 2:
            raise BucketError("the bucket went away")
        return whole(trial, part)

    monkeypatch.setattr(BucketTrial, "publish", publish)
    notebook = Notebook()
    summary = run(plan_of(counts=(2,)), url, notebook)
    assert summary.ok
    assert any("was lost (store-away); tried again" in note for note in notebook.notes)


def test_a_failed_attempt_leaves_its_note_and_lets_go(tmp_path: Path, url: BucketUrl) -> None:
    plan = plan_of(fail="bug")
    summary = run(plan, url)
    assert {failure.outcome for failure in summary.failures} == {"error"}
    failed = summary.failures[0].trial
    shutil.rmtree(tmp_path / "here")
    elsewhere = store_at(url)
    assert [note.outcome for note in notes(elsewhere, "grow", failed.digest)] == ["error"]
    assert not elsewhere.leased("grow", failed.digest)


@pytest.mark.parametrize("how", ["bug", "diverged"])
def test_what_failed_is_set_apart_and_tried_again(tmp_path: Path, url: BucketUrl, how: str) -> None:
    plan = plan_of(counts=(2,), fail=how)
    run(plan, url)
    store = store_at(url)
    failed = failed_trials(plan, store)
    assert {(each.outcome, each.published) for each in failed} == {
        ("error", False) if how == "bug" else ("diverged", True)
    }
    for each in failed:
        set_apart(each, store)
    shutil.rmtree(tmp_path / "here")
    elsewhere = store_at(url)
    for each in failed:
        assert not elsewhere.has(each.stage, each.digest)
        assert notes(elsewhere, each.stage, each.digest) == []
    assert len({entry.name.split("/")[1] for entry in Bucket(url).entries("retried")}) == len(failed) == 2
    assert sum(run(plan, url).ran.values()) == (0 if how == "bug" else 2)


def test_what_is_damaged_in_the_bucket_is_set_aside_and_made_again(tmp_path: Path, url: BucketUrl) -> None:
    plan = plan_of()
    run(plan, url)
    store = open_store(url, "run")
    leaf = plan.leaves[next(key for key in plan.leaves if key[0] == "other")]
    pool = plan.trials[leaf].inputs["pool"]
    bucket = Bucket(url)
    for entry in bucket.entries(f"files/pool/{pool}"):
        bucket.put(entry.name, b"rotten")
    checked = {trial.digest: trial for trial in check_store(store_at(url), ["pool", "grow"], lambda _: None)}
    assert [digest for digest, trial in checked.items() if trial.damages] == [pool]
    assert len(checked[pool].damages) == checked[pool].files
    store.quarantine("measure", leaf)
    shutil.rmtree(tmp_path / "here")
    with pytest.raises(DamagedError, match=f"files/pool/{pool}/.* does not match its sha256"):
        store_at(url).verify("pool", pool)
    notebook = Notebook()
    again = run(plan, url, notebook)
    assert again.ok
    assert any(f"{url}/damaged/pool-{pool}-0" in note for note in notebook.notes)
    assert store_at(url).verify("pool", pool).outcome == "complete"


def test_a_probe_that_ended_moments_ago_elsewhere_is_seen(
    tmp_path: Path, url: BucketUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = store_at(url)
    probe = Task(sweep="s", stage="train", digest=DIGEST, hours=0.0, tail_hours=0.0, is_probe=True)
    assert measured(driver, "train", DIGEST) is None
    ledger = Ledger([probe], driver, Notebook(), RunPolicy())
    assert ledger.start() is not None
    monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / "there"))
    worker = store_at(url)
    path = worker.root / "probes" / "train" / f"{short(DIGEST)}.json"
    path.parent.mkdir(parents=True)
    memory = {"peak_mib": 1.0, "total_mib": 100_000.0, "device": "GPU", "micro_batches": 1, "config": {}}
    path.write_text(json.dumps(memory))
    worker.shared(path)
    ledger.settle(probe)
    assert ledger.result.outcomes == {DIGEST: "complete"}
    assert granted(replace(probe, shape=DIGEST, is_probe=False), driver).held.gpus == 0.125


def test_who_lost_the_lease_publishes_nothing(url: BucketUrl) -> None:
    store, bucket, lease_name = store_at(url), Bucket(url), f"leases/s/{DIGEST}.json"
    with Workspace(store, "s", DIGEST) as work:
        (work.output / "result").write_text("late")
        _, tag = bucket.read(lease_name)
        assert bucket.replace(lease_name, b'{"beat": 0, "holder": {}}', tag) is not None
        with pytest.raises(LeaseLostError):
            work.publish(lambda files: manifest_of("s", DIGEST, files))
    assert not store.has("s", DIGEST)
    assert bucket.read(lease_name)[0] == b'{"beat": 0, "holder": {}}'


def test_of_two_that_publish_the_first_stands(url: BucketUrl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BucketLease, "require", lambda lease, now=False: None)
    first, bucket, lease_name = store_at(url), Bucket(url), f"leases/s/{DIGEST}.json"
    monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / "there"))
    second = store_at(url)
    with Workspace(first, "s", DIGEST) as early:
        (early.output / "result").write_text("early")
        bucket.delete([lease_name])
        with Workspace(second, "s", DIGEST) as late:
            (late.output / "result").write_text("late")
            assert early.publish(lambda files: manifest_of("s", DIGEST, files))
            assert not late.publish(lambda files: manifest_of("s", DIGEST, files))
    for store in (first, second):
        assert (store.output("s", DIGEST) / "result").read_text() == "early"
        assert store.verify("s", DIGEST).files
    with pytest.raises(PublishedError), Workspace(second, "s", DIGEST):
        pass


def test_no_secret_leaves_the_environment(tmp_path: Path, url: BucketUrl, s3: dict[str, str]) -> None:
    told = ended(start(tmp_path, url, "pause=0.0", "steps=2"))
    assert told["code"] == 0
    bucket = Bucket(url)
    seen = [json.dumps(told).encode()]
    seen += [bucket.read(entry.name)[0] for entry in bucket.entries("")]
    seen += [path.read_bytes() for path in (tmp_path / "here").rglob("*") if path.is_file()]
    assert len(seen) > 20
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert not [content for content in seen if s3[name].encode() in content]


def test_ray_is_given_no_keys_to_carry_and_to_log(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.tune.execution.class_cache import _ActorClassCache

    from medsweep.execution.ray_tune import StageTrainable, carry_no_keys

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    carry_no_keys()
    actor = _ActorClassCache().get(StageTrainable)
    assert "hush" not in str(actor._default_options)
    assert "PL_DISABLE_FORK" in str(actor._default_options)


def test_a_node_that_cannot_open_the_store_tells_it_as_its_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: BucketUrl
) -> None:
    from medsweep.execution.ray_tune import StageTrainable

    worker = StageTrainable.__new__(StageTrainable)
    worker._context, worker._tasks, worker._store = context_of(url), tmp_path / "tasks.jsonl", None
    (tmp_path / "file").touch()
    monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / "file"))
    with pytest.raises(
        TrialFailedError, match=r"worker cannot begin: UserError: the working folder .* cannot be written"
    ) as failed:
        next(worker._attempt("", {}, 1))
    assert failed.value.outcome == "bad-input"


def test_a_store_that_is_not_there_is_not_made_by_looking(s3: dict[str, str], url: BucketUrl) -> None:
    with pytest.raises(ValueError, match="there is no store s3://"):
        open_store(BucketUrl("s3", f"{url.path}/other"), "read")
    open_store(BucketUrl("s3", f"{url.path}/other"), "plan")
    assert list(Bucket(BucketUrl("s3", f"{url.path}/other")).entries("")) == []


@pytest.mark.slow
def test_three_nodes_that_share_no_disk_share_a_bucket_and_one_is_killed(
    tmp_path: Path, url: BucketUrl, s3: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from medsweep.execution.ray_runner import RayRunner

    monkeypatch.setenv("PYTHONPATH", DRIVEN["PYTHONPATH"])
    if "RAY_AUTH_TOKEN" not in os.environ:  # a Ray that an earlier test started here asks for its token for good
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    calm, plan = (long_plan(tmp_path / log, pause=pause) for log, pause in (("calm", 0.0), ("log", 1.0)))
    assert run_plan(calm, context_of(tmp_path / "store"), LocalRunner(), Notebook()).ok

    def kill_once_busy() -> None:
        while not (busy := list(tmp_path.glob("node-*/*/grow/*.part/checkpoints/*"))):
            time.sleep(0.05)
        number = int(busy[0].relative_to(tmp_path).parts[0].removeprefix("node-"))
        cluster.remove_node(nodes[number], allow_graceful=False)

    killer = threading.Thread(target=kill_once_busy, daemon=True)
    with cluster_of(num_cpus=1) as cluster:
        session = cluster.head_node.get_session_dir_path()
        nodes = [
            cluster.add_node(num_cpus=1, env_vars={"MEDSWEEP_WORK": str(tmp_path / f"node-{number}")})
            for number in range(2)
        ]
        with RayRunner(address=cluster.address) as runner:
            killer.start()
            summary = run_plan(plan, context_of(url), runner, Notebook())
    assert summary.ok, [(failure.outcome, failure.message) for failure in summary.failures]
    killer.join(300)
    assert not killer.is_alive(), "the node was never killed"
    assert results_of(plan, store_at(url)) == results_of(calm, Store(tmp_path / "store"))
    assert list(tmp_path.glob("node-*/s3-*")), "nodes work in folders of their own"
    written = [path.read_bytes() for path in Path(session).rglob("*") if path.is_file() and not path.is_socket()]
    assert not [content for content in written if s3["AWS_SECRET_ACCESS_KEY"].encode() in content]
    assert len(set(steps(tmp_path))) == 4 * 8
    assert len(steps(tmp_path)) - 4 * 8 <= 3, "a checkpoint goes up at most every tenth of the time that it takes"
