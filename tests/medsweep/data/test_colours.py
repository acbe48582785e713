"""Colours of classes: enough of them, and far apart."""

import numpy as np
from matplotlib.colors import hsv_to_rgb

from medsweep.data.colours import OKABE_ITO, _rgb, class_colours, lab_of


def test_forty_classes_are_told_apart():
    colours = class_colours()
    assert colours.shape == (255, 3)
    assert tuple(map(tuple, colours[:7].tolist())) == OKABE_ITO
    lab = lab_of(colours[:40].astype(np.float64))
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=2)[np.triu_indices(40, 1)]
    assert apart.min() > 20
    assert len({tuple(colour) for colour in colours.tolist()}) == 255


def test_no_colour_is_grey():
    lab = lab_of(class_colours()[:40].astype(np.float64))
    assert np.hypot(lab[:, 1], lab[:, 2]).min() > 15


def test_known_values_of_cielab_and_hsv():
    red = lab_of(np.array([[255.0, 0.0, 0.0], [255.0, 255.0, 255.0]]))
    np.testing.assert_allclose(red, [[53.24, 80.09, 67.20], [100, 0, 0]], atol=0.1)
    hue, saturation, value = np.array([0.0, 0.31, 0.9]), np.array([1.0, 0.5, 0.75]), np.array([0.5, 1.0, 0.8])
    expected = 255 * hsv_to_rgb(np.stack([hue, saturation, value], axis=1))
    np.testing.assert_allclose(_rgb(hue, saturation, value), expected, atol=1e-9)
