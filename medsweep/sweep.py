"""A sweep file: the question, the data, arms or factors, replicates, resources, the analysis plan."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from medsweep.config import Config
from medsweep.errors import nearest
from medsweep.validation import dotted_fields, explain, parse
from medsweep.yamlfile import Document, Key, read_yaml

Levels = dict[str, Any]
"""Values by dotted field, as in ``{"synthesise.count": 20}``."""


class Replicates(Config):
    """Fold x seed pairs under which every arm is run."""

    folds: int = Field(default=5, ge=2)
    """Parts into which the patients are cut; each is tested by a network that did not see it."""
    only: tuple[int, ...] | None = None
    """Fold indices to run; None runs all of them."""
    seeds: int = Field(default=1, ge=1)
    """Training seeds per fold, numbered from 0."""

    @field_validator("only")
    @classmethod
    def _only_is_a_set(cls, only: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if only is not None and (not only or len(set(only)) != len(only)):
            raise ValueError("name each fold index once, or leave the key out to run all folds")
        return only


class Resources(Config):
    """What one trial of a stage holds while it runs."""

    cpus: int = Field(default=1, ge=1)
    """CPU threads; also the number of threads torch uses, which decides the last bits of a result."""
    gpus: float = Field(default=0.0, ge=0.0)
    """GPUs; a fraction shares one."""


class Budget(Config):
    """A sweep priced above its budget is not started."""

    hours: float = Field(gt=0)
    """CPU or GPU hours of the trials that would run."""


class SweepFile(Config):
    """Top level of a sweep file. Sections of ``fixed`` and ``data`` are checked against the pipeline's settings."""

    sweep: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """Name: lower case, digits and hyphens; also the W&B project and the results folder."""
    question: str = Field(min_length=1)
    data: dict[str, Any] = Field(default={})
    replicates: Replicates = Replicates()
    control: str | Levels
    factors: dict[str, tuple[Any, ...]] = Field(default={})
    design: Literal["full", "one-at-a-time"] = "full"
    """``full``: every combination of levels; ``one-at-a-time``: the first levels, then each other level alone."""
    arms: dict[str, Levels] = Field(default={})
    exclude: tuple[dict[str, Any], ...] = ()
    fixed: dict[str, Any] = Field(default={})
    resources: dict[str, Resources] = Field(default={})
    budget: Budget | None = None
    analysis: dict[str, Any] = Field(default={})


@dataclass(frozen=True)
class Schema:
    """What a pipeline adds to the sweep file: its settings, the names of its stages, the analysis plan."""

    settings: type[Config]
    stages: tuple[str, ...]
    analysis: type[Config]


@dataclass(frozen=True)
class Sweep:
    """A checked sweep file; ``base`` are the settings every arm starts from."""

    file: SweepFile
    document: Document
    schema: Schema
    base: Config
    analysis: Config

    @property
    def name(self) -> str:
        """Name of the sweep."""
        return self.file.sweep

    def resources(self, stage: str) -> Resources:
        """What one trial of ``stage`` holds."""
        return self.file.resources.get(stage, Resources())

    def with_levels(self, levels: Levels, key: Key) -> Config:
        """The base settings with ``levels`` written over them; ``key`` is where the levels stand.

        Raises:
            UserError: a field that does not exist, or a value it does not take.
        """
        tree = base_tree(self.file)
        for dotted, value in levels.items():
            require_field(dotted, self.schema.settings, self.document, (*key, dotted))
            _write(tree, dotted, value)
        return _settings(tree, self.schema.settings, self.document, lambda loc: _place(loc, levels, key))


def load_sweep(path: Path, schema: Schema) -> Sweep:
    """Read and check a sweep file against what the pipeline knows.

    Raises:
        UserError: with file, line, value and the nearest valid name.
    """
    document = read_yaml(path)
    file = parse(SweepFile, document.data, document)
    base = _settings(base_tree(file), schema.settings, document, _section_place)
    for stage in file.resources:
        if stage not in schema.stages:
            hint = nearest(stage, schema.stages)
            raise document.error(("resources", stage), f"resources for {stage!r}, which is no stage; {hint}")
    folds = file.replicates.folds
    for number, fold in enumerate(file.replicates.only or ()):
        if not 0 <= fold < folds:
            place = ("replicates", "only", number)
            raise document.error(place, f"fold {fold} does not exist; with folds: {folds} they are 0 to {folds - 1}")
    return Sweep(file, document, schema, base, parse(schema.analysis, file.analysis, document, ("analysis",)))


def base_tree(file: SweepFile) -> dict[str, Any]:
    """Nested settings that every arm starts from: ``fixed`` and ``data``, before defaults."""
    tree = {name: dict(section) if isinstance(section, dict) else section for name, section in file.fixed.items()}
    if file.data:
        tree["data"] = {**tree.get("data", {}), **file.data}
    return tree


def require_field(dotted: str, settings: type[Config], document: Document, key: Key) -> None:
    """Refuse a dotted name that is no field of the settings.

    Raises:
        UserError: naming the nearest field.
    """
    known = dotted_fields(settings)
    if dotted not in known:
        raise document.error(key, f"unknown field {dotted!r}; {nearest(dotted, known)}")


def _write(tree: dict[str, Any], dotted: str, value: object) -> None:
    *sections, name = dotted.split(".")
    for section in sections:
        tree[section] = dict(tree.get(section) or {})
        tree = tree[section]
    tree[name] = value


def _settings(tree: dict[str, Any], settings: type[Config], document: Document, place: Any) -> Config:
    import json

    try:
        return settings.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        loc, message = explain(error, settings)
        raise document.error(place(loc), message) from None


def _section_place(loc: Key) -> Key:
    return loc if loc[:1] == ("data",) else ("fixed", *loc)


def _place(loc: Key, levels: Levels, key: Key) -> Key:
    dotted = ".".join(str(part) for part in loc)
    named = [name for name in levels if dotted == name or dotted.startswith(f"{name}.")]
    return (*key, named[0]) if named else key
