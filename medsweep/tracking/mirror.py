"""The offline W&B runs of a sweep, each written in one pass from what the store holds of its trial.

Layout of ``STORE/wandb/SWEEP/``::

    offline-run-TIME-ID/   one run, as ``wandb sync`` and ``wandb leet`` read it
    mirrored.json          by id the hash of what a run tells, its folder, and what it left and read
    made-from.json         by kind of run a digest of what all of them were made from

A run whose trial tells nothing new is left as it is. Nothing is sent from here.
"""

import errno
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from medsweep.files import write_json
from medsweep.store.file_lock import FileLock
from medsweep.tracking.client import log_extras, log_row, offline_client, prefer_own_steps, quiet_settings
from medsweep.tracking.mirrored_run import MirroredRun
from medsweep.tracking.private import scrubbed
from medsweep.tracking.run_file import is_whole

Kind = Literal["trial", "report"]
Entry = dict[str, Any]
INDEX: Final = "mirrored.json"
MARK: Final = "made-from.json"
DESK: Final = ".writing"
ASIDE: Final = ".completing"
BATCH: Final = 200
"""Runs that a kill may cost."""
NOT_TRIED: Final = "not tried any more"
OF_THE_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
GIVE_UP: Final = 3
"""Runs that fail one after the other before the rest is given up."""


@dataclass(frozen=True)
class Edges:
    """References to what a trial left behind, empty for nothing, and to what it read."""

    output: str
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Built:
    """What a build left behind."""

    folder: Path
    runs: tuple[str, ...]
    """Ids of all runs that are there now."""
    written: int
    """How many of them were written by this build."""
    failed: Mapping[str, str]
    """Why each run that should be there is not, by id."""


class Mirror:
    """The runs of one sweep in ``STORE/wandb/SWEEP``."""

    def __init__(self, store: Path, sweep: str) -> None:
        self.folder = (store / "wandb" / sweep).absolute()

    def runs(self, kind: Kind | None = None) -> dict[str, Path]:
        """The file of each run that is there, by id; with ``kind`` those of this kind alone."""
        entries = {run_id: entry for run_id, entry in self._read().items() if kind in (None, entry["kind"])}
        folders = {run_id: self.folder / entry["folder"] for run_id, entry in entries.items()}
        files = {run_id: folder / f"run-{run_id}.wandb" for run_id, folder in folders.items()}
        return {run_id: file for run_id, file in files.items() if file.is_file()}

    def fingerprints(self) -> dict[str, str]:
        """What each run tells, as a hash, by id."""
        return {run_id: entry["fingerprint"] for run_id, entry in self._read().items()}

    def edges(self) -> dict[str, Edges]:
        """What each run left behind and read, by id."""
        return {
            name: Edges(entry.get("output", ""), tuple(entry.get("inputs", ()))) for name, entry in self._read().items()
        }

    @contextmanager
    def aside(self, runs: Sequence[MirroredRun]) -> Iterator[dict[str, Path]]:
        """Files of runs that are sent and not kept, by id; those that cannot be written are missing."""
        desk = self.folder / ASIDE
        shutil.rmtree(desk, ignore_errors=True)
        (desk / "wandb").mkdir(parents=True)
        try:
            failed = _write_all(runs, desk)
            written = {path.stem.removeprefix("run-"): path for path in (desk / "wandb").glob("offline-run-*/*.wandb")}
            yield {name: path for name, path in written.items() if name not in failed and is_whole(path)}
        finally:
            shutil.rmtree(desk, ignore_errors=True)

    def kept(self, kind: Kind, made_from: str | None) -> Built | None:
        """What is there, where all runs of this kind are, and were ``made_from`` the same; else None."""
        mark, entries = self._marks().get(kind), self._read()
        if made_from is None or mark != [made_from, _state(entries, kind)]:
            return None
        runs = self.runs()
        whole = all(name in runs for name, entry in entries.items() if entry["kind"] == kind)
        return Built(self.folder, tuple(runs), 0, {}) if whole else None

    def build(self, runs: Sequence[MirroredRun], kind: Kind = "trial", made_from: str | None = None) -> Built:
        """Write the runs that are not there as they are told; runs of this kind that are not told of are deleted.

        ``made_from`` is noted for ``kept`` once all of them are there.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        told = {run.run_id: run for run in runs}
        failed: dict[str, str] = {}
        with FileLock.exclusive(self.folder / ".lock"):
            self._mark(kind, None)
            entries, there = self._read(), self.runs()
            for run_id in [name for name, entry in entries.items() if entry["kind"] == kind and name not in told]:
                self._delete(run_id, entries)
            self._tidy(entries)
            new = [
                run
                for run in told.values()
                if run.run_id not in there or entries[run.run_id]["fingerprint"] != run.fingerprint
            ]
            for start in range(0, len(new), BATCH):
                if failed and set(failed.values()) & {NOT_TRIED}:
                    failed |= {run.run_id: NOT_TRIED for run in new[start:]}
                    break
                failed |= self._write(new[start : start + BATCH], entries, kind)
                self._keep(entries)
            self._keep(entries)
            if made_from is not None and not failed:
                self._mark(kind, [made_from, _state(entries, kind)])
        return Built(self.folder, tuple(self.runs()), len(new) - len(failed), failed)

    def _marks(self) -> dict[str, list[str]]:
        try:
            marks: dict[str, list[str]] = json.loads((self.folder / MARK).read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return marks

    def _mark(self, kind: Kind, mark: list[str] | None) -> None:
        """Note what runs of a kind were made from; None forgets it, so that a build cut off does not look whole."""
        marks = {name: each for name, each in self._marks().items() if name != kind}
        if mark is not None or len(marks) < len(self._marks()):
            write_json(self.folder / MARK, marks if mark is None else {**marks, kind: mark})

    def _read(self) -> dict[str, Entry]:
        try:
            entries: dict[str, Entry] = json.loads((self.folder / INDEX).read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return entries

    def _tidy(self, entries: Mapping[str, Entry]) -> None:
        """Delete what a killed build left behind."""
        known = {entry["folder"] for entry in entries.values()}
        for path in (self.folder / DESK, *self.folder.glob("offline-run-*")):
            if path.name not in known:
                shutil.rmtree(path, ignore_errors=True)

    def _keep(self, entries: Mapping[str, Entry]) -> None:
        if entries != self._read():
            write_json(self.folder / INDEX, entries)

    def _delete(self, run_id: str, entries: dict[str, Entry]) -> None:
        if (old := entries.pop(run_id, None)) is not None:
            shutil.rmtree(self.folder / old["folder"], ignore_errors=True)

    def _write(self, runs: Sequence[MirroredRun], entries: dict[str, Entry], kind: Kind) -> dict[str, str]:
        """Write runs on a desk beside the others, and move those that are whole among them; why others are not."""
        desk = self.folder / DESK
        (desk / "wandb").mkdir(parents=True)
        try:
            failed = _write_all(runs, desk)
            # W&B's helper process has ended by now, and what it wrote is there.
            for run in runs:
                if run.run_id in failed:
                    continue
                try:
                    (file,) = (desk / "wandb").glob(f"offline-run-*/run-{run.run_id}.wandb")
                    if not is_whole(file):
                        raise OSError(errno.EIO, "it was not written to its end")
                    self._delete(run.run_id, entries)
                    shutil.rmtree(file.parent / "logs", ignore_errors=True)
                    file.parent.rename(self.folder / file.parent.name)
                except (OSError, ValueError) as error:
                    failed[run.run_id] = _reason(error)
                    continue
                entries[run.run_id] = _entry(run, kind, file.parent.name)
        finally:
            shutil.rmtree(desk, ignore_errors=True)
        return failed


def _state(entries: Mapping[str, Entry], kind: Kind) -> str:
    """A hash of what the index says of all runs of a kind."""
    own = {name: entry for name, entry in entries.items() if entry["kind"] == kind}
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()


def _entry(run: MirroredRun, kind: Kind, folder: str) -> Entry:
    edges = {"output": run.output, "inputs": list(run.inputs)}
    return {"kind": kind, "fingerprint": run.fingerprint, "folder": folder, **edges}


def _write_all(runs: Sequence[MirroredRun], desk: Path) -> dict[str, str]:
    """Write each run to ``desk``; why each failed that did. A full disk, or three in a row, ends it."""
    failed: dict[str, str] = {}
    in_a_row = 0
    try:
        with offline_client(desk / "client") as begin_anew:
            for run in runs:
                try:
                    write_run(run, desk)
                    in_a_row = 0
                except Exception as error:
                    failed[run.run_id] = _reason(error)
                    in_a_row += 1
                    if in_a_row == GIVE_UP or (isinstance(error, OSError) and error.errno in OF_THE_DISK):
                        raise
                    begin_anew()
    except Exception as error:  # the mirror costs no run anything
        written = {file.name for file in (desk / "wandb").glob("offline-run-*/run-*.wandb")}
        rest = [run.run_id for run in runs if f"run-{run.run_id}.wandb" not in written]
        failed = {**dict.fromkeys(rest, NOT_TRIED), rest[0]: _reason(error), **failed} if rest else failed
    return failed


def _reason(error: Exception) -> str:
    return scrubbed(" ".join(f"{type(error).__name__}: {error}".split()), ())


def write_run(run: MirroredRun, folder: Path) -> None:
    """Write a run in one pass, offline; the client must have been set up to be so."""
    import wandb

    opened: Any = wandb.init(
        dir=folder,
        mode="offline",
        project=run.project,
        id=run.run_id,
        name=run.name,
        group=run.group,
        job_type=run.job_type,
        tags=list(run.tags),
        notes=run.notes,
        config=dict(run.config),
        reinit="create_new",
        settings=quiet_settings(),
    )
    exit_code = 1
    try:
        prefer_own_steps(opened, run.job_type)
        for number, row in enumerate(run.rows, run.first):
            pictures = {name: picture.path for name, picture in row.pictures.items()}
            log_row(opened, run.job_type, row.step, row.metrics, pictures, number=number)
        log_extras(opened, run.job_type, run.tables, run.pages)
        if run.alert is not None:
            opened.alert(*run.alert)
        opened.summary.update(dict(run.summary))
        exit_code = run.exit_code
    finally:
        opened.finish(exit_code=exit_code)
