"""Fields of configurations as people look them up: what they mean and take, read from the classes alone."""

import inspect
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from medsweep.config import NOT_IDENTITY, Config
from medsweep.field_docs import meaning

STAGE: Final = "STAGE"
"""Stands in a dotted name for the stage that a part of a sweep is about."""
UNITS: Final[Mapping[str, str]] = {
    "px": "pixels", "mm": "mm", "kimg": "thousands of images", "steps": "steps", "hours": "hours", "gib": "GiB",
    "minutes": "minutes", "share": "share", "iou": "IoU", "percentiles": "percent", "cpus": "CPU threads",
    "gpus": "GPUs", "folds": "folds", "patients": "patients", "suggestions": "suggestions", "trials": "trials",
    "data.resolution": "pixels",
}  # fmt: skip
"""By the last word of a field's name, or by the whole name."""


@dataclass(frozen=True)
class FieldInFull:
    """What is known of one field."""

    name: str
    """Dotted, as a factor writes it."""
    meaning: str
    default: str
    """As YAML writes it; ``required`` where there is none, empty for a section."""
    takes: str
    """Kind and range of its values."""
    unit: str
    owner: type[Config]
    """The class that declares it."""
    is_section: bool
    """Whether fields of its own are all that it holds."""
    moves_nothing: bool
    """Whether it is left out of a trial's address."""


def fields_in_full(model: type[Config], prefix: str = "") -> Iterator[FieldInFull]:
    """All fields below ``model``, sections before their own fields, in the order of the classes."""
    schema = model.model_json_schema()
    for name, field in model.model_fields.items():
        inner, values = list(configs_in(field.annotation)), takes(schema["properties"][name], schema.get("$defs", {}))
        if _is_tag(name, field):
            yield FieldInFull(
                prefix[:-1], " ".join((model.__doc__ or "").split()), "", "section", "", model, True, False
            )
            continue
        yield FieldInFull(
            name=prefix + name,
            meaning=" ".join(meaning(model, name).split()),
            default=_default(field),
            takes=values,
            unit=_unit(prefix + name) if "number" in values else "",
            owner=declared_by(model, name),
            is_section=bool(inner) and inner[0] is field.annotation,
            moves_nothing=any(mark is NOT_IDENTITY for mark in field.metadata),
        )
        for one in inner:
            yield from fields_in_full(one, f"{prefix}{name}.{_between(field.annotation, one)}")


def declared_by(model: type[Config], name: str) -> type[Config]:
    """The class, ``model`` or one that it extends, whose body has the field ``name`` first."""
    return next(one for one in model.__mro__ if name in inspect.get_annotations(one))


def configs_in(annotation: object) -> Iterator[type[Config]]:
    """The config classes that a type is made of, each once."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        if issubclass(annotation, Config):
            yield annotation
        return
    yield from dict.fromkeys(inner for part in get_args(annotation) for inner in configs_in(part))


def _between(annotation: object, inner: type[Config]) -> str:
    """What stands in a dotted name between a field and the fields of what it holds."""
    if get_origin(annotation) is dict:
        return f"{STAGE}."
    kind = inner.model_fields.get("kind")
    return f"{get_args(kind.annotation)[0]}." if kind is not None and _is_tag("kind", kind) else ""


def _is_tag(name: str, field: FieldInfo) -> bool:
    """Whether a field only tells records of one list apart."""
    return name == "kind" and len(get_args(field.annotation)) == 1


def _unit(name: str) -> str:
    return UNITS.get(name, "") or UNITS.get(re.split(r"[._]", name)[-1], "")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    return "" if isinstance(value, BaseModel) else yaml_text(value)


def yaml_text(value: Any) -> str:
    """A value on one line, as YAML writes it."""
    value = to_jsonable_python(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(yaml_text, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {yaml_text(item)}' for name, item in value.items())}}}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def takes(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """The values that a JSON Schema allows, in words."""
    if "$ref" in schema:
        return takes(defs[schema["$ref"].rsplit("/", 1)[-1]], defs)
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{yaml_text(value)}`" for value in schema.get("enum", [schema.get("const")]))
    if several := schema.get("anyOf", schema.get("oneOf")):
        return " or ".join(dict.fromkeys(takes(one, defs) for one in several))
    words = {"boolean": "`true`, `false`", "null": "`null`", "string": "text", "integer": "whole number"}
    kind = typing.cast(str, schema.get("type", "any value"))
    if kind == "array":
        return _list(schema, defs)
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"{takes(values, defs)} by name" if isinstance(values, dict) and values else "section"
    return " ".join([words.get(kind, kind), *_bounds(schema)])


def _list(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    if "prefixItems" in schema:
        return f"list of {len(schema['prefixItems'])}: {takes(schema['prefixItems'][0], defs)}"
    least = f"{schema['minItems']} or more: " if schema.get("minItems") else ""
    return f"list of {least}{takes(schema.get('items', {}), defs)}"


def _bounds(schema: Mapping[str, Any]) -> Iterator[str]:
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    yield from (f"{word} {schema[key]:g}" for key, word in words.items() if key in schema)
    if "multipleOf" in schema:
        yield f"in steps of {schema['multipleOf']:g}"
