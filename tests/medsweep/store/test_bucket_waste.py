"""``gc`` in a bucket: what no sweep needs goes, and nothing while somebody on whatever machine is at work."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers import toy
from helpers.buckets import new_bucket
from helpers.runner_contract import plan_of
from medsweep.errors import UserError
from medsweep.execution.driver import run_plan
from medsweep.execution.runner import LocalRunner
from medsweep.execution.task import RunContext
from medsweep.identity import short
from medsweep.store import bucket_lease, bucket_waste, lease
from medsweep.store.bucket_lease import RELEASED, BucketLease
from medsweep.store.bucket_store import BucketStore
from medsweep.store.collection import find_waste, remove
from medsweep.store.location import BucketUrl
from medsweep.store.opening import open_store
from medsweep.store.presence import announced
from medsweep.store.waste import ASIDE, NOTES, TEMPORARY, UNFINISHED, UNREACHABLE, Waste
from medsweep.store.workspace import Workspace
from medsweep.sweep.plan import Plan
from medsweep.tracking.console import Observer

SMALL, LARGE = plan_of(counts=(2,)), plan_of(counts=(2, 4))
OTHER = "cd" * 32


def opened(url: BucketUrl) -> BucketStore:
    store = open_store(url, "run")
    assert isinstance(store, BucketStore)
    return store


@pytest.fixture
def store(s3: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BucketStore:
    monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / "here"))
    monkeypatch.setenv("MEDSWEEP_UPLOAD_SECONDS", "0")
    monkeypatch.setattr(lease, "STALE_SECONDS", 0.5)
    return opened(new_bucket())


def run(plan: Plan, store: BucketStore) -> Counter[str]:
    context = RunContext(store=store.location, stages=toy.STAGES)
    return run_plan(plan, context, LocalRunner(), Observer()).ran


def names(store: BucketStore) -> set[str]:
    return {entry.name for entry in store.bucket.entries("")}


def cleared(store: BucketStore, needed: set[str]) -> list[Waste]:
    """What a machine of its own finds and deletes."""
    looking, gone = opened(store.location), list[Waste]()
    remove(looking, find_waste(looking, needed), gone.append)
    return gone


@contextmanager
def held_elsewhere(store: BucketStore, name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A lease that a worker of another host holds."""
    with monkeypatch.context() as there:
        there.setattr("socket.gethostname", lambda: "elsewhere")
        held = BucketLease(store.bucket, name, store.watch)
    yield
    held.release(published=False)


def test_trials_that_no_sweep_needs_go_with_all_their_files(store: BucketStore) -> None:
    run(LARGE, store)
    lost = set(LARGE.trials) - set(SMALL.trials)
    gone = cleared(store, set(SMALL.trials))
    assert {waste.path.name for waste in gone} == lost
    assert {waste.kind for waste in gone} == {UNREACHABLE}
    assert all(waste.bytes > 0 for waste in gone)
    assert not [name for name in names(store) if any(digest in name for digest in lost)]
    assert cleared(store, set(SMALL.trials)) == []
    store.look_again()
    assert not run(SMALL, store)
    assert run(LARGE, store) == Counter(pool=2, measure=2), "two pools are read by none that is missing"


def test_what_was_left_behind_goes_and_what_is_needed_stays(
    store: BucketStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_waste, "ABANDONED_SECONDS", -1.0)
    (needed, waiting, *_) = (digest for digest, trial in LARGE.trials.items() if trial.stage == "grow")
    with Workspace(store, "grow", needed) as work:
        work.checkpoint(7, lambda folder: (folder / "state").touch() or None)
    with Workspace(store, "grow", OTHER) as work:
        work.checkpoint(7, lambda folder: (folder / "state").touch() or None)
    kept = names(store) - {name for name in names(store) if OTHER in name}
    gone = {
        f"attempts/grow/{short(OTHER)}.jsonl": NOTES,
        "damaged/grow-a-0/manifest.json": ASIDE,
        "retried/grow-b-0/manifest.json": ASIDE,
        f"files/grow/{waiting}/half-of-an-upload": TEMPORARY,
        "leases/.tried-out": TEMPORARY,
        f".present/run/{OTHER}.json": TEMPORARY,
    }
    also = (f"attempts/grow/{short(waiting)}.jsonl", "search/s/000000.json", "rungs/s/grow/all/0/x", "plans/s.jsonl")
    for name in (*gone, *also):
        store.bucket.put(name, b"anything")
    store.bucket.put(f"leases/grow/{waiting}.json", RELEASED)
    found = {name: waste for waste in cleared(store, set(LARGE.trials)) for name in waste.objects}
    assert {name: found[name].kind for name in gone} == gone
    unfinished = [waste for waste in found.values() if waste.kind == UNFINISHED]
    assert {(waste.path.name, waste.remark) for waste in unfinished} == {(f"{OTHER}.part", "checkpoint of step 7")}
    assert names(store) == {*kept, *also, f"leases/grow/{waiting}.json"}


def test_the_files_of_a_worker_that_came_second_go(store: BucketStore) -> None:
    run(SMALL, store)
    (digest, *_) = store.listing("grow")
    before = names(store)
    store.bucket.put(f"files/grow/{digest}/{OTHER}", b"of the second")
    assert [waste.objects for waste in cleared(store, set(SMALL.trials))] == [(f"files/grow/{digest}/{OTHER}",)]
    assert names(store) == before


def test_nothing_goes_while_a_worker_of_another_machine_lives(
    store: BucketStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(SMALL, store)
    before = names(store)
    with monkeypatch.context() as beating:
        beating.setattr(bucket_lease, "BEAT_SECONDS", 0.1)
        with (
            held_elsewhere(store, f"leases/grow/{OTHER}.json", monkeypatch),
            pytest.raises(UserError, match=f"a run is at work on grow {OTHER[:16]} in the store s3://"),
        ):
            cleared(store, set())
    assert names(store) == {*before, f"leases/grow/{OTHER}.json"}
    with held_elsewhere(store, f"leases/grow/{OTHER}.json", monkeypatch):  # one that is renewed no more
        cleared(store, set())
    assert not [name for name in names(store) if name.startswith(("published", "files"))]


def test_a_run_and_a_gc_keep_each_other_out(store: BucketStore) -> None:
    run(SMALL, store)
    before = names(store)
    with announced(store, "run"), pytest.raises(UserError, match="runs a sweep in the store s3://"):
        cleared(store, set())
    with (
        announced(store, "gc"),
        pytest.raises(UserError, match="deletes what nobody needs from the store s3://"),
        announced(opened(store.location), "run"),
    ):
        pass
    assert names(store) == before
