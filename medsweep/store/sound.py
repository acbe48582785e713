"""Single files of published trials, compared with their hashes before they are read."""

import json
from pathlib import Path
from typing import Any

from medsweep.files import sha256_of
from medsweep.store.manifest import DamagedError
from medsweep.store.store import Store


def sound_file(store: Store, stage: str, digest: str, name: str) -> Path | None:
    """The file ``output/NAME`` of a trial; None where the trial is not published, or left no such file.

    From a bucket this file alone is brought.

    Raises:
        DamagedError: it is not what was published.
    """
    file = f"output/{name}"
    if store.outcome(stage, digest) is None or file not in (manifest := store.manifest(stage, digest)).files:
        return None
    path = store.folder_with(manifest, (file,)) / file
    if not path.is_file():
        raise DamagedError(stage, digest, f"{path} is missing")
    if sha256_of(path) != manifest.files[file]:
        raise DamagedError(stage, digest, f"{path} does not match its sha256")
    return path


def sound_json(store: Store, stage: str, digest: str, name: str) -> Any:
    """What such a file holds, or an empty mapping where there is none. Raises DamagedError, as ``sound_file``."""
    path = sound_file(store, stage, digest, name)
    return {} if path is None else json.loads(path.read_text(encoding="utf-8"))
