import numpy as np
import pytest
from scipy.ndimage import label

from helpers.mask_cases import LESION, ORGAN, blank, lesion_in_organ, organ, random_masks, ring, two_blobs
from medsweep.errors import UserError
from medsweep.trainers.measures import mask_validity as module
from medsweep.trainers.measures.mask_validity import change_counts, postprocess, validity


def counts(changed):
    return {step: change_counts(pixels) for step, pixels in changed.items()}


def test_the_largest_component_stays():
    masks = np.stack([two_blobs(), organ(), blank()])
    repaired, changed = postprocess(masks, ["largest-component"], 3, 1)
    expected = masks.copy()
    expected[0, 10:13, 10:12] = 0
    assert np.array_equal(repaired, expected)
    assert counts(changed) == {"largest-component": {"samples": 1, "pixels": 6}}
    assert np.array_equal(masks[0], two_blobs())


def test_a_stray_piece_inside_another_class_becomes_that_class():
    mask = lesion_in_organ()
    mask[11, 5] = LESION
    for step in ("largest-component", "min-area"):
        repaired, _ = postprocess(mask[None], [step], 3, 4)
        assert np.array_equal(repaired[0], lesion_in_organ())


def test_only_background_is_filled():
    mask = ring()
    mask[6, 7] = LESION
    repaired, changed = postprocess(np.stack([mask, lesion_in_organ()]), ["fill-holes"], 3, 1)
    expected = organ()
    expected[6, 7] = LESION
    assert np.array_equal(repaired, np.stack([expected, lesion_in_organ()]))
    assert counts(changed) == {"fill-holes": {"samples": 1, "pixels": 8}}


def test_background_that_no_single_class_encloses_stays():
    mask = blank()
    mask[4:9, 4:6], mask[4:9, 6:9] = ORGAN, LESION
    mask[6, 5:7] = 0
    repaired, _ = postprocess(mask[None], ["fill-holes"], 3, 1)
    assert np.array_equal(repaired[0], mask)


def test_background_within_nested_classes_goes_to_the_innermost():
    mask = organ()
    mask[5:10, 5:10] = LESION
    mask[7, 7] = 0
    repaired, _ = postprocess(mask[None], ["fill-holes"], 3, 1)
    assert repaired[0, 7, 7] == LESION


def test_small_components_go():
    masks = np.stack([two_blobs(), two_blobs()])
    assert np.array_equal(postprocess(masks, ["min-area"], 2, 6)[0], masks)
    repaired, changed = postprocess(masks, ["min-area"], 2, 7)
    assert not repaired[:, 10:].any()
    assert counts(changed) == {"min-area": {"samples": 2, "pixels": 12}}


def test_each_repair_leaves_nothing_to_repair(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 5)
    masks = random_masks(12, 32, 4, seed=2)
    assert validity(masks, 4)["components"].max() > 1
    largest, _ = postprocess(masks, ["largest-component"], 4, 1)
    assert validity(largest, 4)["components"].max() == 1
    cleared, _ = postprocess(masks, ["min-area"], 4, 9)
    for index in range(1, 4):
        for mask in cleared:
            pieces, _ = label(mask == index, np.ones((3, 3)))
            assert (np.bincount(pieces[pieces > 0])[1:] >= 9).all()
    for step in ("largest-component", "min-area", "fill-holes"):
        once, first = postprocess(masks, [step], 4, 9)
        twice, second = postprocess(once, [step], 4, 9)
        assert first[step].sum() == (once != masks).sum() > 0
        assert np.array_equal(once, twice)
        assert change_counts(second[step]) == {"samples": 0, "pixels": 0}


def test_steps_run_in_the_given_order():
    """The hole of the small blob is filled first: then the blob is large enough to stay."""
    mask = blank()
    mask[4:7, 4:7] = ORGAN
    mask[5, 5] = 0
    kept, changed = postprocess(mask[None], ["fill-holes", "min-area"], 2, 9)
    gone, _ = postprocess(mask[None], ["min-area", "fill-holes"], 2, 9)
    assert (kept.sum(), gone.sum()) == (9, 0)
    assert list(changed) == ["fill-holes", "min-area"]


def test_every_step_starts_from_what_the_last_one_left():
    mask = two_blobs()
    mask[3, 3] = 0
    repaired, changed = postprocess(mask[None], ["fill-holes", "min-area"], 2, 7)
    assert repaired[0].sum() == 36
    assert counts(changed) == {"fill-holes": {"samples": 1, "pixels": 1}, "min-area": {"samples": 1, "pixels": 6}}


def test_a_step_named_twice_is_refused():
    with pytest.raises(UserError, match="a step twice"):
        postprocess(organ()[None], ["min-area", "min-area"], 2, 1)
