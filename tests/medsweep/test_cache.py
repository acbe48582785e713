"""The node's cache: one copy per node whoever asks, never a wrong byte, never a trial that fails because of it."""

import gc
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import toy

from medsweep import cache
from medsweep.cache import NodeCache
from medsweep.cache_room import GIB, RECORD
from medsweep.files import copy_hashed
from medsweep.flock import FileLock
from medsweep.store import DamagedError, Manifest, Store
from medsweep.workspace import Workspace

SPAWN = multiprocessing.get_context("spawn")
SIZE = 40_000
"""Bytes of a trial's larger file."""


def publish(store: Store, letter: str, content: bytes = b"") -> str:
    """A trial of two files; returns its digest."""
    digest = letter * 64
    told = {"version": 1, "config": {}, "inputs": {}, "reads": {}, "outcome": "complete", "message": "", "seconds": 1.0}
    rest = {"estimated_hours": 0.1, "metrics": {}, "host": {}, "versions": {}, "finished": "now"}
    with Workspace(store, "s", digest) as work:
        (work.output / "inner").mkdir()
        (work.output / "inner" / "a.bin").write_bytes(content or letter.encode() * SIZE)
        (work.output / "b.txt").write_text(letter)
        work.publish(lambda files: Manifest(stage="s", digest=digest, files=dict(files), **told, **rest))
    return digest


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


def node(tmp_path: Path, copies: float = 100, **given: float) -> NodeCache:
    """A cache, as of a new process, with room for ``copies`` trials of ``publish``."""
    return NodeCache(tmp_path / "node", copies * (SIZE + 1) / GIB, **{"reserved": 0.0, **given})


def origin(on: NodeCache, store: Store, digest: str) -> str:
    with on.fetched(store, "s", digest) as found:
        letter = digest[0]
        assert (found.folder / "inner" / "a.bin").read_bytes() == letter.encode() * SIZE
        assert (found.folder / "b.txt").read_text() == letter
        assert (found.origin == "store") == (found.folder == store.output("s", digest))
        return found.origin


def there(on: NodeCache, suffix: str = "") -> set[str]:
    """Letters of what is in the cache's folder under names that end so."""
    found = [path.name for path in on.folder.iterdir()] if on.folder.is_dir() else []
    return {name.split("-")[1][0] for name in found if name.startswith("s-") and Path(name).suffix == suffix}


# Processes.


def slow_copies(log: Path, pause: float) -> None:
    """From here on this process notes every file that it copies from a store, and takes its time."""

    def copied(source: Path, target: Path) -> str:
        found = copy_hashed(source, target)
        with log.open("a") as stream:
            stream.write(f"{source}\n")
        time.sleep(pause)
        return found

    cache.copy_hashed = copied


def fetch_here(tmp_path: Path, digest: str, pause: float, answers: Any, barrier: Any = None) -> None:
    slow_copies(tmp_path / "log", pause)
    on, store = node(tmp_path), Store(tmp_path / "store")
    if barrier is not None:
        barrier.wait()
    answers.put(origin(on, store, digest))


def start(*arguments: Any) -> Any:
    process = SPAWN.Process(target=fetch_here, args=arguments)
    process.start()
    return process


def wait_for_lines(log: Path, number: int) -> None:
    until = time.monotonic() + 60
    while not log.exists() or len(log.read_text().splitlines()) < number:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_four_processes_at_once_make_one_copy(tmp_path: Path, store: Store) -> None:
    digest, answers, barrier = publish(store, "a"), SPAWN.Queue(), SPAWN.Barrier(4)
    processes = [start(tmp_path, digest, 0.1, answers, barrier) for _ in range(4)]
    assert Counter(answers.get(timeout=60) for _ in processes) == {"fetched": 1, "cache": 3}
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
    assert answers.get(timeout=60) == "fetched"
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


# Room.


def test_what_was_used_longest_ago_makes_way(tmp_path: Path, store: Store) -> None:
    on = node(tmp_path, copies=3.5)
    digests = [publish(store, letter) for letter in "abcd"]
    assert [origin(on, store, digest) for digest in digests[:3]] == ["fetched"] * 3
    assert origin(node(tmp_path, copies=3.5), store, digests[0]) == "cache"
    assert origin(on, store, digests[3]) == "fetched"
    assert there(on) == there(on, ".lock") == {"a", "c", "d"}
    assert origin(on, store, digests[1]) == "fetched"
    assert there(on) == {"a", "d", "b"}


def test_what_is_held_stays_and_a_reader_without_room_goes_to_the_store(tmp_path: Path, store: Store) -> None:
    on, other = node(tmp_path, copies=2.5), node(tmp_path, copies=2.5)
    a, b, c = (publish(store, letter) for letter in "abc")
    with on.fetched(store, "s", a), other.fetched(store, "s", b):
        with on.fetched(store, "s", c) as found:
            assert (found.origin, found.folder) == ("store", store.output("s", c))
            assert "do not fit into the cache" in found.reason
        assert there(on) == there(on, ".lock") == {"a", "b"}
    assert origin(on, store, c) == "fetched"
    assert there(on) == {"a", "c"}, "b was let go of first"


@pytest.mark.parametrize(
    ("limits", "reason"), [({"copies": 0.5}, "more than the cache's limit"), ({"reserved": 1.0}, "100% of the disk")]
)
def test_what_will_never_fit_throws_nothing_out(
    tmp_path: Path, store: Store, limits: dict[str, float], reason: str
) -> None:
    a, b = publish(store, "a"), publish(store, "b")
    origin(node(tmp_path), store, a)
    on = node(tmp_path, **limits)
    with on.fetched(store, "s", b) as found:
        assert found.origin == "store"
        assert reason in found.reason
    assert there(on) == {"a"}
    assert not there(on, ".part")
    assert origin(on, store, a) == "cache"


def test_a_copy_being_made_counts(tmp_path: Path, store: Store) -> None:
    a, b, answers = publish(store, "a"), publish(store, "b"), SPAWN.Queue()
    slow = start(tmp_path, a, 0.7, answers)
    wait_for_lines(tmp_path / "log", 1)
    with node(tmp_path, copies=1.5).fetched(store, "s", b) as found:
        assert "do not fit" in found.reason
    assert answers.get(timeout=60) == "fetched"
    slow.join()


def test_leftovers_of_the_dead_go(tmp_path: Path, store: Store) -> None:
    a, b, on = publish(store, "a"), publish(store, "b"), node(tmp_path)
    origin(on, store, a)
    (copy,) = (path for path in on.folder.iterdir() if path.name.startswith("s-a") and path.is_dir())
    dead = copy.name.replace("s-a", "s-d", 1)
    for suffix in (".part", ".gone"):
        shutil.copytree(copy, on.folder / f"{dead}{suffix}")
    (on.folder / f"{dead}.lock").touch()
    (on.folder / "of-somebody-else").touch()
    origin(on, store, b)
    names = {path.name for path in on.folder.iterdir()}
    assert not [name for name in names if name.startswith(dead)]
    assert "of-somebody-else" in names
    assert there(on) == {"a", "b"}


FULL = """\
set -e
mount -t tmpfs -o size=128k none "$1/node"
exec "$2" "$3" "$1"
"""


def on_a_small_disk(folder: Path) -> None:
    """Fetch twice onto a disk that fills up in the middle of the first copy, though it had looked large enough."""
    filler, store = folder / "node" / "filler", Store(folder / "store")

    def copied(source: Path, target: Path) -> str:
        found = copy_hashed(source, target)
        with filler.open("wb") as stream:
            try:
                while True:
                    stream.write(bytes(4096))
                    stream.flush()
            except OSError:
                return found

    cache.copy_hashed = copied
    on = NodeCache(folder / "node", 1.0, reserved=0.0)
    with on.fetched(store, "s", "a" * 64) as found:
        first = [found.origin, found.reason, found.folder == store.output("s", "a" * 64)]
    left = sorted(path.name for path in on.folder.iterdir())
    filler.unlink()
    cache.copy_hashed = copy_hashed
    sys.stdout.write(json.dumps([first, left, origin(on, store, "a" * 64)]) + "\n")


def test_a_disk_that_fills_up_costs_the_copy_alone(tmp_path: Path, store: Store) -> None:
    namespace = ["unshare", "--mount", "--map-root-user"]
    if shutil.which("unshare") is None or subprocess.run([*namespace, "true"], check=False).returncode:
        pytest.skip("no user namespaces here, so no small disk to fill")
    publish(store, "a")
    (tmp_path / "node").mkdir()
    words = [*namespace, "sh", "-c", FULL, "sh", str(tmp_path), sys.executable, __file__]
    path = os.pathsep.join(map(str, (Path(toy.__file__).parent, Path(toy.__file__).parents[1])))
    told = subprocess.run(words, env={**os.environ, "PYTHONPATH": path}, check=True, capture_output=True, text=True)
    (found, reason, from_store), left, again = json.loads(told.stdout.splitlines()[-1])
    assert (found, from_store, again) == ("store", True, "fetched")
    assert "No space left on device" in reason
    assert left == ["room.lock"]


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


@pytest.mark.parametrize("name", ["../evil", "output/../../evil", "/tmp/medsweep-evil", "copy.json", "a//b", ""])
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


if __name__ == "__main__":
    on_a_small_disk(Path(sys.argv[1]))
