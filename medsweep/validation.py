"""From what pydantic finds wrong to one line with file, line, value and the nearest valid name."""

import json
import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from medsweep.config import Config
from medsweep.errors import Mistakes, meant_by, nearest, nearest_field
from medsweep.yamlfile import Key, YamlFile

C = TypeVar("C", bound=Config)

KINDS: Final = {
    "a whole number": ("int_type", "int_parsing", "int_from_float"),
    "a number": ("float_type", "float_parsing"),
    "text": ("string_type",),
    "true or false": ("bool_type", "bool_parsing"),
    "a list, such as [1, 2]": ("list_type", "tuple_type"),
    "a section of names and values, such as {name: value}": ("model_type", "model_attributes_type", "dict_type"),
}
"""What a value should be, in words of YAML, and the findings of pydantic that say so in words of JSON."""


def parse(
    model: type[C],
    data: Mapping[str, Any],
    yaml: YamlFile,
    at: Key | Callable[[Key], Key] = (),
    elsewhere: Iterable[str] = (),
) -> C:
    """Validate ``data`` as ``model``; ``at`` is its key in ``yaml``, or gives the key there of a key in ``data``.

    JSON rules apply: a list is accepted for a tuple, a whole number for a float, and nothing else is converted.
    ``elsewhere`` are dotted names of the whole file, one of which an unknown key may be meant for.

    Raises:
        UserError: all findings, each with its place.
    """
    try:
        return model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        mistakes, section = Mistakes(), () if callable(at) else at
        top = ".".join(map(str, at(("",))[:-1])) if callable(at) else ""
        for loc, message in findings(error, model, data, tuple(elsewhere), section, top=top):
            mistakes.lines.append(str(yaml.error(at(loc) if callable(at) else (*at, *loc), message)))
    mistakes.raise_any()
    raise RuntimeError(f"{model.__name__} is refused without a finding")


def explain(error: ValidationError, model: type[Config]) -> tuple[Key, str]:
    """Place (relative to the model) and one-line description of the first finding."""
    return next(iter(findings(error, model)))


def findings(
    error: ValidationError,
    model: type[Config],
    data: object = None,
    elsewhere: Sequence[str] = (),
    section: Key = (),
    *,
    top: str = "",
) -> list[tuple[Key, str]]:
    """Place (relative to the model) and one-line description of every finding, unknown keys first.

    A required key that is misspelt is missing, too, and a value that suits no type of a union is refused by each:
    what follows from a finding is left out. ``data`` is what was validated, and ``section`` its key in the file;
    ``top`` is what a user calls the section whose keys are those of ``model``.
    """
    listed = error.errors(include_url=False)
    unknown = {tuple(one["loc"]) for one in listed if one["type"] == "extra_forbidden"}
    by_place: dict[Key, tuple[Key, str]] = {}
    for one in sorted(listed, key=lambda one: one["type"] != "extra_forbidden"):
        missing, loc = one["type"] == "missing", tuple(one["loc"])
        loc = loc if data is None else _within(data, loc, missing=missing)
        misspelt = (meant_by(str(other[-1]), [str(loc[-1])]) for other in unknown if other[:-1] == loc[:-1])
        if (missing and any(misspelt)) or any(known and loc[: len(known)] == known for known in by_place):
            continue
        by_place[loc] = (loc[:-1] if missing else loc, _message(one, loc, model, elsewhere, section, top=top))
    return list(by_place.values())


def _within(data: object, loc: Key, *, missing: bool) -> Key:
    """``loc`` without the names of types that pydantic puts between the keys of ``data``."""
    key: list[str | int] = []
    for place, name in enumerate(loc):
        inside = (isinstance(data, Mapping) and name in data) or (
            isinstance(data, list | tuple) and isinstance(name, int) and name < len(data)
        )
        if inside:
            data = typing.cast(Any, data)[name]
        if inside or (missing and place == len(loc) - 1):
            key.append(name)
    return tuple(key)


def _message(
    finding: ErrorDetails, loc: Key, model: type[Config], elsewhere: Sequence[str], section: Key, *, top: str
) -> str:
    """One finding at ``loc`` of ``section`` in words."""
    kind, value = finding["type"], finding["input"]
    dotted = ".".join(map(str, (*section, *loc))) or "the section"
    owner = ".".join(map(str, (*section, *loc[:-1]))) or top or "the top level"
    if kind == "extra_forbidden":
        inside = model_at(model, loc[:-1])
        here = [] if inside is None else list(inside.model_fields)
        return f"unknown key {str(loc[-1])!r} in {owner}; {nearest_field(str(loc[-1]), here, elsewhere)}"
    if kind == "missing":
        return f"key {str(loc[-1])!r} is missing in {owner}"
    message = finding["msg"].removeprefix("Value error, ").replace("Input should", "should", 1)
    message = next((f"should be {words}" for words, kinds in KINDS.items() if kind in kinds), message)
    if kind == "literal_error" and isinstance(value, str):
        expected = str(finding.get("ctx", {}).get("expected", "")).replace(" or ", ", ")
        message = f"{message}; {nearest(value, [name.strip(chr(39)) for name in expected.split(', ')])}"
    if kind == "string_type" and isinstance(value, int | float):
        message = f"{message}; text that is a number stands in quotes, with its zeros"
    if kind in ("float_type", "float_parsing") and (share := re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*%\s*", str(value))):
        number = float(share[1]) / (1 if "percentiles" in loc else 100)
        message = f"{message}; write {number:g} for {str(value).strip()}"
    if kind == "value_error" and len(loc) == 0:
        return message
    if kind == "value_error" and isinstance(value, Mapping):  # the message names the fields that do not go together
        return f"{dotted}: {message}"
    what, semicolon, advice = message.partition("; ")
    return f"{dotted}: {what}, got {_shown(value)}{semicolon}{advice}"


def _shown(value: object) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def model_at(model: type[Config], path: Key) -> type[Config] | None:
    """The config class of the field at ``path`` below ``model``, where there is just one."""
    current: object = model
    for name in path:
        current = _step(current, name)
    return _config_in(current)


def _step(annotation: object, name: str | int) -> object:
    """The type of what lies under a key, of a section, or a name or place, of a mapping or list; None for none."""
    inner = typing.get_args(annotation)
    if isinstance(annotation, type) and not inner:
        field = annotation.model_fields.get(str(name)) if issubclass(annotation, Config) else None
        return None if field is None else field.annotation
    if typing.get_origin(annotation) in (dict, tuple, list):
        return inner[1] if typing.get_origin(annotation) is dict else inner[0]
    return next((stepped for part in inner if (stepped := _step(part, name)) is not None), None)


def _config_in(annotation: object) -> type[Config] | None:
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return annotation
    classes = [inner for inner in map(_config_in, typing.get_args(annotation)) if inner is not None]
    return classes[0] if len(classes) == 1 else None


@cache
def dotted_fields(model: type[Config], prefix: str = "") -> Mapping[str, None]:
    """All dotted field names below ``model``, in their order: what a factor may be."""
    names: dict[str, None] = {}
    for name, field in model.model_fields.items():
        names[prefix + name] = None
        if (inner := _config_in(field.annotation)) is not None:
            names |= dotted_fields(inner, f"{prefix}{name}.")
    return names
