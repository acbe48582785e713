"""Sweep files: what is accepted, and one clear line with file, line and nearest name for what is not."""

import json
from pathlib import Path
from typing import Any

import pytest

from helpers import toy
from medsweep.data.folds import Fold, Split
from medsweep.errors import UserError
from medsweep.sweep.arms import Replicate, arms, replicates
from medsweep.sweep.file import Schema, Sweep
from medsweep.sweep.load import find_sweep, load_sweep
from medsweep.sweep.plan import build, unread_factors

ROOT = Path(__file__).parents[3]
SCHEMA = Schema(settings=toy.Settings, stages=tuple(toy.STAGES), analysis=toy.AnalysisRules)

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


PATIENTS = [f"case-{number}" for number in range(6)]


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
    assert [(r.fold, r.seed) for r in replicates(sweep, PATIENTS)] == [(0, 0), (0, 1), (1, 0), (1, 1)]


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
        GOOD.replace("seeds: 2", "sedes: 2"),
        r"toy.yaml:3: unknown key 'sedes' in replicates; did you mean 'seeds'\?",
    ),
    "unknown fixed field": (
        GOOD.replace("steps: 4", "stpes: 4"),
        r"toy.yaml:9: unknown key 'stpes' in grow; did you mean 'steps'\?",
    ),
    "wrong type": (GOOD.replace("folds: 2", "folds: two"), r"toy.yaml:3: replicates.folds: .*whole number, got 'two'"),
    "wrong type in fixed": (
        GOOD.replace("steps: 4", "steps: 4.5"),
        r"toy.yaml:9: grow.steps: .*whole number.*, got 4.5",
    ),
    "out of range": (
        GOOD.replace("steps: 4", "steps: 0"),
        r"toy.yaml:9: grow.steps: .*greater than or equal to 1, got 0",
    ),
    "misspelt key": (
        GOOD.replace("sweep: toy\n", "swep: toy\n"),
        r"toy.yaml:1: unknown key 'swep' in the top level; did you mean 'sweep'\?",
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
        r"toy.yaml:4: only the control is left to run; add factors, arms or a search",
    ),
    "unknown stage": (
        GOOD + "resources: {gorw: {gpus: 1}}\n",
        r"toy.yaml:10: resources for 'gorw', which is no stage; did you mean 'grow'\?",
    ),
    "variable": (
        GOOD.replace("Does it", "${NOT_SET_HERE}"),
        r"toy.yaml:2: the environment variable NOT_SET_HERE is not set",
    ),
    "not yaml": (GOOD + "a: [1,\n", r"toy.yaml:1[01]: not valid YAML"),
    "repeated key": (GOOD + "sweep: again\n", r"toy.yaml:10: not valid YAML: the key 'sweep' stands twice"),
    "a list": ("- 1\n", r"toy.yaml:1: a sweep file holds a mapping"),
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
    plan = build(
        "toy", arms=every, replicates=replicates(sweep, PATIENTS), stages=toy.STAGES, expand=toy.expand_with(4)
    )
    assert unread_factors(plan, every, sweep.file.factors) == ["idle.value"]
    assert plan.aliases == {"value=2 count=2": "value=1 count=2", "value=2 count=4": "value=1 count=4"}


def cuts(tmp_path: Path, text: str) -> list[Fold]:
    """The folds of the sweep with ``text`` for its replicates."""
    sweep = load(tmp_path, GOOD.replace("{folds: 2, seeds: 2}", "{" + text + "}"))
    found = replicates(sweep, PATIENTS)
    assert found == tuple(Replicate(replicate.cut, 0) for replicate in found)
    return [replicate.cut for replicate in found]


def write_splits_file(folder: Path, *folds: Any) -> None:
    (folder / "splits.json").write_text(json.dumps({"folds": folds}))


def test_a_scheme_makes_its_folds_and_leaves_what_it_does_not_read_neutral(tmp_path: Path) -> None:
    assert cuts(tmp_path, "") == [Fold(index=index, of=5) for index in range(5)]
    assert cuts(tmp_path, "scheme: leave-one-out, seed: 3") == [Fold(index=i, of=6, seed=3) for i in range(6)]
    assert cuts(tmp_path, "folds: 3, only: [2, 0], validation: 0.2") == [
        Fold(index=2, of=3, validation=0.2),
        Fold(index=0, of=3, validation=0.2),
    ]
    held = [Fold(index=index, scheme="hold-out", test_share=0.2) for index in range(7)]
    assert cuts(tmp_path, "scheme: hold-out, folds: 7") == held
    assert cuts(tmp_path, "scheme: hold-out, folds: 1") == held[:1]


def test_folds_of_a_file_beside_the_sweep_carry_their_patients(tmp_path: Path) -> None:
    fold = {"train": ["case-0", "case-2"], "test": ["case-1"]}
    write_splits_file(tmp_path, fold, {**fold, "validation": ["case-5"]})
    found = cuts(tmp_path, "scheme: file, file: splits.json")
    parts = Split(train=("case-0", "case-2"), validation=("case-5",), test=("case-1",))
    assert found[1] == Fold(index=1, scheme="file", given_patients=parts)
    assert [cut.index for cut in cuts(tmp_path, "scheme: file, file: splits.json, only: [1]")] == [1]


WRONG_REPLICATES = {
    "folds: 2, only: [2]": r"toy.yaml:3: fold 2 does not exist; k-fold has 2 here, numbered 0 to 1",
    "folds: 2, only: [-1]": r"toy.yaml:3: fold -1 does not exist",
    "scheme: leave-one-out, only: [5, 6]": r"toy.yaml:3: fold 6 does not exist; leave-one-out has 6 here",
    "scheme: file, file: splits.json, only: [1]": r"toy.yaml:3: fold 1 does not exist; file has 1 here",
    "scheme: leave-one-out, folds: 5": r"toy.yaml:3: folds has no meaning with scheme 'leave-one-out', only",
    "scheme: file, file: splits.json, folds: 5": r"toy.yaml:3: folds has no meaning with scheme 'file'",
    "scheme: file, file: splits.json, seed: 1": r"toy.yaml:3: seed has no meaning with scheme 'file'",
    "test_share: 0.3": r"toy.yaml:3: test_share has no meaning with scheme 'k-fold', only with hold-out",
    "file: splits.json": r"toy.yaml:3: file has no meaning with scheme 'k-fold', only with file",
    "scheme: file": r"toy.yaml:3: scheme 'file' needs file",
    "scheme: file, file: split.json": r"there is no split file .*split.json; did you mean '.*splits.json'",
    "scheme: file, file: splits.json, validation: 0.1": r"toy.yaml:3: splits.json names validation patients",
    "scheme: loo": r"toy.yaml:3: replicates.scheme: .*, got 'loo'",
    "folds: 1": r"toy.yaml:3: replicates.folds: .* at least 2, got 1",
    "validation: 1.0": r"toy.yaml:3: replicates.validation: .*less than 1, got 1.0",
}


@pytest.mark.parametrize("text", WRONG_REPLICATES)
def test_wrong_replicates_are_one_line_with_their_place(tmp_path: Path, text: str) -> None:
    write_splits_file(tmp_path, {"train": ["case-0"], "validation": ["case-2"], "test": ["case-1"]})
    with pytest.raises(UserError, match=WRONG_REPLICATES[text]) as caught:
        cuts(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_nobody_can_be_left_out_of_one(tmp_path: Path) -> None:
    sweep = load(tmp_path, GOOD.replace("folds: 2", "scheme: leave-one-out"))
    with pytest.raises(UserError, match=r"toy.yaml:3: leave-one-out needs at least 2 patients, the data have 1"):
        replicates(sweep, ["case-0"])


def test_a_packaged_sweep_is_found_by_name_from_anywhere_and_a_file_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("quickstart", "paper/brats20"):
        assert find_sweep(Path(name)).read_bytes() == (ROOT / "sweeps" / f"{name}.yaml").read_bytes()
    (tmp_path / "generators").mkdir()
    assert find_sweep(Path("generators")).name == "generators.yaml", "a folder of that name is no sweep"
    Path("quickstart").write_text(GOOD)
    assert find_sweep(Path("quickstart")) == Path("quickstart")
    assert load_sweep(Path("quickstart"), SCHEMA).name == "toy"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("quickstrat", "there is no sweep file quickstrat; did you mean 'quickstart'?"),
        ("brats20", "there is no sweep file brats20; did you mean 'paper/brats20'?"),
        (".", ". is a folder, and a sweep is a YAML file"),
    ],
)
def test_an_unknown_sweep_is_one_line_with_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        find_sweep(Path(name))
    assert str(caught.value) == message
