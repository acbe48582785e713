"""``search:`` of a sweep file: what is searched, for what, within which limits, and which values lie in the space."""

import json
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import to_jsonable_python

from medsweep.config import Config
from medsweep.metrics import METRICS, shown_in

Goal = Literal["maximise", "minimise"]
Params = dict[str, Any]
"""A point of the space: a value for each searched field."""

HOURS: Final = "hours"
BETTER: Final[Mapping[str, Goal]] = {
    **{name: "maximise" if METRICS[name].higher_is_better else "minimise" for name in shown_in("search")},
    HOURS: "minimise",
}
"""What can be an objective or be bounded, and which way is better."""
SUGGESTION: Final = "search-"
"""What the names of suggestions begin with, and those of other arms do not."""


class Scored(Config):
    """What is measured of a suggestion: a metric of the validation patients, or the hours that it alone needs."""

    metric: str = Field(json_schema_extra={"enum": list(BETTER)})
    """A metric of the validation patients, or ``hours``."""


class Objective(Scored):
    """One thing to optimise."""

    goal: Goal
    """Which way is better; it must be that of the metric."""


class Constraint(Scored):
    """A bound on a metric; suggestions outside it are measured, count as infeasible and are never called best."""

    at_most: float | None = None
    """Upper bound, in the unit of the metric."""
    at_least: float | None = None
    """Lower bound, in the unit of the metric."""

    @property
    def bound(self) -> float:
        """The one of the two that is given."""
        return self.at_most if self.at_most is not None else typing.cast(float, self.at_least)

    @property
    def words(self) -> str:
        """The bound as the sweep says it."""
        return f"{'at_least' if self.at_most is None else 'at_most'} {self.bound:g}"

    def excess(self, value: float) -> float:
        """How far ``value`` is beyond the bound, in its unit; 0 or less is feasible."""
        return value - self.bound if self.at_most is not None else self.bound - value


class StoppingRule(Config):
    """When a trial that serves suggestions alone is stopped, judged by a scalar that its stage reports."""

    rule: Literal["asha", "hyperband", "median"]
    """``asha``: kept at a rung if among the best 1/``reduction`` that reached it; ``hyperband``: the same in brackets,
    each with a later first rung; ``median``: stopped where worse than the median of the others there."""
    metric: str
    """A scalar of the stage's progress."""
    goal: Goal
    """Which way the scalar is better."""
    first_step_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of the steps before anything is stopped. Later rungs: times ``reduction`` each, or every such share."""
    reduction: int = Field(default=3, ge=2)
    """With ``asha`` and ``hyperband``: one in so many goes on at a rung."""


class SearchSection(Config):
    """Suggestions of Optuna beside the arms that the sweep names."""

    sampler: Literal["tpe", "gp", "cma-es", "random", "nsga2"] = "tpe"
    """``tpe``: Parzen estimators; ``gp``: a Gaussian process, for few costly suggestions in few fields; ``cma-es``: an
    evolution strategy for ranges and one objective; ``random``; ``nsga2``: a genetic algorithm for two objectives."""
    warm_start: str | None = None
    """Name of another sweep with a search in the same store, whose results the sampler starts from."""
    suggestions: int = Field(ge=1)
    """Suggestions in all."""
    at_once: int = Field(default=4, ge=1)
    """Suggestions that are open side by side; as soon as one has an end, the next one is asked for."""
    batch: int | None = Field(default=None, ge=1)
    """Suggestions that are asked together, once all of the batch before have ended; None waits for nobody."""
    seed: int = Field(default=0, ge=0)
    """Seed of the sampler."""
    objectives: tuple[Objective, ...] = Field(min_length=1, max_length=2)
    """One or two things to optimise."""
    constraints: tuple[Constraint, ...] = ()
    """Bounds that the best suggestion keeps."""
    space: dict[str, Any] = Field(min_length=1)
    """By dotted field: a range ``{low, high}``, with ``log: true`` or ``step: S``, or a list of values; with ``when`` a
    range, or ``{values: [...]}``, that only some suggestions have."""
    early_stopping: dict[str, StoppingRule] = Field(default={})
    """By stage."""

    @property
    def metrics(self) -> list[str]:
        """What is measured of a suggestion, objectives first, each once."""
        return list(dict.fromkeys(scored.metric for scored in (*self.objectives, *self.constraints)))


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


class Domain(Config):
    """What a searched field can be, and where it is searched at all."""

    when: dict[str, Annotated[tuple[Any, ...], BeforeValidator(_listed)]] = Field(default={})
    """Searched only where these fields, searched further up as lists, have this value or one of these; elsewhere the
    field keeps its fixed value."""

    def is_active(self, point: Params) -> bool:
        """Whether the field is searched at ``point``, which holds the fields further up."""
        return all(dotted in point and text_of(point[dotted]) in map(text_of, at) for dotted, at in self.when.items())


def text_of(value: object) -> str:
    """A value of any JSON kind as text: samplers take lists and mappings in no other form."""
    return json.dumps(to_jsonable_python(value), sort_keys=True)


class Range(Domain):
    """Numbers from ``low`` to ``high``, both included."""

    low: float
    """Lowest value."""
    high: float
    """Highest value."""
    log: bool = False
    """Draw evenly by the logarithm."""
    step: float | None = Field(default=None, gt=0)
    """Distance of two neighbouring values, from ``low`` on."""
    whole: bool = False
    """Whole numbers only, which follows from the field and is not written."""

    def holds(self, value: object) -> bool:
        """Whether ``value`` can be suggested, to the digits that suggestions have."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return abs(steps - round(steps)) < 1e-6

    def decode(self, raw: Any) -> int | float:
        """A sampled number as the sweep says it: whole, or with six significant digits and still inside."""
        return int(raw) if self.whole else min(max(float(f"{raw:.6g}"), self.low), self.high)

    def encode(self, value: Any) -> Any:
        """The form in which the sampler knows a value: a number as it is."""
        return value


class Choices(Domain):
    """One of a list of values, of any JSON kind."""

    values: tuple[Any, ...] = Field(min_length=2)

    def holds(self, value: object) -> bool:
        """Whether ``value`` is one of them."""
        return self.encode(value) in map(self.encode, self.values)

    def decode(self, raw: str) -> Any:
        """The value behind its text."""
        return json.loads(raw)

    def encode(self, value: object) -> str:
        """The form in which the sampler knows a value."""
        return text_of(value)


Space = dict[str, Range | Choices]


def active(space: Space, point: Params) -> Space:
    """The fields that are searched at ``point``."""
    found: Space = {}
    for dotted, domain in space.items():
        if domain.is_active({name: point[name] for name in found if name in point}):
            found[dotted] = domain
    return found
