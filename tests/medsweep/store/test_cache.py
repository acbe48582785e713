"""The node's cache: one copy per node whoever asks, never a wrong byte, never a trial that fails because of it."""

import gc
import json
import os
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from helpers.caching import SIZE, SPAWN, node, origin, publish, start, there, wait_for_lines
from medsweep.store.cache import NodeCache
from medsweep.store.cache_folder import RECORD
from medsweep.store.file_lock import FileLock
from medsweep.store.store import DamagedError, Store

# Processes.


def test_four_processes_at_once_make_one_copy(tmp_path: Path, store: Store) -> None:
    digest, answers, barrier = publish(store, "a"), SPAWN.Queue(), SPAWN.Barrier(4)
    processes = [start(tmp_path, digest, 0.1, answers, barrier) for _ in range(4)]
    assert Counter(answers.get(timeout=600) for _ in processes) == {"fetched": 1, "cache": 3}
    for process in processes:
        process.join()
    read = Counter((tmp_path / "log").read_text().splitlines())
    assert read == {str(store.folder("s", digest) / file): 1 for file in store.manifest("s", digest).files}


def test_who_waited_for_a_turn_copies_nothing_again(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, faster = publish(store, "a"), node(tmp_path)

    def exclusive(path: Path) -> FileLock:
        monkeypatch.undo()
        assert origin(faster, store, digest) == "fetched"
        return FileLock.exclusive(path)

    monkeypatch.setattr(FileLock, "exclusive", exclusive)
    assert origin(node(tmp_path), store, digest) == "cache"


def test_the_next_takes_over_from_a_copier_that_was_killed(tmp_path: Path, store: Store) -> None:
    digest, answers = publish(store, "a"), SPAWN.Queue()
    doomed = start(tmp_path, digest, 300.0, answers)
    wait_for_lines(tmp_path / "log", 1)
    waiting = start(tmp_path, digest, 0.0, answers)
    time.sleep(0.5)
    assert (there(node(tmp_path)), there(node(tmp_path), ".part")) == (set(), {"a"})
    doomed.kill()
    doomed.join()
    assert answers.get(timeout=600) == "fetched"
    waiting.join()
    assert (there(node(tmp_path)), there(node(tmp_path), ".part")) == ({"a"}, set())
    assert origin(node(tmp_path), store, digest) == "cache"


def test_a_forked_child_neither_drops_the_lock_nor_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with FileLock.shared(path) as lock:
        if (child := os.fork()) == 0:
            lock.release()
            gc.collect()
            os._exit(0)
        os.waitpid(child, 0)
        assert FileLock.try_exclusive(path) is None
    read, write = os.pipe()
    if (parent := os.fork()) == 0:
        kept = FileLock.exclusive(path)
        if (grandchild := os.fork()) == 0:
            signal.pause()
        os.write(write, str(grandchild).encode())
        assert kept.path == path
        os._exit(0)
    os.waitpid(parent, 0)
    grandchild = int(os.read(read, 20))
    try:
        free = FileLock.try_exclusive(path)
        assert free is not None
        free.release()
    finally:
        os.kill(grandchild, signal.SIGKILL)


# Damage.


@pytest.mark.parametrize("name", ["output/inner/a.bin", "output/b.txt", "metrics.jsonl"])
@pytest.mark.parametrize("content", [b"x", None])
def test_damage_in_the_store_is_what_the_store_calls_it(
    tmp_path: Path, store: Store, name: str, content: bytes | None
) -> None:
    digest, on = publish(store, "a"), node(tmp_path)
    path = store.folder("s", digest) / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(DamagedError) as expected:
        Store(store.root).verify("s", digest)
    with pytest.raises(DamagedError) as found, on.fetched(store, "s", digest):
        pass
    assert str(found.value) == str(expected.value)
    assert {path.name for path in on.folder.iterdir()} == {"room.lock"}


def spoil(on: NodeCache, *, kept_time: bool) -> Path:
    """Flip a bit of the copy of ``a``."""
    (path,) = on.folder.glob("s-a*/output/inner/a.bin")
    before, content = path.stat(), bytearray(path.read_bytes())
    content[SIZE // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    if kept_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return path


@pytest.mark.parametrize("kept_time", [True, False])
def test_a_damaged_copy_is_fetched_again(tmp_path: Path, store: Store, kept_time: bool) -> None:
    digest, on = publish(store, "a"), node(tmp_path)
    origin(on, store, digest)
    spoil(on, kept_time=kept_time)
    later = node(tmp_path) if kept_time else on
    with later.fetched(store, "s", digest) as found:
        assert found.origin == "fetched"
        assert ("does not match its sha256" if kept_time else "has changed") in found.reason
        assert (found.folder / "inner" / "a.bin").read_bytes() == b"a" * SIZE
    assert origin(later, store, digest) == "cache"


@pytest.mark.parametrize("spoiled", ["{", '{"bytes": 1}', None])
def test_a_copy_without_its_record_is_fetched_again(tmp_path: Path, store: Store, spoiled: str | None) -> None:
    digest, on = publish(store, "a"), node(tmp_path)
    origin(on, store, digest)
    (record,) = on.folder.glob(f"s-a*/{RECORD}")
    record.unlink() if spoiled is None else record.write_text(spoiled)
    assert origin(on, store, digest) == "fetched"


def test_a_damaged_copy_that_another_trial_reads_is_left_to_it(tmp_path: Path, store: Store) -> None:
    digest, on, later = publish(store, "a"), node(tmp_path), node(tmp_path)
    with on.fetched(store, "s", digest) as held:
        spoil(on, kept_time=True)
        with later.fetched(store, "s", digest) as found:
            assert found.origin == "store"
            assert "another trial holds it" in found.reason
        assert held.folder.is_dir()
    assert origin(later, store, digest) == "fetched"


def test_a_trial_made_again_with_other_bytes_is_another(tmp_path: Path, store: Store) -> None:
    digest, on = publish(store, "a", b"first"), node(tmp_path)
    with on.fetched(store, "s", digest) as found:
        assert (found.folder / "inner" / "a.bin").read_bytes() == b"first"
        Store(store.root).quarantine("s", digest)
        publish(store, "a", b"again")
        with on.fetched(store, "s", digest) as remade:
            assert remade.origin == "fetched"
            assert (remade.folder / "inner" / "a.bin").read_bytes() == b"again"
        assert (found.folder / "inner" / "a.bin").read_bytes() == b"first"
    Store(store.root).quarantine("s", digest)
    publish(store, "a", b"again")
    with on.fetched(store, "s", digest) as same:
        assert same.origin == "cache"


def test_a_copy_that_is_there_needs_only_the_manifest(tmp_path: Path, store: Store) -> None:
    digest = publish(store, "a")
    origin(node(tmp_path), store, digest)
    shutil.rmtree(store.output("s", digest))
    assert origin(node(tmp_path), Store(store.root), digest) == "cache"


@pytest.mark.parametrize("name", ["../evil", "output/../../evil", "/tmp/medsweep-evil", "copy.json", "a//b", "", "."])
def test_a_manifest_cannot_write_where_it_likes(tmp_path: Path, store: Store, name: str) -> None:
    digest, on = publish(store, "a"), node(tmp_path)
    path = store.folder("s", digest) / "manifest.json"
    (tmp_path / "store" / "s" / "evil").write_text("a")
    path.write_text(json.dumps({**json.loads(path.read_text()), "files": {name: "0" * 64}}))
    with pytest.raises(DamagedError, match="is no file of a trial"), on.fetched(store, "s", digest):
        pass
    assert not on.folder.exists()


def test_copies_are_read_only_and_ours_alone(tmp_path: Path, store: Store) -> None:
    on = node(tmp_path)
    with on.fetched(store, "s", publish(store, "a")) as found:
        assert {path.stat().st_mode & 0o777 for path in found.folder.rglob("*") if path.is_file()} == {0o444}
    assert on.folder.stat().st_mode & 0o777 == 0o700
    on.folder.chmod(0o777)
    with on.fetched(store, "s", publish(store, "b")) as found:
        assert (found.origin, "others can write" in found.reason) == ("store", True)


def test_a_cache_that_cannot_be_made_is_no_trials_fault(tmp_path: Path, store: Store) -> None:
    (tmp_path / "node").write_text("a file")
    with node(tmp_path).fetched(store, "s", publish(store, "a")) as found:
        assert found.origin == "store"
        assert "Not a directory" in found.reason or "File exists" in found.reason
