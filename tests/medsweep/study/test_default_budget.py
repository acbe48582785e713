"""A sweep that names no training budget gets one by resolution, device and slices, in plain sight."""

from pathlib import Path

import pytest

from medsweep.store.store import Store
from medsweep.study.default_budget import WIDE, kimg, steps
from medsweep.study.plan import plan_sweep
from medsweep.study.session import open_sweep

NAIVE = """\
sweep: naive
question: What does it cost to say nothing?
data: {dataset: phantom, phantom: {patients: 8, shape: [40, 40, 10]}, resolution: 64}
control: {synthesise.count: 0}
factors:
  synthesise.count: [16]
"""


def planned(folder: Path, more: str = "", text: str = NAIVE):
    path = folder / "naive.yaml"
    path.write_text(text + more)
    return plan_sweep(path, Store.create(folder / "store"))


def values(plan, stage: str, field: str) -> set[float]:
    return {getattr(trial.config, field) for trial in plan.trials.values() if trial.stage == stage}


@pytest.mark.parametrize("gpu", [False, True])
def test_more_slices_and_fewer_pixels_never_shorten_a_training(gpu: bool) -> None:
    sides, counts = (32, 64, 128, 256, 512), (10, 100, 1000, 10_000)
    for rule in (kimg, steps):
        table = [[rule(side, count, gpu=gpu) for count in counts] for side in sides]
        assert all(row == sorted(row) for row in table)
        assert gpu or all(list(column) == sorted(column, reverse=True) for column in zip(*table, strict=True))
    assert (kimg(256, 5000, gpu=True), steps(256, 5000, gpu=True)) == (2000, 20_000), "the published trainings"


def test_eight_small_patients_are_minutes(tmp_path: Path) -> None:
    found = planned(tmp_path)
    assert found.source.slices == 80
    assert values(found.plan, "gan", "kimg") == {3.2}
    assert values(found.plan, "gan", "channel_max") == {32}, "the preset for CPUs, resolved"
    assert values(found.plan, "segment", "steps") == {300}
    hours = sum(trial.hours for trial in found.plan.trials.values())
    assert hours < 1.5
    (note,) = found.notes
    assert note.startswith("the sweep names no training budget, so it is gan.preset tiny, gan.kimg 3.2, segment.steps")


def test_diffusion_models_have_a_budget_too(tmp_path: Path) -> None:
    found = planned(tmp_path, "fixed: {gan: {pipeline: b-dm}}\n")
    assert values(found.plan, "diffusion", "kimg") == {3.2}
    (note,) = found.notes
    assert "diffusion.kimg 3.2" in note
    assert "gan." not in note, "no trial reads it"


def test_what_the_sweep_says_stands(tmp_path: Path) -> None:
    more = "fixed: {gan: {kimg: 2, channel_base: 512, channel_max: 64}, segment: {steps: 40}}\n"
    found = planned(tmp_path, more)
    assert values(found.plan, "gan", "kimg") == {2}
    assert values(found.plan, "gan", "latent_dim") == {512}, "no other preset, since the sweep names its budget"
    assert values(found.plan, "segment", "steps") == {40}
    assert found.notes == ()


def test_levels_stand_above_what_was_chosen(tmp_path: Path) -> None:
    text = NAIVE.replace("factors:\n", "factors:\n  gan.kimg: [1, 5]\n")
    found = planned(tmp_path, "fixed: {segment: {steps: 40}}\n", text)
    assert values(found.plan, "gan", "kimg") == {1, 5}
    assert values(found.plan, "gan", "channel_max") == {512}, "no other preset, since a factor names the budget"
    assert found.notes == (WIDE,)


def test_on_a_gpu_generators_train_as_published(tmp_path: Path) -> None:
    found = planned(tmp_path, "resources: {gan: {gpus: 1}}\n")
    assert values(found.plan, "gan", "channel_max") == {512}
    assert values(found.plan, "gan", "kimg") == {160}
    assert values(found.plan, "segment", "steps") == {300}, "U-Nets stay on CPUs"


def test_the_plan_says_what_decides_the_price(tmp_path: Path) -> None:
    planned(tmp_path, "fixed: {gan: {kimg: 5000}, segment: {steps: 40}}\n")
    opened = open_sweep(tmp_path / "naive.yaml", tmp_path / "store")
    assert opened.price_sentence() == "gan.kimg 5000 decides the price: 100% of the hours"
    planned(
        tmp_path, "fixed: {segment: {steps: 40}}\n", NAIVE.replace("factors:\n", "factors:\n  gan.kimg: [50, 500]\n")
    )
    sentence = open_sweep(tmp_path / "naive.yaml", tmp_path / "store").price_sentence()
    assert sentence is not None
    assert sentence.startswith("gan.kimg 50 to 500 decides the price: ")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("fixed: {gan: {kimg: 4}, segment: {steps: 40}}\n", True),
        ("fixed: {gan: {kimg: 4, preset: tiny}, segment: {steps: 40}}\n", False),
        ("fixed: {gan: {kimg: 4, channel_max: 32}, segment: {steps: 40}}\n", False),
        ("fixed: {gan: {kimg: 4}, segment: {steps: 40}}\nresources: {gan: {gpus: 1}}\n", False),
    ],
)
def test_wide_networks_without_a_gpu_are_named(tmp_path: Path, more: str, told: bool) -> None:
    assert planned(tmp_path, more).notes == ((WIDE,) if told else ())
