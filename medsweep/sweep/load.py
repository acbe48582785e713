"""Reading a sweep file: every check that the file alone decides, with file, line, value and the nearest valid name."""

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medsweep.errors import Mistakes, UserError, nearest, nearest_field
from medsweep.sweep.file import (
    CAPS,
    READ_BY,
    A_co,
    Budget,
    Replicates,
    S_co,
    Schema,
    Sweep,
    SweepFile,
    base_tree,
    write_level,
)
from medsweep.sweep.searched import check_search, refuse_stray_stopping
from medsweep.validation import dotted_fields, findings, parse
from medsweep.yamlfile import Key, YamlFile, read_yaml


def find_sweep(path: Path) -> Path:
    """The file ``path``, or else the sweep of that name that medsweep brings along: ``quickstart``, ``paper/brats20``.

    Raises:
        UserError: neither is there; with the nearest of both.
    """
    folder = Path(str(files("medsweep") / "sweeps"))
    packaged = {file.relative_to(folder).with_suffix("").as_posix(): file for file in folder.rglob("*.yaml")}
    if path.is_file():
        return path
    if path.as_posix() in packaged:
        return packaged[path.as_posix()]
    if path.exists():
        raise UserError(f"{path} is a folder, and a sweep is a YAML file")
    beside = map(str, path.parent.glob("*.y*ml"))
    raise UserError(f"there is no sweep file {path}; {nearest(str(path), [*beside, *packaged])}")


def load_sweep(path: Path, schema: Schema[S_co, A_co], *, reading: bool = False) -> Sweep[S_co, A_co]:
    """Read a sweep, by ``find_sweep``, and check it against what the pipeline knows.

    Where results are only for ``reading``, environment variables may be missing.

    Raises:
        UserError: with file, line, value and the nearest valid name.
    """
    yaml = read_yaml(find_sweep(path), keep_unset=reading)
    refuse_stray_stopping(yaml)
    raw, names, mistakes = _design_in_full(yaml.data), _names(schema), Mistakes()
    fixed, data, rules = (_mapping(raw, name) for name in ("fixed", "data", "analysis"))
    with mistakes.gathered():
        file = parse(SweepFile, raw, yaml, (), names)
    with mistakes.gathered():
        base = parse(schema.settings, base_tree(fixed, data), yaml, lambda loc: _settings_place(loc, yaml), names)
    with mistakes.gathered():
        analysis = parse(schema.analysis, rules, yaml, ("analysis",), names)
    for stage in _mapping(raw, "resources"):
        if stage not in schema.stages:
            hint = nearest(stage, schema.stages)
            mistakes.add(yaml.error(("resources", stage), f"resources for {stage!r}, which is no stage; {hint}"))
    alone: set[tuple[str, str]] = set()
    for error in _level_mistakes(raw, schema, yaml, alone):
        mistakes.add(error)
    mistakes.raise_any()
    sweep = Sweep(file, yaml, schema, base, analysis, frozenset(alone))
    with mistakes.gathered():
        _check_scheme(file.replicates, yaml)
    with mistakes.gathered():
        _check_design(file, yaml)
    with mistakes.gathered():
        _check_budget(file.budget, yaml)
    with mistakes.gathered():
        check_search(sweep)
    mistakes.raise_any()
    return sweep


def _mapping(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A section as it was written; empty where it is none, which ``SweepFile`` says."""
    section = raw.get(name)
    return section if isinstance(section, dict) else {}


def _names(schema: Schema[S_co, A_co]) -> list[str]:
    """Dotted names of all that a file may say, as they stand in it."""
    settings = [name if name.split(".")[0] == "data" else f"fixed.{name}" for name in dotted_fields(schema.settings)]
    return [*settings, *dotted_fields(SweepFile), *(f"analysis.{name}" for name in dotted_fields(schema.analysis))]


def _settings_place(loc: Key, yaml: YamlFile) -> Key:
    """Where the file has a field of the base settings: of ``data`` in the section of that name, unless in ``fixed``."""
    return loc if loc[:1] == ("data",) and ("fixed", *loc) not in yaml.lines else ("fixed", *loc)


def _level_mistakes(
    raw: Mapping[str, Any], schema: Schema[S_co, A_co], yaml: YamlFile, alone: set[tuple[str, str]]
) -> Iterator[UserError]:
    """Fields of factors, arms and control that do not exist, and values that they do not take by themselves.

    Levels that stand by themselves, with the base whole, are added to ``alone``.
    """
    names = dotted_fields(schema.settings)
    levels: list[tuple[str, Any, Key]] = [
        (dotted, level, ("factors", dotted, number))
        for dotted, values in _mapping(raw, "factors").items()
        for number, level in enumerate(_listed(values) if dotted in names else [None])
    ]
    arms: list[tuple[Key, Any]] = [(("control",), raw.get("control"))]
    arms += [(("arms", name), arm) for name, arm in _mapping(raw, "arms").items()]
    levels += [(name, arm[name], (*key, name)) for key, arm in arms if isinstance(arm, dict) for name in arm]
    base = base_tree(_mapping(raw, "fixed"), _mapping(raw, "data"))
    for dotted, value, key in levels:
        if dotted not in names:
            place = key[:-1] if isinstance(key[-1], int) else key
            yield yaml.error(place, f"unknown field {dotted!r}; {nearest_field(dotted, names)}")
        elif (found := _level_findings(base, dotted, value, schema)) is None:
            alone.add((dotted, json.dumps(value, sort_keys=True)))
        elif found:
            yield yaml.error(key, found[0])


def _listed(values: object) -> list[Any]:
    """Levels of a factor; none where they are no list, which ``SweepFile`` says."""
    return values if isinstance(values, list) else []


def _level_findings(
    base: Mapping[str, Any], dotted: str, value: object, schema: Schema[S_co, A_co]
) -> list[str] | None:
    """What is wrong with a level whatever the other fields are; what sections make of it together is no part.

    None where nothing at all is wrong.
    """
    tree = dict(base)
    write_level(tree, dotted, value)
    path = tuple(dotted.split("."))
    try:
        schema.settings.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        found = findings(error, schema.settings, tree)
        return [message for loc, message in found if loc[: len(path)] == path]
    return None


def _check_scheme(replicates: Replicates, yaml: YamlFile) -> None:
    scheme = replicates.scheme
    for name, schemes in READ_BY.items():
        if name in replicates.model_fields_set and scheme not in schemes:
            text = f"{name} has no meaning with scheme {scheme!r}, only with {' or '.join(schemes)}; remove it"
            raise yaml.error(("replicates", name), f"{text} or set the scheme")
    if scheme == "file" and replicates.file is None:
        raise yaml.error(("replicates", "scheme"), "scheme 'file' needs file: the JSON file with the folds")
    if scheme == "k-fold" and replicates.folds < 2:
        text = "replicates.folds: k-fold tests one part and trains on the others, so there must be at least 2, got 1"
        raise yaml.error(("replicates", "folds"), text)


def _design_in_full(raw: dict[str, Any]) -> dict[str, Any]:
    """``design: fractional`` with ``fraction`` beside it, written as one section."""
    kind, share = raw.get("design"), raw.get("fraction")
    if not isinstance(kind, str):
        return raw
    rest = {name: value for name, value in raw.items() if name != "fraction"}
    return {**rest, "design": {"kind": kind} if share is None else {"kind": kind, "fraction": share}}


def _check_design(file: SweepFile, yaml: YamlFile) -> None:
    """Refuse what a kind of design does not read, and a fraction of factors that cannot be cut."""
    design = file.design
    for name in ("resolution", "fraction"):
        if getattr(design, name) is not None and design.kind != "fractional":
            text = f"{name} has no meaning with design {design.kind!r}, only with fractional; remove it"
            raise yaml.error(("design", name), text)
    if file.fraction is not None and file.fraction != design.fraction:
        text = f"fraction {file.fraction} is read beside design: fractional only"
        raise yaml.error(("fraction",), f"{text}; write that, or put fraction inside design")
    if design.kind != "fractional":
        return
    if (design.resolution is None) == (design.fraction is None):
        text = "design fractional needs one of resolution: 4 (3, 4 or 5) and fraction: 1/2 (1/4, ...)"
        raise yaml.error(("design",), text)
    for dotted, levels in file.factors.items():
        if len(levels) != 2:
            text = f"factor {dotted} has {len(levels)} level(s), and a fractional design takes two-level factors only"
            raise yaml.error(("factors", dotted), f"{text}; keep two levels, or set design: full")
    if file.exclude:
        text = "exclude would unbalance a fractional design; remove it, or set design: full"
        raise yaml.error(("exclude",), text)


def _check_budget(budget: Budget | None, yaml: YamlFile) -> None:
    if budget is not None and all(getattr(budget, name) is None for name in CAPS):
        raise yaml.error(("budget",), f"budget caps nothing; name one of {', '.join(CAPS)}, or remove the key")
