"""A trial that is worked on for a store in a bucket: its lease there, its checkpoints, and how it is published."""

import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from medsweep.errors import UserError
from medsweep.files import sha256_of
from medsweep.store.bucket import Bucket, BucketError
from medsweep.store.bucket_lease import LEASES, BucketLease, LeaseWatch
from medsweep.store.elsewhere import Elsewhere
from medsweep.store.manifest import MANIFEST, is_inside

PUBLISHED: Final = "published"
"""``published/STAGE/DIGEST.json`` is the manifest of a trial: what makes it published."""
FILES: Final = "files"
"""``files/STAGE/DIGEST/SHA256`` are its files."""
WORKING: Final = "working"
"""``working/STAGE/DIGEST.json`` names the files of a checkpoint, which are ``working/STAGE/DIGEST/SHA256``."""
UPLOADS: Final = 8
EVERY: Final = "MEDSWEEP_UPLOAD_SECONDS"
"""Environment variable: least seconds between two checkpoints that go up."""
EVERY_SECONDS: Final = 300.0
SHARE: Final = 0.1
"""Most of a trial's time that its uploads of checkpoints may take."""

_KEPT = ("checkpoints", "output", "metrics.jsonl", "spent.json")
"""What a checkpoint takes with it, and what makes it whole: checkpoints are moved into place last."""
_log = logging.getLogger(__name__)


class BucketTrial(Elsewhere):
    """Holds the lease from the beginning.

    Raises:
        LeaseHeldError: another living worker holds it.
        UserError: ``MEDSWEEP_UPLOAD_SECONDS`` is no time.
    """

    def __init__(
        self, bucket: Bucket, watch: LeaseWatch, stage: str, digest: str, on_published: Callable[[], None]
    ) -> None:
        self._bucket, self._trial, self._on_published = bucket, f"{stage}/{digest}", on_published
        self._pause = _seconds_between()
        self._lease = BucketLease(bucket, f"{LEASES}/{self._trial}.json", watch)
        self._up: set[str] = set()
        self._next = time.monotonic() + self._pause

    def require(self) -> None:
        """Raise LeaseLostError where another worker is known to have taken over."""
        self._lease.require()

    def release(self, *, published: bool) -> None:
        """Let others work on the trial."""
        self._lease.release(published=published)

    def restore(self, part: Path) -> None:
        """Bring a checkpoint of another machine, unless it is damaged or no newer than that of the working folder."""
        found = self._bucket.read(f"{WORKING}/{self._trial}.json")
        try:
            record = json.loads(found[0]) if found else None
            steps = [int(folder.name) for folder in part.glob("checkpoints/*") if folder.name.isdigit()]
            if record is None or max(steps, default=-1) >= record["step"]:
                return
            came = part / ".came"
            shutil.rmtree(came, ignore_errors=True)
            for file, expected in record["files"].items():
                if not is_inside(file, _KEPT):
                    raise ValueError(f"{file} is no file of a checkpoint")
                (came / file).parent.mkdir(parents=True, exist_ok=True)
                if self._bucket.download(f"{WORKING}/{self._trial}/{expected}", came / file) != expected:
                    raise ValueError(f"{file} is not what was written")
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError) as error:
            _log.warning("a checkpoint of %s in %s cannot be used: %s", self._trial, self._bucket.url, error)
            return
        self._up = set(record["files"].values())
        for name in _KEPT:
            if (part / name).is_dir():
                shutil.rmtree(part / name)
            (part / name).unlink(missing_ok=True)
        for name in reversed(_KEPT):
            if (came / name).exists():
                (came / name).rename(part / name)
        shutil.rmtree(came)

    def checkpoint(self, part: Path, step: int) -> None:
        """Keep the checkpoint in the bucket, now and then; a bucket that is away costs the upload, not the trial."""
        begun = time.monotonic()
        if begun < self._next:
            return
        try:
            self._keep(part, step)
        except BucketError as error:
            _log.warning("the checkpoint of %s stays on this machine: %s", self._trial, error)
        took = time.monotonic() - begun
        self._next = time.monotonic() + max(self._pause, took / SHARE)

    def _keep(self, part: Path, step: int) -> None:
        found = [path for name in _KEPT for path in _files(part / name)]
        hashes = {path.relative_to(part).as_posix(): sha256_of(path) for path in found}
        self._lease.require(now=True)
        self._upload(part, hashes, WORKING, but=self._up)
        record = json.dumps({"step": step, "files": hashes}).encode()
        self._bucket.put(f"{WORKING}/{self._trial}.json", record)
        older = self._up - set(hashes.values())
        self._bucket.delete([f"{WORKING}/{self._trial}/{one}" for one in sorted(older)])
        self._up = set(hashes.values())

    def publish(self, part: Path) -> bool:
        """All files, then the manifest by whoever is first.

        Raises:
            LeaseLostError: another worker has taken over.
        """
        content = (part / MANIFEST).read_bytes()
        self._upload(part, json.loads(content)["files"], FILES)
        self._lease.require(now=True)
        first = self._bucket.create(f"{PUBLISHED}/{self._trial}.json", content) is not None
        self._on_published()
        kept = [entry.name for entry in self._bucket.entries(f"{WORKING}/{self._trial}")]
        self._bucket.delete([f"{WORKING}/{self._trial}.json", *kept])
        return first

    def _upload(self, part: Path, hashes: Mapping[str, str], top: str, but: Collection[str] = ()) -> None:
        """Send up each content once; what is there already is written again, since nobody knows that it is sound."""
        sent = {expected: file for file, expected in hashes.items() if expected not in but}
        with ThreadPoolExecutor(UPLOADS) as pool:
            for _ in pool.map(
                lambda item: self._bucket.put(f"{top}/{self._trial}/{item[0]}", part / item[1]), sent.items()
            ):
                pass


def _seconds_between() -> float:
    text = os.environ.get(EVERY) or str(EVERY_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UserError(f"{EVERY}={text} is no time between two uploads; give seconds, such as {EVERY_SECONDS:g}")
    return seconds


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(each for each in path.rglob("*") if each.is_file() and not each.name.endswith(".tmp"))
