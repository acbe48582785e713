"""Fractional designs: balance, confounding and what is refused."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from helpers import toy
from medsweep.errors import UserError
from medsweep.sweep.arms import arms, fraction_of, label_of
from medsweep.sweep.file import Schema, Sweep
from medsweep.sweep.fractions import Fraction, best_fraction, smallest_fraction
from medsweep.sweep.load import load_sweep

SCHEMA = Schema(settings=toy.Settings, stages=tuple(toy.STAGES), analysis=toy.AnalysisRules)
SWEEP = """\
sweep: toy
question: Which of them matter?
replicates: {folds: 2}
control: {measure.count: 0}
factors:
  grow.rate: [0.5, 1.0]
  grow.steps: [2, 3]
  measure.count: [2, 4]
design: fractional
fraction: 1/2
"""


def load(tmp_path: Path, text: str = SWEEP) -> Sweep:
    path = tmp_path / "toy.yaml"
    path.write_text(text)
    return load_sweep(path, SCHEMA)


def fraction(k: int, halvings: int) -> Fraction:
    return best_fraction(tuple("abcdefghi"[:k]), halvings)


@pytest.mark.parametrize(("k", "halvings"), [(3, 1), (4, 1), (5, 1), (5, 2), (6, 2), (7, 3), (7, 4), (8, 4)])
def test_columns_are_balanced_and_orthogonal(k: int, halvings: int) -> None:
    columns = fraction(k, halvings).columns
    assert columns.shape == (2 ** (k - halvings), k)
    assert set(np.unique(columns)) == {-1, 1}
    assert (columns.T @ columns == len(columns) * np.eye(k)).all()
    assert (columns.sum(axis=0) == 0).all()
    assert len({tuple(row) for row in columns.tolist()}) == len(columns)


# Montgomery, Design and Analysis of Experiments: sections 8.2 and 8.3, table 8.14 for the resolutions.
TEXTBOOK = {
    (3, 1): (("C=AB",), 3, {"A = BC", "B = AC", "C = AB"}),
    (4, 1): (("D=ABC",), 4, {"AB = CD", "AC = BD", "AD = BC"}),
    (5, 2): (("D=AB", "E=AC"), 3, {"A = BD = CE", "B = AD", "C = AE", "D = AB", "E = AC", "BC = DE", "BE = CD"}),
    (5, 1): (("E=ABCD",), 5, set()),
}


@pytest.mark.parametrize("case", TEXTBOOK)
def test_generators_and_aliases_are_those_of_the_textbook(case: tuple[int, int]) -> None:
    generators, resolution, aliases = TEXTBOOK[case]
    found = fraction(*case)
    assert found.generators == generators
    assert found.resolution() == resolution
    assert {" = ".join(names) for names in found.aliases()} == aliases


@pytest.mark.parametrize(("k", "halvings", "resolution"), [(6, 2, 4), (7, 3, 4), (7, 4, 3), (8, 4, 4), (8, 2, 5)])
def test_resolutions_are_those_of_the_textbook(k: int, halvings: int, resolution: int) -> None:
    assert fraction(k, halvings).resolution() == resolution


def test_effects_outside_a_set_are_uncorrelated() -> None:
    found = fraction(5, 2)
    columns = {name: column for name, column in zip("ABCDE", found.columns.T, strict=True)}
    columns |= {a + b: columns[a] * columns[b] for a, b in combinations("ABCDE", 2)}
    together = {frozenset(pair) for names in found.aliases() for pair in combinations(names, 2)}
    for a, b in combinations(columns, 2):
        assert abs(columns[a] @ columns[b]) == (8 if frozenset((a, b)) in together else 0), (a, b)


def test_a_resolution_takes_the_smallest_fraction_that_has_it() -> None:
    names = tuple("abcdef")
    assert [len(smallest_fraction(names, r).columns) for r in (3, 4, 5, 6)] == [8, 16, 32, 32]  # type: ignore[union-attr]
    assert smallest_fraction(names[:3], 4) is None


def test_half_of_the_combinations_are_arms_and_the_control_is_added(tmp_path: Path) -> None:
    made = arms(load(tmp_path))
    assert made[0].name == "control"
    assert [arm.name for arm in made[1:]] == [
        "rate=0.5 steps=2 count=4",
        "rate=0.5 steps=3 count=2",
        "rate=1 steps=2 count=2",
        "rate=1 steps=3 count=4",
    ]


def test_a_control_that_the_fraction_leaves_out_is_added(tmp_path: Path) -> None:
    control = "rate=0.5 steps=2 count=2"
    made = arms(load(tmp_path, SWEEP.replace("{measure.count: 0}", control)))
    assert (made[0].name, made[0].is_control, len(made)) == (control, True, 5)


def test_both_ways_of_writing_are_one_design(tmp_path: Path) -> None:
    short = fraction_of(load(tmp_path))
    long = SWEEP[: SWEEP.index("design")] + "design: {kind: fractional, resolution: 3}\n"
    assert fraction_of(load(tmp_path, long)) == short
    assert fraction_of(load(tmp_path, SWEEP[: SWEEP.index("design")])) is None


WRONG = {
    ("[2, 3]", "[2, 3, 4]"): r"toy.yaml:7: factor grow.steps has 3 level\(s\), .* two-level factors only; keep two",
    ("fraction: 1/2", ""): r"toy.yaml:9: design fractional needs one of resolution: 4 .* and fraction: 1/2",
    ("1/2", "1/3"): r"toy.yaml:9: fraction 1/3 is not 1/2, 1/4, 1/8",
    ("1/2", "1/4"): r"toy.yaml:9: 2 runs cannot tell 3 factors apart; take a larger fraction",
    ("1/2", "1/64"): r"toy.yaml:9: 0 runs cannot tell 3 factors apart",
    ("1/2", "half"): r"toy.yaml:9: design.fraction: .*got 'half'",
    ("fractional", "full"): r"toy.yaml:9: fraction has no meaning with design 'full', only with fractional",
    ("fractional", "fractionel"): r"toy.yaml:9: design.kind: .*did you mean 'fractional'",
    ("fractional", "{kind: fractional, resolution: 4}"): r"toy.yaml:10: fraction 1/2 is read beside design: frac",
    ("fractional\nfraction: 1/2", "{kind: fractional, resolution: 4}"): r"toy.yaml:9: resolution 4 of 3 factors needs",
    ("design", "exclude: [{grow.steps: 2}]\ndesign"): r"toy.yaml:9: exclude would unbalance a fractional design",
}


@pytest.mark.parametrize("change", WRONG)
def test_a_design_that_cannot_be_is_one_line(tmp_path: Path, change: tuple[str, str]) -> None:
    with pytest.raises(UserError, match=WRONG[change]) as caught:
        arms(load(tmp_path, SWEEP.replace(*change)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("dotted", "value", "text"),
    [
        ("gan.pipeline", "b-sg", "b-sg"),
        ("synthesise.count", 20, "count=20"),
        ("segment.ema", True, "ema=yes"),
        ("synthesise.postprocess", ["fill-holes", "min-area"], "postprocess=fill-holes+min-area"),
        ("treat.treatments", [], "treatments=none"),
        ("treat.treatments", [{"kind": "duplicate-real"}, {"kind": "noise", "sd": 0.1}], "duplicate-real+noise sd:0.1"),
        ("synthesise.perturb", {"random_px": 1.5}, "perturb=random_px:1.5"),
    ],
)
def test_levels_read_as_people_say_them(dotted: str, value: object, text: str) -> None:
    assert label_of(dotted, value) == text
