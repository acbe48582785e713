"""Reduces KubeRay's schema of a RayJob to the fields that ``medsweep launch`` writes; called with the CRD's file.

The CRD is ``ray-operator/config/crd/bases/ray.io_rayjobs.yaml`` of https://github.com/ray-project/kuberay at the tag
``VERSION``. What it says of a field (type, enum, pattern, required fields) is kept, its text is not. A field that the
schema does not have ends the tool with its path, as it would end an apply in Kubernetes' strict mode.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

VERSION = "v1.7.0"
TARGET = ROOT / "tests" / "reference" / "rayjob.schema.json"
KEPT = ("type", "format", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "required")


def documents() -> list[dict[str, Any]]:
    """RayJobs with every field that an option can bring."""
    from helpers.launching import every_rayjob

    return every_rayjob()


def reduced(schema: dict[str, Any], examples: Iterable[Any], path: str) -> dict[str, Any]:
    """``schema`` without what none of ``examples`` has."""
    kept = {name: schema[name] for name in KEPT if name in schema}
    values = list(examples)
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if schema.get("type") == "array":
        kept["items"] = reduced(schema["items"], [item for value in values for item in value], f"{path}[]")
    if "additionalProperties" in schema:
        kept["additionalProperties"] = schema["additionalProperties"]
        if isinstance(kept["additionalProperties"], dict):
            kept["additionalProperties"] = reduced(schema["additionalProperties"], [], path)
    elif "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        names = sorted({name for value in values for name in value} | set(schema.get("required", [])))
        if unknown := [name for name in names if name not in schema["properties"]]:
            sys.exit(f"{path}: the schema has no field {unknown[0]}")
        below = schema["properties"]
        kept["properties"] = {
            name: reduced(below[name], [value[name] for value in values if name in value], f"{path}.{name}")
            for name in names
        }
        kept["additionalProperties"] = False
    return kept


def main(crd: Path) -> None:
    """Write the reduced schema."""
    read = YAML(typ="safe").load(crd.read_text())
    (schema,) = [one["schema"]["openAPIV3Schema"] for one in read["spec"]["versions"] if one["name"] == "v1"]
    schema["properties"]["metadata"] = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 63},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    }
    note = (
        f"Reduced by tools/rayjob_schema.py from ray-operator/config/crd/bases/ray.io_rayjobs.yaml of "
        f"https://github.com/ray-project/kuberay {VERSION}, licence Apache-2.0: the fields that medsweep launch writes"
    )
    TARGET.write_text(json.dumps({"$comment": note, **reduced(schema, documents(), "rayjob")}, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
