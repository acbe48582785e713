"""The JSON Schema of a sweep file, for editors: what can be said of it without looking at data or at several fields.

What a schema cannot say is left to ``medsweep plan``: fields that do not suit each other, and whole numbers with a
decimal point, which JSON Schema takes for whole.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from medsweep.config import Config
from medsweep.study.fields import all_fields, read_by
from medsweep.study.stages import SCHEMA, STAGES
from medsweep.sweep.file import CAPS, READ_BY, SweepFile
from medsweep.sweep.space import BETTER, Range
from medsweep.validation import dotted_fields

Json = dict[str, Any]
DIALECT: Final = "http://json-schema.org/draft-07/schema#"
LEVELS: Final = "Levels"
"""Definition of a mapping from dotted fields to one value each."""


def sweep_schema() -> Json:
    """The schema of the whole file."""
    models: list[type[Config]] = [SweepFile, SCHEMA.settings, SCHEMA.analysis, Range]
    _, written = models_json_schema([(model, "validation") for model in models], ref_template="#/$defs/{model}")
    defs: dict[str, Json] = _tidied(written["$defs"])
    settings, file = defs.pop(SCHEMA.settings.__name__), defs.pop(SweepFile.__name__)
    _add_facts(settings, defs)
    fields = {dotted: _property(dotted, settings, defs) for dotted in dotted_fields(SCHEMA.settings)}
    defs[LEVELS] = {"type": "object", "additionalProperties": False, "properties": fields}
    del defs[Range.__name__]["properties"]["whole"]
    _add_conditions(defs)
    properties = file["properties"]
    _add_settings(properties, settings, defs)
    design = properties["design"]
    kinds = defs["FactorialDesign"]["properties"]["kind"]["enum"]
    properties["design"] = {"anyOf": [{"enum": kinds}, {"$ref": f"#/$defs/{_name(design)}"}]} | _told(design)
    for by_stage in (properties["resources"], defs["SearchSection"]["properties"]["early_stopping"]):
        by_stage["propertyNames"] = {"enum": list(STAGES)}
    return {"$schema": DIALECT, "title": "A sweep of medsweep"} | file | {"allOf": _of_file(), "$defs": defs}


def _add_facts(settings: Json, defs: dict[str, Json]) -> None:
    """Say with the meaning of a field what an editor does not show by itself: default, unit and readers."""
    for section, part in settings["properties"].items():
        for name, written in defs[_name(part)]["properties"].items():
            field = all_fields()[f"{section}.{name}"]
            default = f"default {field.default}, " if field.default not in ("", "required") else ""
            unit = f"in {field.unit}, " if field.unit else ""
            written["description"] += f" ({default}{unit}read by {read_by(field)})"


def _add_settings(properties: Json, settings: Json, defs: dict[str, Json]) -> None:
    """Say of each part of the file that holds settings, or levels of them, what they are."""
    fields = defs[LEVELS]["properties"]
    data = defs[_name(settings["properties"]["data"])] | {"required": []}
    properties["data"] |= data
    properties["fixed"] |= {"additionalProperties": False, "properties": settings["properties"] | {"data": data}}
    properties["analysis"]["allOf"] = [{"$ref": f"#/$defs/{SCHEMA.analysis.__name__}"}]
    properties["control"] = {"anyOf": [{"type": "string"}, _levels()]} | _told(properties["control"])
    properties["arms"]["additionalProperties"] = _levels()
    factors = {
        dotted: {"type": "array", "minItems": 1, "uniqueItems": True, "items": _level(dotted)} | _told(field)
        for dotted, field in fields.items()
    }
    properties["factors"] |= {"additionalProperties": False, "properties": factors}
    properties["exclude"]["items"] = {"type": "object", "propertyNames": {"enum": list(fields)}}
    defs["SearchSection"]["properties"]["space"] |= {
        "additionalProperties": False,
        "properties": {dotted: _domain(dotted) for dotted in fields if dotted.split(".")[0] != "data"},
    }


def schema_text() -> str:
    """The schema as a JSON file, a line for each definition and each part of the file."""
    schema = sweep_schema()
    inner = {
        name: ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in schema[name].items())
        for name in ("properties", "$defs")
    }
    parts = [
        f" {json.dumps(name)}: " + (f"{{\n{inner[name]}\n }}" if name in inner else json.dumps(value))
        for name, value in schema.items()
    ]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _tidied(node: Any) -> Any:
    """Without the titles that pydantic makes of names, and with descriptions on one line."""
    if isinstance(node, list):
        return [_tidied(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidy = {name: _tidied(item) for name, item in node.items() if name != "title" or isinstance(item, dict)}
    tidy.pop("discriminator", None)
    if isinstance(text := tidy.get("description"), str):
        tidy["description"] = " ".join(text.replace("``", "`").split())
    # draft-07 ignores what stands beside a reference, and so do editors
    return {"allOf": [{"$ref": tidy.pop("$ref")}]} | tidy if "$ref" in tidy and len(tidy) > 1 else tidy


def _name(schema: Mapping[str, Any]) -> str:
    """The definition that a property refers to."""
    ref: str = schema["$ref"] if "$ref" in schema else schema["allOf"][0]["$ref"]
    return ref.rsplit("/", 1)[-1]


def _property(dotted: str, settings: Json, defs: Mapping[str, Json]) -> Json:
    """The schema of a field of the settings."""
    current = settings
    part: Json = {}
    for name in dotted.split("."):
        part = current["properties"][name]
        options = [part, *part.get("anyOf", [])]
        current = next((defs[_name(one)] for one in options if "$ref" in one or "allOf" in one), {})
    return part


def _told(schema: Mapping[str, Any]) -> Json:
    """What a schema tells people."""
    return {"description": schema["description"]} if "description" in schema else {}


def _levels() -> Json:
    return {"$ref": f"#/$defs/{LEVELS}"}


def _level(dotted: str) -> Json:
    return {"$ref": f"#/$defs/{LEVELS}/properties/{dotted}"}


def _domain(dotted: str) -> Json:
    """What ``search.space`` takes for a field: a range whose ends the field takes, or values that it takes."""
    ends = {"properties": {name: _level(dotted) for name in ("low", "high")}}
    return {
        "anyOf": [
            {"allOf": [{"$ref": f"#/$defs/{Range.__name__}"}, ends]},
            {"type": "array", "minItems": 2, "uniqueItems": True, "items": _level(dotted)},
        ]
    }


NULL: Final = {"type": "null"}
GIVEN: Final = {"not": NULL}
FRACTIONAL: Final = {"const": "fractional"}


def _add_conditions(defs: dict[str, Json]) -> None:
    """What fields of one section say of each other, as ``sweep/load`` and ``sweep/searched`` check it."""
    replicates = defs["Replicates"]
    seeds = replicates["properties"]["seeds"]
    replicates["properties"]["seeds"] = {"anyOf": [{"type": "integer", "minimum": 1}, {"$ref": "#/$defs/Seeds"}]}
    replicates["properties"]["seeds"] |= {"description": seeds["description"], "default": 1}
    replicates["properties"]["only"]["anyOf"][0] |= {"minItems": 1, "uniqueItems": True}
    replicates["allOf"] = list(_of_replicates())
    defs["Budget"]["anyOf"] = [{"required": [cap], "properties": {cap: GIVEN}} for cap in CAPS]
    absent = {"properties": {"resolution": NULL, "fraction": NULL}}
    one = [{"required": [name], "properties": {name: GIVEN}} for name in ("resolution", "fraction")]
    defs["FactorialDesign"] |= {
        "if": {"required": ["kind"], "properties": {"kind": FRACTIONAL}},
        "then": {"oneOf": one},
        "else": absent,
    }
    bounds = [{"required": [name], "properties": {name: GIVEN}} for name in ("at_most", "at_least")]
    defs["Constraint"]["oneOf"] = bounds
    defs["Objective"]["allOf"] = [_if("metric", {"const": name}, goal={"const": goal}) for name, goal in BETTER.items()]
    defs["SearchSection"]["properties"]["objectives"]["uniqueItems"] = True
    defs["SearchSection"]["allOf"] = [_if("sampler", {"const": "nsga2"}, objectives={"minItems": 2})]
    median = {"if": {"properties": {"rule": {"const": "median"}}}, "then": {"properties": {"reduction": False}}}
    defs["StoppingRule"]["allOf"] = [median]


def _if(name: str, value: Json, **then: Json) -> Json:
    return {"if": {"required": [name], "properties": {name: value}}, "then": {"properties": then}}


def _of_replicates() -> Iterator[Json]:
    for name, schemes in READ_BY.items():
        named: Json = {"properties": {"scheme": {"enum": list(schemes)}}}
        yield {
            "if": {"required": [name]},
            "then": named if "k-fold" in schemes else named | {"required": ["scheme"]},
        }
    yield {
        "if": {"required": ["scheme"], "properties": {"scheme": {"const": "file"}}},
        "then": {"required": ["file"], "properties": {"file": GIVEN}},
    }
    yield {"if": {"properties": {"scheme": {"const": "k-fold"}}}, "then": {"properties": {"folds": {"minimum": 2}}}}


def _of_file() -> list[Json]:
    """What sections say of each other."""
    named = {"required": ["dataset"]}
    data = [
        {"required": ["data"], "properties": {"data": named}},
        {"required": ["fixed"], "properties": {"fixed": {"required": ["data"], "properties": {"data": named}}}},
    ]
    kind = {"required": ["kind"], "properties": {"kind": FRACTIONAL}}
    is_fractional = {"required": ["design"], "properties": {"design": {"anyOf": [FRACTIONAL, kind]}}}
    two = {"additionalProperties": {"minItems": 2, "maxItems": 2}}
    short = {"required": ["design"], "properties": {"design": FRACTIONAL}}
    apart = {"required": ["replicates"], "properties": {"replicates": {"required": ["validation"]}}}
    watched = {"properties": {"replicates": {"properties": {"validation": {"exclusiveMinimum": 0}}}}}
    split = {"properties": {"replicates": {"required": ["scheme"], "properties": {"scheme": {"const": "file"}}}}}
    return [
        {"anyOf": data},
        {"if": is_fractional, "then": {"properties": {"factors": two, "exclude": {"maxItems": 0}}}},
        {"if": is_fractional, "else": {"properties": {"fraction": NULL}}},
        {"if": short, "then": {"required": ["fraction"], "properties": {"fraction": GIVEN}}},
        {
            "if": {"required": ["search"], "properties": {"search": GIVEN}},
            "then": {"anyOf": [{"allOf": [apart, watched]}, {"required": ["replicates"]} | split]},
        },
    ]
