"""The schema that editors read and the loader agree, in all that a schema can say."""

import json
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from pydantic import ValidationError

from helpers.commanding import Medsweep
from medsweep.errors import UserError
from medsweep.study.schema import schema_text, sweep_schema
from medsweep.study.stages import SCHEMA
from medsweep.sweep.arms import arms
from medsweep.sweep.file import SweepFile, base_tree
from medsweep.sweep.load import load_sweep
from medsweep.validation import dotted_fields
from medsweep.yamlfile import read_yaml

ROOT = Path(__file__).parents[3]
SWEEPS = sorted((ROOT / "sweeps").rglob("*.yaml"))
VALIDATOR = Draft7Validator(sweep_schema())
GOOD: dict[str, Any] = {
    "sweep": "sound",
    "question": "Is it?",
    "data": {"dataset": "phantom", "phantom": {"patients": 12}, "resolution": 32},
    "replicates": {"folds": 2, "seeds": {"start": 2, "most": 4, "looks": 2}, "validation": 0.2},
    "control": {"synthesise.count": 0},
    "factors": {"synthesise.count": [4, 8]},
    "arms": {"blurred": {"treat.treatments": [{"kind": "blur", "sigma_px": 1.0}], "gan.kimg": 3.0}},
    "fixed": {"gan": {"kimg": 2.0}, "segment": {"steps": 20}, "synthesise": {"perturb": {}}, "treat": {}, "assess": {}},
    "resources": {"segment": {"cpus": 1}},
    "budget": {"hours": 2.0},
    "design": {"kind": "full"},
    "search": {
        "suggestions": 4,
        "objectives": [{"metric": "dice", "goal": "maximise"}],
        "constraints": [{"metric": "hours", "at_most": 1.0}],
        "space": {"gan.kimg": {"low": 1.0, "high": 3.0}, "segment.loss": ["dice", "dice-ce"]},
        "early_stopping": {"gan": {"rule": "asha", "metric": "loss", "goal": "minimise"}},
    },
    "analysis": {"margin": 0.01},
}
VALUES = [
    None, True, False, -1, 0, 1, 2, 3, 7, 16, 512, -0.5, 0.5, 1.5, 99.5, "", "auto", "dice", "dice-ce", "phantom",
    "full", "all", "none", "1/2", "random", "sgd", "3", [], [1], [2, 4], [0.5, 99.5], ["generator"], ["auto", 3], {},
    {"low": 1.0}, {"low": 1.0, "high": 2.0}, {"kind": "blur"}, [{"kind": "blur", "sigma_px": 2.0}],
    [{"kind": "noise", "sd": 0}],
]  # fmt: skip


def places(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    for key, inner in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from places(inner, (*path, key))


def fields_to_write() -> list[tuple[str | int, ...]]:
    """Places in a sweep file: all that the sound one has, and every field that it might have."""
    found = [path for path in places(GOOD) if path]
    found += [("fixed", *name.split(".")) for name in dotted_fields(SCHEMA.settings) if name.split(".")[0] != "data"]
    found += [tuple(name.split(".")) for name in dotted_fields(SCHEMA.settings) if name.split(".")[0] == "data"]
    found += [(part, name) for part in ("control", "factors") for name in dotted_fields(SCHEMA.settings)]
    found += [("search", "space", name) for name in dotted_fields(SCHEMA.settings)]
    found += [("analysis", *name.split(".")) for name in dotted_fields(SCHEMA.analysis)]
    found += [("resources", "gan", name) for name in ("cpus", "gpus", "memory_gib", "stall_minutes")]
    return found + [tuple(name.split(".")) for name in dotted_fields(SweepFile) if not name.startswith("resources.")]


def written(path: tuple[str | int, ...], value: Any) -> dict[str, Any] | None:
    tree: Any = deepcopy(GOOD)
    node = tree
    for key in path[:-1]:
        if isinstance(node, dict):
            node = node.setdefault(key, {})
        elif isinstance(node, list) and isinstance(key, int):
            node = node[key]
        else:
            return None
    if not isinstance(node, dict) and not (isinstance(node, list) and isinstance(path[-1], int)):
        return None
    node[path[-1]] = value  # type: ignore[index]
    return dict(tree)


def sayable(tree: dict[str, Any]) -> bool:
    """Whether a section by itself is refused for more than what its fields say of each other."""
    kinds: set[str] = set()
    fixed, data, rules = (tree.get(name) or {} for name in ("fixed", "data", "analysis"))
    whole = tree | ({"design": {"kind": tree["design"]}} if isinstance(tree.get("design"), str) else {})
    checks: list[tuple[Any, Any]] = [(SweepFile, whole)]
    if isinstance(fixed, dict) and isinstance(data, dict) and isinstance(rules, dict):
        checks += [(SCHEMA.settings, base_tree(fixed, data)), (SCHEMA.analysis, rules)]
    for model, part in checks:
        try:
            model.model_validate_json(json.dumps(part))
        except ValidationError as error:
            kinds |= {one["type"] for one in error.errors()}
    return bool(kinds - {"value_error"})


@settings(
    max_examples=250, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(path=st.sampled_from(fields_to_write()), value=st.sampled_from(VALUES))
def test_the_schema_takes_what_the_loader_takes(tmp_path: Path, path: tuple[str | int, ...], value: Any) -> None:
    tree = written(path, value)
    if tree is None:
        return
    file = tmp_path / "tried.yaml"
    file.write_text(json.dumps(tree))
    complaints = [f"{list(error.path)}: {error.message}"[:200] for error in VALIDATOR.iter_errors(tree)]
    refusal = refused(file)
    if refusal is None:
        assert complaints == [], f"the loader takes {path} = {value!r}"
    else:
        assert complaints or not sayable(tree), f"the schema takes {path} = {value!r}: {refusal}"


def refused(file: Path) -> str | None:
    """Why the loader does not take a file."""
    try:
        arms(load_sweep(file, SCHEMA))
    except UserError as error:
        return str(error)
    return None


def test_the_sound_sweep_is_taken() -> None:
    assert list(VALIDATOR.iter_errors(GOOD)) == []


def change(**parts: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda tree: {**tree, **parts}


BETWEEN_FIELDS = {
    "a scheme that does not read a field": change(replicates={"folds": 2, "validation": 0.2, "test_share": 0.2}),
    "a scheme without folds": change(replicates={"scheme": "leave-one-out", "folds": 3, "validation": 0.2}),
    "a scheme of a file without one": change(replicates={"scheme": "file"}),
    "one fold": change(replicates={"folds": 1, "validation": 0.2}),
    "a fold twice": change(replicates={"only": [0, 0], "validation": 0.2}),
    "a budget that caps nothing": change(budget={"slots": 2}),
    "a fraction of a full design": change(design={"kind": "full", "fraction": "1/2"}),
    "a fractional design without its size": change(design={"kind": "fractional"}),
    "a fractional design by name alone": change(design="fractional"),
    "a fraction beside a full design": change(fraction="1/2"),
    "three levels in a fraction": change(
        design={"kind": "fractional", "resolution": 3}, factors={"synthesise.count": [1, 2, 3]}
    ),
    "exclusions from a fraction": change(
        design={"kind": "fractional", "resolution": 3}, exclude=[{"synthesise.count": 4}]
    ),
    "a search without validation": change(replicates={"folds": 2}),
    "the worse goal": lambda tree: written(("search", "objectives", 0, "goal"), "minimise"),
    "an unknown metric": lambda tree: written(("search", "objectives", 0, "metric"), "dise"),
    "an unknown primary": change(analysis={"primary": "dise"}),
    "a constraint without bound": lambda tree: written(("search", "constraints", 0), {"metric": "hours"}),
    "nsga2 for one objective": lambda tree: written(("search", "sampler"), "nsga2"),
    "reduction of a median rule": lambda tree: written(
        ("search", "early_stopping", "gan"), {"rule": "median", "metric": "a", "goal": "minimise", "reduction": 3}
    ),
    "no such stage": change(resources={"segmnt": {"cpus": 1}}),
    "no such field of a factor": change(factors={"synthesise.cuont": [4]}),
    "no such field of an arm": change(arms={"a": {"gan.kimgs": 2.0}}),
    "data that are searched": lambda tree: written(("search", "space", "data.resolution"), [16, 32]),
    "no data": change(data={"resolution": 32}),
}


@pytest.mark.parametrize("case", BETWEEN_FIELDS)
def test_what_fields_say_of_each_other_is_refused_by_both(tmp_path: Path, case: str) -> None:
    tree = BETWEEN_FIELDS[case](GOOD)
    (tmp_path / "wrong.yaml").write_text(json.dumps(tree))
    with pytest.raises(UserError):
        load_sweep(tmp_path / "wrong.yaml", SCHEMA)
    assert list(VALIDATOR.iter_errors(tree))


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_shipped_sweep_names_the_schema_and_suits_it(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert named is not None, first
    assert (path.parent / named[1]).resolve() == ROOT / "sweeps" / "schema.json"
    errors = VALIDATOR.iter_errors(read_yaml(path, keep_unset=True).data)
    assert [f"{list(error.path)}: {error.message}"[:200] for error in errors] == []


def test_the_shipped_schema_is_what_the_command_writes(medsweep: Medsweep, tmp_path: Path) -> None:
    Draft7Validator.check_schema(sweep_schema())
    assert json.loads(schema_text()) == sweep_schema()
    assert (ROOT / "sweeps" / "schema.json").read_text() == schema_text(), "medsweep schema --out sweeps/schema.json"
    done = medsweep("schema", "--out", tmp_path / "mine.json")
    assert done.exit_code == 0, done.output
    assert "# yaml-language-server: $schema=" in done.output
    assert (tmp_path / "mine.json").read_text() == schema_text()
