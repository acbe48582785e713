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
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path

from medsweep.errors import UserError, nearest
from medsweep.files import copy_hashed, put_once, sha256_of, write_atomic
from medsweep.identity import short
from medsweep.store.elsewhere import Elsewhere
from medsweep.store.lease import LEASE, Holder, holder_of, is_live
from medsweep.store.location import Location, require_no_url
from medsweep.store.manifest import FORMAT, MANIFEST, DamagedError, Manifest, UnreadableError, parsed

__all__ = [
    "DAMAGED", "FORMAT", "MANIFEST", "SMALL_ROOMS", "THREADS", "DamagedError", "Manifest", "Store", "UnreadableError",
    "free_path", "several_begin", "share_with_group",
]  # fmt: skip

DAMAGED = "damaged"
SMALL_BYTES = 2**18
"""Files below this are read in one go, which costs half as much as hashing them through a buffer."""
THREADS = 8
"""Readers at a time: enough to hide the latency of a network file system, few enough for a laptop."""
BATCH = 64
SMALL_ROOMS = ("plans", "attempts", "probes", "search", "rungs")
"""Folders of small files that say something of trials and are none."""

_PUBLISHED = re.compile(r"[0-9a-f]{64}").fullmatch


class Store:
    """Published trials under one folder on a POSIX file system, shared by all workers.

    ``medsweep.store.bucket_store`` has one in a bucket, whose ``root`` is a working folder of this machine alone.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: set[str] = set()
        self._manifests: dict[tuple[str, str], tuple[tuple[int, int, int], Manifest]] = {}

    @classmethod
    def open(cls, root: Path) -> "Store":
        """Open a store to look at it; it need not be there, and is not made. Raises UserError: it cannot be read."""
        require_no_url("--store", root)
        try:
            os.listdir(root)
        except FileNotFoundError:
            pass
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

    def __str__(self) -> str:
        return str(self.root)

    @property
    def location(self) -> Location:
        """What other processes open it by."""
        return self.root.resolve()

    @property
    def is_there(self) -> bool:
        """Whether it was made yet; who only looks makes nothing."""
        return self.root.is_dir()

    def has(self, stage: str, digest: str) -> bool:
        """Whether the trial is published by now, with whatever outcome."""
        return self.folder(stage, digest).is_dir()

    def leased(self, stage: str, digest: str) -> bool:
        """Whether a living worker, of this or another driver, is at work on the trial."""
        return is_live(self.part(stage, digest))

    def holder(self, stage: str, digest: str) -> Holder | None:
        """Who holds the lease of the trial, living or dead; None where nobody can be named."""
        return holder_of(self.part(stage, digest))

    def elsewhere(self, stage: str, digest: str) -> Elsewhere:
        """What a worker on the trial has to keep in step with beside its working folder: nothing, here."""
        return Elsewhere()

    def look_again(self) -> None:
        """Forget what was listed moments ago: nothing, where a look costs little."""

    def fresh(self, path: Path, *, now: bool = False) -> Path:
        """A small file of the store other than a trial's, as others have left it; ``now``, not moments ago."""
        return path

    def shared(self, path: Path, *, lines: bool = False, if_allowed: bool = False) -> None:
        """Let others see a small file that was written, at least ``if_allowed``; ``lines`` are added to theirs."""

    def folder_with(self, manifest: Manifest, suffixes: tuple[str, ...]) -> Path:
        """The folder of a published trial, with its files of these names' ends at least."""
        return self.folder(manifest.stage, manifest.digest)

    def write_once(self, path: Path, content: bytes) -> None:
        """Make a small file, unless somebody has made it before."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        write_atomic(temporary, content)
        with suppress(FileExistsError):
            put_once(temporary, path)
        temporary.unlink()

    def put_aside(self, path: Path, room: str, stem: str) -> None:
        """Move a small file into ``STORE/ROOM``; nothing is deleted."""
        path.rename(free_path(self.root / room, stem, path.suffix))

    def small_files(self, *rooms: str) -> list[str]:
        """Names, from the root on, of the files in ``rooms`` [``SMALL_ROOMS``]; none that is being written."""
        paths = [path for room in rooms or SMALL_ROOMS for path in (self.root / room).rglob("*")]
        return sorted(
            path.relative_to(self.root).as_posix() for path in paths if path.is_file() and path.name[0] != "."
        )

    def size(self, manifest: Manifest) -> int:
        """Bytes of a published trial's files; a file that is gone weighs nothing."""
        folder = self.folder(manifest.stage, manifest.digest)
        return sum(path.stat().st_size for name in manifest.files if (path := folder / name).is_file())

    def fetch(self, manifest: Manifest, file: str, target: Path) -> str:
        """Copy a file of a published trial; the sha256 of what was read. Raises OSError, naming the file that fails."""
        return copy_hashed(self.folder(manifest.stage, manifest.digest) / file, target)

    def outcome(self, stage: str, digest: str) -> str | None:
        """Published outcome, or None where nothing is published.

        Raises:
            DamagedError: the manifest is torn or belongs to something else.
            UnreadableError: as ``manifest``.
        """
        if not self.has(stage, digest):
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
                content = stream.read()
        except FileNotFoundError as error:
            raise DamagedError(stage, digest, f"{path} cannot be read ({error.strerror})") from None
        except OSError as error:
            raise _unreadable(stage, digest, path, error) from None
        manifest = parsed(content, stage, digest, path)
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

    def strangers(self, manifest: Manifest) -> Iterator[str]:
        """Files that the manifest does not name; a lease whose holder died while publishing is none."""
        folder = self.folder(manifest.stage, manifest.digest)
        for parent, _, names in os.walk(folder):
            for name in sorted(names):
                path = f"{parent}/{name}"
                relative = path.removeprefix(f"{folder}/")
                known = relative in manifest.files or relative in (MANIFEST, LEASE) or name.startswith(f".{LEASE}.")
                if not known:
                    yield f"{path} is not in the manifest"

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

        present = self.present(trials)
        # In batches, since a task of its own for each small file costs more than reading it.
        batches = [present[start : start + BATCH] for start in range(0, len(present), BATCH)]
        with ThreadPoolExecutor(THREADS) as pool:
            return {digest: manifest for batch in pool.map(read, batches) for digest, manifest in batch.items()}

    def present(self, trials: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those of ``trials`` (stage and digest) that are published, whole or damaged; one look at each stage."""
        pairs = list(trials)
        listed = {stage: set(self.listing(stage)) for stage in {stage for stage, _ in pairs}}
        return [(stage, digest) for stage, digest in pairs if digest in listed[stage]]

    def stages(self) -> list[str]:
        """Names of the stages of which something is published, sorted."""
        if not self.is_there:
            return []
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

    def quarantine(self, stage: str, digest: str, room: str = DAMAGED) -> Path | str:
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
        return UserError(f"no trial {prefix!r} in the plan or in the store {self}; {nearest(prefix, published)}")


def several_begin(prefix: str, count: int) -> UserError:
    """The error for the beginning of several digests."""
    return UserError(f"{prefix} is the beginning of {count} digests; give more digits")


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
