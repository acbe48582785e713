"""A store in a bucket. Trials work in a folder of their machine; what is published, and who works, is in the bucket.

Names below the prefix::

    store.json                     says that this is a store
    published/STAGE/DIGEST.json    manifest: made once, when all files are there
    files/STAGE/DIGEST/SHA256      what the manifest names, by content
    leases/STAGE/DIGEST.json       who works on the trial
    working/STAGE/DIGEST.json      the newest checkpoint that went up, with its files beside it
    attempts/, plans/, probes/     as in a folder
    damaged/, retried/             what was set aside
"""

import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Final

from medsweep.errors import UserError
from medsweep.files import make_read_only, on_this_machine, sha256_of, write_atomic
from medsweep.identity import canonical
from medsweep.store.bucket import Bucket, BucketRefusedError, Entry, Tag
from medsweep.store.bucket_lease import LEASES, LeaseWatch
from medsweep.store.bucket_trial import FILES, PUBLISHED, BucketTrial
from medsweep.store.lease import Holder
from medsweep.store.location import BucketUrl, Location
from medsweep.store.manifest import DamagedError, Manifest, parsed, require_inside
from medsweep.store.store import DAMAGED, SMALL_ROOMS, Store

MARK: Final = "store.json"
LAYOUT: Final = b'{"format": 1}\n'
"""What ``MARK`` holds: which names the store has."""
WORK: Final = "MEDSWEEP_WORK"
"""Environment variable: folder on each machine's own disk for what is worked on and read."""
WORK_FOLDER: Final = "~/.cache/medsweep"
LOOK_SECONDS = 2.0
"""Time for which a listing will do where nothing is decided by it."""
LISTING_SHARE = 0.1
"""Most of the time that listings may take, which a large store makes slow."""

_MANIFEST = re.compile(r"([0-9a-f]{64})\.json").fullmatch


def work_folder() -> Path:
    """The folder for all stores in buckets, as each machine's own environment names it."""
    return Path("${" + WORK + "}") if os.environ.get(WORK) else Path(WORK_FOLDER)


class BucketStore(Store):
    """Published trials below the prefix of a bucket; ``root`` is the working folder of this machine."""

    def __init__(self, bucket: Bucket, *, is_there: bool = True) -> None:
        folder = on_this_machine(work_folder()) / bucket.url.folder_name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".writable.{uuid.uuid4().hex}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UserError(f"the working folder {folder} cannot be written ({error.strerror}); set {WORK}") from None
        super().__init__(folder)
        self.bucket, self._is_there = bucket, is_there
        self.watch = LeaseWatch(bucket)
        self._listings: dict[str, tuple[float, dict[str, Entry]]] = {}
        self._known: dict[tuple[str, str], tuple[Tag, Manifest]] = {}
        self._fresh: dict[str, Tag] = {}

    @classmethod
    def in_bucket(cls, url: BucketUrl, *, writes: bool, must_be: bool) -> "BucketStore":
        """Open a store: to work in it (``writes``), or to look at it, where it ``must_be`` already or need not.

        Raises:
            UserError: there is no such store or bucket, or it cannot be used.
        """
        bucket = Bucket(url)
        if writes:
            bucket.require_conditions(f"{LEASES}/.{uuid.uuid4().hex}")
            bucket.create(MARK, LAYOUT)
        mark = bucket.read(MARK)
        if mark is None and must_be:
            raise UserError(f"there is no store {url}; give its bucket and prefix with --store")
        if mark is not None and mark[0] != LAYOUT:
            raise UserError(f"{url}/{MARK} is of another version of medsweep; use that version, or another prefix")
        return cls(bucket, is_there=writes or mark is not None)

    def __str__(self) -> str:
        return str(self.bucket.url)

    @property
    def location(self) -> Location:
        """What other processes open it by."""
        return self.bucket.url

    @property
    def is_there(self) -> bool:
        """Whether it was made when it was opened; who only looks makes nothing."""
        return self._is_there

    def _listed(self, prefix: str) -> dict[str, Entry]:
        good_until, entries = self._listings.get(prefix, (0.0, {}))
        begun = time.monotonic()
        if begun >= good_until:
            entries = {entry.name: entry for entry in self.bucket.entries(prefix)}
            now = time.monotonic()
            self._listings[prefix] = now + max(LOOK_SECONDS, (now - begun) / LISTING_SHARE), entries
        return entries

    def has(self, stage: str, digest: str) -> bool:
        """Whether the trial is published by now, with whatever outcome."""
        return self.bucket.tag(_published(stage, digest)) is not None

    def leased(self, stage: str, digest: str) -> bool:
        """Whether a living worker, of this or another driver, is at work on the trial."""
        return self.watch.live(f"{LEASES}/{stage}/{digest}.json")

    def holder(self, stage: str, digest: str) -> Holder | None:
        """Who holds the lease of the trial, living or dead; None where nobody can be named."""
        return self.watch.holder(f"{LEASES}/{stage}/{digest}.json")

    def elsewhere(self, stage: str, digest: str) -> BucketTrial:
        """The trial's lease in the bucket, held from now on."""
        return BucketTrial(self.bucket, self.watch, stage, digest, self.look_again)

    def look_again(self) -> None:
        """Forget what was listed moments ago."""
        self._listings.clear()

    def outcome(self, stage: str, digest: str) -> str | None:
        """Published outcome, or None where nothing was published moments ago.

        Raises:
            DamagedError: the manifest is torn or belongs to something else.
            UnreadableError: as ``manifest``.
        """
        listed = _published(stage, digest) in self._listed(f"{PUBLISHED}/{stage}")
        return self.manifest(stage, digest).outcome if listed else None

    def manifest(self, stage: str, digest: str) -> Manifest:
        """Manifest of a published trial.

        Raises:
            DamagedError: it is missing, torn, or of another trial.
            UnreadableError: a newer version wrote it.
        """
        name, known = _published(stage, digest), self._known.get((stage, digest))
        entry = self._listed(f"{PUBLISHED}/{stage}").get(name)
        if known is not None and entry is not None and known[0] == entry.tag:
            return known[1]
        found = self.bucket.read(name)
        if found is None:
            raise DamagedError(stage, digest, f"{self.location}/{name} is gone")
        manifest = parsed(found[0], stage, digest, f"{self.location}/{name}")
        require_inside(manifest, f"{self.location}/{name}")
        self._known[stage, digest] = found[1], manifest
        return manifest

    def stages(self) -> list[str]:
        """Names of the stages of which something is published, sorted."""
        return sorted({name.split("/")[1] for name in self._listed(PUBLISHED) if name.count("/") == 2})

    def listing(self, stage: str) -> list[str]:
        """Digests of all published trials of a stage, sorted."""
        names = (_MANIFEST(name.rpartition("/")[2]) for name in self._listed(f"{PUBLISHED}/{stage}"))
        return sorted(match[1] for match in names if match)

    def output(self, stage: str, digest: str) -> Path:
        """The published files of a trial, brought here; of one that is not published, where they would be.

        Raises:
            DamagedError: the bucket no longer has what was published.
        """
        if self.outcome(stage, digest) is not None:
            manifest = self.manifest(stage, digest)
            for what in self._bring(manifest):
                raise DamagedError(stage, digest, what)
        return super().output(stage, digest)

    def verify(self, stage: str, digest: str) -> Manifest:
        """Bring every file here that is not here as its hash says, and compare it with that, once per process.

        Raises:
            DamagedError: naming the first file that is missing or differs in the bucket.
        """
        manifest = self.manifest(stage, digest)
        if digest not in self._verified:
            folder = self.folder(stage, digest)
            for file, expected in manifest.files.items():
                if (folder / file).is_file() and sha256_of(folder / file) != expected:
                    (folder / file).unlink()  # the copy changed on this machine; the bucket's may be sound
            for what in self._bring(manifest):
                raise DamagedError(stage, digest, what)
            self._verified.add(digest)
        return manifest

    def damages(self, manifest: Manifest) -> Iterator[str]:
        """What is wrong with each file in the bucket that is missing or does not match its hash; none is kept here."""
        trial = f"{FILES}/{manifest.stage}/{manifest.digest}"
        for file, expected in manifest.files.items():
            try:
                if self.bucket.sha256(f"{trial}/{expected}") != expected:
                    yield f"{self}/{trial}/{file} does not match its sha256"
            except FileNotFoundError:
                yield f"{self}/{trial}/{file} is missing"

    def strangers(self, manifest: Manifest) -> Iterator[str]:
        """Nothing: files that no manifest names are what a worker left that came second, and nobody reads them."""
        return iter(())

    def folder_with(self, manifest: Manifest, suffixes: tuple[str, ...]) -> Path:
        """The folder of a published trial, its files of these names' ends brought here, as far as they are sound."""
        list(self._bring(manifest, suffixes))
        return self.folder(manifest.stage, manifest.digest)

    def _bring(self, manifest: Manifest, suffixes: tuple[str, ...] = ("",)) -> Iterator[str]:
        """Bring files that are not here; what is wrong with those that cannot come."""
        self._drop_earlier(manifest)
        folder = self.folder(manifest.stage, manifest.digest)
        where = f"{self}/{FILES}/{manifest.stage}/{manifest.digest}"
        for file in manifest.files:
            if (folder / file).is_file() or not file.endswith(suffixes):
                continue
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            came = (folder / file).with_name(f".{uuid.uuid4().hex}.tmp")
            try:
                if self.fetch(manifest, file, came) != manifest.files[file]:
                    yield f"{where}/{file} does not match its sha256"
                    continue
                came.rename(folder / file)
            except FileNotFoundError:
                yield f"{where}/{file} is missing"
            finally:
                came.unlink(missing_ok=True)

    def _drop_earlier(self, manifest: Manifest) -> None:
        """Drop what is kept here of an earlier trial of this digest, which had other files."""
        folder = self.folder(manifest.stage, manifest.digest)
        made = folder / f".{hashlib.sha256(canonical(manifest.files).encode()).hexdigest()}"
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            made.touch()

    def write_once(self, path: Path, content: bytes) -> None:
        """Make a small file, unless somebody has made it before."""
        self.bucket.create(path.relative_to(self.root).as_posix(), content)

    def put_aside(self, path: Path, room: str, stem: str) -> None:
        """Move a small file into the folder ``room`` of the bucket; nothing is deleted."""
        name, number = path.relative_to(self.root).as_posix(), 0
        content = self.fresh(path, now=True).read_bytes()
        while self.bucket.create(f"{room}/{stem}-{number}{path.suffix}", content) is None:
            number += 1
        self.bucket.delete([name])
        path.unlink()
        self.look_again()

    def small_files(self, *rooms: str) -> list[str]:
        """Names of the files in ``rooms`` [``SMALL_ROOMS``]."""
        return sorted(entry.name for room in rooms or SMALL_ROOMS for entry in self.bucket.entries(room))

    def size(self, manifest: Manifest) -> int:
        """Bytes of a published trial's files."""
        trial = f"{FILES}/{manifest.stage}/{manifest.digest}"
        names = [f"{trial}/{expected}" for expected in manifest.files.values()]
        entries = self._listed(f"{FILES}/{manifest.stage}")  # one for thousands of trials, where all are asked for
        if any(name not in entries for name in names):
            entries = {entry.name: entry for entry in self.bucket.entries(trial)}
        return sum(entries[name].size for name in names if name in entries)

    def fetch(self, manifest: Manifest, file: str, target: Path) -> str:
        """Bring a file of a published trial; the sha256 of what came. Raises FileNotFoundError: it is gone."""
        name = f"{FILES}/{manifest.stage}/{manifest.digest}/{manifest.files[file]}"
        try:
            came = self.bucket.download(name, target)
        except FileNotFoundError as error:
            where = self.folder(manifest.stage, manifest.digest) / file
            raise FileNotFoundError(error.errno, f"{self.location} does not have it", str(where)) from None
        make_read_only(target)
        return came

    def quarantine(self, stage: str, digest: str, room: str = DAMAGED) -> str:
        """Copy a trial into the folder ``room`` of the bucket, and take back that it is published."""
        name, there = _published(stage, digest), {entry.name.split("/")[1] for entry in self.bucket.entries(room)}
        number = next(number for number in range(len(there) + 1) if f"{stage}-{digest}-{number}" not in there)
        target = f"{room}/{stage}-{digest}-{number}"
        for entry in self.bucket.entries(f"{FILES}/{stage}/{digest}"):
            self.bucket.copy(entry.name, f"{target}/{entry.name.rpartition('/')[2]}")
        self.bucket.copy(name, f"{target}/manifest.json")
        self.bucket.delete([name])
        shutil.rmtree(self.folder(stage, digest), ignore_errors=True)
        self._verified.discard(digest)
        self.look_again()
        return f"{self.location}/{target}"

    def fresh(self, path: Path, *, now: bool = False) -> Path:
        """A small file of the store other than a trial's, as others have left it; ``now``, not moments ago."""
        name = path.relative_to(self.root).as_posix()
        if not now:
            entry = self._listed(name.partition("/")[0]).get(name)
            if entry is not None and self._fresh.get(name) == entry.tag and path.is_file():
                return path
            if entry is None:
                path.unlink(missing_ok=True)
                return path
        found = self.bucket.read(name)
        if found is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, found[0])
            self._fresh[name] = found[1]
        return path

    def shared(self, path: Path, *, lines: bool = False, if_allowed: bool = False) -> None:
        """Let others see a small file that was written, at least ``if_allowed``; ``lines`` are added to theirs."""
        name, content = path.relative_to(self.root).as_posix(), path.read_bytes()
        with suppress(BucketRefusedError) if if_allowed else nullcontext():
            self._add_lines(name, content) if lines else self.bucket.put(name, content)

    def _add_lines(self, name: str, content: bytes) -> None:
        while self.bucket.create(name, content) is None:
            found = self.bucket.read(name)
            if found is None:
                continue
            together = dict.fromkeys([*found[0].splitlines(), *content.splitlines()])
            joined = b"".join(line + b"\n" for line in together)
            if self.bucket.replace(name, joined, found[1]) is not None:
                break


def _published(stage: str, digest: str) -> str:
    return f"{PUBLISHED}/{stage}/{digest}.json"
