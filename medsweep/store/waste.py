"""What may be deleted of a store, in a folder or a bucket."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

ABANDONED_SECONDS: Final = 3600.0
"""Temporary files live for moments; one of this age has lost its writer."""

UNREACHABLE, UNFINISHED, TUNE, ASIDE, NOTES, TEMPORARY = (
    "unreachable trials", "unfinished trials", "leftovers of Tune", "set aside", "notes on failures", "temporary files",
)  # fmt: skip
KINDS: Final = (UNREACHABLE, UNFINISHED, TUNE, ASIDE, NOTES, TEMPORARY)
RETRIED: Final = "retried"


@dataclass(frozen=True)
class Waste:
    """Something that may be deleted."""

    kind: str
    path: Path
    """What goes; for a bucket, where it would be in a folder."""
    bytes: int
    """Allocated on the disk, or of the objects."""
    newest: float
    """Modification time of its newest file, seconds since the epoch."""
    remark: str = ""
    objects: tuple[str, ...] = ()
    """Names in a bucket, in the order in which they go."""
