"""Every field of a sweep file with the stages that read it: what ``medsweep explain`` and the docs show."""

from collections.abc import Mapping
from functools import cache
from typing import Final

from medsweep.errors import UserError, nearest_field
from medsweep.fields import FieldInFull, configs_in, fields_in_full
from medsweep.study.stages import SCHEMA, STAGES
from medsweep.sweep.file import SweepFile
from medsweep.sweep.space import Range
from medsweep.trainers.segmentation.networks import NETWORKS
from medsweep.trainers.synthesis.pipelines import FAMILIES

SETTINGS: Final = tuple(SCHEMA.settings.model_fields)
"""Sections of the file that stages read."""
FROM_PLAN: Final[Mapping[str, tuple[str, ...]]] = {
    "data.patients": tuple(name for name in STAGES if name != "prepare"),
    "gan.pipeline": (*FAMILIES, "synthesise"),
    "synthesise.count": ("synthesise", "import", "treat", "segment", "diagnose"),
    "synthesise.unit": ("synthesise", "import", "treat", "segment", "diagnose"),
    "synthesise.folder": ("import",),
    "synthesise.headroom": ("synthesise", "import", "treat"),
    "assess.enabled": ("assess", "profile"),
    "assess.judge": ("judge", "embed", "assess", "profile"),
    **{
        f"{name}.{field}": ("judge", "segment", "diagnose")
        for name, network in NETWORKS.items()
        if network.settings is not None
        for field in network.settings.model_fields
    },
}
"""Stages that the planner hands a field to which none of their configs has under this name."""
FOR_OTHERS: Final[Mapping[str, str]] = {
    "analysis": "the report; nothing runs again",
    "budget": "the planner; nothing runs again",
    "resources": "the runner; nothing runs again",
    "mechanism": "the planner, which adds arms, and the report",
    "accumulation": "the report; nothing runs again",
    "texture": "the report; nothing runs again",
    "search": "the planner; suggestions are arms",
    "replicates": "the planner; new folds and seeds run",
}
"""Who reads a section that no stage reads."""


@cache
def all_fields() -> Mapping[str, FieldInFull]:
    """Every field of a sweep file by dotted name: those of the file, then those of each section."""
    of_file = [field for field in fields_in_full(SweepFile) if field.name.split(".")[0] not in ("data", "analysis")]
    by_name = {field.name: field for field in of_file}
    by_name |= {field.name: field for field in fields_in_full(Range, "search.space.") if field.name[-6:] != ".whole"}
    by_name |= {field.name: field for field in fields_in_full(SCHEMA.settings)}
    by_name["analysis"] = next(field for field in fields_in_full(SweepFile) if field.name == "analysis")
    return by_name | {field.name: field for field in fields_in_full(SCHEMA.analysis, "analysis.")}


def sections() -> Mapping[str, list[FieldInFull]]:
    """The fields by section, those of the file itself under the empty name."""
    by_section: dict[str, list[FieldInFull]] = {"": []}
    for name, field in all_fields().items():
        first = name.split(".")[0]
        holds_more = any(other.startswith(f"{first}.") for other in all_fields())
        by_section.setdefault(first if holds_more and name != first else "", []).append(field)
    return by_section


def readers(field: FieldInFull) -> tuple[str, ...]:
    """Stages whose own config a field of the settings enters, in their order; empty for the other fields."""
    section, _, rest = field.name.partition(".")
    if section not in SETTINGS or not rest:
        return ()
    top = f"{section}.{rest.split('.')[0]}"
    if top in FROM_PLAN:
        return FROM_PLAN[top]
    owner = all_fields()[top].owner
    return tuple(
        name
        for name, stage in STAGES.items()
        if issubclass(stage.config, owner)
        or any(
            issubclass(inner, owner)
            for one in stage.config.model_fields.values()
            for inner in configs_in(one.annotation)
        )
        or (section == name.replace("embed", "assess") and rest in stage.config.model_fields)
    )


def read_by(field: FieldInFull) -> str:
    """Who reads a field, and so what a change of it runs again, in words."""
    if field.moves_nothing:
        return f"{', '.join(readers(field)) or 'the runner'}; nothing runs again"
    return ", ".join(readers(field)) or FOR_OTHERS.get(field.name.split(".")[0], "the planner")


def looked_up(name: str) -> list[FieldInFull]:
    """The field ``name``, or, where it is a section, the fields in it.

    Raises:
        UserError: there is none; with the nearest name.
    """
    fields = all_fields()
    name = name.strip(".").removeprefix("fixed.")
    below = [field for other, field in fields.items() if other.startswith(f"{name}.")]
    if name in fields and not below:
        return [fields[name]]
    if not below:
        raise UserError(f"no field of a sweep file is called {name!r}; {nearest_field(name, fields)}")
    return ([fields[name]] if name in fields else []) + below
