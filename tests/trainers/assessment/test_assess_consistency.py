"""Agreement of masks with what is seen in their images: closed forms, and monotone under growing damage."""

import numpy as np
import pytest

from medsweep.trainers.assessment.masks import evenly_spread, foreground_dice, foreground_surfaces
from medsweep.trainers.assessment.metrics import auc_of_spoiled


def squares(count, shift=0, side=10, size=48):
    masks = np.zeros((count, size, size), np.uint8)
    masks[:, 16 : 16 + side, 16 + shift : 16 + shift + side] = 1
    return masks


def test_dice_leaves_out_samples_without_any_foreground():
    masks = np.array([[[1, 2], [0, 0]], [[0, 0], [0, 0]], [[1, 0], [0, 0]]])
    seen = np.array([[[2, 0], [0, 0]], [[0, 0], [0, 0]], [[0, 1], [0, 0]]])
    assert foreground_dice(masks, seen) == pytest.approx((2 / 3 + 0) / 2)
    assert foreground_dice(masks[1:2], seen[1:2]) is None


def test_the_distance_of_two_squares_is_that_of_their_contours():
    """A square of 4 pixels in the middle of one of 10, against all pairs of contour pixels."""
    inner = np.zeros((1, 48, 48), np.uint8)
    inner[:, 19:23, 19:23] = 1
    found = foreground_surfaces(squares(1), inner)
    outer = [(r, c) for r in range(10) for c in range(10) if r in (0, 9) or c in (0, 9)]
    inside = [(r, c) for r in range(3, 7) for c in range(3, 7) if r in (3, 6) or c in (3, 6)]
    ring = [min(np.hypot(a - c, b - d) for c, d in inside) for a, b in outer]
    small = [min(np.hypot(a - c, b - d) for c, d in outer) for a, b in inside]
    assert found["hd95"] == pytest.approx(max(np.percentile(ring, 95), np.percentile(small, 95)))
    assert found["assd"] == pytest.approx((sum(ring) + sum(small)) / (len(ring) + len(small)))


def test_surfaces_agree_for_equal_masks_and_move_apart_with_them():
    steps = [foreground_surfaces(squares(3), squares(3, shift)) for shift in (0, 2, 5, 9)]
    assert steps[0] == {"hd95": 0, "assd": 0}
    for name in ("hd95", "assd"):
        assert np.all(np.diff([each[name] for each in steps]) > 0), name
    assert steps[3]["hd95"] == 9


def test_surfaces_count_only_where_both_masks_have_foreground():
    masks, seen = squares(3), squares(3, 4)
    masks[0], seen[1] = 0, 0
    assert foreground_surfaces(masks, seen) == foreground_surfaces(masks[2:], seen[2:])
    assert foreground_surfaces(masks[:2], seen[:2]) == {}


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
