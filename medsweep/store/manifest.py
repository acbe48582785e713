"""What is known about a published trial, and what may be wrong with it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from pydantic_core import from_json

from medsweep.errors import UserError
from medsweep.identity import short

FORMAT = 1
MANIFEST = "manifest.json"


class DamagedError(Exception):
    """A published trial is not what was published; ``stage`` and ``digest`` name it."""

    outcome = "damaged-file"

    def __init__(self, stage: str, digest: str, what: str) -> None:
        super().__init__(f"{stage} {short(digest)} is damaged: {what}")
        self.stage, self.digest, self.what = stage, digest, what

    def __reduce__(self) -> tuple[Any, ...]:
        return DamagedError, (self.stage, self.digest, self.what)


class UnreadableError(UserError):
    """A published trial that this process may not read or this version does not know; nobody moves it away."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is known about a published trial."""

    stage: str
    version: int
    digest: str
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    reads: Mapping[str, str]
    outcome: str
    message: str
    seconds: float
    """Working time over all attempts that led to this result, without time between them."""
    estimated_hours: float
    """What the stage's built-in estimate for the device in ``timed_on`` was."""
    files: Mapping[str, str]
    """sha256 by path relative to the trial's folder."""
    metrics: Mapping[str, float]
    """Last reported scalars."""
    host: Mapping[str, Any]
    versions: Mapping[str, str]
    finished: str
    """UTC, ISO 8601."""
    code: Mapping[str, str] = field(default_factory=dict)
    """Hash of each source file that the stage depended on; empty in what was published before these were kept."""
    timed_on: str = ""
    """Kind of device that did the work, ``cpu`` or ``cuda``; empty in what was published before it was kept."""
    notes: Sequence[str] = ()
    """What was not as usual on the way to this result, a line each."""


def parsed(content: bytes, stage: str, digest: str, path: str) -> Manifest:
    """The manifest of a trial, as ``path`` holds it.

    Raises:
        DamagedError: it is torn, or of another trial.
        UnreadableError: a newer version wrote it.
    """
    try:
        # Thousands of manifests name the same files and metrics; cached keys are held in memory once.
        manifest = _parsed(from_json(content, cache_strings="keys"), stage, digest)
    except UnreadableError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(stage, digest, f"{path} cannot be read ({type(error).__name__}: {error})") from None
    if (manifest.stage, manifest.digest) != (stage, digest):
        raise DamagedError(stage, digest, f"{path} is the manifest of {manifest.stage} {manifest.digest}")
    return manifest


def require_inside(manifest: Manifest, where: str) -> None:
    """Raise DamagedError for a manifest that names a file outside its trial: it is not trusted with where to write."""
    for file in manifest.files:
        if not is_inside(file, ("metrics.jsonl", "output")):
            raise DamagedError(manifest.stage, manifest.digest, f"{where} names {file!r}, which is no file of a trial")


def is_inside(file: str, tops: Collection[str]) -> bool:
    """Whether a relative path stays below one of ``tops``, or is one of them."""
    path = PurePosixPath(file)
    return str(path) == file and not {"..", "\0"} & {*path.parts, *file} and file.partition("/")[0] in tops


def _parsed(raw: Any, stage: str, digest: str) -> Manifest:
    """Raises KeyError, TypeError or AttributeError where ``raw`` is no manifest of any version."""
    number = raw.pop("format")
    strangers = sorted(raw.keys() - _SHAPES.keys())
    if number != FORMAT or strangers:
        what = f"format {number}, and this one reads {FORMAT}" if number != FORMAT else f"with {', '.join(strangers)}"
        raise UnreadableError(
            f"{stage} {short(digest)} was published by another version of medsweep ({what}); nothing was moved; use "
            "that version, or another --store"
        )
    for name, holds in _SHAPES.items():
        if name in raw and not holds(raw[name]):
            raise TypeError(f"{name} is {str(raw[name])[:40]!r}")
    return Manifest(**raw)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _maps_to(holds: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and all(map(holds, value.values()))


def _is_list_of_text(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


_SHAPES: Final[Mapping[str, Callable[[object], bool]]] = {
    **dict.fromkeys(("stage", "digest", "outcome", "message", "finished", "timed_on"), _is_text),
    **dict.fromkeys(("version", "seconds", "estimated_hours"), _is_number),
    **dict.fromkeys(("inputs", "reads", "files", "versions", "code"), _maps_to(_is_text)),
    **dict.fromkeys(("config", "host"), _maps_to(lambda _: True)),
    "metrics": _maps_to(_is_number),
    "notes": _is_list_of_text,
}
"""What the fields of a manifest hold as JSON has them."""
