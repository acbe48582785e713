"""What a sweep says that changes nothing is named with its line, in the plan and at the start of a run."""

from pathlib import Path

import pytest

from helpers.commanding import Medsweep
from helpers.micro import write_micro
from medsweep.store.store import Store
from medsweep.study.plan import plan_sweep

FACTORS = "factors:\n  gan.pipeline: [b-sg, mc-sg]\n  synthesise.count: [4]\n"
CONTROL = "control: {synthesise.count: 0}\n"


def notes(folder: Path, *changes: tuple[str, str]) -> tuple[str, ...]:
    path = write_micro(folder, *changes)
    found = plan_sweep(path, Store.create(folder / "store")).notes
    assert all(note.startswith(f"{path}:") for note in found), "each with its line"
    return tuple(note.split(": ", 1)[1] for note in found)


def test_a_sweep_of_which_all_is_read_is_left_alone(tmp_path: Path) -> None:
    assert notes(tmp_path) == ()


FIXED_TOO = [
    ("fixed:\n", "fixed:\n  synthesise: {count: 8}\n"),
    (CONTROL, "control: {segment.steps: 12, synthesise.count: 0}\n"),
]
NOTHING_TO_FILTER = [
    (FACTORS, "factors:\n  segment.steps: [12, 24]\n"),
    (CONTROL, "control: steps=12\n"),
    ("segment: {steps: 12,", "segment: {min_iou: 0.5, steps: 12,"),
]
OTHER = "arms:\n  other: {synthesise.count: 4, segment.filter_by: random}\nfixed:\n"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (FIXED_TOO, "synthesise.count is 8 here and a factor too, so no arm has it; remove one of the two"),
        (
            [("{kimg: 0.032,", "{pipeline: b-sg, kimg: 0.032,")],
            "gan.pipeline is b-sg here and a factor too, so it holds for control alone; remove one of the two",
        ),
        (
            NOTHING_TO_FILTER,
            "segment.min_iou 0.5 filters nothing, since no arm has synthetic samples; set synthesise.count, or "
            "remove it",
        ),
        (
            [("synthesise.count: [4]", "synthesise.count: [4, 90]")],
            "arm 'b-sg count=90' adds 90 slices, and 12 steps with 4 places each see 48 slices; raise segment.steps, "
            "or make fewer",
        ),
        (
            [(CONTROL, "control: {synthesise.count: 0, gan.kimg: 3.0}\n")],
            "gan.kimg changes nothing in arm 'control': no stage of it reads it",
        ),
        ([("fixed:\n", OTHER)], "segment.filter_by changes nothing in arm 'other': no stage of it reads it"),
    ],
)
def test_what_changes_nothing_is_named(tmp_path: Path, changes: list[tuple[str, str]], told: str) -> None:
    assert told in notes(tmp_path, *changes)


def test_it_is_told_by_plan(medsweep: Medsweep, tmp_path: Path) -> None:
    path = write_micro(tmp_path, (CONTROL, "control: {synthesise.count: 0, gan.kimg: 3.0}\n"))
    shown = medsweep("plan", path, "--store", tmp_path / "store").output
    assert f"{path}:8: gan.kimg changes nothing in arm 'control'" in shown


def test_a_training_too_short_for_its_network_is_told_once(tmp_path: Path) -> None:
    (note,) = notes(tmp_path, ("segment: {steps: 12,", "segment: {network: nnunet-2d, steps: 12,"))
    assert note.startswith("arm 'control' trains nnunet-2d for 12 steps, and it needs about")
