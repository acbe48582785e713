"""The store: a folder of published trials by digest, the only truth about what is finished.

Layout::

    STORE/STAGE/DIGEST/        manifest.json, metrics.jsonl, output/      published, never changed again
    STORE/STAGE/DIGEST.part/   work under a lease (see ``workspace``)
    STORE/attempts/            a note per failed attempt
    STORE/damaged/             published folders whose files no longer match their hashes
    STORE/retried/             what ``medsweep retry`` moved out of the way

``docs/how-to/store.md`` tells the rest.
"""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

from pydantic_core import from_json

from medsweep.errors import UserError, nearest
from medsweep.files import sha256_of
from medsweep.identity import short
from medsweep.store.lease import is_live
from medsweep.store.location import require_no_url

FORMAT = 1
MANIFEST = "manifest.json"
DAMAGED = "damaged"
SMALL_BYTES = 2**18
"""Files below this are read in one go, which costs half as much as hashing them through a buffer."""
THREADS = 8
"""Readers at a time: enough to hide the latency of a network file system, few enough for a laptop."""
BATCH = 64

_PUBLISHED = re.compile(r"[0-9a-f]{64}").fullmatch


class DamagedError(Exception):
    """A published trial is not what was published; ``stage`` and ``digest`` name it."""

    outcome = "damaged-file"

    def __init__(self, stage: str, digest: str, what: str) -> None:
        super().__init__(f"{stage} {short(digest)} is damaged: {what}")
        self.stage, self.digest, self.what = stage, digest, what

    def __reduce__(self) -> tuple[Any, ...]:
        return DamagedError, (self.stage, self.digest, self.what)


class UnreadableError(UserError):
    """A published trial that this process may not read or this version does not know; nobody moves it away."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is known about a published trial."""

    stage: str
    version: int
    digest: str
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    reads: Mapping[str, str]
    outcome: str
    message: str
    seconds: float
    """Working time over all attempts that led to this result, without time between them."""
    estimated_hours: float
    """What the stage's built-in estimate for the device in ``timed_on`` was."""
    files: Mapping[str, str]
    """sha256 by path relative to the trial's folder."""
    metrics: Mapping[str, float]
    """Last reported scalars."""
    host: Mapping[str, Any]
    versions: Mapping[str, str]
    finished: str
    """UTC, ISO 8601."""
    code: Mapping[str, str] = field(default_factory=dict)
    """Hash of each source file that the stage depended on; empty in what was published before these were kept."""
    timed_on: str = ""
    """Kind of device that did the work, ``cpu`` or ``cuda``; empty in what was published before it was kept."""
    notes: Sequence[str] = ()
    """What was not as usual on the way to this result, a line each."""


class Store:
    """Published trials under one folder on a POSIX file system, shared by all workers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: set[str] = set()
        self._manifests: dict[tuple[str, str], tuple[tuple[int, int, int], Manifest]] = {}

    @classmethod
    def open(cls, root: Path) -> "Store":
        """Open a store to look at it, making its folder. Raises UserError: it cannot be made or read."""
        require_no_url("--store", root)
        try:
            root.mkdir(parents=True, exist_ok=True)
            os.listdir(root)
        except OSError as error:
            raise UserError(
                f"the store {root} cannot be opened ({error.strerror}); choose another with --store"
            ) from None
        return cls(root)

    @classmethod
    def existing(cls, root: Path) -> "Store":
        """Open a store that must be there: a mistyped path must not become a new, empty store.

        Raises:
            UserError: there is no such folder, or it cannot be read.
        """
        require_no_url("--store", root)
        if not root.is_dir():
            raise UserError(f"there is no store {root}; give its folder with --store")
        return cls.open(root)

    @classmethod
    def create(cls, root: Path) -> "Store":
        """Open a store to work in it, making its folder.

        A folder that its group may write to is shared: what this process makes in it, its group may write to, too.

        Raises:
            UserError: the folder cannot be made or written to.
        """
        require_no_url("--store", root)
        try:
            root.mkdir(parents=True, exist_ok=True)
            folders = [root, *(folder for folder in root.iterdir() if folder.is_dir() and folder.name[0] != ".")]
            for folder in folders:
                probe = folder / f".writable.{os.getpid()}"
                probe.touch()
                probe.unlink()
        except OSError as error:
            raise UserError(_unwritable(root, error)) from None
        share_with_group(root)
        return cls(root)

    def folder(self, stage: str, digest: str) -> Path:
        """Where the published trial is, or would be."""
        return self.root / stage / digest

    def part(self, stage: str, digest: str) -> Path:
        """Where the work on the trial happens."""
        return self.root / stage / f"{digest}.part"

    def output(self, stage: str, digest: str) -> Path:
        """The published files of a trial."""
        return self.folder(stage, digest) / "output"

    def leased(self, stage: str, digest: str) -> bool:
        """Whether a living worker, of this or another driver, is at work on the trial."""
        return is_live(self.part(stage, digest))

    def outcome(self, stage: str, digest: str) -> str | None:
        """Published outcome, or None where nothing is published.

        Raises:
            DamagedError: the manifest is torn or belongs to something else.
            UnreadableError: as ``manifest``.
        """
        if not self.folder(stage, digest).is_dir():
            return None
        return self.manifest(stage, digest).outcome

    def manifest(self, stage: str, digest: str) -> Manifest:
        """Manifest of a published trial.

        Raises:
            DamagedError: it is missing, torn, or of another trial.
            UnreadableError: this process may not read it, or a newer version wrote it.
        """
        path = f"{self.root}/{stage}/{digest}/{MANIFEST}"
        try:
            status = os.stat(path)
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
            cached = self._manifests.get((stage, digest))
            if cached is not None and cached[0] == stamp:
                return cached[1]
            with open(path, "rb") as stream:
                # Thousands of manifests name the same files and metrics; cached keys are held in memory once.
                raw = from_json(stream.read(), cache_strings="keys")
            manifest = _parsed(raw, stage, digest)
        except FileNotFoundError as error:
            raise DamagedError(stage, digest, f"{path} cannot be read ({error.strerror})") from None
        except OSError as error:
            raise _unreadable(stage, digest, path, error) from None
        except UnreadableError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedError(stage, digest, f"{path} cannot be read ({type(error).__name__}: {error})") from None
        if (manifest.stage, manifest.digest) != (stage, digest):
            raise DamagedError(stage, digest, f"{path} is the manifest of {manifest.stage} {manifest.digest}")
        self._manifests[stage, digest] = (stamp, manifest)
        return manifest

    def verify(self, stage: str, digest: str) -> Manifest:
        """Compare every file with its recorded hash, once per process.

        Raises:
            DamagedError: naming the first file that is missing or differs.
        """
        manifest = self.manifest(stage, digest)
        if digest not in self._verified:
            for what in self.damages(manifest):
                raise DamagedError(stage, digest, what)
            self._verified.add(digest)
        return manifest

    def damages(self, manifest: Manifest) -> Iterator[str]:
        """What is wrong with each published file that is missing or does not match its hash.

        Raises:
            UnreadableError: a file is there and cannot be read.
        """
        folder = f"{self.root}/{manifest.stage}/{manifest.digest}"
        for name, expected in manifest.files.items():
            path = f"{folder}/{name}"
            try:
                if _sha256(path) != expected:
                    yield f"{path} does not match its sha256"
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                yield f"{path} is missing"
            except OSError as error:
                raise _unreadable(manifest.stage, manifest.digest, path, error) from None

    def look(
        self, trials: Iterable[tuple[str, str]], hashed: Collection[str] = ()
    ) -> dict[str, Manifest | DamagedError]:
        """Manifest, or what is wrong, of those of ``trials`` (stage and digest) that are published; for thousands.

        Those whose digests are ``hashed`` are verified, too.
        """

        def read(batch: Sequence[tuple[str, str]]) -> dict[str, Manifest | DamagedError]:
            manifests: dict[str, Manifest | DamagedError] = {}
            for stage, digest in batch:
                try:
                    manifests[digest] = (self.verify if digest in hashed else self.manifest)(stage, digest)
                except DamagedError as error:
                    manifests[digest] = error
            return manifests

        pairs = list(trials)
        listed = {stage: set(self.listing(stage)) for stage in {stage for stage, _ in pairs}}
        present = [(stage, digest) for stage, digest in pairs if digest in listed[stage]]
        # In batches, since a task of its own for each small file costs more than reading it.
        batches = [present[start : start + BATCH] for start in range(0, len(present), BATCH)]
        with ThreadPoolExecutor(THREADS) as pool:
            return {digest: manifest for batch in pool.map(read, batches) for digest, manifest in batch.items()}

    def stages(self) -> list[str]:
        """Names of the stages of which something is published, sorted."""
        with os.scandir(self.root) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir())
        return [name for name in names if self.listing(name)]

    def listing(self, stage: str) -> list[str]:
        """Digests of all published trials of a stage, sorted: one look at its folder."""
        try:
            names = os.listdir(self.root / stage)
        except FileNotFoundError:
            return []
        return sorted(filter(_PUBLISHED, names))

    def quarantine(self, stage: str, digest: str, room: str = DAMAGED) -> Path:
        """Move a trial out of the way into ``STORE/ROOM``, so that it is run again; nothing is deleted."""
        target = free_path(self.root / room, f"{stage}-{digest}")
        self.folder(stage, digest).rename(target)
        self._verified.discard(digest)
        return target

    def published(self, stage: str | None = None) -> Iterator[Manifest]:
        """Manifests of all published trials (of one stage), those left out that are torn or cannot be read."""
        for name in self.stages() if stage is None else [stage]:
            for digest in self.listing(name):
                try:
                    yield self.manifest(name, digest)
                except (DamagedError, UnreadableError):
                    continue

    def find(self, prefix: str) -> Manifest | None:
        """The published trial whose digest begins with ``prefix``. Raises UserError: several do."""
        trials = [(stage, name) for stage in self.stages() for name in self.listing(stage) if name.startswith(prefix)]
        if len(trials) > 1:
            raise several_begin(prefix, len(trials))
        return self.manifest(*trials[0]) if trials else None

    def no_such(self, prefix: str) -> UserError:
        """The error for a digest that nobody knows."""
        published = [short(digest) for stage in self.stages() for digest in self.listing(stage)]
        return UserError(f"no trial {prefix!r} in the plan or in the store {self.root}; {nearest(prefix, published)}")


def several_begin(prefix: str, count: int) -> UserError:
    """The error for the beginning of several digests."""
    return UserError(f"{prefix} is the beginning of {count} digests; give more digits")


def _parsed(raw: Any, stage: str, digest: str) -> Manifest:
    """Raises KeyError, TypeError or AttributeError where ``raw`` is no manifest of any version."""
    number = raw.pop("format")
    strangers = sorted(raw.keys() - _SHAPES.keys())
    if number != FORMAT or strangers:
        what = f"format {number}, and this one reads {FORMAT}" if number != FORMAT else f"with {', '.join(strangers)}"
        raise UnreadableError(
            f"{stage} {short(digest)} was published by another version of medsweep ({what}); nothing was moved; use "
            "that version, or another --store"
        )
    for name, holds in _SHAPES.items():
        if name in raw and not holds(raw[name]):
            raise TypeError(f"{name} is {str(raw[name])[:40]!r}")
    return Manifest(**raw)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _maps_to(holds: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and all(map(holds, value.values()))


def _is_list_of_text(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


_SHAPES: Final[Mapping[str, Callable[[object], bool]]] = {
    **dict.fromkeys(("stage", "digest", "outcome", "message", "finished", "timed_on"), _is_text),
    **dict.fromkeys(("version", "seconds", "estimated_hours"), _is_number),
    **dict.fromkeys(("inputs", "reads", "files", "versions", "code"), _maps_to(_is_text)),
    **dict.fromkeys(("config", "host"), _maps_to(lambda _: True)),
    "metrics": _maps_to(_is_number),
    "notes": _is_list_of_text,
}
"""What the fields of a manifest hold as JSON has them."""


def _unreadable(stage: str, digest: str, path: str, error: OSError) -> UnreadableError:
    return UnreadableError(
        f"{path} of {stage} {short(digest)} cannot be read ({error.strerror}{_owned(Path(path))}); nothing was moved; "
        "make it readable, or use another --store"
    )


def _unwritable(root: Path, error: OSError) -> str:
    where = Path(error.filename).parent if error.filename else root
    return (
        f"the store {root} cannot be written to ({error.strerror}{_owned(where)}); choose another with --store, or let "
        f"its owner share it with a group: chgrp -R GROUP {root} and chmod -R g+rwX,g+s {root}"
        if isinstance(error, PermissionError) and root.is_dir()
        else f"the store {root} cannot be written to ({error.strerror}); choose another with --store"
    )


def _owned(path: Path) -> str:
    try:
        return f"; it belongs to {path.owner()}"
    except (OSError, KeyError):
        return ""


def share_with_group(root: Path) -> None:
    """Let the group write to what this process makes from now on, where it may write to ``root``."""
    if root.stat().st_mode & stat.S_IWGRP:
        os.umask(os.umask(0o077) & ~0o070)


def free_path(folder: Path, name: str, suffix: str = "") -> Path:
    """The first of ``NAME-0``, ``NAME-1``, ... that is not in ``folder`` yet, which is made."""
    folder.mkdir(exist_ok=True)
    return next(path for number in count() if not (path := folder / f"{name}-{number}{suffix}").exists())


def _sha256(path: str) -> str:
    with open(path, "rb") as stream:
        head = stream.read(SMALL_BYTES)
    return hashlib.sha256(head).hexdigest() if len(head) < SMALL_BYTES else sha256_of(Path(path))
