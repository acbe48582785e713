"""The shipped checks of the instrument: a planted cause is named, and nothing else is. Hours of training in all.

The small form takes 4 CPU minutes. It checks that every record is there, and verdicts only as far as two seeds go.
"""

from pathlib import Path

import pytest

from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.mechanisms.accumulation_verdict import Sentence
from medsweep.analysis.study.mechanisms.causes import Reason
from medsweep.analysis.study.mechanisms.laws import LAWS
from medsweep.analysis.study.mechanisms.mechanism import QUESTIONS, MechanismStudy
from medsweep.analysis.study.mechanisms.texture_verdict import TextureOutcome
from medsweep.mechanism import CAUSES, CELLS, Cause
from medsweep.study.session import RunOptions, open_sweep

pytestmark = pytest.mark.timeout(8 * 3600)
PLANTED = Path(__file__).parents[3] / "sweeps" / "planted"


def analysed(sweep: Path, folder: Path) -> Analysis:
    opened = open_sweep(sweep, folder / "store", to="run")
    assert opened.run(RunOptions("local")).ok
    return opened.report(folder / "results", None, "pytest")[0]


def study(sweep: Path, folder: Path) -> MechanismStudy:
    found = analysed(sweep, folder).mechanism
    assert found is not None
    return found


def named(found: MechanismStudy) -> set[Cause]:
    return {cause for one in found.verdict.findings if one.named for cause in one.causes}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "must", "may"),
    [
        ("labels", {"labels"}, {"labels"}),
        ("look", set(), {"look"}),
        ("variety", {"variety"}, {"variety"}),
        ("nothing", set(), set()),
        ("random-labels", {"labels"}, {"labels"}),
        ("misfit", {"labels"}, {"labels"}),
        ("masking", {"labels"}, {"labels", "look"}),
        ("mixed", set(), set(CAUSES)),
    ],
)
def test_what_was_planted_is_named_and_nothing_else(
    name: str, must: set[Cause], may: set[Cause], tmp_path: Path
) -> None:
    found = study(PLANTED / f"{name}.yaml", tmp_path)
    assert must <= named(found) <= may, found.verdict


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("texture-blur", {TextureOutcome.MENDED, TextureOutcome.NOT_MENDED}),
        ("texture-masks", {TextureOutcome.OTHER}),
    ],
)
def test_a_planted_texture_is_told_from_planted_masks(name: str, may: set[TextureOutcome], tmp_path: Path) -> None:
    found = analysed(PLANTED / f"{name}.yaml", tmp_path).texture
    assert found is not None
    assert found.verdict.outcome in may, found.verdict


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("adds", {Sentence.ADDS}),
        ("grows", {Sentence.ACCUMULATES, Sentence.HINDERS}),
        ("none", set(Sentence) - {Sentence.ACCUMULATES, Sentence.HINDERS}),
    ],
)
def test_a_planted_misfit_adds_or_accumulates(name: str, may: set[Sentence], tmp_path: Path) -> None:
    found = analysed(PLANTED / f"accumulation-{name}.yaml", tmp_path).accumulation
    assert found is not None
    assert found.verdict.outcome in may, found.verdict
    if name == "grows":
        assert found.slopes is not None
        assert found.slopes.dose is not None
        assert 0.35 <= found.slopes.dose.value <= 0.65


SMALL = {"seeds: 5": "seeds: 2", "steps: 400": "steps: 200", "count: 256": "count: 128"}


@pytest.mark.slow
def test_the_small_form_has_every_record_and_delivers_what_was_planted(tmp_path: Path) -> None:
    text = (PLANTED / "labels.yaml").read_text(encoding="utf-8")
    for full, small in SMALL.items():
        assert full in text
        text = text.replace(full, small)
    sweep = tmp_path / "small.yaml"
    sweep.write_text(text, encoding="utf-8")
    found = study(sweep, tmp_path)
    assert {question: len(found.tests[question]) for question in QUESTIONS} == {
        "levels": 3, "ladder": 0, "shares": 3, "added": 3, "removed": 3, "joint": 4, "interactions": 3,
        "unexplained": 1,
    }  # fmt: skip
    assert found.delivery is not None
    assert found.delivery.missing == ()
    assert {(dose.cell, dose.law) for dose in found.delivery.doses} == {
        (cell, law.column) for cell in CELLS for law in LAWS
    }
    (bias,) = [one for one in found.delivery.doses if (one.cell, one.law) == ("labels", "law_bias_px")]
    assert 1.6 <= bias.explained <= 2.6
    assert bias.delivered
    assert [found.instruments.missing(cause) for cause in CAUSES] == [()] * 3
    assert Reason.ONE_RUN not in found.verdict.cannot_tell
    assert named(found) <= {"labels"}
