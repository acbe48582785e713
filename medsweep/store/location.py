"""Where a store is: a folder. The URL of a bucket must never be taken for a folder's name."""

import re
from pathlib import Path
from typing import Final

from medsweep.errors import UserError

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
"""How a URL begins; ``Path`` makes one slash of two, so that ``s3://bucket`` may come as ``s3:/bucket``."""


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
