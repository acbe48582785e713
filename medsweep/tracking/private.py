"""What must not leave this host, and what is put in its place."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

HIDDEN: Final = "[hidden]"

_SECRET_NAME = re.compile(r"key|token|secret|password", re.IGNORECASE)
_PERSON_NAME = re.compile(r"patient|subject|case|leave_out", re.IGNORECASE)
_HOST_PATH = re.compile(r"(?:^|(?<=[\s=:,;'\"(\[]))(?:/[^/\s]|~|[A-Za-z]:[\\/]|file:)")
_WHOLE_PATH = re.compile(_HOST_PATH.pattern + r"[^\s,;'\")\]]*")


def redacted(value: object, name: str = "") -> Any:
    """``value`` as JSON values, without what must not leave this host.

    Hidden are: everything under a name that speaks of a key, token, secret or password; texts and collections under
    a name that speaks of patients, subjects, cases or who is left out (a number of patients stays); texts that
    contain an absolute path.

    Raises:
        TypeError: a value has no JSON form.
    """
    if _must_stay(value, name):
        return HIDDEN
    if isinstance(value, Mapping):
        return {redacted(str(key)): redacted(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{name or 'a value'} is a {type(value).__name__}, which has no JSON form")


def _must_stay(value: object, name: str) -> bool:
    if _SECRET_NAME.search(name):
        return True
    if _PERSON_NAME.search(name):
        return not (value is None or isinstance(value, bool | int | float))
    return isinstance(value, str) and _HOST_PATH.search(value) is not None


def scrubbed(text: str, people: Collection[str]) -> str:
    """``text`` with each absolute path, and each id of ``people``, hidden.

    >>> scrubbed("cannot read /data/p7.nii.gz: p7 is empty", ["p7"])
    'cannot read [hidden]: [hidden] is empty'
    """
    return without_people(_WHOLE_PATH.sub(HIDDEN, text), people)


def without_people(text: str, people: Collection[str]) -> str:
    """``text`` with each id of ``people`` hidden."""
    for person in sorted(people, key=len, reverse=True):
        text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(person)}(?![A-Za-z0-9])", HIDDEN, text)
    return text


def flattened(value: Mapping[str, Any], prefix: str = "") -> dict[str, bool | int | float | str | None]:
    """Nested settings as scalars under dotted names; a list becomes its JSON text.

    >>> flattened({"gan": {"r1_gamma": 1.0, "channels": [4, 8]}})
    {'gan.r1_gamma': 1.0, 'gan.channels': '[4, 8]'}
    """
    flat: dict[str, bool | int | float | str | None] = {}
    for name, item in value.items():
        if isinstance(item, Mapping):
            flat |= flattened(item, f"{prefix}{name}.")
        else:
            flat[prefix + name] = json.dumps(item) if isinstance(item, list | tuple) else item
    return flat
