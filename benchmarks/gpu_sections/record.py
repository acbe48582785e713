"""The sections in the order in which they run, and the record that they fill (``gpu.json``). Knows no torch.

{"schema": 1, "when": ISO time, "limit_s": S, "device": D, "toy": B, "facts": {NAME: VALUE},
 "sections": {NAME: {"state": "done | failed | skipped | timeout", "seconds": S, "error": TEXT or null,
                     "checks": [CHECK], "rows": [ROW]}}}
CHECK = {"name", "value", "limit", "unit", "at_least", "ok"}
ROW   = {"what", "setting": {...}, and what was measured: "ms": {"median", "low", "high"}, "images_per_s", ...}
"""

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

SCHEMA = 1
Record = dict[str, Any]


@dataclass(frozen=True)
class Section:
    """One section of the run."""

    limit_s: float
    """Wall seconds after which its process is ended."""
    purpose: str
    decides: bool = False
    """Whether the exit code says that it passed."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What its process needs from the start."""


REPEATABLE: Final = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""cuBLAS refuses deterministic algorithms without it, and reads it once."""

SECTIONS: Final[Mapping[str, Section]] = {
    "facts": Section(15, "versions, device, rates"),
    "equal": Section(70, "GPU against CPU, every phase, by precision", decides=True, environment=REPEATABLE),
    "resume": Section(30, "checkpoints on the GPU", decides=True, environment=REPEATABLE),
    "memory": Section(40, "caps, out of memory, context, peaks", decides=True),
    "gan": Section(120, "seconds per thousand images, launches, waits"),
    "unet": Section(60, "images per second against a plain MONAI loop"),
    "share": Section(50, "several trials on one GPU"),
    "assess": Section(30, "pools and their metrics against the CPU"),
    "fir": Section(25, "ways to low-pass"),
    "graph": Section(90, "CUDA graphs, then torch.compile"),
}


def new_record(limit_s: float, device: str, toy: bool) -> Record:
    """A record in which nothing has run."""
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    about = {"schema": SCHEMA, "when": when, "limit_s": limit_s, "device": device, "toy": toy}
    return {**about, "facts": {}, "sections": {}}


def new_entry(state: str = "skipped", error: str | None = None) -> dict[str, Any]:
    """The entry of one section."""
    return {"state": state, "seconds": 0.0, "error": error, "checks": [], "rows": []}


def failed_checks(record: Record) -> list[dict[str, Any]]:
    """All checks that failed, in the order of the sections."""
    return [check for entry in record["sections"].values() for check in entry["checks"] if not check["ok"]]


def passed(record: Record) -> bool:
    """Whether every section that decides, of those asked for, ended and failed no check."""
    deciding = [entry for name, entry in record["sections"].items() if SECTIONS[name].decides]
    return all(entry["state"] == "done" and all(check["ok"] for check in entry["checks"]) for entry in deciding)


def finite(value: Any) -> Any:
    """``value`` as JSON can hold it: what is not finite becomes None, at every depth."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value


def write(path: Path, text: str) -> None:
    """Replace the file at once, so that an early end leaves the last whole one."""
    part = path.with_suffix(".part")
    part.write_text(text)
    os.replace(part, path)


def write_json(path: Path, value: Any) -> None:
    """Replace the JSON file at once."""
    write(path, json.dumps(finite(value), indent=1, allow_nan=False) + "\n")
