"""Where a store is: a folder, or a bucket by its URL, which must never be taken for a folder's name."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from medsweep.errors import UserError, nearest

SCHEMES: Final = ("s3", "gs", "az")
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
"""How a URL begins; ``Path`` makes one slash of two, so that ``s3://bucket`` may come as ``s3:/bucket``."""


@dataclass(frozen=True)
class BucketUrl:
    """A bucket, and the prefix of all names in it: ``s3://bucket/prefix``. Holds no credentials."""

    scheme: str
    path: str
    """Bucket and prefix, without a slash at either end."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}"

    @property
    def folder_name(self) -> str:
        """A name for what is kept of it on a disk, another for each bucket and prefix."""
        plain = re.sub(r"[^A-Za-z0-9]+", "-", str(self))[:60]
        return f"{plain}-{hashlib.sha256(str(self).encode()).hexdigest()[:12]}"


Location: TypeAlias = Path | BucketUrl


def location(text: str) -> Location:
    """What a user gives as ``--store``.

    Raises:
        UserError: a URL that is no bucket's, or one with credentials in it.
    """
    match = _URL.match(text)
    if match is None:
        return Path(text)
    scheme, rest = match[1], text[match.end() :].strip("/")
    if scheme not in SCHEMES:
        raise UserError(f"--store {scheme}://: no store has such a URL; {nearest(scheme, SCHEMES)}")
    if "@" in rest or "?" in rest or "#" in rest:
        raise UserError(f"--store {scheme}://: give bucket and prefix only; credentials are read from the environment")
    if not re.fullmatch(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._=+-]+)*", rest) or {".", ".."} & set(rest.split("/")):
        raise UserError(f"--store {text} names no bucket; give {scheme}://BUCKET/PREFIX, of letters, digits and ._-")
    return BucketUrl(scheme, rest)


def require_no_url(name: str, value: object) -> None:
    """Refuse a path, or one of several, that is written as a URL: it would make a folder named ``s3:``.

    Raises:
        UserError: naming ``name``, the option that was given.
    """
    if isinstance(value, list | tuple):
        for each in value:
            require_no_url(name, each)
    elif isinstance(value, Path) and (match := _URL.match(str(value))) is not None:
        url = f"{match[1]}://{str(value)[match.end() :].lstrip('/')}"
        raise UserError(f"{name} {url} is a URL, and this works on files and folders only; give a path")
