"""Sweep files: what is accepted, and one clear line with file, line and nearest name for what is not."""

from pathlib import Path

import pytest
import toy

from medsweep.design import arms, replicates
from medsweep.errors import UserError
from medsweep.plan import build, unread_factors
from medsweep.sweep import Schema, Sweep, load_sweep

SCHEMA = Schema(settings=toy.Settings, stages=tuple(toy.STAGES), analysis=toy.AnalysisPlan)

GOOD = """\
sweep: toy
question: Does it grow?
replicates: {folds: 2, seeds: 2}
control: {measure.count: 0}
factors:
  grow.rate: [0.5, 1.0]
  measure.count: [2, 4]
fixed:
  grow: {steps: 4}
"""


def load(tmp_path: Path, text: str) -> Sweep:
    path = tmp_path / "toy.yaml"
    path.write_text(text)
    return load_sweep(path, SCHEMA)


def names(tmp_path: Path, text: str) -> list[str]:
    return [arm.name for arm in arms(load(tmp_path, text))]


def test_factors_make_every_combination_and_the_control_comes_first(tmp_path: Path) -> None:
    sweep = load(tmp_path, GOOD)
    made = arms(sweep)
    assert [arm.name for arm in made] == [
        "control",
        "rate=0.5 count=2",
        "rate=0.5 count=4",
        "rate=1 count=2",
        "rate=1 count=4",
    ]
    assert [arm.is_control for arm in made] == [True, False, False, False, False]
    assert made[3].settings.grow == toy.GrowSection(steps=4, rate=1.0)  # type: ignore[attr-defined]
    assert [(r.fold, r.seed) for r in replicates(sweep)] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_one_at_a_time_varies_each_factor_from_the_first_levels(tmp_path: Path) -> None:
    assert names(tmp_path, GOOD + "design: one-at-a-time\n") == [
        "control",
        "rate=0.5 count=2",
        "rate=1 count=2",
        "rate=0.5 count=4",
    ]


def test_exclusions_take_a_level_or_a_list_of_levels(tmp_path: Path) -> None:
    assert names(tmp_path, GOOD + "exclude: [{grow.rate: 0.5, measure.count: [2, 4]}]\n") == [
        "control",
        "rate=1 count=2",
        "rate=1 count=4",
    ]


def test_explicit_arms_stand_beside_factors_and_may_be_the_control(tmp_path: Path) -> None:
    text = GOOD.replace("control: {measure.count: 0}", "control: plain") + "arms: {plain: {measure.count: 0}}\n"
    assert names(tmp_path, text)[0] == "plain"


def test_a_control_that_is_an_arm_already_is_that_arm(tmp_path: Path) -> None:
    text = GOOD.replace("{measure.count: 0}", "{grow.rate: 1.0, measure.count: 2}")
    assert names(tmp_path, text)[0] == "rate=1 count=2"


def test_the_environment_fills_in_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_QUESTION", "Why?")
    assert load(tmp_path, GOOD.replace("Does it grow?", "${TOY_QUESTION}")).file.question == "Why?"


def test_yaml_is_1_2_so_no_is_a_word(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD.replace("Does it grow?", "no")).file.question == "no"


WRONG = {
    "unknown key": (
        GOOD.replace("replicates:", "replicate:"),
        r"toy.yaml:3: unknown key 'replicate' in the top level; did you mean 'replicates'\?",
    ),
    "unknown nested key": (
        GOOD.replace("seeds: 2", "seed: 2"),
        r"toy.yaml:3: unknown key 'seed' in replicates; did you mean 'seeds'\?",
    ),
    "unknown fixed field": (
        GOOD.replace("steps: 4", "stpes: 4"),
        r"toy.yaml:9: unknown key 'stpes' in grow; did you mean 'steps'\?",
    ),
    "wrong type": (GOOD.replace("folds: 2", "folds: two"), r"toy.yaml:3: replicates.folds: .*integer, got 'two'"),
    "wrong type in fixed": (GOOD.replace("steps: 4", "steps: 4.5"), r"toy.yaml:9: grow.steps: .*integer.*, got 4.5"),
    "out of range": (
        GOOD.replace("steps: 4", "steps: 0"),
        r"toy.yaml:9: grow.steps: .*greater than or equal to 1, got 0",
    ),
    "missing key": (GOOD.replace("sweep: toy\n", ""), r"toy.yaml:1: key 'sweep' is missing in the top level"),
    "unknown factor": (
        GOOD.replace("grow.rate:", "grow.rat:"),
        r"toy.yaml:6: unknown field 'grow.rat'; did you mean 'grow.rate'\?",
    ),
    "wrong level": (GOOD.replace("[0.5, 1.0]", "[0.5, fast]"), r"toy.yaml:6: grow.rate: .*number, got 'fast'"),
    "level twice": (GOOD.replace("[2, 4]", "[2, 2]"), r"toy.yaml:7: factor measure.count names level 2 twice"),
    "no level": (GOOD.replace("[2, 4]", "[]"), r"toy.yaml:7: factor measure.count has no level"),
    "unknown level excluded": (
        GOOD + "exclude: [{measure.count: 3}]\n",
        r"toy.yaml:10: exclude names level 3 of measure.count, which it does not have; known: 2, 4",
    ),
    "no factor excluded": (
        GOOD + "exclude: [{measure.counts: 3}]\n",
        r"toy.yaml:10: exclude names 'measure.counts', which is no factor; did you mean 'measure.count'\?",
    ),
    "control is no arm": (
        GOOD.replace("{measure.count: 0}", "plan") + "arms: {plain: {measure.count: 0}}\n",
        r"toy.yaml:4: control 'plan' is no arm; did you mean 'plain'\?",
    ),
    "control field": (
        GOOD.replace("{measure.count: 0}", "{measure.cont: 0}"),
        r"toy.yaml:4: unknown field 'measure.cont'",
    ),
    "only a control": (
        GOOD[: GOOD.index("factors")] + "factors: {}\n",
        r"toy.yaml:4: only the control is left to run; add factors or arms",
    ),
    "unknown stage": (
        GOOD + "resources: {gorw: {gpus: 1}}\n",
        r"toy.yaml:10: resources for 'gorw', which is no stage; did you mean 'grow'\?",
    ),
    "no such fold": (
        GOOD.replace("folds: 2,", "folds: 2, only: [2],"),
        r"toy.yaml:3: fold 2 does not exist; with folds: 2 they are 0 to 1",
    ),
    "variable": (
        GOOD.replace("Does it", "${NOT_SET_HERE}"),
        r"toy.yaml:2: the environment variable NOT_SET_HERE is not set",
    ),
    "not yaml": (GOOD + "a: [1,\n", r"toy.yaml:1[01]: not valid YAML"),
    "repeated key": (GOOD + "sweep: again\n", r"toy.yaml:10: not valid YAML: found duplicate key"),
    "a list": ("- 1\n", r"toy.yaml:1: a sweep is a mapping"),
    "analysis": (GOOD + "analysis: {primry: dice}\n", r"toy.yaml:10: unknown key 'primry' .*did you mean 'primary'\?"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_one_line_with_its_place(tmp_path: Path, case: str) -> None:
    text, message = WRONG[case]
    with pytest.raises(UserError, match=message) as caught:
        arms(load(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_names_one_that_is_there(tmp_path: Path) -> None:
    load(tmp_path, GOOD)
    with pytest.raises(UserError, match=r"there is no sweep file .*toi.yaml; did you mean '.*toy.yaml'\?"):
        load_sweep(tmp_path / "toi.yaml", SCHEMA)


def test_a_factor_that_no_stage_reads_is_found(tmp_path: Path) -> None:
    sweep = load(tmp_path, GOOD.replace("grow.rate: [0.5, 1.0]", "idle.value: [1, 2]"))
    every = arms(sweep)
    plan = build("toy", arms=every, replicates=replicates(sweep), stages=toy.STAGES, expand=toy.expand_with(4))
    assert unread_factors(plan, every, sweep.file.factors) == ["idle.value"]
    assert plan.aliases == {"value=2 count=2": "value=1 count=2", "value=2 count=4": "value=1 count=4"}
