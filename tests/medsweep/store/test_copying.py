"""A store copied to a bucket and back: verified, resumable, and nothing that is there is touched."""

import json
from pathlib import Path

import pytest

from helpers.buckets import new_bucket
from helpers.caching import publish
from medsweep.files import write_atomic
from medsweep.store import copying
from medsweep.store.copying import copy_store
from medsweep.store.opening import open_store
from medsweep.store.store import Store


@pytest.fixture
def bucket(s3: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / "work"))
    return open_store(new_bucket(), "run")


def filled(folder: Path) -> Store:
    store = Store.create(folder)
    for letter in "abc":
        publish(store, letter)
    (folder / "plans").mkdir()
    write_atomic(folder / "plans" / "one.jsonl", '{"digest": "a"}\n')
    return store


def content(store: Store) -> dict[str, bytes]:
    paths = [path for path in store.root.rglob("*") if path.is_file()]
    return {path.relative_to(store.root).as_posix(): path.read_bytes() for path in paths}


def silent() -> None:
    pass


def test_to_a_bucket_and_back_nothing_changes(tmp_path: Path, bucket: Store) -> None:
    store, back = filled(tmp_path / "store"), Store.create(tmp_path / "back")
    there = copy_store(store, bucket, silent)
    assert (there.trials, there.there, there.small, there.left) == (3, 0, 1, ())
    assert bucket.verify("s", "a" * 64) == store.verify("s", "a" * 64)
    assert copy_store(bucket, back, silent).trials == 3
    assert content(back) == content(store)
    again = copy_store(bucket, back, silent)
    assert (again.trials, again.there, again.small) == (0, 3, 0)


def test_a_copy_goes_on_where_it_was_interrupted(
    tmp_path: Path, bucket: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, whole, files = filled(tmp_path / "store"), copying._bring, []

    def interrupted(*args: object) -> None:
        files.append(args)
        if len(files) == 5:
            raise KeyboardInterrupt
        whole(*args)

    monkeypatch.setattr(copying, "_bring", interrupted)
    with pytest.raises(KeyboardInterrupt):
        copy_store(store, bucket, silent)
    monkeypatch.undo()
    monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / "work"))
    assert bucket.has("s", "a" * 64)
    assert not bucket.has("s", "b" * 64)
    rest = copy_store(store, open_store(bucket.location, "run"), silent)
    assert (rest.trials, rest.there) == (2, 1)


def test_what_is_damaged_or_other_there_is_named_and_left(tmp_path: Path, bucket: Store) -> None:
    store = filled(tmp_path / "store")
    (store.output("s", "a" * 64) / "b.txt").write_text("rotten")
    (store.output("s", "b" * 64) / "b.txt").unlink()
    publish(bucket, "c", b"of another machine")
    copied = copy_store(store, bucket, silent)
    assert copied.trials == 0
    rotten, missing, other = copied.left
    assert f"output/b.txt in {store} does not match its sha256" in rotten
    assert f"output/b.txt is missing in {store}" in missing
    assert f"{bucket} has s {'c' * 16} with other files" in other
    assert bucket.listing("s") == ["c" * 64]
    assert (bucket.output("s", "c" * 64) / "inner" / "a.bin").read_bytes() == b"of another machine"


def test_a_manifest_cannot_write_where_it_likes(tmp_path: Path, bucket: Store) -> None:
    store = filled(tmp_path / "store")
    victim = bucket.root / "s" / "precious"
    victim.parent.mkdir()
    victim.write_text("mine")
    path = store.folder("s", "a" * 64) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "files": {"../precious": "0" * 64}}))
    copied = copy_store(store, bucket, silent)
    assert (copied.trials, len(copied.left)) == (2, 1)
    assert "names '../precious', which is no file of a trial" in copied.left[0]
    assert victim.read_text() == "mine"
