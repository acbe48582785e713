"""Content hashes of large files, remembered until a file's size or modification time changes."""

import hashlib
import json
import os
from pathlib import Path


class HashCache:
    """sha256 by absolute path, kept in ``source-hashes.json``; a lost or damaged cache costs time, nothing else."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "source-hashes.json"
        self._entries = self._load()
        self._changed = False

    def sha256(self, path: Path) -> str:
        """Content hash of ``path``, 64 hex digits."""
        status = path.stat()
        key, stamp = str(path.absolute()), [status.st_size, status.st_mtime_ns]
        known = self._entries.get(key)
        if known is not None and known[:2] == stamp:
            return str(known[2])
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._entries[key] = [*stamp, digest]
        self._changed = True
        return digest

    def save(self) -> None:
        """Write the cache beside itself and rename it, so that a reader never sees half of it."""
        if not self._changed:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
        part.write_text(json.dumps(self._entries, indent=0, sort_keys=True), encoding="utf-8")
        part.replace(self._path)
        self._changed = False

    def _load(self) -> dict[str, list[int | str]]:
        try:
            entries = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(entries, dict):
            return {}
        return {key: entry for key, entry in entries.items() if isinstance(entry, list) and len(entry) == 3}
