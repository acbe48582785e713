"""Every field of a sweep file says what it means, on the page and at the prompt, and who reads it."""

import importlib.util
import re
from pathlib import Path

import pytest

from medsweep.data.source import DataSource
from medsweep.study.chains import Chains
from medsweep.study.fields import FROM_PLAN, all_fields, readers
from medsweep.study.stages import SCHEMA, STAGES
from medsweep.sweep.arms import arms, replicates
from medsweep.sweep.load import load_sweep
from medsweep.sweep.plan import Plan, build
from medsweep.validation import dotted_fields

ROOT = Path(__file__).parents[1]


def test_the_page_of_fields_is_what_the_classes_say() -> None:
    spec = importlib.util.spec_from_file_location("fields_page", ROOT / "tools" / "fields_page.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    text = (ROOT / "docs" / "reference" / "fields.md").read_text(encoding="utf-8")
    assert tool.written(text) == text, "run python tools/fields_page.py"


def test_every_field_has_a_meaning_and_a_reader() -> None:
    assert [name for name, field in all_fields().items() if len(field.meaning) < 8] == []
    assert set(dotted_fields(SCHEMA.settings)) <= set(all_fields())
    unread = [name for name, field in all_fields().items() if "." in name and name.split(".")[0] in ("gan", "segment")]
    assert [name for name in unread if not readers(all_fields()[name])] == []


BASE = """\
sweep: reads
question: Who reads it?
data: {dataset: phantom, resolution: 32, patients: 20}
replicates: {folds: 2}
control: {synthesise.count: 0}
arms:
  raw: {synthesise.count: 8}
  blurred: {synthesise.count: 8, treat.treatments: [{kind: blur, sigma_px: 1.0}], segment.snapshots: 3}
fixed: {gan: {preset: tiny}}
"""
CHANGED = {
    "data.patients": 19, "data.resolution": 64, "gan.kimg": 77.0, "gan.pipeline": "b-sg", "synthesise.truncation": 0.5,
    "assess.halvings": 5, "assess.bootstraps": 99, "segment.steps": 99, "segment.batch_size": 8,
}  # fmt: skip


def planned(folder: Path, **fixed: dict[str, object]) -> Plan:
    path = folder / "reads.yaml"
    text = BASE.replace("folds: 2", "folds: 2, validation: 0.2")
    for section, values in fixed.items():
        for name, value in values.items():
            if section == "data":
                text = re.sub(rf"{name}: \d+", f"{name}: {value}", text)
            else:
                gan = f"preset: tiny, {name}: {value}" if section == "gan" else "preset: tiny"
                other = "" if section == "gan" else f", {section}: {{{name}: {value}}}"
                text = text.replace("{gan: {preset: tiny}}", f"{{gan: {{{gan}}}{other}}}")
    path.write_text(text)
    sweep = load_sweep(path, SCHEMA)
    every = arms(sweep)
    patients = [f"p{number:03d}" for number in range(80)]
    chains = Chains(every, DataSource("0" * 64, tuple(patients)))
    return build(
        "reads", arms=every, replicates=replicates(sweep, patients), stages=STAGES, expand=chains.expand,
        extras=lambda builder: chains.extras,
    )  # fmt: skip


@pytest.mark.parametrize("name", CHANGED)
def test_the_stages_that_are_said_to_read_a_field_have_it_in_their_config(tmp_path: Path, name: str) -> None:
    section, _, field = name.partition(".")
    before, after = planned(tmp_path), planned(tmp_path, **{section: {field: CHANGED[name]}})

    def configs(plan: Plan, stage: str) -> set[str]:
        return {trial.config.model_dump_json() for trial in plan.trials.values() if trial.stage == stage}

    changed = {stage for stage in STAGES if configs(before, stage) != configs(after, stage)}
    planned_stages = {trial.stage for trial in before.trials.values()}
    said = set(readers(all_fields()[name])) & planned_stages
    # a resolution is handed on to every stage that has a side of its own
    assert said == changed or (name == "data.resolution" and said < changed)


def test_what_the_planner_hands_on_is_named_by_fields_and_stages_that_are_there() -> None:
    assert set(FROM_PLAN) <= set(all_fields())
    assert {stage for stages in FROM_PLAN.values() for stage in stages} <= set(STAGES)
