"""Trials to keep, a cache to keep them in, and processes that fetch at once, for the tests of the cache."""

import multiprocessing
import time
from pathlib import Path
from typing import Any

from medsweep.files import copy_hashed
from medsweep.store import store as store_module
from medsweep.store.cache import NodeCache
from medsweep.store.cache_folder import GIB
from medsweep.store.store import Manifest, Store
from medsweep.store.workspace import Workspace

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


def slow_copies(log: Path, pause: float) -> None:
    """From here on this process notes every file that it copies from a store, and takes its time."""

    def copied(source: Path, target: Path) -> str:
        found = copy_hashed(source, target)
        with log.open("a") as stream:
            stream.write(f"{source}\n")
        time.sleep(pause)
        return found

    store_module.copy_hashed = copied


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
    while not log.exists() or len(log.read_text().splitlines()) < number:
        time.sleep(0.01)
