"""swap-bands: what each band holds, and which pools it refuses."""

import json

import numpy as np
import pytest

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.fitted_on import write_fitted_on
from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.trainers.pool import Pool
from medsweep.trainers.treatments import TreatConfig
from medsweep.trainers.treatments.bands import low_pass_px, swap_bands
from medsweep.trainers.treatments.images import blur
from medsweep.trainers.treatments.run import run

FOLD = Fold(index=0, of=4, patients=3)
RNG = np.random.default_rng(3)
ROUGH = RNG.standard_normal((4, 2, 32, 32)).astype(np.float32)
FINE = (0.2 * RNG.standard_normal((4, 2, 32, 32)) + np.linspace(-2, 2, 32)).astype(np.float32)
MASKS = np.zeros((4, 32, 32), np.uint8)
MASKS[:, 4:20, 4:20] = 2


def treated(folder, slices, treatments, *, rows, images=None, masks=None):
    data = SliceSet.open(slices)
    images = data.image_rows(rows) + 1 if images is None else images
    masks = np.array(data.masks[rows]) if masks is None else masks
    return _run(folder, slices, treatments, Pool(images, masks, slices_per_patient=3, rows=rows))


def _run(folder, slices, treatments, pool):
    pool.save(folder / "pool")
    write_fitted_on(folder / "pool", [])
    text = json.dumps({"treatments": treatments, "fold": FOLD.model_dump(), "seed": 0})
    trial = FakeTrial(folder / "treat")
    drain(run(TreatConfig.model_validate_json(text), {"prepare": slices, "pool": folder / "pool"}, trial))
    return Pool.open(trial.output)


def training_rows(slices):
    data = SliceSet.open(slices)
    return data.rows(split(data.patients, FOLD).train, foreground_only=True)


def test_the_low_pass_is_at_half_height_at_its_cutoff():
    # 8 cycles in 64 pixels are a quarter of Nyquist
    wave = np.cos(2 * np.pi * np.arange(64) * 8 / 64)[None, None, None].repeat(64, axis=2).astype(np.float32)
    assert blur(wave, low_pass_px(0.25))[0, 0, 32, 32] == pytest.approx(0.5, abs=0.005)


def test_both_bands_of_one_side_are_that_side():
    np.testing.assert_allclose(swap_bands(ROUGH, ROUGH, MASKS, 1.5), ROUGH, atol=1e-5)


def test_the_fine_band_has_the_pattern_of_one_side_and_in_each_class_the_strength_of_the_other():
    sigma = low_pass_px(0.25)
    fine = swap_bands(FINE, ROUGH, MASKS, sigma) - blur(FINE, sigma)
    own, pattern = FINE - blur(FINE, sigma), ROUGH - blur(ROUGH, sigma)
    for index in (0, 2):
        for sample, channel in np.ndindex(4, 2):
            inside = MASKS[sample] == index
            here, there = fine[sample, channel][inside], pattern[sample, channel][inside]
            assert np.corrcoef(here, there)[0, 1] == pytest.approx(1, abs=1e-4)
            assert np.square(here).mean() == pytest.approx(np.square(own[sample, channel][inside]).mean(), rel=1e-3)


def test_a_side_without_fine_structure_gives_none():
    flat = np.ones_like(ROUGH)
    np.testing.assert_allclose(swap_bands(FINE, flat, MASKS, 1.5), blur(FINE, 1.5), atol=1e-5)


def test_the_stage_pairs_each_sample_with_its_own_slice_and_leaves_masks(slices, tmp_path):
    data, rows = SliceSet.open(slices), training_rows(slices)[[5, 0, 3, 3]]
    masks = np.array(data.masks[rows])
    kind = {"kind": "swap-bands", "low": "pool", "high": "real", "cutoff": 0.3}
    pool = treated(tmp_path / "one", slices, [kind], rows=rows, images=ROUGH)
    expected = swap_bands(ROUGH, data.image_rows(rows), masks, low_pass_px(0.3))
    np.testing.assert_array_equal(pool.images, expected)
    np.testing.assert_array_equal(pool.masks, masks)
    np.testing.assert_array_equal(pool.rows, rows)
    real = treated(tmp_path / "two", slices, [kind | {"low": "real"}], rows=rows, images=ROUGH)
    np.testing.assert_allclose(real.images, data.image_rows(rows), atol=1e-5)


KIND = {"kind": "swap-bands", "low": "real", "high": "pool"}


def test_a_pool_of_generated_masks_is_refused(slices, tmp_path):
    with pytest.raises(UserError, match=r"masks of this pool are generated; use gan\.pipeline: c-sg"):
        _run(tmp_path, slices, [KIND], Pool(ROUGH, MASKS, slices_per_patient=3))


def test_masks_that_are_not_those_of_their_source_are_refused(slices, tmp_path):
    rows = training_rows(slices)[:4]
    with pytest.raises(UserError, match="differ from their source"):
        treated(tmp_path, slices, [{"kind": "corrupt-labels", "bias_px": 2.0}, KIND], rows=rows)
