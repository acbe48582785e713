"""What W&B is told of one trial, as plain data, and what a trial's folder says of its course."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from medsweep.files import sha256_of
from medsweep.tracking.tracker import RunCard, Scalar

FORMAT = 2
"""Of what is written for a run; a higher one has all runs written again."""


@dataclass(frozen=True)
class Picture:
    """A PNG file."""

    path: Path
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ReportRow:
    """One report of a trial."""

    step: int
    metrics: Mapping[str, float]
    pictures: Mapping[str, Picture] = field(default_factory=dict)


@dataclass(frozen=True)
class PlainTable:
    """A table of scalars."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Scalar, ...], ...]


@dataclass(frozen=True, kw_only=True)
class MirroredRun(RunCard):
    """All of one run; nothing in it names a patient, a path or a key, but for where its pictures lie here."""

    notes: str = ""
    rows: tuple[ReportRow, ...] = ()
    summary: Mapping[str, Scalar] = field(default_factory=dict)
    exit_code: int = 0
    arms: tuple[str, ...] = ()
    """Arms that read the trial."""
    tables: Mapping[str, PlainTable] = field(default_factory=dict)
    pages: Mapping[str, str] = field(default_factory=dict)
    """HTML by name."""
    output: str = ""
    """Reference to what the trial left behind, ``medsweep:STAGE/DIGEST``; empty where it left nothing."""
    inputs: tuple[str, ...] = ()
    """References to what it read."""
    first: int = 0
    """Number by which W&B counts its first report."""
    alert: tuple[str, str] | None = None
    """Title and text of what W&B sends to those who asked for it, once the run is uploaded."""

    def with_course(self, rows: tuple[ReportRow, ...], summary: Mapping[str, Scalar]) -> "MirroredRun":
        """The same run with its reports, and more in its summary."""
        return replace(self, rows=rows, summary={**self.summary, **summary})

    def after(self, lines: int, told: Mapping[str, Any]) -> "MirroredRun | None":
        """What W&B lacks of this run where it has ``lines`` reports of it and a summary, None where those are others.

        A failed trial may have gone back to its checkpoint, so that W&B has later reports than the store. The summary
        of the rest holds the last value of each metric, since W&B takes it for that of the whole run.
        """
        there, step = self.rows[:lines], told.get(f"{self.job_type}/step")
        went_back = self.exit_code != 0 and len(there) < lines
        if not there or step is None or (step != there[-1].step and not (went_back and step > there[-1].step)):
            return None
        rest = list(self.rows[lines:])
        lost = {name: one for name, one in there[-1].pictures.items() if f"{self.job_type}/{name}" not in told}
        if lost:
            rest.insert(0, ReportRow(step=there[-1].step, metrics={}, pictures=lost))
        last = {f"{self.job_type}/{name}": value for row in self.rows for name, value in row.metrics.items()}
        last[f"{self.job_type}/step"] = self.rows[-1].step
        if step > self.rows[-1].step:
            last |= {name: told[name] for name in last if name in told}
        first = max(lines, int(told.get("_step") or 0) + 1)
        return replace(self, rows=tuple(rest), summary={**last, **self.summary}, first=first)

    @property
    def fingerprint(self) -> str:
        """A hash of all that is told, wherever the pictures lie; pages tell nothing else, and when they were made."""
        told = asdict(self) | {"format": FORMAT, "pages": sorted(self.pages)}
        for row in told["rows"]:
            row["pictures"] = {name: picture["sha256"] for name, picture in row["pictures"].items()}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def recorded_rows(folder: Path, hashes: Mapping[str, str] | None = None) -> tuple[ReportRow, ...]:
    """The reports in the folder of a trial, published or not, each with its pictures.

    ``FOLDER/NUMBER.png`` below ``output`` belongs to step NUMBER under the name of its folder, any other picture to the
    last report under its own. ``hashes`` are known sha256 by path relative to ``folder``. What follows the last line
    break was not written to its end.
    """
    file = folder / "metrics.jsonl"
    lines = [json.loads(line) for line in file.read_text().split("\n")[:-1]] if file.exists() else []
    rows = [ReportRow(step=line.pop("step"), metrics={n: v for n, v in line.items() if n != "total"}) for line in lines]
    at = {row.step: number for number, row in enumerate(rows)}
    for path in sorted((folder / "output").rglob("*.png")):
        relative = path.relative_to(folder / "output")
        numbered = path.stem.isdigit() and len(relative.parts) > 1
        name = (relative.parent if numbered else relative.with_suffix("")).as_posix()
        step = int(path.stem) if numbered else max(at, default=0)
        if step not in at:
            at[step] = len(rows)
            rows.append(ReportRow(step=step, metrics={}))
        known = (hashes or {}).get(path.relative_to(folder).as_posix())
        picture = Picture(path, known or sha256_of(path))
        row = rows[at[step]]
        if name in row.pictures and row.pictures[name].sha256 != picture.sha256:
            name = f"{name}_last"
        rows[at[step]] = replace(row, pictures={**row.pictures, name: picture})
    return tuple(sorted(rows, key=lambda row: row.step))
