"""What every store keeps to: one in a folder, one in a bucket in memory, one in a bucket behind a server of S3."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from helpers.buckets import new_bucket
from helpers.caching import publish
from medsweep.errors import UserError
from medsweep.store.bucket import Bucket
from medsweep.store.bucket_store import BucketStore
from medsweep.store.collection import check_store, find_waste, living, remove
from medsweep.store.lease import LeaseHeldError
from medsweep.store.location import BucketUrl
from medsweep.store.presence import announced
from medsweep.store.sound import sound_file
from medsweep.store.store import DamagedError, Store
from medsweep.store.waste import UNFINISHED, UNREACHABLE
from medsweep.store.workspace import PublishedError, Workspace

DIGEST = "cd" * 32
Again = Callable[[], Store]


@pytest.fixture(params=["folder", "memory", "s3"])
def again(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Again:
    """Opens one store as another process does."""
    monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / "here"))
    monkeypatch.setenv("MEDSWEEP_UPLOAD_SECONDS", "0")
    if request.param == "folder":
        return lambda: Store.create(tmp_path / "store")
    if request.param == "memory":
        memory = MemoryStore()
        return lambda: BucketStore(Bucket(BucketUrl("s3", "in-memory"), memory))
    request.getfixturevalue("s3")
    url = new_bucket()
    return lambda: BucketStore(Bucket(url))


def test_what_is_published_is_found_whole_and_by_its_address(again: Again) -> None:
    assert (again().stages(), again().listing("s"), again().find("ab")) == ([], [], None)
    digests = sorted(publish(again(), content) for content in "ab")
    store = again()
    assert (store.stages(), store.listing("s")) == (["s"], digests)
    assert [manifest.digest for manifest in store.published()] == digests
    for digest in digests:
        assert store.has("s", digest)
        assert store.outcome("s", digest) == "complete"
        assert asdict(store.verify("s", digest)) == asdict(store.manifest("s", digest))
        assert store.size(store.manifest("s", digest)) > 0
        found = sound_file(store, "s", digest, "b.txt")
        assert found is not None
        assert found.read_text() == digest[0]
        assert sound_file(store, "s", digest, "other.txt") is None
    assert store.find(digests[0][:12]) == store.manifest("s", digests[0])
    assert store.outcome("s", DIGEST) is None
    assert store.present([("s", digests[1]), ("s", DIGEST), ("other", digests[0])]) == [("s", digests[1])]
    assert not any(checked.damages for checked in check_store(store, ["s"], lambda _: None))


def test_one_works_on_a_trial_and_another_goes_on_or_finds_it_published(again: Again) -> None:
    with Workspace(again(), "s", DIGEST) as work:
        assert again().leased("s", DIGEST)
        holder = again().holder("s", DIGEST)
        assert holder is not None
        assert holder.is_here
        with pytest.raises(LeaseHeldError):
            Workspace(again(), "s", DIGEST).__enter__()
        work.checkpoint(3, lambda folder: (folder / "state").write_text("three") and None)
    assert not again().leased("s", DIGEST)
    with Workspace(again(), "s", DIGEST) as work:
        found = work.restore()
        assert found is not None
        assert (found[0], (found[1] / "state").read_text()) == (3, "three")
    digest = publish(again(), "a")
    with pytest.raises(PublishedError):
        Workspace(again(), "s", digest).__enter__()


def test_what_is_set_aside_is_published_no_more(again: Again) -> None:
    digest = publish(again(), "a")
    assert "damaged" in str(again().quarantine("s", digest))
    assert not again().has("s", digest)
    with pytest.raises(DamagedError):
        again().manifest("s", digest)
    assert publish(again(), "a") == digest


def test_small_files_are_made_once_and_put_aside(again: Again) -> None:
    store = again()
    path = store.root / "search" / "s" / "000000.json"
    store.write_once(path, b"first")
    again().write_once(path, b"second")
    assert again().fresh(path, now=True).read_bytes() == b"first"
    assert again().small_files("search") == ["search/s/000000.json"]
    again().put_aside(again().fresh(path, now=True), "retried", "s")
    assert again().small_files("search") == []
    assert again().small_files("retried") == ["retried/s-0.json"]


def test_what_nobody_needs_goes_unless_somebody_is_at_work(again: Again) -> None:
    kept, lost = (publish(again(), content) for content in "ab")
    with Workspace(again(), "s", DIGEST) as work:
        work.checkpoint(3, lambda folder: (folder / "state").touch())
        assert living(again()) == ("s", DIGEST)
        with pytest.raises(UserError, match="a run is at work on s cdcdcdcdcdcdcdcd"):
            remove(again(), find_waste(again(), {kept}), lambda _: None)
    with announced(again(), "run"), pytest.raises(UserError, match="runs a sweep in the store"):
        remove(again(), find_waste(again(), {kept}), lambda _: None)
    waste = find_waste(again(), {kept})
    assert [item.kind for item in waste][:2] == [UNREACHABLE, UNFINISHED]
    assert "step 3" in waste[1].remark
    remove(again(), waste, lambda _: None)
    assert again().listing("s") == [kept]
    assert not again().has("s", lost)
    assert find_waste(again(), {kept}) == []
