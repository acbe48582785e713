"""Hashes of files, and what was found in their cases, kept from one command to the next.

A file is read again where its size, its inode or one of its times changed. The time of the last change of its inode
(ctime) cannot be set by ``touch``, ``rsync -t``, ``cp -p`` or ``tar``, so a new file with the old size and modification
time is noticed. What was found in a case is kept under the content of its files, until the code that looks changes.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from medsweep.data.dataset import Case, Listing
from medsweep.files import read_only_is_fine, sha256_of, write_json
from medsweep.identity import canonical

NAME = "source-hashes.json"


class Remembered:
    """One file of hashes and findings. A lost or damaged one costs time, nothing else."""

    def __init__(self, folder: Path, *, rehash: bool = False) -> None:
        """Read ``folder/source-hashes.json``; with ``rehash`` everything is read anew."""
        self._path = folder / NAME
        self._before = {} if rehash else _read(self._path)
        self._files: dict[str, Any] = dict(_mapping(self._before, "files"))
        of_this_code = self._before.get("code") == _code()
        self._cases: dict[str, Any] = dict(_mapping(self._before, "cases")) if of_this_code else {}

    def hashes(self, case: Case) -> list[str]:
        """sha256 of the files of a case."""
        return [self._hash(path) for path in case.files]

    def _hash(self, path: Path) -> str:
        status = path.stat()
        stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        key = str(path.absolute())
        entry = self._files.get(key)
        if not (isinstance(entry, list) and len(entry) == len(stamp) + 1 and entry[:-1] == stamp):
            self._files[key] = entry = [*stamp, sha256_of(path)]
        return str(entry[-1])

    def key(self, case: Case, listing: Listing) -> str:
        """Under what the findings of a case are kept."""
        content = {
            "case": case.id,
            "files": [str(path.absolute()) for path in case.files],
            "hashes": self.hashes(case),
            "modalities": listing.modalities,
            "classes": listing.classes,
            "values": {str(value): index for value, index in sorted(listing.values.items())},
            "others": listing.other_values_are_background,
            "ignored": listing.ignored_value,
            "stacked": listing.stacked,
            "channels": [listing.image_channels, listing.structure_channels, listing.later_covers],
            "slice_axis": listing.slice_axis,
            "intensity": listing.intensity,
            "choices": dict(listing.choices),
        }
        return hashlib.sha256(canonical(content).encode()).hexdigest()

    def recall(self, key: str) -> Any:
        """What was kept under ``key``, or None."""
        return self._cases.get(key)

    def keep(self, key: str, found: Any) -> None:
        """Keep JSON under ``key``."""
        self._cases[key] = found

    def save(self) -> None:
        """Write the file, if anything is new and its folder is there."""
        after = {"code": _code(), "files": self._files, "cases": self._cases}
        if after != self._before and self._path.parent.is_dir():
            with read_only_is_fine():
                write_json(self._path, after)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _mapping(content: dict[str, Any], key: str) -> dict[str, Any]:
    value = content.get(key)
    return value if isinstance(value, dict) else {}


@cache
def _code() -> str:
    """A hash of the files that look at a case: what other code found is dropped."""
    files: Sequence[Path] = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
