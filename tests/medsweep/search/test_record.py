"""The record of a search: two drivers agree on it, a torn event is passed over, and looking writes nothing."""

from pathlib import Path

from medsweep.search.record import Event, Record


def told(arm: str, outcome: str = "complete") -> Event:
    return Event(kind="told", arm=arm, outcome=outcome, metrics={"dice": 0.5, "hd95_mm": None}, leaves=("a", "b"))


def test_of_two_drivers_the_first_writes_and_the_other_reads(tmp_path: Path) -> None:
    folder = tmp_path / "search" / "s"
    one, other = Record(folder, writes=True), Record(folder, writes=True)
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
    recorded = Record(folder, writes=False).recorded()
    assert recorded.asked == {"search-000": {"x": 1}, "search-001": {"x": [2]}}
    assert list(recorded.told) == ["search-001", "control"]
    assert recorded.told["search-001"].outcome == "killed"
    assert sorted(path.name for path in folder.iterdir()) == [f"{number:06}.json" for number in range(6)]


def test_a_torn_event_says_nothing_and_what_comes_after_holds(tmp_path: Path) -> None:
    record = Record(tmp_path, writes=True)
    for arm in "abc":
        record.append(told(arm))
    (tmp_path / "000001.json").write_text('{"kind": "to')
    assert list(Record(tmp_path, writes=False).recorded().told) == ["a", "c"]


def test_who_only_looks_writes_nothing(tmp_path: Path) -> None:
    record = Record(tmp_path / "none", writes=False)
    record.append(told("a"))
    record.refresh()
    assert list(record.recorded().told) == ["a"]
    assert not (tmp_path / "none").exists()
