"""Writing so that a reader sees all of a file or none, and hashing what was written."""

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CHUNK_BYTES = 2**20
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EACCES)
"""How file systems without hard links refuse one: exFAT, SMB, gcsfuse, BeeGFS."""


def sha256_of(path: Path) -> str:
    """sha256 of a file's content; 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def on_this_machine(path: Path) -> Path:
    """``path`` as this machine's environment has it: ``${NAME}``, also in what a variable holds, then ``~``."""
    return Path(os.path.expandvars(os.path.expandvars(path))).expanduser()


def copy_hashed(source: Path, target: Path) -> str:
    """Copy a file, read once, to a new one that is only read from then on; the sha256 of what was read."""
    hasher, buffer = hashlib.sha256(), memoryview(bytearray(CHUNK_BYTES))
    with source.open("rb", buffering=0) as reader, target.open("xb") as writer:
        while count := reader.readinto(buffer):
            hasher.update(buffer[:count])
            writer.write(buffer[:count])
    make_read_only(target)
    return hasher.hexdigest()


def make_read_only(path: Path) -> None:
    """Keep a file from being changed by mistake, where the file system has modes: exFAT and SMB may have none."""
    with suppress(PermissionError):
        path.chmod(0o444)


def fsync(path: Path) -> None:
    """Force a file or folder to the disk; a folder only where the file system can, which SMB and gcsfuse may not."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise
    finally:
        os.close(handle)


def fsync_tree(folder: Path) -> None:
    """Force every file and folder below ``folder`` to the disk, ``folder`` last."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            fsync(Path(parent) / name)
        fsync(Path(parent))


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file through a temporary one, fsync and rename; text as UTF-8."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as stream:
        stream.write(content.encode() if isinstance(content, str) else content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


@contextmanager
def read_only_is_fine() -> Iterator[None]:
    """For caches: where this process may not write, it does without."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise


def file_name(text: str) -> str:
    """``text`` as a name that every file system takes: what is no letter, digit or one of ``_.=+-`` becomes ``-``."""
    return re.sub(r"[^\w.=+-]+", "-", text).strip("-.") or "-"


def write_json(path: Path, value: Any) -> None:
    """``write_atomic`` of indented JSON with sorted keys; NaN and infinity are refused."""
    write_atomic(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def put_once(source: Path, path: Path) -> None:
    """Give ``path`` the content of ``source`` unless it exists; whole at once where the file system has hard links.

    Raises:
        FileExistsError: ``path`` exists.
    """
    try:
        os.link(source, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A reader between the two sees an empty file: of a lease, one whose heartbeat keeps it alive.
        with path.open("x") as stream:
            stream.write(source.read_text())
            stream.flush()
            os.fsync(stream.fileno())
