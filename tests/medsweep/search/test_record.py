"""The record of a search: two drivers agree on it, a torn event is passed over, and looking writes nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from medsweep.search.record import Event, Record
from medsweep.store.bucket import Bucket
from medsweep.store.bucket_store import BucketStore
from medsweep.store.location import BucketUrl
from medsweep.store.store import Store

Opened = Callable[[], Store]


@pytest.fixture(params=["folder", "bucket"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Opens one store, of a bucket each time as another machine does."""
    bucket, machines = Bucket(BucketUrl("s3", "in-memory"), MemoryStore()), iter("abcdefgh")

    def open_as_another() -> Store:
        monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / next(machines)))
        return BucketStore(bucket)

    return open_as_another if request.param == "bucket" else lambda: Store(tmp_path / "store")


def told(arm: str, outcome: str = "complete") -> Event:
    return Event(kind="told", arm=arm, outcome=outcome, metrics={"dice": 0.5, "hd95_mm": None}, leaves=("a", "b"))


def test_of_two_drivers_the_first_writes_and_the_other_reads(opened: Opened) -> None:
    one, other = Record(opened(), "s", writes=True), Record(opened(), "s", writes=True)
    asked = Event(kind="asked", points=({"x": 1}, {"x": [2]}))
    one.append(asked)
    other.append(Event(kind="asked", points=({"x": 3},)))
    assert one.events == other.events == [asked]
    other.append(told("search-001"))
    one.refresh()
    one.append(told("control"))
    one.append(told("search-001", "killed"))
    one.append(Event(kind="forgotten", arm="control"))
    one.append(told("control"))
    looking = opened()
    recorded = Record(looking, "s", writes=False).recorded()
    assert recorded.asked == {"search-000": {"x": 1}, "search-001": {"x": [2]}}
    assert list(recorded.told) == ["search-001", "control"]
    assert recorded.told["search-001"].outcome == "killed"
    assert looking.small_files("search") == [f"search/s/{number:06}.json" for number in range(6)]


def test_a_torn_event_says_nothing_and_what_comes_after_holds(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record = Record(store, "s", writes=True)
    for arm in "abc":
        record.append(told(arm))
    (record.folder / "000001.json").write_text('{"kind": "to')
    assert list(Record(store, "s", writes=False).recorded().told) == ["a", "c"]


def test_who_only_looks_writes_nothing(tmp_path: Path) -> None:
    record = Record(Store(tmp_path), "none", writes=False)
    record.append(told("a"))
    record.refresh()
    assert list(record.recorded().told) == ["a"]
    assert not (tmp_path / "search").exists()
