"""Fitting planes into squares: exact where it only pads, centred and free of aliasing where it shrinks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medsweep.data.geometry import Resize, as_in_memory


def _labels(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, shape, dtype=np.uint8)


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 32), width=st.integers(1, 32), seed=st.integers(0, 99))
def test_a_plane_that_fits_comes_back_exactly(height, width, seed):
    fit, labels = Resize.of(height, width, 32), _labels(seed, 3, height, width)
    onehot = (fit.labels(labels)[:, None] == np.arange(4)[:, None, None]).astype(np.float32)
    assert np.array_equal(fit.undo(onehot).argmax(1), labels)
    image = np.random.default_rng(seed).normal(size=(3, height, width)).astype(np.float32)
    assert np.array_equal(fit.undo(fit.image(image)), image)


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), seed=st.integers(0, 99))
def test_any_plane_becomes_a_square_with_known_labels(height, width, seed):
    fit, labels = Resize.of(height, width, 32), _labels(seed, 2, height, width)
    fitted = fit.labels(labels)
    assert fitted.shape == (2, 32, 32)
    assert fitted.dtype == np.uint8
    assert set(np.unique(fitted)) <= set(np.unique(labels)) | {0}
    assert fit.undo(fitted.astype(np.float32)).shape == (2, height, width)


def test_padding_is_what_lies_outside_and_centred():
    fitted = Resize.of(4, 2, 8).image(np.ones((1, 4, 2), np.float32))[0]
    assert fitted.sum() == 8
    assert (Resize.of(4, 2, 8).image(np.ones((1, 4, 2), np.float32), outside=-1)[0] == 2 * fitted - 1).all()
    assert fitted[2:6, 3:5].all()


def test_shrinking_keeps_the_centre_and_the_mean():
    plane = np.zeros((1, 96, 96), np.float32)
    plane[0, 30:54, 12:60] = 1
    row, column = _centre(plane[0])
    small = Resize.of(96, 96, 32).image(plane)[0]
    assert _centre(small) == pytest.approx(((row + 0.5) / 3 - 0.5, (column + 0.5) / 3 - 0.5), abs=0.02)
    assert small.mean() == pytest.approx(plane.mean(), rel=0.01)


def test_shrunk_labels_take_the_pixel_under_the_centre():
    plane = np.arange(9 * 9, dtype=np.uint8).reshape(1, 9, 9)
    assert np.array_equal(Resize.of(9, 9, 3).labels(plane), plane[:, 1::3, 1::3])


def test_shrinking_removes_what_the_target_cannot_hold():
    noise = np.random.default_rng(0).normal(size=(4, 128, 128)).astype(np.float32)
    # A Gaussian of SD 1.5 pixels leaves white noise an SD of 1 / (2 sqrt(pi) 1.5) = 0.19; interpolation alone, 0.5.
    assert Resize.of(128, 128, 32).image(noise).std() == pytest.approx(0.19, abs=0.03)


def test_enlarging_back_reproduces_a_ramp():
    ramp = np.broadcast_to(np.arange(80, dtype=np.float32), (2, 40, 80))
    fit = Resize.of(40, 80, 32)
    back = fit.undo(fit.image(ramp))
    assert back.shape == ramp.shape
    np.testing.assert_allclose(back[:, :, 6:-6], ramp[:, :, 6:-6], atol=0.2)


def test_undo_takes_leading_axes():
    fit = Resize.of(40, 20, 32)
    probabilities = np.random.default_rng(0).random((3, 5, 32, 32), dtype=np.float32)
    undone = fit.undo(probabilities)
    assert undone.shape == (3, 5, 40, 20)
    assert np.array_equal(undone[2, 4], fit.undo(probabilities[2, 4][None])[0])


def _centre(plane: np.ndarray) -> tuple[float, float]:
    rows, columns = np.indices(plane.shape)
    return float((rows * plane).sum() / plane.sum()), float((columns * plane).sum() / plane.sum())


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_voxels_are_taken_as_they_lie_in_memory_without_a_copy(order):
    stored = np.arange(24.0).reshape(2, 3, 4)
    turned = stored.transpose(order)[::-1, :, ::-1]
    assert as_in_memory(turned).flags.c_contiguous
    assert np.shares_memory(as_in_memory(turned), stored)
    assert np.array_equal(as_in_memory(turned).ravel(), stored.ravel())
