import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trainers.stylegan2.masks import background, decode, encode, signed_distance

K, R = 4, 8
label_maps = arrays(np.uint8, st.tuples(st.integers(1, 3), st.just(R), st.just(R)), elements=st.integers(0, K - 1))


@settings(max_examples=60, deadline=None)
@given(labels=label_maps, form=st.sampled_from(["signed-distance", "one-hot"]), clip=st.floats(0.6, 20))
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
    channels = signed_distance(labels[0], K, clip_px=5.0)
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
    channels = signed_distance(np.zeros((R, R), np.uint8), 3, clip_px=2.0)
    assert np.array_equal(channels[:, 0, 0], background(3))
    assert (channels == channels[:, :1, :1]).all()
