import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter

from medsweep.trainers.generation.masks import background, decode, encode, signed_distances, soft_one_hot

K, R = 4, 8
label_maps = arrays(np.uint8, st.tuples(st.integers(1, 3), st.just(R), st.just(R)), elements=st.integers(0, K - 1))


@settings(max_examples=60, deadline=None)
@given(labels=label_maps, form=st.sampled_from(["signed-distance", "soft-one-hot"]), clip=st.floats(0.6, 20))
def test_decode_undoes_encode(labels, form, clip):
    channels = encode(labels, K, form, clip)
    assert channels.shape == (len(labels), K, R, R)
    assert channels.dtype == np.float32
    assert np.abs(channels).max() <= 1
    assert np.array_equal(decode(channels), labels)
    assert np.array_equal(decode(channels.astype(np.float16)), labels)


@settings(max_examples=20, deadline=None)
@given(labels=label_maps)
def test_distance_is_that_to_the_nearest_pixel_of_the_other_side(labels):
    channels = signed_distances(labels[0], K, clip_px=5.0)
    rows, columns = np.mgrid[:R, :R]
    for index in range(K):
        inside = labels[0] == index
        if inside.all() or not inside.any():
            continue
        for row, column in ((0, 0), (3, 4), (7, 2)):
            other = inside != inside[row, column]
            nearest = np.hypot(rows - row, columns - column)[other].min()
            expected = min(1.0, (nearest - 0.5) / 5.0) * (1 if inside[row, column] else -1)
            assert channels[index, row, column] == pytest.approx(expected, abs=1e-6)


def test_absent_and_filling_classes_are_constant():
    channels = signed_distances(np.zeros((R, R), np.uint8), 3, clip_px=2.0)
    assert np.array_equal(channels[:, 0, 0], background(3))
    assert (channels == channels[:, :1, :1]).all()


def test_soft_one_hot_is_a_blurred_indicator():
    labels = np.zeros((1, 16, 16), np.uint8)
    labels[0, 3:9, 4:12] = 1
    labels[0, 5, 6] = 2
    p = (soft_one_hot(labels, K) + 1) / 2
    for index in range(K):
        blurred = gaussian_filter((labels[0] == index).astype(np.float64), 0.5, mode="nearest")
        np.testing.assert_allclose(p[0, index], blurred, atol=1e-6)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    assert 0.5 < p[0, 1, 3, 8] < 1
    assert 0 < p[0, 1, 2, 8] < 0.5


def test_soft_one_hot_keeps_lone_pixels_and_thin_lines():
    rows, columns = np.mgrid[:R, :R]
    patterns = [(rows + columns) % 2, columns % 2, (rows == 4) & (columns == 4), rows == columns, rows == 0]
    labels = np.stack(patterns).astype(np.uint8)
    assert np.array_equal(decode(soft_one_hot(labels, 2)), labels)
    inside = np.take_along_axis(soft_one_hot(labels, 2), labels[:, None].astype(np.intp), axis=1)
    assert inside.min() > 0.2


@pytest.mark.parametrize("form", ["signed-distance", "soft-one-hot"])
def test_a_map_of_background_has_the_channels_of_the_background(form):
    channels = encode(np.zeros((2, R, R), np.uint8), 3, form, clip_px=2.0)
    assert np.array_equal(channels, np.broadcast_to(background(3)[:, None, None], channels.shape))
