"""What a plan refuses before anything is trained."""

from pathlib import Path

import pytest

from helpers.micro import write_micro
from medsweep.errors import UserError
from medsweep.store.store import Store
from medsweep.study.plan import plan_sweep


@pytest.mark.parametrize("levels", ["[b-sg, mc-sg, c-sg]", "[b-sg]"])
def test_a_factorial_without_a_factor_of_two_levels_is_refused_by_its_line(tmp_path: Path, levels: str) -> None:
    factorial = ("analysis: {primary", "analysis: {kind: factorial, primary")
    sweep = write_micro(tmp_path, ("gan.pipeline: [b-sg, mc-sg]", f"gan.pipeline: {levels}"), factorial)
    with pytest.raises(UserError, match=r"micro.yaml:\d+: kind: factorial: .*give factors two levels each"):
        plan_sweep(sweep, Store.create(tmp_path / "store"))


def test_a_factorial_with_one_is_planned(tmp_path: Path) -> None:
    sweep = write_micro(tmp_path, ("analysis: {primary", "analysis: {kind: factorial, primary"))
    assert len(plan_sweep(sweep, Store.create(tmp_path / "store")).arms) == 3
