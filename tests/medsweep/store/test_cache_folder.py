"""Room in the node's cache: what makes way, what is held, what will never fit, and a disk that fills up."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import toy
from helpers.caching import SPAWN, node, origin, publish, start, there, wait_for_lines
from medsweep.files import copy_hashed
from medsweep.store import store as store_module
from medsweep.store.cache import NodeCache
from medsweep.store.store import Store


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
    assert answers.get(timeout=600) == "fetched"
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

    store_module.copy_hashed = copied
    on = NodeCache(folder / "node", 1.0, reserved=0.0)
    with on.fetched(store, "s", "a" * 64) as found:
        first = [found.origin, found.reason, found.folder == store.output("s", "a" * 64)]
    left = sorted(path.name for path in on.folder.iterdir())
    filler.unlink()
    store_module.copy_hashed = copy_hashed
    sys.stdout.write(json.dumps([first, left, origin(on, store, "a" * 64)]) + "\n")


def test_a_disk_that_fills_up_costs_the_copy_alone(tmp_path: Path, store: Store) -> None:
    namespace = ["unshare", "--mount", "--map-root-user"]
    if shutil.which("unshare") is None or subprocess.run([*namespace, "true"], check=False).returncode:
        pytest.skip("no user namespaces here, so no small disk to fill")
    publish(store, "a")
    (tmp_path / "node").mkdir()
    words = [*namespace, "sh", "-c", FULL, "sh", str(tmp_path), sys.executable, __file__]
    path = os.pathsep.join(map(str, Path(toy.__file__).parents[1:3]))
    told = subprocess.run(words, env={**os.environ, "PYTHONPATH": path}, check=True, capture_output=True, text=True)
    (found, reason, from_store), left, again = json.loads(told.stdout.splitlines()[-1])
    assert (found, from_store, again) == ("store", True, "fetched")
    assert "No space left on device" in reason
    assert left == ["room.lock"]


if __name__ == "__main__":
    on_a_small_disk(Path(sys.argv[1]))
