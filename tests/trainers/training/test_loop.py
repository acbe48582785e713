"""The training loop and checkpoints that it cannot continue from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.fake_trial import FakeTrial, drain
from medsweep.errors import UserError
from medsweep.trainers.training import loop
from medsweep.trainers.training.checkpoint import has_form_of, save_state
from medsweep.trainers.training.loop import train


class Counter:
    """A learner whose whole state is a sum; ``lost`` is what it says was lost on the way back to it."""

    def __init__(self, *lost: str) -> None:
        self.total, self.lost = torch.zeros(()), lost

    def step(self, number: int) -> Mapping[str, float]:
        self.total += number
        return {"total": self.total.item()}

    def state_dict(self) -> dict[str, Any]:
        return {"total": self.total}

    def load_state_dict(self, state: dict[str, Any]) -> Sequence[str]:
        self.total = state["total"]
        return self.lost

    def pictures(self, step: int, folder: Path) -> Mapping[str, Path]:
        return {}


def test_it_goes_on_from_the_newest_checkpoint(tmp_path: Path) -> None:
    trial = FakeTrial(tmp_path)
    trial.checkpoint(3, lambda folder: save_state(folder, {"total": torch.tensor(6.0)}))
    reports = drain(train(Counter(), 4, trial, report_every_steps=1))
    assert [(report.step, report.metrics["total"]) for report in reports] == [(4, 10.0)]


def test_what_a_checkpoint_could_not_bring_back_is_noted(tmp_path: Path) -> None:
    trial = FakeTrial(tmp_path)
    trial.checkpoint(3, lambda folder: save_state(folder, {"total": torch.tensor(6.0)}))
    drain(train(Counter("the colour"), 4, trial, report_every_steps=1))
    assert trial.notes == ["continued from step 3: the colour"]


def test_a_checkpoint_of_other_code_is_named_with_what_to_do(tmp_path: Path) -> None:
    trial = FakeTrial(tmp_path)
    trial.checkpoint(3, lambda folder: save_state(folder, {"sum": torch.tensor(6.0)}))
    with pytest.raises(UserError, match=r"checkpoint of step 3 was left by another version.*delete .* and run again"):
        drain(train(Counter(), 4, trial, report_every_steps=1))


def test_beats_tell_the_steps_between_reports_and_change_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = drain(train(Counter(), 5, FakeTrial(tmp_path / "a"), report_every_steps=3))
    monkeypatch.setattr(loop, "BEAT_SECONDS", 0.0)
    told = drain(train(Counter(), 5, FakeTrial(tmp_path / "b"), report_every_steps=3))
    assert [(report.step, report.beat) for report in told] == [(1, True), (2, True), (3, False), (4, True), (5, False)]
    assert [report for report in told if not report.beat] == quiet


@pytest.mark.parametrize(
    ("state", "same"),
    [
        ({"adam": {"state": {0: 1}, "groups": [1]}}, True),
        ({"adam": {"groups": [1]}}, False),
        ({"adam": {"state": {}, "groups": []}, "more": 1}, False),
        ({"adam": 3}, False),
    ],
)
def test_a_form_is_its_keys(state: dict[str, Any], same: bool) -> None:
    assert has_form_of(state, {"adam": {"state": {}, "groups": [0]}}) == same
