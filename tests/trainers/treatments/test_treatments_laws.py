"""Measured laws are planted in new real slices in the dose that was measured, and move no other law."""

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from helpers.judged_cohort import FOLD, JudgedCohort
from medsweep.data.fitted_on import write_fitted_on
from medsweep.data.folds import unused_patients
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.trainers.law import PoolLaw
from medsweep.trainers.treatments import TreatSettings
from medsweep.trainers.treatments.label_errors import ComponentErrors
from medsweep.trainers.treatments.measured_labels import MeasuredCorruption

FRESH = {"kind": "fresh-real"}
LABELS = {"kind": "corrupt-labels", "law": "measured"}
LOOK = {"kind": "imitate", "target": "pool"}
VARIETY = {"kind": "fresh-real", "unique": "measured"}
ALL = (
    {"kind": "fresh-real", "unique": 2},
    {"kind": "blur", "sigma_px": 1.0},
    {"kind": "corrupt-labels", "bias_px": 1.2, "random_px": 0.5},
)
"""What a pool is made of that has all three faults."""


@pytest.fixture(scope="module")
def cohort(judged_cohort: JudgedCohort) -> JudgedCohort:
    return judged_cohort


@pytest.fixture(scope="module")
def faulty(cohort: JudgedCohort) -> dict[str, Path]:
    """The pool to be explained, as ``pool``, and its assessment, as ``law``."""
    pool = cohort.treated("faulty", list(ALL))
    return {"pool": pool, "law": cohort.assessed(pool)[0]}


@pytest.fixture(scope="module")
def doses(cohort: JudgedCohort, faulty: dict[str, Path]) -> dict[str, dict[str, float]]:
    """By cell, each law as a share of that of the explained pool, from that of new slices on."""
    plain = cohort.assessed(cohort.treated("plain", [FRESH]))[1].values
    asked = PoolLaw.open(faulty["law"]).values
    cells = {"labels": [FRESH, LABELS], "look": [FRESH, LOOK], "variety": [VARIETY], "all": [VARIETY, LOOK, LABELS]}
    told = {}
    for cell, treatments in cells.items():
        reads = faulty if LOOK in treatments else {"law": faulty["law"]}
        law = cohort.assessed(cohort.treated(cell, treatments, **reads))[1].values
        told[cell] = {
            name: (law[name] - plain[name]) / (asked[name] - plain[name]) for name in ("bias_px", "look", "vendi_share")
        }
    return told


@pytest.mark.parametrize(
    ("cell", "on"),
    [("labels", {"bias_px"}), ("look", {"look"}), ("variety", {"vendi_share"})],
)
def test_a_measured_law_arrives_in_its_dose_and_moves_no_other(doses, cell, on):
    for name, share in doses[cell].items():
        assert (0.8 <= share <= 1.25) if name in on else abs(share) <= 0.2, (cell, name, doses[cell])


def test_random_errors_arrive_as_the_judge_reads_them(cohort):
    """Its own errors hide a part of what is planted, so masks move farther than the law says."""
    plain = cohort.assessed(cohort.treated("beside random", [FRESH]))[1].values["random_px"]
    planted = {"kind": "corrupt-labels", "random_px": 2.0, "smooth_px": 4.0}
    law, found = cohort.assessed(cohort.treated("random", [FRESH, planted]))
    again = cohort.treated("random again", [FRESH, LABELS], law=law)
    asked, got = found.values["random_px"], cohort.assessed(again)[1].values["random_px"]
    assert (got**2 - plain**2) / (asked**2 - plain**2) == pytest.approx(1, abs=0.2)
    assert json.loads((again / "treat.json").read_text())[-1]["delivered_random_px"] > 1.15 * asked


def test_all_three_laws_arrive_together(doses):
    assert all(0.75 <= share <= 1.3 for share in doses["all"].values()), doses["all"]


def test_treat_json_tells_what_was_asked_planted_and_delivered(cohort, faulty, doses):
    law = PoolLaw.open(faulty["law"]).values
    _, look, labels = json.loads((cohort.folder / "all" / "output" / "treat.json").read_text())
    assert labels["asked_bias_px"] == law["bias_px"]
    assert labels["asked_random_px"] == law["random_px"]
    assert labels["delivered_bias_px"] == pytest.approx(law["bias_px"], abs=0.25)
    assert look["delivered"] == pytest.approx(1, abs=0.2)
    (variety,) = json.loads((cohort.folder / "variety" / "output" / "treat.json").read_text())
    assert variety["patients"] == round(variety["asked_patients"]) == round(law["patients"]) == 2


def test_draws_of_patients_are_nested_and_those_left_out(cohort):
    data = SliceSet.open(cohort.prepare)
    spare = set(unused_patients("test", data.patients, FOLD))
    drawn = []
    for count in (1, 3):
        pool = cohort.treated(f"{count} unique", [{"kind": "k-unique-real", "unique": count}], count=60)
        drawn.append(set(data.owners[np.load(pool / "rows.npy")]))
    assert drawn[0] < drawn[1] <= spare
    assert [len(patients) for patients in drawn] == [1, 3]


def test_new_slices_must_be_many_where_a_law_is_planted(cohort, faulty):
    with pytest.raises(UserError, match=r"fresh-real is to give 9000 samples, more than 3 times the \d+ slices of the"):
        cohort.treated("too many", [FRESH, LABELS], count=9000, law=faulty["law"])


def test_a_law_that_was_not_measured_is_refused_with_the_reason(cohort, tmp_path):
    PoolLaw({"look": 0.1}, {"labels": "by construction", "variety": "nobody is left out"}).save(tmp_path)
    write_fitted_on(tmp_path, [])
    with pytest.raises(UserError, match=r"corrupt-labels takes law_bias_px of the pool.*by construction"):
        cohort.treated("no labels", [FRESH, LABELS], count=8, law=tmp_path)
    with pytest.raises(UserError, match=r"fresh-real takes law_patients of the pool.*nobody is left out"):
        cohort.treated("no variety", [VARIETY], count=8, law=tmp_path)
    with pytest.raises(UserError, match="no input 'law'"):
        cohort.treated("no law", [FRESH, LABELS], count=8)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"kind": "corrupt-labels", "law": "measured", "bias_px": 1.0}, "remove bias_px"),
        ({"kind": "k-unique-real"}, "either patients, of those in use, or unique"),
        ({"kind": "k-unique-real", "patients": 2, "unique": 2}, "either patients, of those in use, or unique"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(record, message):
    with pytest.raises(ValidationError, match=message):
        TreatSettings.model_validate({"treatments": [record]})


def test_components_are_spoiled_in_the_shares_of_the_law():
    masks = np.zeros((200, 32, 32), np.uint8)
    masks[:, 2:8, 2:8], masks[:, 20:26, 20:26] = 1, 2
    shares = {"flips": 0.4, "flips_low": 0.2, "lost": 0.2, "lost_low": 0.1, "invented": 0.3, "invented_low": 0.1}
    errors = ComponentErrors.shown(PoolLaw(shares, {}))
    spoiled = [errors.spoil(mask, 3, np.random.default_rng(place)) for place, mask in enumerate(masks)]
    kept = [[int(mask[4, 4]), int(mask[22, 22])] for mask in spoiled]
    gone = np.mean([value == 0 for pair in kept for value in pair])
    flipped = np.mean([pair[0] == 2 for pair in kept] + [pair[1] == 1 for pair in kept])
    assert gone == pytest.approx(0.3, abs=0.07)
    assert flipped == pytest.approx(0.4 * 0.7, abs=0.07)
    areas = [np.count_nonzero(mask) / 36 for mask in spoiled]
    assert np.mean(areas) == pytest.approx(2 * 0.7 + 2 * 0.2 / 0.8, abs=0.15), "one is added for every four"
    assert ComponentErrors.shown(PoolLaw(shares | {"flips_low": -0.1}, {})).flips == 0, "may be chance"


def test_what_may_be_chance_is_not_planted(cohort):
    data = SliceSet.open(cohort.prepare)
    real = np.array(data.masks[data.rows(data.patients[:3], foreground_only=True)])
    chance = {"bias_px": 0.4, "bias_px_low": -0.1, "bias_px_high": 0.9, "random_px": 0.9, "random_px_low": 0.0}
    planted = MeasuredCorruption.of(PoolLaw(chance | {"random_px_high": 1.4}, {}), 3)
    assert (planted.asked_bias_px, planted.asked_random_px) == (0, 0)
    np.testing.assert_array_equal(planted.tuned(real, real).masks(real, seed=1), real)
    surer = MeasuredCorruption.of(PoolLaw(chance | {"bias_px_low": 0.1, "random_px_high": 1.4}, {}), 3)
    assert (surer.asked_bias_px, surer.asked_random_px) == (0.4, 0)


def test_the_look_of_new_real_slices_is_not_planted(cohort):
    plain = cohort.treated("as they are", [FRESH])
    law = cohort.assessed(plain)[0]
    planted = cohort.treated("their look", [FRESH, LOOK], pool=plain, law=law)
    for name in ("images.npy", "masks.npy"):
        np.testing.assert_array_equal(np.load(planted / name), np.load(plain / name))
    _, look = json.loads((planted / "treat.json").read_text())
    assert look["image_change"] == 0
    assert "delivered" not in look


def test_amounts_are_tuned_until_real_masks_move_as_asked(cohort):
    data = SliceSet.open(cohort.prepare)
    real = np.array(data.masks[data.rows(data.patients[:12], foreground_only=True)])
    law = PoolLaw({"bias_px": 0.4, "random_px": 0.9, "smooth_px": 6.0}, {})
    planted = MeasuredCorruption.of(law, 3).tuned(real, real)
    told = planted.told(real, planted.masks(real, seed=1))
    assert told["delivered_bias_px"] == pytest.approx(0.4, abs=0.2)
    assert told["delivered_random_px"] == pytest.approx(0.9, abs=0.2)
    assert planted.bias_px < 0.4, "a random displacement makes masks a little larger"
