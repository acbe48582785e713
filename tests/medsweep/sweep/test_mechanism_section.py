"""The section ``mechanism:``: every mistake is one line with its place and what to write instead."""

from pathlib import Path

import pytest

from helpers import toy
from medsweep.errors import UserError
from medsweep.mechanism import CELLS, Mechanism
from medsweep.sweep.mechanism import check_mechanism

ARMS = ["real", "again", "new", "gan", *CELLS]
LATTICE = "{" + ", ".join(f"{cell}: {cell}" for cell in CELLS) + "}"


def check(tmp_path: Path, section: str) -> Mechanism:
    sweep = toy.sweep_with(tmp_path, f"mechanism:\n{section}")
    check_mechanism(sweep, ARMS)
    assert sweep.file.mechanism is not None
    return sweep.file.mechanism


@pytest.mark.parametrize(
    ("section", "place", "words"),
    [
        ("  explain: gun\n  ceiling: new\n", ":6:", "no arm is called 'gun'; did you mean 'gan'?"),
        ("  explain: gan\n  ladder:\n    - new\n    - gam\n", ":9:", "did you mean 'gan'?"),
        ("  explain: gan\n", ":5:", "name exposure, ceiling or ladder"),
        ("  explain: gan\n  ceiling: gan\n", ":7:", "ceiling is the same arm as explain"),
        ("  explain: real\n  ceiling: new\n", ":6:", "is the control"),
        ("  explain: gan\n  ladder: [new, again]\n", ":7:", "the last arm must be explain, 'gan'"),
        ("  explain: gan\n  ladder: [gan]\n", ":7:", "two arms or more"),
        ("  explain: gan\n  ceiling: new\n  lattice: {labels: labels}\n", ":8:", "add look, variety"),
        ("  explain: gan\n  ceiling: new\n  lattice: {lable: labels}\n", ":8:", "did you mean 'labels'?"),
        (f"  explain: gan\n  exposure: again\n  lattice: {LATTICE}\n", ":8:", "mechanism.ceiling"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, section: str, place: str, words: str) -> None:
    with pytest.raises(UserError) as found:
        check(tmp_path, section)
    assert place in str(found.value)
    assert words in str(found.value)


def test_a_whole_section_passes(tmp_path: Path) -> None:
    text = f"  explain: gan\n  exposure: again\n  ceiling: new\n  ladder: [new, gan]\n  lattice: {LATTICE}\n"
    section = check(tmp_path, text)
    assert (section.explain, section.exposure, section.ceiling, section.ladder) == (
        "gan",
        "again",
        "new",
        ("new", "gan"),
    )
    assert section.lattice == {cell: cell for cell in CELLS}
