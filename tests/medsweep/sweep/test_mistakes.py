"""All that is wrong with a sweep file is told in one go, each mistake with its place and the name that was meant."""

import pickle
from pathlib import Path

import pytest

from medsweep.errors import SeveralError, UserError, nearest_field
from medsweep.study.stages import SCHEMA
from medsweep.sweep.load import load_sweep

GOOD = """\
sweep: mistakes
question: What is wrong?
data: {dataset: phantom, resolution: 32}
replicates: {folds: 2}
control: {synthesise.count: 0}
factors:
  synthesise.count: [4, 8]
fixed:
  gan: {kimg: 2.0}
  segment: {steps: 20}
resources:
  segment: {cpus: 1}
analysis: {margin: 0.01}
"""


def told(folder: Path, *changes: tuple[str, str]) -> list[str]:
    """The lines of what is refused, without the name of the file."""
    text = GOOD
    for before, after in changes:
        assert text.count(before) == 1
        text = text.replace(before, after)
    path = folder / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_sweep(path, SCHEMA)
    return [line.removeprefix(str(path)) for line in str(caught.value).splitlines()]


def test_a_sound_file_is_taken(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    assert load_sweep(tmp_path / "good.yaml", SCHEMA).name == "mistakes"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            ("question: What", "resolution: 64\nquestion: What"),
            ":2: unknown key 'resolution' in the top level; did you mean 'data.resolution' or 'design.resolution'?",
        ),
        (
            ("question: What", "kimg: 64\nquestion: What"),
            ":2: unknown key 'kimg' in the top level; did you mean 'fixed.gan.kimg' or 'fixed.diffusion.kimg'?",
        ),
        (
            ("question: What", "segment: {steps: 3}\nquestion: What"),
            ":2: unknown key 'segment' in the top level; did you mean 'fixed.segment'?",
        ),
        (
            ("question: What", "folds: 3\nquestion: What"),
            ":2: unknown key 'folds' in the top level; did you mean 'replicates.folds'?",
        ),
        (
            ("control: {synthesise.count", "control: {count"),
            ":5: unknown field 'count'; did you mean 'synthesise.count'?",
        ),
        (
            ("steps: 20", "steps: 20, residual_units: false"),
            ":10: segment.residual_units: should be a whole number, not true or false, got False",
        ),
        (("cpus: 1", "gpu: 1"), ":12: unknown key 'gpu' in resources.segment; did you mean 'gpus'?"),
        (
            ("steps: 20", "kimg: 20"),
            ":10: unknown key 'kimg' in segment; did you mean 'fixed.gan.kimg' or 'fixed.diffusion.kimg'?",
        ),
        (
            ("margin: 0.01", "margin: 1%"),
            ":13: analysis.margin: should be a number, got '1%'; write 0.01 for 1%",
        ),
        (("margin: 0.01", "margn: 0.01"), ":13: unknown key 'margn' in analysis; did you mean 'margin'?"),
        (
            ("folds: 2", "folds: 2, validation: 12.5 %"),
            ":4: replicates.validation: should be a number, got '12.5 %'; write 0.125 for 12.5 %",
        ),
        (("[4, 8]", "[4, 8.5]"), ":7: synthesise.count: should be a whole number, got 8.5"),
        (
            ("steps: 20", "steps: 20, augment: no"),
            ":10: segment.augment: should be 'none', 'rigid', 'spatial', 'full' or 'nnunet', got 'no'; did you mean "
            "'none'?",
        ),
        (
            ("steps: 20", "steps: 20, normalise: split-affine"),
            ":10: segment: normalise split-affine needs real and synthetic samples in every batch, got mixing uniform; "
            "set mixing to fixed-exposure or normalise to shared",
        ),
        (("[4, 8]", "8"), ":7: factors.synthesise.count: should be a list, such as [1, 2], got 8"),
        (("steps: 20", "lr: 20"), ":10: unknown key 'lr' in segment; did you mean 'learning_rate'?"),
        (("steps: 20", "epochs: 20"), ":10: unknown key 'epochs' in segment; did you mean 'steps'?"),
        (("  gan: {", "  gans: {"), ":9: unknown key 'gans' in fixed; did you mean 'gan'?"),
        (
            ("gan: {kimg: 2.0}", "gan:"),
            ":9: gan: should be a section of names and values, such as {name: value}, got nothing",
        ),
        (
            ("data: {", "control: {}\ndata: {"),
            ":6: not valid YAML: the key 'control' stands twice in one section; keep one of them",
        ),
    ],
)
def test_a_mistake_names_what_was_meant(tmp_path: Path, change: tuple[str, str], line: str) -> None:
    assert told(tmp_path, change) == [line]


def test_all_mistakes_of_a_file_are_told_in_one_go(tmp_path: Path) -> None:
    lines = told(
        tmp_path,
        ("folds: 2", "folds: two"),
        ("kimg: 2.0", "kimgs: 2.0"),
        ("[4, 8]", "[4, many]"),
        ("control: {synthesise.count", "control: {count"),
        ("resources:\n  segment", "resources:\n  segmnt"),
        ("margin: 0.01", "margin: 1%, alpha: 5%"),
    )
    assert [line.split(":")[1] for line in lines] == ["4", "9", "13", "13", "12", "7", "5"]
    assert "write 0.05 for 5%" in lines[3]


def test_checks_of_what_belongs_together_are_told_in_one_go_too(tmp_path: Path) -> None:
    lines = told(tmp_path, ("folds: 2", "folds: 2, test_share: 0.3"), ("analysis:", "budget: {slots: 2}\nanalysis:"))
    assert ["test_share has no meaning" in lines[0], "budget caps nothing" in lines[1]] == [True, True]


def test_at_most_ten_mistakes_are_told(tmp_path: Path) -> None:
    wrong = ", ".join(f"wrong{number}: 1" for number in range(14))
    lines = told(tmp_path, ("steps: 20", wrong))
    assert len(lines) == 11
    assert lines[-1] == "... and 4 more"


def test_a_section_that_is_none_is_told_where_it_stands(tmp_path: Path) -> None:
    lines = told(tmp_path, ("gan: {kimg: 2.0}", "gan: 3"), ("[4, 8]", "[4, 8]\n  gan.kimg: [1.0, 2.0]"))
    assert [line.split(" ")[0] for line in lines] == [":10:"]


def test_errors_of_several_lines_survive_the_way_between_processes() -> None:
    error = SeveralError(f"line {number}" for number in range(12))
    again = pickle.loads(pickle.dumps(error))
    assert (again.lines, str(again)) == (error.lines, str(error))


@pytest.mark.parametrize(
    ("name", "here", "elsewhere", "meant"),
    [
        ("gpu", ["cpus", "gpus"], [], "'gpus'"),
        ("patients", ["data.phantom.patients", "data.patients"], [], "'data.patients' or 'data.phantom.patients'"),
        ("resolution", ["question"], ["data.resolution"], "'data.resolution'"),
        ("resolutoin", ["sweep"], ["data.resolution"], "'data.resolution'"),
        ("lr", ["sweep"], ["fixed.segment.loss", "fixed.segment.learning_rate"], "'fixed.segment.learning_rate'"),
        ("aug", ["steps", "augment"], [], "'augment'"),
        ("img_size", ["patients"], ["data.resolution"], "'data.resolution'"),
    ],
)
def test_the_nearest_field_may_lie_below_or_beside(
    name: str, here: list[str], elsewhere: list[str], meant: str
) -> None:
    assert nearest_field(name, here, elsewhere) == f"did you mean {meant}?"
