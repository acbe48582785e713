"""From what pydantic finds wrong to one line with file, line, value and the nearest valid name."""

import json
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import ValidationError

from medsweep.config import Config
from medsweep.errors import nearest
from medsweep.yamlfile import Key, YamlFile

C = TypeVar("C", bound=Config)


def parse(model: type[C], data: Mapping[str, Any], yaml: YamlFile, at: Key | Callable[[Key], Key] = ()) -> C:
    """Validate ``data`` as ``model``; ``at`` is its key in ``yaml``, or gives the key there of a key in ``data``.

    JSON rules apply: a list is accepted for a tuple, a whole number for a float, and nothing else is converted.

    Raises:
        UserError: the first finding, with its place.
    """
    try:
        return model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        loc, message = explain(error, model)
        raise yaml.error(at(loc) if callable(at) else (*at, *loc), message) from None


def explain(error: ValidationError, model: type[Config]) -> tuple[Key, str]:
    """Place (relative to the model) and one-line description of the first finding.

    Unknown keys go first: a required key that is misspelt is missing, too.
    """
    findings = error.errors(include_url=False)
    first = next((finding for finding in findings if finding["type"] == "extra_forbidden"), findings[0])
    loc: Key = tuple(first["loc"])
    dotted = ".".join(map(str, loc)) or "the section"
    owner = ".".join(map(str, loc[:-1])) or "the top level"
    if first["type"] == "extra_forbidden":
        section = model_at(model, loc[:-1])
        hint = nearest(str(loc[-1]), section.model_fields) if section else "remove it"
        return loc, f"unknown key {str(loc[-1])!r} in {owner}; {hint}"
    if first["type"] == "missing":
        return loc[:-1], f"key {str(loc[-1])!r} is missing in {owner}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "literal_error" and isinstance(first["input"], str):
        expected = str(first.get("ctx", {}).get("expected", "")).replace(" or ", ", ")
        message = f"{message}; {nearest(first['input'], [name.strip(chr(39)) for name in expected.split(', ')])}"
    if first["type"] == "string_type" and isinstance(first["input"], int | float):
        message = f"{message}; text that is a number stands in quotes, with its zeros"
    if first["type"] == "value_error" and len(loc) == 0:
        return loc, message
    return loc, f"{dotted}: {message}, got {_shown(first['input'])}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def model_at(model: type[Config], path: Key) -> type[Config] | None:
    """The config class of the field at ``path`` below ``model``, where there is just one."""
    current: type[Config] | None = model
    for name in path:
        if current is None or not isinstance(name, str) or name not in current.model_fields:
            return None
        current = _config_in(current.model_fields[name].annotation)
    return current


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
