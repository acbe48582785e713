"""What ``medsweep show``, ``log``, ``ls`` and ``diff`` print."""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.table import Column, Table
from rich.text import Text

from medsweep.durations import people_age, people_hours
from medsweep.execution.failures import ADVICE
from medsweep.fields import yaml_text
from medsweep.identity import short
from medsweep.study.fields import all_fields
from medsweep.study.inside import FROM_SWEEP, InputState, SweepInStore, TrialInFull

BLOCKS: Final = "▁▂▃▄▅▆▇█"
WIDTH: Final = 30
"""Signs of a curve: name, curve and numbers fit a line of 80."""
READERS: Final = 12
"""Readers that are listed one by one."""
LONGEST: Final = 90
"""Signs of a value in a table."""


def trial_text(record: TrialInFull, *, every: bool) -> RenderableType:
    """What a trial is, its config, its neighbours, how it ended, and its curves."""
    trial, manifest = record.trial, record.manifest
    lines = [f"{trial.stage} {short(trial.digest)}: {record.outcome}"]
    lines += [f"  {record.message}"] if record.message else []
    lines += [f"  {ADVICE[record.outcome]}"] if record.outcome in ADVICE else []
    lines += [f"  of sweep {', '.join(record.sweeps)}"] if record.sweeps else []
    lines += [f"  serves arm {', arm '.join(record.arms)}"] if record.arms else []
    if manifest is not None:
        took = people_hours(manifest.seconds / 3600)
        lines.append(f"  ended {manifest.finished} after {took}, version {manifest.version} of the stage")
        lines += [f"  note: {note}" for note in manifest.notes]
    lines += [f"  files: {record.folder}", *_config(record, every=every)]
    lines += ["", "inputs" if record.inputs else "inputs: none", *map(_neighbour, record.inputs)]
    lines += ["", "pictures", *(f"  {path}" for path in record.pictures)] if record.pictures else []
    lines += ["", "read by" if record.readers else "read by: nothing yet", *map(_neighbour, record.readers[:READERS])]
    rest = len(record.readers) - READERS
    lines += [f"  ... and {rest} more"] if rest > 0 else []
    for attempt in record.attempts:
        lines += ["", f"attempt of {attempt.at} ended as {attempt.outcome}: {attempt.message}"]
    if record.attempts:
        lines += ["", record.attempts[-1].traceback.rstrip()]
    if curves := record.curves:
        lines += ["", "curves", *_curves(curves)]
    elif manifest is not None and manifest.metrics:
        lines += ["", "scalars", *(f"  {name}: {value:.4g}" for name, value in manifest.metrics.items())]
    return Text("\n".join(lines))


def _config(record: TrialInFull, *, every: bool) -> Iterator[str]:
    names = [name for name in record.config if every or name in record.unusual]
    yield ""
    yield "config" if every else "config, where it is not the default (--all shows the rest)"
    width = max(map(len, names), default=0)
    known = {*all_fields(), *FROM_SWEEP.values()}
    for name in names:
        value = _shown(record.config[name])
        yield f"  {name:<{width}}  {value}{'' if name in known else '  (set by medsweep)'}"


def _neighbour(one: InputState) -> str:
    return f"  {one.role}: {one.stage} {short(one.digest)}, {one.outcome}"


def _curves(curves: Mapping[str, Sequence[tuple[int, float]]]) -> Iterator[str]:
    """A line each; what was told once is a number."""
    width = max(map(len, curves))
    for name, points in curves.items():
        values = [value for _, value in points]
        ends = f"{values[0]:.4g} -> {values[-1]:.4g}"
        yield f"  {name:<{width}}  " + (f"{sparkline(values)}  {ends}" if len(values) > 1 else f"{values[0]:.4g}")


def sparkline(values: Sequence[float], width: int = WIDTH) -> str:
    """A curve as a row of bars from the least to the greatest value; ``x`` where one is not finite.

    Of more values than ``width``, neighbours are averaged.
    """
    shown = [values[i * len(values) // width : max((i + 1) * len(values) // width, 1)] for i in range(width)]
    means = [sum(part) / len(part) for part in shown if part] if len(values) > width else list(values)
    finite = list(filter(math.isfinite, means))
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    span = high - low or 1.0
    return "".join(
        BLOCKS[min(int((value - low) / span * len(BLOCKS)), len(BLOCKS) - 1)] if math.isfinite(value) else "x"
        for value in means
    )


def log_lines(record: TrialInFull) -> Iterator[str]:
    """Failed attempts with their tracebacks, then every report, then how the trial ended."""
    yield f"{record.trial.stage} {short(record.trial.digest)}"
    for attempt in record.attempts:
        yield f"{attempt.at} attempt ended as {attempt.outcome}: {attempt.message}"
        yield from attempt.traceback.rstrip().splitlines()
    for row in record.reports:
        scalars = "  ".join(f"{name} {value:.4g}" for name, value in row.items() if name not in ("step", "total"))
        yield f"step {row['step']} of {row['total']}  {scalars}".rstrip()
    if record.manifest is not None:
        yield from (f"note: {note}" for note in record.manifest.notes)
        message = f": {record.message}" if record.message else ""
        yield f"{record.manifest.finished} {record.outcome}{message}"
    else:
        yield record.outcome


def sweep_table(sweeps: Sequence[SweepInStore]) -> RenderableType:
    """One row per sweep."""
    heads = (Column(head, justify="right") for head in ("published", "failed", "size", "age"))
    table = Table("sweep", "state", *heads, box=None, pad_edge=False)
    for one in sweeps:
        published = f"{one.published} of {one.trials}"
        table.add_row(one.name, one.state, published, str(one.failed), decimal(one.bytes), people_age(one.newest))
    return table


def sweep_rows(sweeps: Sequence[SweepInStore]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "sweep": one.name, "state": one.state, "trials": one.trials, "published": one.published,
            "running": one.running, "failed": one.failed, "bytes": one.bytes,
            "newest": datetime.fromtimestamp(one.newest, UTC).isoformat(timespec="seconds"),
        }
        for one in sweeps
    ]  # fmt: skip


def difference_table(rows: Sequence[tuple[str, Any, Any]], names: tuple[str, str]) -> RenderableType:
    """One row per field that differs between two sweeps."""
    table = Table("field", *names, box=None, pad_edge=False)
    for name, ours, theirs in rows:
        table.add_row(name, _shown(ours), _shown(theirs))
    return Group(table)


def _shown(value: Any) -> str:
    text = yaml_text(value) if not isinstance(value, str) else value
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
