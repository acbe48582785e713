"""The working folder of one trial: lease, checkpoints, metrics, and publication by fsync and rename.

Layout of ``STORE/STAGE/DIGEST.part/``::

    lease.json    who works here
    checkpoints/STEP/  newest whole checkpoint, with the notes so far and the sha256 of its files
    metrics.jsonl  one line per report
    output/        what will be published
    scratch/       what will be thrown away
    spent.json     seconds worked before the newest checkpoint
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from medsweep.files import fsync, fsync_tree, sha256_of, write_atomic, write_json
from medsweep.store.lease import LEASE, Lease
from medsweep.store.store import FORMAT, MANIFEST, Manifest, Store
from medsweep.trial import Progress

CHECKPOINT_SECONDS = 60.0
NOTES = ".notes.json"
SUMS = ".sums.json"
"""File of a checkpoint with the sha256 of the others: work goes on from what was written, or from the beginning."""


class PublishedError(Exception):
    """The trial has been published, so that there is nothing left to do."""


class Workspace:
    """Implements ``medsweep.trial.Trial`` on a folder of the store. Use as a context manager: it holds the lease.

    Raises:
        LeaseHeldError: on entering, when another living worker is at this trial.
        PublishedError: on entering, when another worker has published the trial, or its worker died on the last step.
    """

    def __init__(
        self,
        store: Store,
        stage: str,
        digest: str,
        *,
        device: str = "cpu",
        gpu_share: float = 0.0,
        threads: int = 1,
        micro_batches: int = 1,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ) -> None:
        self._store, self.stage, self.digest = store, stage, digest
        self.device, self.gpu_share = device, gpu_share
        self.threads, self.micro_batches = threads, micro_batches
        self.part = store.part(stage, digest)
        self.output, self.scratch = self.part / "output", self.part / "scratch"
        self.metrics_file = self.part / "metrics.jsonl"
        self.final = store.folder(stage, digest)
        self.notes: list[str] = []
        """Lines for the manifest, those of earlier attempts up to their checkpoint included."""
        self._interval = checkpoint_seconds
        self._published = False

    def __enter__(self) -> "Workspace":
        self.part.mkdir(parents=True, exist_ok=True)
        self._lease = Lease(self.part)
        try:
            self._elsewhere = self._store.elsewhere(self.stage, self.digest)
        except BaseException:
            self._lease.release()
            raise
        try:
            self._require_unpublished()
            self._elsewhere.restore(self.part)
            self._entered = self._last = time.monotonic()
            self._spent = self._resume()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._elsewhere.release(published=self._published)
        self._lease.release(self.final if self._published else None)

    def _require_unpublished(self) -> None:
        """Somebody may have published between the look at the store and the lease; or died just before the rename."""
        if self._store.has(self.stage, self.digest):
            shutil.rmtree(self.part, ignore_errors=True)
            self._published = True
            raise PublishedError
        if (self.part / MANIFEST).exists():
            try:
                files = json.loads((self.part / MANIFEST).read_text())["files"]
                whole = all(sha256_of(self.part / name) == expected for name, expected in files.items())
            except (OSError, ValueError, KeyError, TypeError):
                whole = False
            if whole:
                self._rename()
                raise PublishedError
            (self.part / MANIFEST).unlink()

    def _resume(self) -> float:
        """Seconds worked up to the newest checkpoint; whatever is damaged costs the whole attempt, never the result."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        checkpoint, spent = self.restore(), 0.0
        if checkpoint is not None:
            try:
                _require_sums(checkpoint[1])
                self._cut_metrics(checkpoint[0])
                spent = float(json.loads((self.part / "spent.json").read_text()))
                notes = checkpoint[1] / NOTES
                self.notes = list(json.loads(notes.read_text())) if notes.exists() else []
            except (OSError, ValueError, KeyError, TypeError):
                checkpoint = None
        if checkpoint is None:
            for folder in (self.part / "checkpoints", self.output):
                shutil.rmtree(folder, ignore_errors=True)
            for file in (self.metrics_file, self.part / "spent.json"):
                file.unlink(missing_ok=True)
        self.output.mkdir(exist_ok=True)
        self.scratch.mkdir()
        for torn in self.output.rglob(".*.tmp"):
            torn.unlink()
        return spent

    def note(self, text: str) -> None:
        """Keep a line for the manifest."""
        self.notes.append(text)

    def checkpoint_due(self) -> bool:
        """Whether the checkpoint interval has passed."""
        return time.monotonic() - self._last >= self._interval

    def checkpoint(self, step: int, write: Callable[[Path], None]) -> None:
        """Keep what ``write`` writes as the checkpoint of ``step``, whole or not at all.

        Raises:
            LeaseLostError: another worker has taken over.
        """
        self._require()
        root = self.part / "checkpoints"
        root.mkdir(exist_ok=True)
        temporary = root / f".{step}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            write(temporary)
            write_json(temporary / NOTES, self.notes)
            write_json(temporary / SUMS, _sums(temporary))
            fsync_tree(temporary)
            if self.metrics_file.exists():
                fsync(self.metrics_file)
            write_atomic(self.part / "spent.json", json.dumps(self.seconds()))
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)  # on a full disk even a torn checkpoint is in the way
            raise
        shutil.rmtree(root / str(step), ignore_errors=True)
        temporary.rename(root / str(step))
        fsync(root)
        for older in self._checkpoints():
            if older != step:
                shutil.rmtree(root / str(older))
        self._elsewhere.checkpoint(self.part, step)
        self._last = time.monotonic()

    def restore(self) -> tuple[int, Path] | None:
        """Step and folder of the newest whole checkpoint."""
        steps = self._checkpoints()
        return (steps[-1], self.part / "checkpoints" / str(steps[-1])) if steps else None

    def _checkpoints(self) -> list[int]:
        return sorted(int(folder.name) for folder in self.part.glob("checkpoints/*") if folder.name.isdigit())

    def seconds(self) -> float:
        """Seconds worked so far, earlier attempts up to their checkpoint included."""
        return self._spent + time.monotonic() - self._entered

    def record(self, progress: Progress) -> None:
        """Append a report to the metrics. Raises LeaseLostError: another worker has taken over."""
        self._require()
        row = {"step": progress.step, "total": progress.total, **progress.metrics}
        with self.metrics_file.open("a") as stream:
            stream.write(json.dumps(row) + "\n")

    def _cut_metrics(self, step: int) -> None:
        if self.metrics_file.exists():
            # What follows the last line break is a line that was not written to its end.
            lines = self.metrics_file.read_text().split("\n")[:-1]
            write_atomic(self.metrics_file, "".join(f"{line}\n" for line in lines if json.loads(line)["step"] <= step))

    def publish(self, manifest: Callable[[Mapping[str, str]], Manifest]) -> bool:
        """Publish the output; False if another worker was first, whose result then stands.

        ``manifest`` is called with the sha256 of every file.

        Raises:
            LeaseLostError: another worker has taken over.
        """
        self.metrics_file.touch()
        files = sorted(path for path in self.output.rglob("*") if path.is_file())
        hashes = {path.relative_to(self.part).as_posix(): sha256_of(path) for path in [self.metrics_file, *files]}
        fsync_tree(self.output)
        fsync(self.metrics_file)
        write_json(self.part / MANIFEST, {"format": FORMAT, **asdict(manifest(hashes))})
        self._require()
        return self._rename()

    def _require(self) -> None:
        self._lease.require()
        self._elsewhere.require()

    def _rename(self) -> bool:
        """From here on the manifest vouches for the output, so that checkpoints and scraps of work can go."""
        published = {self.output.name, self.metrics_file.name, MANIFEST, LEASE}
        for path in self.part.iterdir():
            if path.name not in published:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        if (first := self._elsewhere.publish(self.part)) is not None:
            self._published = True
            shutil.rmtree(self.part, ignore_errors=True)
            return first
        try:
            os.rename(self.part, self.final)
        except OSError:
            if not self.final.is_dir():
                raise
            shutil.rmtree(self.part, ignore_errors=True)
            return False
        self._published = True
        fsync(self.final.parent)
        return True


def _sums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}


def _require_sums(folder: Path) -> None:
    """Raise ValueError, or OSError, unless the files of a checkpoint are what was written."""
    if json.loads((folder / SUMS).read_text()) != _sums(folder):
        raise ValueError(f"{folder} is not what was written")
