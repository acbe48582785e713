"""What a sweep searches: its ``search:`` section checked against the settings, and the points of its space."""

import math
import typing
from operator import attrgetter
from typing import Any, Final

from pydantic_core import to_jsonable_python

from medsweep.config import Config
from medsweep.errors import nearest
from medsweep.sweep.file import Sweep
from medsweep.sweep.space import (
    BETTER,
    SUGGESTION,
    Choices,
    Constraint,
    Objective,
    Params,
    Range,
    SearchSection,
    Space,
    text_of,
)
from medsweep.validation import model_at, parse
from medsweep.yamlfile import Key, YamlFile


def space_of(sweep: Sweep) -> Space:
    """The searched fields, in file order.

    Raises:
        UserError: an unknown field, bounds in the wrong order, or a bound that the field does not take.
    """
    space: Space = {}
    for dotted, raw in sweep.file.search.space.items() if sweep.file.search is not None else ():
        space[dotted] = _domain(sweep, dotted, raw)
        _check_when(sweep.yaml, space, dotted)
    return space


def point_of(space: Space, settings: Config) -> Params | None:
    """The values that ``settings`` give the fields searched there, or None where one lies outside the space."""
    point: Params = {}
    for dotted, domain in space.items():
        if not domain.is_active(point):
            continue
        value = attrgetter(dotted)(settings)
        if not domain.holds(value):
            return None
        point[dotted] = to_jsonable_python(value)
    return point


def refuse_stray_stopping(yaml: YamlFile) -> None:
    """Raise a UserError that says why ``early_stopping`` stands nowhere but in ``search:``, where it does."""
    places: list[Key] = [key for key in yaml.lines if key[-1] == "early_stopping" and key[:1] != ("search",)]
    for key in places:
        text = "early_stopping belongs under search: alone, where it stops suggestions"
        raise yaml.error(key, f"{text}; arms that are compared are always measured in full. Remove it")


def check_search(sweep: Sweep) -> None:
    """Check all of ``search:`` that the file alone decides; a UserError names file and line."""
    section, yaml = sweep.file.search, sweep.yaml
    if section is None:
        return
    _check_metrics(section, yaml)
    if section.batch is not None and "at_once" in section.model_fields_set:
        text = "batch waits for all of a batch, at_once for nobody; remove one of the two"
        raise yaml.error(("search", "batch"), text)
    _check_sampler(section, space_of(sweep), yaml)
    for name in sweep.file.arms:
        if name.startswith(SUGGESTION):
            raise yaml.error(("arms", name), f"arm {name!r} is named like a suggestion of the search; rename it")
    for stage, rule in section.early_stopping.items():
        key: Key = ("search", "early_stopping", stage)
        if stage not in sweep.schema.stages:
            raise yaml.error(key, f"early_stopping of {stage!r}, no stage; {nearest(stage, sweep.schema.stages)}")
        if rule.rule == "median" and "reduction" in rule.model_fields_set:
            raise yaml.error(
                (*key, "reduction"), "reduction has no meaning with rule median, only with asha and hyperband"
            )
    if sweep.file.replicates.validation == 0 and sweep.file.replicates.scheme != "file":
        raise yaml.error(("search",), NEEDS_VALIDATION)


NEEDS_VALIDATION: Final = (
    "a search chooses by patients that neither train nor test, and there are none: choosing on test patients would "
    "flatter the winner; set replicates.validation, for example to 0.2, or name validation patients in a split file"
)


def _check_metrics(section: SearchSection, yaml: YamlFile) -> None:
    for group, named in (("objectives", section.objectives), ("constraints", section.constraints)):
        for number, scored in enumerate(named):
            key, metric = ("search", group, number), scored.metric
            if metric not in BETTER:
                raise yaml.error(key, f"{group}: unknown metric {metric!r}; {nearest(metric, BETTER)}")
            if isinstance(scored, Objective) and scored.goal != BETTER[metric]:
                text = f"goal {scored.goal} of {metric} looks for the worst value; set goal: {BETTER[metric]}"
                raise yaml.error(key, text)
            if isinstance(scored, Constraint) and (scored.at_most is None) == (scored.at_least is None):
                raise yaml.error(key, f"constraint on {metric} needs one of at_most and at_least")
    metrics = [objective.metric for objective in section.objectives]
    if len(set(metrics)) < len(metrics):
        raise yaml.error(("search", "objectives"), f"objective {metrics[0]} is named twice; remove one")
    if section.sampler == "cma-es" and len(metrics) != 1:
        raise yaml.error(("search", "sampler"), "sampler cma-es takes one objective, got 2; set sampler: tpe or nsga2")
    if section.sampler == "nsga2" and len(metrics) != 2:
        text = "sampler nsga2 weighs two objectives, got 1; name a second, or set sampler: tpe"
        raise yaml.error(("search", "sampler"), text)


def _check_sampler(section: SearchSection, space: Space, yaml: YamlFile) -> None:
    """Refuse a sampler that cannot draw from the space, with the reason."""
    key: Key = ("search", "sampler")
    lists = [dotted for dotted, domain in space.items() if isinstance(domain, Choices)]
    if section.sampler == "cma-es" and lists:
        raise yaml.error(key, f"sampler cma-es searches ranges, and {lists[0]} is a list of values; set sampler: tpe")
    if section.sampler == "cma-es" and len(space) == 1:
        raise yaml.error(key, "sampler cma-es needs two fields or more to learn how they go together; set sampler: tpe")
    conditional = [dotted for dotted, domain in space.items() if domain.when]
    if conditional and section.sampler not in ("tpe", "random"):
        text = f"sampler {section.sampler} needs every field in every suggestion, and {conditional[0]} has a when"
        raise yaml.error(key, f"{text}; set sampler: tpe or random")


def _check_when(yaml: YamlFile, space: Space, dotted: str) -> None:
    """Refuse a condition on what is not decided before, or that never or always holds."""
    above = {name: domain for name, domain in space.items() if name != dotted}
    for name, wanted in space[dotted].when.items():
        key, domain = ("search", "space", dotted, "when", name), above.get(name)
        if domain is None:
            text = f"when of {dotted} names {name!r}, which is not searched further up"
            raise yaml.error(key, f"{text}; {nearest(name, above)}")
        if not isinstance(domain, Choices):
            raise yaml.error(key, f"when of {dotted} names {name}, a range; only lists of values can be conditions")
        for value in wanted:
            if not domain.holds(value):
                values = [text_of(each) for each in domain.values]
                raise yaml.error(key, f"when of {dotted}: {name} is never {value!r}; {nearest(text_of(value), values)}")
        if len(set(map(text_of, wanted))) == len(domain.values):
            raise yaml.error(key, f"when of {dotted} names all values of {name}, so that it always holds; remove it")


def _domain(sweep: Sweep, dotted: str, raw: Any) -> Range | Choices:
    yaml, key = sweep.yaml, ("search", "space", dotted)
    conditions: dict[str, Any] = {}
    if isinstance(raw, dict) and "when" in raw:
        conditions, raw = {"when": raw["when"]}, {name: value for name, value in raw.items() if name != "when"}
    if isinstance(raw, dict) and raw.keys() == {"values"}:
        raw = raw["values"]
    if dotted.split(".", maxsplit=1)[0] == "data":
        raise yaml.error(key, f"{dotted} cannot be searched: suggestions share their patients and slices")
    ends = raw if isinstance(raw, dict) else {}
    values = raw if isinstance(raw, list) else [ends[name] for name in ("low", "high") if name in ends]
    for value in values:
        sweep.with_levels({dotted: value}, ("search", "space"))
    if isinstance(raw, list):
        choices = parse(Choices, {"values": raw, **conditions}, yaml, key)
        if len({choices.encode(value) for value in raw}) < len(raw):
            raise yaml.error(key, f"{dotted} names a value twice; remove one")
        return choices
    if not isinstance(raw, dict) or "whole" in raw:
        raise yaml.error(key, f"{dotted} takes {{low: L, high: H}}, with log: true or step: S, or a list of values")
    domain = parse(Range, raw | conditions, yaml, key)
    if (complaint := _wrong(domain)) is not None:
        raise yaml.error(key, f"{dotted}: {complaint}")
    whole = not _takes_fractions(sweep.schema.settings, dotted)
    if whole and (domain.step or 1.0) % 1:
        raise yaml.error(key, f"{dotted} takes whole numbers, so step must be a whole number, got {domain.step:g}")
    return domain.model_copy(update={"whole": whole})


def _wrong(domain: Range) -> str | None:
    if domain.low >= domain.high:
        return f"low must be below high, got {domain.low:g} and {domain.high:g}"
    if domain.log and (domain.low <= 0 or domain.step is not None):
        return "log: true needs low above 0 and no step"
    steps = (domain.high - domain.low) / domain.step if domain.step else 0.0
    if abs(steps - round(steps)) > 1e-6:
        reached = domain.low + math.floor(steps) * (domain.step or 0.0)
        return f"step {domain.step:g} does not reach high {domain.high:g}; set high: {reached:g}"
    return None


def _takes_fractions(settings: type[Config], dotted: str) -> bool:
    *sections, name = dotted.split(".")
    owner = model_at(settings, tuple(sections))
    return owner is not None and float in _kinds(owner.model_fields[name].annotation)


def _kinds(annotation: object) -> set[object]:
    inner = typing.get_args(annotation)
    return set().union(*map(_kinds, inner)) if inner else {annotation}
