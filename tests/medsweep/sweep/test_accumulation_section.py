"""The section ``accumulation:``: every mistake is one line with its place and what to write instead."""

from pathlib import Path

import pytest

from helpers import toy
from medsweep.accumulation import Accumulation
from medsweep.errors import UserError
from medsweep.sweep.accumulation import check_accumulation

ARMS = ["real", "new real", "warped", "e1", "e2", "e3 half", "e3 two"]
CELLS = "  new_masks: e1\n  generated_masks: e2\n"


def check(tmp_path: Path, section: str) -> Accumulation:
    sweep = toy.sweep_with(tmp_path, f"accumulation:\n{section}")
    check_accumulation(sweep, ARMS)
    assert sweep.file.accumulation is not None
    return sweep.file.accumulation


@pytest.mark.parametrize(
    ("section", "place", "words"),
    [
        ("  new_masks: e11\n  generated_masks: e2\n", ":6:", "no arm is called 'e11'; did you mean 'e1'?"),
        ("  new_masks: e1\n", ":5:", "generated_masks"),
        (f"{CELLS}  wraped: warped\n", ":8:", "did you mean 'warped'?"),
        (f"{CELLS}  known_masks: e1\n", ":8:", "'e1' is named as new_masks too"),
        (f"{CELLS}  new_real: real\n", ":8:", "is the control, which has no pool"),
        (f"{CELLS}  perturbed:\n    e3 half: 0.5\n    e3 too: 2\n", ":10:", "did you mean 'e3 two'?"),
        (f"{CELLS}  perturbed:\n    e3 half: 0\n", ":9:", "is above 0, got 0"),
        (f"{CELLS}  perturbed: {{e2: 1}}\n", ":8:", "'e2' is named as generated_masks too"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, section: str, place: str, words: str) -> None:
    with pytest.raises(UserError) as found:
        check(tmp_path, section)
    assert place in str(found.value)
    assert words in str(found.value)


def test_a_whole_section_passes(tmp_path: Path) -> None:
    text = f"{CELLS}  new_real: new real\n  warped: warped\n  perturbed: {{e3 half: 0.5, e3 two: 2}}\n"
    section = check(tmp_path, text)
    assert [arm for _, arm in section.places()] == ["new real", "warped", "e1", "e2", "e3 half", "e3 two"]
    assert section.perturbed == {"e3 half": 0.5, "e3 two": 2.0}
