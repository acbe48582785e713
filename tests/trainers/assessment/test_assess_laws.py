"""The laws of pools of new real slices with one planted change each: every change moves its own law alone."""

import json

import numpy as np
import pandas as pd
import pytest

from helpers.judged_cohort import FOLD, JudgedCohort
from medsweep.data.fitted_on import read_fitted_on
from medsweep.data.folds import split, with_all_patients
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.metrics import without_record
from medsweep.trainers.assessment.config import AssessConfig
from medsweep.trainers.assessment.evidence import PoolEvidence
from medsweep.trainers.assessment.label_law import LAGS, label_law, mask_errors
from medsweep.trainers.assessment.law_metrics import judges_differ
from medsweep.trainers.assessment.real_side import RealSide
from medsweep.trainers.law import PoolLaw
from medsweep.trainers.measures.look_map import LookMap
from medsweep.trainers.pool import EDGES, PROFILE, VARIETY, Pool
from medsweep.trainers.segmentation.network import load_segmenter
from medsweep.trainers.treatments.images import blur
from medsweep.trainers.treatments.label_errors import ComponentErrors

FRESH = {"kind": "fresh-real"}
PLANTED = {
    "nothing": [],
    "bias": [{"kind": "corrupt-labels", "bias_px": 1.0}],
    "random": [{"kind": "corrupt-labels", "random_px": 1.0}],
    "blur": [{"kind": "blur", "sigma_px": 1.0}],
    "strong blur": [{"kind": "blur", "sigma_px": 2.0}],
    "bias and blur": [{"kind": "blur", "sigma_px": 1.0}, {"kind": "corrupt-labels", "bias_px": 1.0}],
}
ONE_EACH = np.zeros(1, np.int64), np.array(["a"], object)
"""Whose one sample and one real slice are."""


@pytest.fixture(scope="module")
def cohort(judged_cohort: JudgedCohort) -> JudgedCohort:
    return judged_cohort


@pytest.fixture(scope="module")
def laws(cohort: JudgedCohort) -> dict[str, PoolLaw]:
    return {name: cohort.assessed(cohort.treated(name, [FRESH, *planted]))[1] for name, planted in PLANTED.items()}


def test_nothing_planted_moves_no_law(laws):
    law = laws["nothing"].values
    assert law["bias_px_low"] < 0 < law["bias_px_high"]
    assert abs(law["bias_px"]) < 0.3
    assert law["random_px"] < 0.4
    assert max(abs(law[name]) for name in ("flips", "lost", "invented")) < 0.1
    assert law["look"] < 0.1
    assert law["look_shown"] == 0
    assert law["class_quantiles"] < min(0.02, law["class_quantiles_floor"])
    assert law["domain_auc_floor_low"] <= law["domain_auc"] <= law["domain_auc_floor_high"]
    assert law["vendi_share"] == pytest.approx(1, abs=0.25)
    assert law["patients"] >= 16


def test_a_planted_bias_is_recovered_on_sharp_and_on_blurred_images(laws):
    for name in ("bias", "bias and blur"):
        law = laws[name].values
        assert 0.8 <= law["bias_px"] - laws["nothing"].values["bias_px"] <= 1.3, name
        assert 0 < law["bias_px_low"] < law["bias_px"] < law["bias_px_high"], name
        assert law["random_px"] < 0.4, name


def test_planted_random_errors_are_recovered_and_are_no_bias(laws):
    law = laws["random"].values
    assert 0.8 <= law["random_px"] <= 1.2
    assert 0 < law["random_px_low"] < law["random_px"] < law["random_px_high"]
    assert abs(law["bias_px"] - laws["nothing"].values["bias_px"]) < 0.3


def test_blur_moves_look_and_domain_and_neither_labels_nor_variety(laws):
    law, plain = laws["blur"].values, laws["nothing"].values
    assert law["look"] > plain["look"] + 0.5
    assert law["look_shown"] == 1
    assert law["domain_auc"] > max(0.95, law["domain_auc_floor_high"])
    assert abs(law["bias_px"] - plain["bias_px"]) < 0.3
    assert law["random_px"] ** 2 < plain["random_px"] ** 2 + 0.2
    assert law["patients"] == pytest.approx(plain["patients"], rel=0.1)
    assert law["vendi_share"] == pytest.approx(plain["vendi_share"], rel=0.1)


def test_what_a_judge_sees_wrongly_in_blurred_images_is_not_planted(laws):
    """It shows as much on unseen slices that are given the blur, of each kind of error and of each class."""
    for name in ("blur", "strong blur"):
        law = laws[name].values
        assert law["bias_px_low"] < 0 < law["bias_px_high"], name
        assert law["random_px_low"] <= 0, name
        for kind in ("flips", "lost", "invented"):
            assert law[f"{kind}_low"] <= 0, (name, kind)
        assert ComponentErrors.shown(laws[name]) == (0, 0, 0), name


def test_masks_move_neither_look_nor_variety(laws):
    for name in ("bias", "random"):
        for law in ("look", "domain_auc", "vendi_share", "patients"):
            assert laws[name].values[law] == laws["nothing"].values[law], (name, law)


@pytest.mark.parametrize(("patients", "low", "high"), [(2, 1.5, 3), (5, 4, 7)])
def test_few_patients_are_told_by_their_number(cohort, patients, low, high):
    law = cohort.assessed(cohort.of_patients(f"{patients} patients", patients))[1].values
    assert low <= law["patients"] <= high
    assert law["patients_low"] <= law["patients"] <= law["patients_high"]
    assert law["vendi_share"] < 0.7


def test_an_assessment_says_whom_it_has_seen_and_tells_its_laws_as_metrics(cohort, laws):
    output = cohort.folder / "bias" / "assessed" / "output"
    data = SliceSet.open(cohort.prepare)
    everyone = split(data.patients, with_all_patients(FOLD)).train
    assert read_fitted_on(output) == set(everyone)
    metrics = json.loads((output / "pool_metrics.json").read_text())
    assert {name: value for name, value in metrics.items() if name.startswith("law_")} == {
        f"law_{name}": value for name, value in laws["bias"].values.items()
    }


def test_relabelled_pools_have_no_label_law_and_say_why(cohort):
    pool = cohort.of_patients("relabelled", 3)
    law = cohort.assessed(pool, relabelled=True)[1]
    assert not {"bias_px", "random_px", "flips", "lost", "invented"} & set(law.values)
    assert {"look", "patients"} <= set(law.values)
    with pytest.raises(UserError, match=r"corrupt-labels takes law_bias_px .* by construction"):
        law.value("bias_px", of="labels", asked_by="corrupt-labels")


def test_unseen_slices_get_the_blur_of_a_pool_nearly_pixel_by_pixel(cohort, laws):
    data, pool = SliceSet.open(cohort.prepare), Pool.open(cohort.folder / "strong blur" / "output")
    train, config = split(data.patients, FOLD).train, AssessConfig(fold=FOLD, seed=0)
    judge, real = load_segmenter(cohort.judge, "cpu"), RealSide.open(cohort.real)
    evidence = PoolEvidence(config, data, train, pool, real, judge)
    unseen = data.image_rows(evidence.unseen_rows)
    wanted, coarse = blur(unseen, 2.0), LookMap.between(data.image_rows(evidence.rows), np.array(pool.images))(unseen)
    fine, rough = (np.sqrt(np.mean((got - wanted) ** 2)) / wanted.std() for got in (evidence.as_pool(unseen), coarse))
    assert fine < 0.06 < rough


def test_components_flip_are_lost_and_are_invented():
    mask, view = np.zeros((2, 1, 32, 32), np.uint8)
    mask[0, 4:12, 4:12], view[0, 4:12, 4:12] = 1, 1
    mask[0, 20:24, 4:8], view[0, 20:24, 4:8] = 1, 2
    mask[0, 4:8, 20:24] = 2
    view[0, 26:30, 26:30] = 1
    law = label_law(mask_errors(mask, view), mask_errors(view, view), ONE_EACH, 20, np.random.default_rng(0))
    assert (law["flips"].value, law["lost"].value, law["invented"].value) == (1 / 3, 1 / 3, 1 / 3)
    assert all(np.isnan([bounded.low, bounded.high]).all() for bounded in law.values()), "one sample has no interval"


def test_slices_that_are_repeated_tell_no_more_than_their_patients():
    rng = np.random.default_rng(0)
    real = np.concatenate(
        [np.full((20, 1), 10.0), rng.normal(0, 10, (20, 1)), np.full((20, 6 + 2 * LAGS), 100)], axis=1
    )
    pool = np.concatenate([np.full((4, 1), 10.0), [[-30], [-10], [10], [30]], np.full((4, 6 + 2 * LAGS), 100)], axis=1)
    names, widths = np.arange(20).astype(str).astype(object), []
    for times in (1, 25):
        whose = np.tile(np.arange(4), times), names
        bias = label_law(np.tile(pool, (times, 1)), real, whose, 200, np.random.default_rng(1))["bias_px"]
        widths.append(bias.high - bias.low)
    assert widths[1] == pytest.approx(widths[0])


def test_lags_that_no_pair_has_do_not_shorten_the_smoothness():
    """Correlations of 0.8 at 1 px and 0.1 at 5 px, and no pair of displacements that lies between."""
    products, pairs = np.zeros((2, LAGS))
    products[[0, 4]], pairs[[0, 4]] = (0.8, 0.1), 1
    pool = np.concatenate([[1, 0, 1], np.zeros(5), products, pairs])[None]
    real = np.concatenate([[1, 0, 0], np.zeros(5), np.zeros(LAGS), np.ones(LAGS)])[None]
    law = label_law(pool, real, ONE_EACH, 20, np.random.default_rng(0))
    assert law["smooth_px"].value == pytest.approx((1 + 4 * (0.8 - np.exp(-1)) / (0.8 - 0.1)) / 2)


def test_what_lies_far_away_is_no_boundary():
    mask, view = np.zeros((2, 1, 32, 32), np.uint8)
    mask[0, 8:16, 8:16] = view[0, 8:16, 8:16] = 1
    alone = mask_errors(mask, view)
    view[0, 27:31, 27:31] = 1
    np.testing.assert_array_equal(mask_errors(mask, view)[:, :3][:, 1:], alone[:, :3][:, 1:])
    assert alone.shape == (1, 8 + 2 * LAGS)


@pytest.mark.parametrize(("low", "high", "differ"), [(0.9, 1.5, 0.0), (1.3, 1.6, 1.0), (-0.4, 0.2, 1.0)])
def test_judges_differ_where_their_intervals_lie_apart(low, high, differ):
    metrics = {"law_bias_px_low": 0.8, "law_bias_px_high": 1.2, "law_random_px": 0.1}
    other = PoolLaw({"bias_px_low": low, "bias_px_high": high, "random_px_low": 0.0, "random_px_high": 0.2}, {})
    assert judges_differ(metrics, other) == {"law_judges_differ": differ}
    assert judges_differ({}, other) == {}


@pytest.fixture(scope="module")
def grown(cohort, laws):
    """The profile of the pool with grown masks."""
    return cohort.profiled(cohort.folder / "bias" / "output")


def test_a_profile_tells_the_bias_by_class_and_in_two_more_ways(grown, laws):
    told = json.loads((grown / PROFILE).read_text())
    assert told["class_1/law_bias_px_low"] > 0.3
    assert told["class_2/law_bias_px"] > 0.1
    assert told["class_1/law_flips_low"] <= 0 <= told["class_1/law_flips_high"]
    assert told["law_edge_offset_px"] == pytest.approx(1, abs=0.3)
    assert told["law_edge_offset_px_low"] > told["law_edge_offset_px_floor"] > 0
    assert told["law_confident_larger_low"] > 0.1
    assert told["class_1/law_confident_boundary_low"] > 0.2 > told["class_1/law_confident_inside"]
    assert not without_record(told)


def test_a_profile_leaves_its_curves(cohort, grown, laws):
    edges, variety = (pd.read_parquet(grown / name) for name in (EDGES, VARIETY))
    data = SliceSet.open(cohort.prepare)
    assert list(edges.columns) == ["modality", "distance_px", "real", "pool"]
    assert edges["modality"].unique().tolist() == list(data.modalities)
    real, pool = variety[variety["source"] == "real"], variety[variety["source"] == "pool"]
    assert sorted(real["patients"].unique()) == [1, 2, 3, 5, 8, 13, 19]
    assert pool["vendi"].item() == json.loads((grown / PROFILE).read_text())["law_vendi"]
    # the number of patients that the law tells is where the curve has the score of the pool
    means = real.groupby("patients")["vendi"].mean()
    assert means.loc[8] < pool["vendi"].item()
    assert laws["bias"].values["patients"] > 8
    assert read_fitted_on(grown) == read_fitted_on(cohort.folder / "bias" / "assessed" / "output")


def test_a_profile_of_relabelled_masks_tells_no_errors_of_labels(cohort, laws):
    told = json.loads((cohort.profiled(cohort.folder / "bias" / "output", relabelled=True) / PROFILE).read_text())
    assert not any("bias" in name or "confident" in name for name in told)
    assert "law_edge_offset_px" in told
