"""The filter of pixels: what a judge doubts, what is drawn in its place, and that neither has a part in the loss."""

import json

import numpy as np
import pytest
from torch import nn

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.fitted_on import write_fitted_on
from medsweep.data.folds import Fold, split
from medsweep.data.ignored import IGNORED
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.trainers.measures.structures import signed_distance
from medsweep.trainers.pool import Pool
from medsweep.trainers.segmentation import pixel_filter
from medsweep.trainers.segmentation.config import SegmentSettings, probe, resolve
from medsweep.trainers.segmentation.pixel_filter import without_doubted
from medsweep.trainers.segmentation.train import run

FOLD = Fold(index=0, of=4)
ROWS = np.array([1, 2, 4, 5])
WRONG = np.s_[2:6, 2:6]


def config(seed=0, count=4, **settings):
    given = SegmentSettings(**{"max_pixel_loss": 1.25} | settings)
    return resolve(given, fold=FOLD, seed=seed, count=count, candidates=0, unit="slices", resolution=32)


def spoiled_pool():
    """Squares of class 1 in images that show them, and in samples 1 and 4 a patch of class 1 that no image shows."""
    masks = np.zeros((6, 32, 32), np.uint8)
    masks[:, 10:22, 10:22] = 1
    shown = np.stack([masks == 0, masks == 1], axis=1) * np.float32(4)
    masks[[1, 4], *WRONG] = 1
    return Pool(images=shown.astype(np.float32), masks=masks, slices_per_patient=3)


@pytest.fixture
def left_out(monkeypatch, tmp_path):
    """Masks of the filter of a config, by a judge that sees what the images show, and its numbers."""
    as_shown = nn.Conv2d(2, 2, 1)
    nn.init.zeros_(as_shown.bias)
    nn.init.dirac_(as_shown.weight)
    monkeypatch.setattr(pixel_filter, "load_segmenter", lambda folder, device: as_shown)

    def found(asked=None, pool=None, classes=2):
        return without_doubted(asked or config(), pool or spoiled_pool(), ROWS, tmp_path, classes=classes, device="cpu")

    return found


def test_what_the_image_does_not_show_is_left_out_and_nothing_else(left_out):
    pool, (masks, numbers) = spoiled_pool(), left_out()
    expected = pool.masks.copy()
    expected[[1, 4], *WRONG] = IGNORED
    np.testing.assert_array_equal(masks[ROWS], expected[ROWS])
    assert not masks[[0, 3]].any()
    assert numbers["pixels_ignored"] == pytest.approx(2 * 16 / (4 * 32 * 32))
    assert numbers["pixels_ignored_foreground"] == pytest.approx(2 * 16 / (4 * 144 + 2 * 16))


def strata(mask, ignored):
    band = np.abs(signed_distance(mask > 0)) <= 1.5
    return np.bincount((2 * mask + band)[ignored].ravel(), minlength=4)


def test_the_control_leaves_out_as_many_of_each_class_and_band_somewhere_else(left_out):
    pool = spoiled_pool()
    doubted, drawn = left_out()[0] == IGNORED, left_out(config(pixels_by="random"))[0] == IGNORED
    asked, got = (sum(strata(pool.masks[row], some[row]) for row in ROWS) for some in (doubted, drawn))
    assert asked.sum() > 20
    np.testing.assert_array_equal(asked, got)
    assert (doubted & drawn).sum() < 0.5 * doubted.sum()
    # no sample is spared, as those without any fault are by the judge
    assert drawn[ROWS].any(axis=(1, 2)).all()
    assert left_out(config(pixels_by="random"))[1] == left_out()[1]


def test_the_draw_depends_on_fold_and_seed_alone(left_out):
    def drawn(**changes):
        return left_out(config(pixels_by="random", **changes))[0].tolist()

    assert drawn() == drawn(steps=7)
    assert drawn() != drawn(seed=1)


def test_pixels_cannot_be_left_out_where_every_value_is_a_class(left_out):
    with pytest.raises(UserError, match="leaves room for 255 classes, background included, and the dataset has 256"):
        left_out(classes=256)


TINY = {"steps": 4, "batch_size": 4, "channels": (4, 8), "residual_units": 0, "augment": "none"}


def test_the_stage_trains_without_these_pixels_and_says_how_many_they_are(slices, segmenter, tmp_path, monkeypatch):
    data, folder = SliceSet.open(slices), tmp_path / "pool"
    rows = data.rows(split(data.patients, FOLD).train, foreground_only=True)[:8]
    images, masks = data.image_rows(rows), np.array(data.masks[rows])
    inputs = {"prepare": slices, "pool": folder, "judge": segmenter}

    def trained(name, masks):
        Pool(images=images, masks=masks, slices_per_patient=4).save(folder)
        write_fitted_on(folder, [])
        trial = FakeTrial(tmp_path / name)
        drain(run(config(count=8, mixing="fixed-exposure", **TINY), inputs, trial))
        return trial.output

    output = trained("one", masks)
    shares = json.loads((output / "filter.json").read_text())
    assert 0 < shares["pixels_ignored"] < 0.5
    assert shares["pixels_ignored"] < shares["pixels_ignored_boundary"]
    assert shares.items() <= json.loads((output / "exposure.json").read_text()).items()

    # whatever label a pixel has that is left out, the training is the same
    asked = config(**TINY), Pool.open(folder), np.arange(8), segmenter
    doubted = without_doubted(*asked, classes=len(data.classes), device="cpu")
    monkeypatch.setattr("medsweep.trainers.segmentation.samples.without_doubted", lambda *_, **__: doubted)
    other = trained("other", np.where(doubted.masks == IGNORED, 1, masks))
    weights = [(folder / "network.safetensors").read_bytes() for folder in (output, other)]
    assert weights[0] == weights[1]


def test_a_training_without_the_filter_is_the_one_of_before_there_was_any():
    plain = config(max_pixel_loss=0.0)
    assert config(max_pixel_loss=0.0, pixels_by="random") == plain
    assert config(count=0) == config(count=0, max_pixel_loss=0.0, pixels_by="random")
    assert probe(config(pixels_by="random")) == probe(config())
