"""The store: a folder of published trials by digest, the only truth about what is finished.

Layout::

    STORE/STAGE/DIGEST/        manifest.json, metrics.jsonl, output/      published, never changed again
    STORE/STAGE/DIGEST.part/   work under a lease (see ``workspace``)
    STORE/attempts/            a note per failed attempt
    STORE/damaged/             published folders whose files no longer match their hashes
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsweep.errors import UserError, nearest
from medsweep.files import sha256_of
from medsweep.identity import short
from medsweep.lease import is_live

FORMAT = 1
MANIFEST = "manifest.json"


class DamagedError(Exception):
    """A published trial is not what was published; ``stage`` and ``digest`` name it."""

    outcome = "damaged-file"

    def __init__(self, stage: str, digest: str, what: str) -> None:
        super().__init__(f"{stage} {short(digest)} is damaged: {what}")
        self.stage, self.digest = stage, digest

    def __reduce__(self) -> tuple[Any, ...]:
        return DamagedError, (self.stage, self.digest, str(self.args[0]).split(" is damaged: ", 1)[1])


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
    files: Mapping[str, str]
    """sha256 by path relative to the trial's folder."""
    metrics: Mapping[str, float]
    """Last reported scalars."""
    host: Mapping[str, Any]
    versions: Mapping[str, str]
    finished: str
    """UTC, ISO 8601."""


class Store:
    """Published trials under one folder on a POSIX file system, shared by all workers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: set[str] = set()

    @classmethod
    def create(cls, root: Path) -> "Store":
        """Open a store, making its folder.

        Raises:
            UserError: the folder cannot be made or written to.
        """
        try:
            root.mkdir(parents=True, exist_ok=True)
            probe = root / f".writable.{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UserError(
                f"the store {root} cannot be written to ({error.strerror}); choose another with --store"
            ) from None
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
        """
        if not self.folder(stage, digest).is_dir():
            return None
        return self.manifest(stage, digest).outcome

    def manifest(self, stage: str, digest: str) -> Manifest:
        """Manifest of a published trial.

        Raises:
            DamagedError: it is missing, torn, or of another trial or format.
        """
        path = self.folder(stage, digest) / MANIFEST
        try:
            raw = json.loads(path.read_text())
            if raw.pop("format") != FORMAT:
                raise DamagedError(stage, digest, f"{path} is of another format")
            manifest = Manifest(**raw)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedError(stage, digest, f"{path} cannot be read ({type(error).__name__}: {error})") from None
        if (manifest.stage, manifest.digest) != (stage, digest):
            raise DamagedError(stage, digest, f"{path} is the manifest of {manifest.stage} {manifest.digest}")
        return manifest

    def verify(self, stage: str, digest: str) -> Manifest:
        """Compare every file with its recorded hash, once per process.

        Raises:
            DamagedError: naming the first file that is missing or differs.
        """
        manifest = self.manifest(stage, digest)
        if digest in self._verified:
            return manifest
        folder = self.folder(stage, digest)
        for name, expected in manifest.files.items():
            path = folder / name
            if not path.is_file():
                raise DamagedError(stage, digest, f"{path} is missing")
            if sha256_of(path) != expected:
                raise DamagedError(stage, digest, f"{path} does not match its sha256")
        self._verified.add(digest)
        return manifest

    def quarantine(self, stage: str, digest: str) -> Path:
        """Move a damaged trial out of the way, so that it is run again; nothing is deleted."""
        target_root = self.root / "damaged"
        target_root.mkdir(exist_ok=True)
        number = 0
        while (target := target_root / f"{stage}-{digest}-{number}").exists():
            number += 1
        self.folder(stage, digest).rename(target)
        self._verified.discard(digest)
        return target

    def published(self, stage: str | None = None) -> Iterator[Manifest]:
        """Manifests of all published trials (of one stage), torn ones left out."""
        folders = sorted(self.root.glob(f"{stage or '*'}/{'[0-9a-f]' * 64}"))
        for folder in folders:
            try:
                yield self.manifest(folder.parent.name, folder.name)
            except DamagedError:
                continue

    def find(self, prefix: str) -> Manifest | None:
        """The published trial whose digest begins with ``prefix``.

        Raises:
            UserError: several do.
        """
        found = sorted(folder for folder in self.root.glob(f"*/{prefix}*") if len(folder.name) == 64)
        if len(found) > 1:
            raise UserError(f"{prefix} is the beginning of {len(found)} digests; give more digits")
        return self.manifest(found[0].parent.name, found[0].name) if found else None

    def digests(self) -> list[str]:
        """Digests of everything published, for suggestions."""
        return [folder.name for folder in self.root.glob(f"*/{'[0-9a-f]' * 64}")]

    def no_such(self, prefix: str) -> UserError:
        """The error for a digest that nobody knows."""
        known = [short(digest) for digest in self.digests()]
        return UserError(f"no trial {prefix!r} in the plan or in the store {self.root}; {nearest(prefix, known)}")
