"""A sweep file: the question, the data, arms or factors, replicates, resources, the analysis plan."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Generic, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator
from typing_extensions import TypeVar

from medsweep.accumulation import Accumulation
from medsweep.config import Config
from medsweep.errors import UserError, nearest, nearest_field
from medsweep.mechanism import Mechanism
from medsweep.sweep.space import SearchSection
from medsweep.texture import TextureArms
from medsweep.validation import dotted_fields, parse
from medsweep.yamlfile import Key, YamlFile

Levels = dict[str, Any]
"""Values by dotted field, as in ``{"synthesise.count": 20}``."""


READ_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "folds": ("k-fold", "hold-out"),
    "test_share": ("hold-out",),
    "file": ("file",),
    "seed": ("k-fold", "hold-out", "leave-one-out"),
}
"""Schemes that read a field of ``Replicates``; the other fields are read by all of them."""


class Seeds(Config):
    """Training seeds per fold, numbered from 0: from ``start`` to ``most`` of them, by as many ``looks`` as it takes.

    A number alone, ``seeds: 5``, stands for one look at five.
    """

    start: int = Field(ge=1)
    """Seeds of the first look."""
    most: int = Field(ge=1)
    """Seeds of the last look."""
    looks: int = Field(ge=1)
    """Analyses, evenly spaced. After each the sweep ends if every arm has a verdict, and else goes on."""
    spending: Literal["obrien-fleming", "pocock"] = "obrien-fleming"
    """How the looks share alpha: almost all of it for the last, or early looks as well."""

    @model_validator(mode="after")
    def _grow(self) -> "Seeds":
        if self.looks == 1 and self.start == self.most:
            return self
        if self.looks == 1:
            raise ValueError(f"one look has one number of seeds; write seeds: {self.most}, or looks: 2 or more")
        if self.start < 2:
            raise ValueError("start: a look at one seed cannot judge a method; it takes 2 or more")
        if self.most - self.start < self.looks - 1:
            text = f"from {self.start} to {self.most} there is no room for {self.looks} looks"
            raise ValueError(f"{text}, each with more seeds than the last; raise most or lower looks")
        return self

    @property
    def counts(self) -> tuple[int, ...]:
        """Seeds of each look."""
        gap = (self.most - self.start) / max(self.looks - 1, 1)
        return tuple(round(self.start + look * gap) for look in range(self.looks))


class Replicates(Config):
    """Fold x seed pairs under which every arm is run."""

    scheme: Literal["k-fold", "hold-out", "leave-one-out", "file"] = "k-fold"
    """``k-fold``: each of the folds is tested once; ``hold-out``: every fold tests a share of a shuffle of its
    own; ``leave-one-out``: as many folds as patients; ``file``: the folds of a committed JSON file."""
    folds: int = Field(default=5, ge=1)
    """Number of folds, from 2 for k-fold; each is tested by a network that did not see it."""
    only: tuple[int, ...] | None = None
    """Fold indices to run; None runs all of them."""
    seeds: Seeds = Seeds(start=1, most=1, looks=1)
    """Training seeds per fold: a number, or ``{start, most, looks}`` for as many as it takes."""
    test_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of the patients that a hold-out tests."""
    validation: float = Field(default=0.0, ge=0, lt=1)
    """Share of each fold's training patients that is set aside for validation and never trains."""
    file: str | None = None
    """JSON with the folds, ours or nnU-Net's splits_final.json, relative to the sweep file."""
    seed: int = 0
    """Seed of the shuffle that the patients are cut after."""

    @field_validator("seeds", mode="before")
    @classmethod
    def _one_look(cls, seeds: object) -> object:
        if isinstance(seeds, int) and not isinstance(seeds, bool) and seeds >= 1:
            return Seeds(start=seeds, most=seeds, looks=1)
        if isinstance(seeds, dict | Seeds):
            return seeds
        raise ValueError("a whole number from 1, or {start: 5, most: 25, looks: 4}")

    @field_validator("only")
    @classmethod
    def _only_is_a_set(cls, only: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if only is not None and (not only or len(set(only)) != len(only)):
            raise ValueError("name each fold index once, or leave the key out to run all folds")
        return only


def _gpus(value: object) -> object:
    """Checked here, since the complaints of a union name its members and not the field."""
    if value == "auto" or (isinstance(value, int | float) and not isinstance(value, bool) and value >= 0):
        return value
    raise ValueError(f"a number of GPUs from 0, or auto; {nearest(str(value), ['auto'])}")


class Resources(Config):
    """What one trial of a stage holds while it runs."""

    cpus: int = Field(default=1, ge=1)
    """CPU threads; also the number of threads torch uses, which decides the last bits of a result."""
    gpus: Annotated[Annotated[float, Field(ge=0)] | Literal["auto"], BeforeValidator(_gpus)] = 0.0
    """GPUs; a fraction shares one. ``auto``: the share of one that the memory of a step needs, measured once for
    every distinct config and rounded up to 1, 1/2, 1/4 or 1/8."""
    memory_gib: float = Field(default=0.0, ge=0.0)
    """Host memory to set aside for the trial; 0 sets none aside. Doubled once for a trial that runs out of it."""
    stall_minutes: float = Field(default=60.0, gt=0)
    """A trial that reports nothing for so long is taken to hang; its process is ended and the trial tried again."""

    @property
    def most_gpus(self) -> float:
        """GPUs that it may come to hold: one for ``auto``, whose share is measured later."""
        return 1.0 if self.gpus == "auto" else float(self.gpus)


class Budget(Config):
    """Caps on a sweep, any of them. It is not started where it is forecast above one, and launches no trial that would
    take it past one; raise the cap to go on. What other sweeps have published costs nothing."""

    hours: float | None = Field(default=None, gt=0)
    """Hours of work of all trials, whatever each holds."""
    gpu_hours: float | None = Field(default=None, gt=0)
    """The same, times the GPUs that each trial holds."""
    wall_hours: float | None = Field(default=None, gt=0)
    """Hours from the start to the end of one call of ``medsweep run``."""
    trials: int | None = Field(default=None, gt=0)
    """Trials run for this sweep."""
    disk_gib: float | None = Field(default=None, gt=0)
    """What its trials leave in the store, in GiB."""
    slots: int | None = Field(default=None, ge=1)
    """Trials that run at once in the forecast of the wall time; None takes one per CPU core of this machine."""


CAPS: Final = ("hours", "gpu_hours", "wall_hours", "trials", "disk_gib")
"""Fields of ``Budget`` that cap something."""


FRACTION: Final = r"^1/[1-9][0-9]*$"


class FactorialDesign(Config):
    """Which combinations of levels are arms."""

    kind: Literal["full", "one-at-a-time", "fractional"] = "full"
    """``full``: every combination; ``one-at-a-time``: the first levels, then each other level alone; ``fractional``: a
    balanced part of the combinations of two-level factors."""
    resolution: int | None = Field(default=None, ge=3)
    """Of a fraction: 3 confounds factors with pairs of factors, 4 pairs with pairs, 5 neither. The smallest fraction
    that reaches it is taken."""
    fraction: str | None = Field(default=None, pattern=FRACTION)
    """Share of the combinations, ``1/2``, ``1/4``, ...; the one of least aberration is taken."""


class SweepFile(Config):
    """Top level of a sweep file. Sections of ``fixed`` and ``data`` are checked against the pipeline's settings."""

    sweep: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """Name: lower case, digits and hyphens; also the W&B project and the results folder."""
    question: str = Field(min_length=1)
    """What the sweep is to answer; the report begins with it."""
    data: dict[str, Any] = Field(default={})
    """The dataset, its resolution, and how many training patients the study is allowed."""
    replicates: Replicates = Replicates()
    """Fold x seed pairs under which every arm is run."""
    control: str | Levels
    """What all arms are compared with: levels by dotted field, or the name of an arm."""
    factors: dict[str, tuple[Any, ...]] = Field(default={})
    """Levels by dotted field, as ``synthesise.count: [20, 50]``. Their combinations are arms."""
    design: FactorialDesign = FactorialDesign()
    """A kind alone, ``design: one-at-a-time``, stands for ``design: {kind: one-at-a-time}``."""
    fraction: str | None = Field(default=None, pattern=FRACTION)
    """Beside ``design: fractional``, the same as ``fraction`` inside it."""
    arms: dict[str, Levels] = Field(default={})
    """Further arms by name, each with one level by dotted field."""
    exclude: tuple[dict[str, Any], ...] = ()
    """Combinations of levels that are no arms, each as level, or list of levels, by dotted field."""
    search: SearchSection | None = None
    """Suggestions of Optuna, run beside the arms."""
    fixed: dict[str, Any] = Field(default={})
    """Settings that every arm starts from, by section: gan, diffusion, synthesise, treat, assess, segment."""
    resources: dict[str, Resources] = Field(default={})
    """What a trial holds while it runs, by stage."""
    budget: Budget | None = None
    """Caps on what the sweep may cost."""
    mechanism: Mechanism | None = None
    """Arms that tell why a synthetic arm costs what it costs."""
    accumulation: Accumulation | None = None
    """Arms that tell whether errors of masks accumulate through C-SG."""
    texture: TextureArms | None = None
    """Arms that tell whether fine texture harms, and whether mending it helps."""
    analysis: dict[str, Any] = Field(default={})
    """The rules of the analysis, fixed before any result is seen."""


S_co = TypeVar("S_co", bound=Config, covariant=True, default=Config)
"""Settings of the arms."""
A_co = TypeVar("A_co", bound=Config, covariant=True, default=Config)
"""Analysis plan."""


@dataclass(frozen=True)
class Schema(Generic[S_co, A_co]):
    """What a pipeline adds to the sweep file: its settings, the names of its stages, the analysis plan."""

    settings: type[S_co]
    stages: tuple[str, ...]
    analysis: type[A_co]


@dataclass(frozen=True)
class Sweep(Generic[S_co, A_co]):
    """A checked sweep file; ``base`` are the settings every arm starts from."""

    file: SweepFile
    yaml: YamlFile
    schema: Schema[S_co, A_co]
    base: S_co
    analysis: A_co
    alone: frozenset[tuple[str, str]] = frozenset()
    """Levels of factors, by field and as JSON, that were found to stand where nothing else differs from the base."""
    _read: dict[tuple[str, str], Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Sections of settings by name and by the levels written over them; empty for a section as this file has it."""

    @property
    def name(self) -> str:
        """Name of the sweep."""
        return self.file.sweep

    def in_full(self) -> dict[str, Any]:
        """All that the file says, as JSON, with defaults filled in; settings by section, as factors name them."""
        said = self.file.model_dump(mode="json", exclude={"data", "fixed", "analysis"})
        return {**said, **self.base.model_dump(mode="json"), "analysis": self.analysis.model_dump(mode="json")}

    def error(self, key: Key, message: str) -> UserError:
        """A user error that begins with the place of ``key`` in the file."""
        return self.yaml.error(key, message)

    def place(self, *places: Key) -> Key:
        """The first of ``places`` that the file has, or the last of them."""
        return next((place for place in places if place in self.yaml.lines), places[-1])

    def with_levels(self, levels: Levels, key: Key) -> S_co:
        """The base settings with ``levels`` written over them; ``key`` is where the levels stand.

        Raises:
            UserError: a field that does not exist, or a value it does not take.
        """
        tree = base_tree(self.file.fixed, self.file.data)
        for dotted, value in levels.items():
            self.require_field(dotted, (*key, dotted))
            write_level(tree, dotted, value)
        settings = parse(self.schema.settings, tree, self.yaml, lambda loc: _place(loc, levels, key))
        written = {dotted.split(".")[0] for dotted in levels}
        for name, own in vars(settings).items():
            # Thousands of arms differ in one section: what follows from the others is worked out once.
            said = json.dumps(tree[name]) if name in written else ""
            vars(settings)[name] = self._read.setdefault((name, said), own)
        return settings

    def require_field(self, dotted: str, key: Key) -> None:
        """Refuse a dotted name that is no field of the settings; the UserError names the nearest field."""
        names = dotted_fields(self.schema.settings)
        if dotted not in names:
            raise self.error(key, f"unknown field {dotted!r}; {nearest_field(dotted, names)}")


def base_tree(fixed: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings that every arm starts from: ``fixed:`` and ``data:``, before defaults."""
    tree = {name: dict(section) if isinstance(section, dict) else section for name, section in fixed.items()}
    if data:
        tree["data"] = {**_section(tree.get("data")), **data}
    return tree


def write_level(tree: dict[str, Any], dotted: str, value: object) -> None:
    """Write a value into nested settings, whose sections are copied on the way."""
    *sections, name = dotted.split(".")
    for section in sections:
        tree[section] = _section(tree.get(section))
        tree = tree[section]
    tree[name] = value


def _section(written: object) -> dict[str, Any]:
    """A section to be written into; what is none is refused where it stands."""
    return dict(written) if isinstance(written, dict) else {}


def _place(loc: Key, levels: Levels, key: Key) -> Key:
    dotted = ".".join(map(str, loc))
    name = next((name for name in levels if dotted == name or dotted.startswith(f"{name}.")), None)
    return key if name is None else (*key, name)
