import time

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import label

from helpers.mask_cases import LESION, ORGAN, R, blank, lesion_in_organ, organ, random_masks, ring, two_blobs
from medsweep.errors import UserError
from medsweep.trainers.measures import mask_validity as module
from medsweep.trainers.measures.mask_validity import MEASURES, components, summary, valid_share, validity


def row(mask: np.ndarray, index: int, classes: int = 3) -> pd.Series:
    frame = validity(mask[None], classes)
    return frame[frame["class"] == index].iloc[0]


def test_a_lesion_inside_an_organ():
    outer, inner = row(lesion_in_organ(), ORGAN), row(lesion_in_organ(), LESION)
    assert (outer["pixels"], outer["components"], outer["largest_share"], outer["holes"]) == (74, 1, 1.0, 1)
    assert (outer["contained_in"], outer["contained_share"]) == (0, 1.0)
    assert (inner["pixels"], inner["components"], inner["holes"], inner["empty"]) == (6, 1, 0, False)
    assert (inner["contained_in"], inner["contained_share"]) == (ORGAN, 1.0)


def test_a_lesion_half_out_of_its_organ():
    """2 x 4 pixels across the upper edge: 6 of its 12 boundary edges touch the organ; the tie goes to background."""
    mask = organ()
    mask[1:5, 6:8] = LESION
    assert (row(mask, LESION)["contained_in"], row(mask, LESION)["contained_share"]) == (0, 0.5)
    mask[1, 6:8] = 0
    assert (row(mask, LESION)["contained_in"], row(mask, LESION)["contained_share"]) == (ORGAN, 0.6)


def test_two_blobs_and_a_ring():
    blobs, around = row(two_blobs(), ORGAN), row(ring(), ORGAN)
    assert (blobs["components"], blobs["largest_share"], blobs["holes"]) == (2, 36 / 42, 0)
    assert (around["components"], around["holes"], around["pixels"]) == (1, 1, 71)


def test_corners_connect_a_class_and_separate_what_is_around_it():
    mask = blank()
    mask[[3, 4, 5, 4], [4, 5, 4, 3]] = ORGAN
    assert (row(mask, ORGAN)["components"], row(mask, ORGAN)["holes"]) == (1, 1)
    open_to_the_border = blank()
    open_to_the_border[[0, 1, 1, 1, 0], [3, 3, 4, 5, 5]] = ORGAN
    assert row(open_to_the_border, ORGAN)["holes"] == 0


def test_an_absent_class_and_one_that_fills_the_map():
    absent = row(blank(), LESION)
    assert absent["empty"]
    assert (absent["pixels"], absent["components"], absent["holes"], absent["contained_in"]) == (0, 0, 0, -1)
    assert np.isnan(absent["largest_share"])
    assert np.isnan(absent["contained_share"])
    full = row(np.full((R, R), ORGAN, np.uint8), ORGAN)
    assert (full["components"], full["contained_in"], full["empty"]) == (1, -1, False)


def test_maps_are_measured_one_by_one(monkeypatch):
    """The same class in neighbouring maps never joins, whatever the chunks."""
    masks = random_masks(7, R, 3)
    alone = [validity(mask[None], 3).assign(sample=sample) for sample, mask in enumerate(masks)]
    monkeypatch.setattr(module, "CHUNK", 3)
    together = validity(masks, 3)
    pd.testing.assert_frame_equal(together, pd.concat(alone, ignore_index=True))
    assert np.array_equal(components(masks, 3).ravel(), together["components"])
    assert together["sample"].tolist() == [sample for sample in range(7) for _ in range(2)]


def test_measures_against_a_slow_count():
    masks = random_masks(6, R, 3, seed=4)
    for _, found in validity(masks, 3).iterrows():
        mask, index = masks[int(found["sample"])], found["class"]
        pieces, count = label(mask == index, np.ones((3, 3)))
        outside, regions = label(mask != index)
        border = {*outside[0], *outside[-1], *outside[:, 0], *outside[:, -1]} - {0}
        assert found["components"] == count
        assert found["holes"] == regions - len(border)
        assert found["largest_share"] == np.bincount(pieces[pieces > 0]).max() / (mask == index).sum()


def test_summary_averages_over_the_maps_that_show_a_class():
    values = summary(validity(np.stack([blank(), two_blobs(), ring(), ring()]), 3), 3)
    assert values["class_1/empty"] == 0.25
    assert values["class_1/components"] == pytest.approx((2 + 1 + 1) / 3)
    assert values["class_1/holes"] == pytest.approx(2 / 3)
    assert values["class_1/largest_share"] == pytest.approx((36 / 42 + 1 + 1) / 3)
    assert values["class_2/empty"] == 1
    assert np.isnan(values["class_2/components"])


def test_valid_is_what_real_masks_show():
    def shifted(mask, by):
        return np.roll(mask, by, axis=1)

    real = validity(np.stack([lesion_in_organ(), shifted(lesion_in_organ(), 1)]), 3)
    assert valid_share(real, real) == 1
    assert valid_share(validity(shifted(lesion_in_organ(), 2)[None], 3), real) == 1
    outside = organ()
    outside[6:9, 6:8], outside[0:3, 0:2] = ORGAN, LESION
    torn = lesion_in_organ()
    torn[9] = 0
    unlike = [outside, torn, organ(), blank(), two_blobs()]
    for mask in unlike:
        assert valid_share(validity(mask[None], 3), real) == 0
    masks = np.stack([lesion_in_organ(), *unlike])
    assert valid_share(validity(masks, 3), real) == pytest.approx(1 / 6)


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_can_condemn_a_mask(name):
    real = validity(np.stack([lesion_in_organ()] * 2), 3)
    judged = real.copy()
    judged[name] = judged[name].astype(float)
    judged.loc[1, name] += 0.5
    assert valid_share(judged, real) == 0.5


def test_a_class_may_be_absent_where_a_real_mask_lacks_it():
    real = validity(np.stack([lesion_in_organ(), organ()]), 3)
    assert valid_share(validity(organ()[None], 3), real) == 1
    assert valid_share(validity(blank()[None], 3), real) == 0
    never_a_lesion = validity(np.stack([organ(), ring()]), 3)
    assert valid_share(validity(lesion_in_organ()[None], 3), never_a_lesion) == 0


def test_a_map_of_background_alone_is_valid_only_where_a_real_mask_is_one():
    """Each class is absent from some real mask, which says nothing of a mask without any."""
    only_lesion = np.where(lesion_in_organ() == LESION, LESION, 0)
    real = np.stack([organ(), only_lesion])
    assert valid_share(validity(real, 3), validity(real, 3)) == 1
    assert valid_share(validity(np.stack([organ(), blank()]), 3), validity(real, 3)) == 0.5
    assert valid_share(validity(blank()[None], 3), validity(np.stack([*real, blank()]), 3)) == 1


def test_a_lesion_beside_its_organ_is_not_one_inside_it():
    """All four measures agree with the real mask; only what the lesion lies in does not."""
    real, beside = validity(np.stack([lesion_in_organ()] * 2), 3), organ()
    beside[6:9, 6:8] = 0
    beside[6:9, 1:3] = LESION
    judged = validity(beside[None], 3)
    assert judged[list(MEASURES)].equals(real.loc[:1, list(MEASURES)])
    assert valid_share(judged, real) == 0


def test_many_lesions_are_valid_where_real_ones_are_many():
    assert valid_share(validity(two_blobs()[None], 2), validity(np.stack([two_blobs()] * 2), 2)) == 1


@pytest.mark.parametrize(
    ("judged", "reference", "says"), [(0, 2, "no masks to judge"), (2, 0, r"without class \[1, 2\]")]
)
def test_tables_that_cannot_be_compared(judged, reference, says):
    frame = validity(np.stack([lesion_in_organ()] * 2), 3)
    with pytest.raises(UserError, match=says):
        valid_share(frame[frame["sample"] < judged], frame[frame["sample"] < reference])


@pytest.mark.parametrize("masks", [organ(), np.zeros((0, R, R), np.uint8), 7 * organ()[None]])
def test_unfit_labels(masks):
    with pytest.raises(UserError, match="label maps"):
        validity(masks, 3)


def test_two_hundred_masks_take_about_a_second():
    masks = random_masks(200, 64, 4)
    begun = time.process_time()
    validity(masks, 4)
    assert time.process_time() - begun < 20
