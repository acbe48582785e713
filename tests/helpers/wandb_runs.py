"""What lies in the offline runs of W&B's client, in the words of the store."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medsweep.files import sha256_of
from medsweep.tracking.run_file import records


@dataclass
class WrittenRun:
    """One run as it was written."""

    folder: Path
    run: Any = None
    config: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Reports in order, keys as logged; pictures by the sha256 of their file."""
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    step_metrics: dict[str, str] = field(default_factory=dict)
    alerts: list[tuple[str, str]] = field(default_factory=list)
    media: dict[str, str] = field(default_factory=dict)
    """Path of each picture, table and page below ``files`` by the key that it was last logged under."""


def read_run(file: Path) -> WrittenRun:
    """All that a ``.wandb`` file says."""
    written = WrittenRun(file.parent)
    for record in records(file):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            written.run = record.run
            written.config |= _items(record.run.config.update)
        elif kind == "config":
            written.config |= _items(record.config.update)
        elif kind == "history":
            items = _items(record.history.item)
            written.rows.append(_row(items, file.parent))
            written.media |= {key.removesuffix(".path"): path for key, path in items.items() if key.endswith(".path")}
        elif kind == "summary":
            written.summary |= _items(record.summary.update)
        elif kind == "metric" and record.metric.glob_name:
            written.step_metrics[record.metric.glob_name] = record.metric.step_metric
        elif kind == "alert":
            written.alerts.append((record.alert.title, record.alert.text))
        elif kind == "exit":
            written.exit_code = record.exit.exit_code
    return written


def read_runs(folder: Path) -> dict[str, WrittenRun]:
    """Every run in a folder by its id; an id that is there twice is an error of the test."""
    runs = [read_run(file) for file in sorted(folder.glob("offline-run-*/*.wandb"))]
    by_id = {one.run.run_id: one for one in runs}
    assert len(by_id) == len(runs)
    return by_id


def read_table(file: Path) -> list[dict[str, str]]:
    """The rows of a table that was sent as HTML."""
    head, *rows = re.findall(r"<tr>(.*?)</tr>", file.read_text(), re.DOTALL)
    names = re.findall(r"<th>(.*?)</th>", head)
    return [dict(zip(names, re.findall(r"<td>(.*?)</td>", row), strict=True)) for row in rows]


def _items(items: Any) -> dict[str, Any]:
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def _row(flat: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A report without what W&B counts itself."""
    row: dict[str, Any] = {}
    for key, value in flat.items():
        name, _, part = key.rpartition(".")
        if part == "path" and f"{name}._type" in flat:
            row[name] = sha256_of(folder / "files" / value)
        elif not key.startswith("_") and f"{name}._type" not in flat:
            row[key] = value
    return row
