"""Agreement of masks with what is seen in their images: closed forms, and monotone under growing damage."""

import numpy as np
import pytest

from medsweep.trainers.assessment.agreement import agreement, excess
from medsweep.trainers.assessment.masks import evenly_spread
from medsweep.trainers.assessment.metrics import auc_of_spoiled


def squares(count, shift=0, side=10, size=48):
    masks = np.zeros((count, size, size), np.uint8)
    masks[:, 16 : 16 + side, 16 + shift : 16 + shift + side] = 1
    return masks


def test_dice_leaves_out_samples_without_any_foreground():
    masks = np.array([[[1, 2], [0, 0]], [[0, 0], [0, 0]], [[1, 0], [0, 0]]])
    seen = np.array([[[2, 0], [0, 0]], [[0, 0], [0, 0]], [[0, 1], [0, 0]]])
    found = agreement(masks, seen, 3)
    np.testing.assert_allclose(found["dice"], [2 / 3, np.nan, 0])
    np.testing.assert_allclose(found["class_1/dice"], [0, np.nan, 0])
    np.testing.assert_array_equal(found["missed"], [0, np.nan, 1])
    np.testing.assert_array_equal(found["class_2/missed"], [1, np.nan, np.nan])


def test_the_distance_of_two_squares_is_that_of_their_contours():
    """A square of 4 pixels in the middle of one of 10, against all pairs of contour pixels."""
    inner = np.zeros((1, 48, 48), np.uint8)
    inner[:, 19:23, 19:23] = 1
    found = agreement(squares(1), inner, 2).iloc[0]
    outer = [(r, c) for r in range(10) for c in range(10) if r in (0, 9) or c in (0, 9)]
    inside = [(r, c) for r in range(3, 7) for c in range(3, 7) if r in (3, 6) or c in (3, 6)]
    ring = [min(np.hypot(a - c, b - d) for c, d in inside) for a, b in outer]
    small = [min(np.hypot(a - c, b - d) for c, d in outer) for a, b in inside]
    assert found["hd95_px"] == pytest.approx(max(np.percentile(ring, 95), np.percentile(small, 95)))
    assert found["assd_px"] == pytest.approx((sum(ring) + sum(small)) / (len(ring) + len(small)))
    assert found["bias_px"] == pytest.approx(found["assd_px"])
    assert agreement(inner, squares(1), 2)["bias_px"][0] == pytest.approx(-found["bias_px"])


def test_contours_agree_for_equal_masks_and_move_apart_with_them():
    steps = [agreement(squares(3), squares(3, shift), 2).mean() for shift in (0, 2, 5, 9)]
    assert steps[0]["hd95_px"] == steps[0]["assd_px"] == 0
    for name in ("hd95_px", "assd_px"):
        assert np.all(np.diff([each[name] for each in steps]) > 0), name
    assert steps[3]["hd95_px"] == 9
    assert [each["bias_px"] for each in steps] == pytest.approx([0] * 4)


def test_a_missed_sample_has_no_distance_and_the_flag_and_one_beside_the_mask_is_missed_too():
    masks, seen = squares(4), squares(4, 4)
    masks[0], seen[1], seen[3] = 0, 0, squares(1, 12)[0]
    found = agreement(masks, seen, 2)
    np.testing.assert_array_equal(found["missed"], [np.nan, 1, 0, 1])
    assert found[["hd95_px", "assd_px", "bias_px"]].notna().all(axis=1).tolist() == [False, False, True, False]


def test_the_excess_is_the_difference_of_means_and_its_interval_covers_the_truth():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        patients = rng.normal(0, 1, 15)
        owners = np.repeat(np.arange(15), 6).astype(object)
        real = 0.3 + patients[owners.astype(int)] + rng.normal(0, 0.2, 90)
        pool = np.append(1.3 + rng.normal(0, 1, 60), np.nan)
        found = excess(pool, real, owners, 400, rng)
        assert found.value == pytest.approx(pool[:-1].mean() - real.mean())
        covered += found.low <= 1.0 <= found.high
    assert 0.88 <= covered / 200 <= 0.98


def test_one_patient_has_an_excess_and_no_interval_and_no_value_no_excess():
    rng, one = np.random.default_rng(0), np.array(["a", "a"], object)
    alone = excess(np.array([1.0, 3.0]), np.array([1.0, 1.0]), one, 20, rng)
    assert alone == (1.0, -np.inf, np.inf)
    assert excess(np.array([np.nan]), np.array([1.0, 1.0]), one, 20, rng) is None
    assert excess(np.array([1.0]), np.full(2, np.nan), one, 20, rng) is None


def test_numbers_are_spread_evenly_and_once():
    assert evenly_spread(7, 20).tolist() == list(range(7))
    assert evenly_spread(101, 5).tolist() == [0, 25, 50, 75, 100]
    assert evenly_spread(0, 5).tolist() == []
    assert len(evenly_spread(1600, 500)) == 500


def test_the_auc_is_the_share_of_pairs_in_the_right_order():
    rng = np.random.default_rng(0)
    iou, spoiled = rng.integers(0, 6, 40) / 5, rng.random(40) < 0.3
    pairs = [(a < b) + (a == b) / 2 for a in iou[spoiled] for b in iou[~spoiled]]
    assert auc_of_spoiled(spoiled, iou) == {
        "spoiled_share": pytest.approx(spoiled.mean()),
        "spoiled_auc": pytest.approx(np.mean(pairs)),
    }


@pytest.mark.parametrize(("iou", "auc"), [((0.1, 0.2, 0.8, 0.9), 1), ((0.9, 0.8, 0.2, 0.1), 0), ((0.5,) * 4, 0.5)])
def test_the_auc_of_known_orders(iou, auc):
    assert auc_of_spoiled(np.array([True, True, False, False]), np.array(iou))["spoiled_auc"] == auc


def test_samples_of_one_kind_have_no_auc():
    assert auc_of_spoiled(np.ones(3, bool), np.ones(3)) == {"spoiled_share": 1.0}
