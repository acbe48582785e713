"""Colours of classes, the same in every picture."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

OKABE_ITO = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
"""Told apart by colour-blind readers (Okabe and Ito 2008)."""

MOST = 255
"""Classes that a label volume can hold."""

SRGB_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
"""Of linear sRGB (IEC 61966-2-1)."""


@cache
def class_colours() -> NDArray[np.uint8]:
    """(255, 3) red, green and blue by class index from 1 on: Okabe and Ito's, then each the farthest from those before.

    Distances are Euclidean in CIELAB. No colour is near grey, since the pictures below are.
    """
    hues, saturations, values = np.meshgrid(np.arange(36) / 36, (0.5, 0.75, 1.0), (0.5, 0.65, 0.8, 1.0), indexing="ij")
    candidates = _rgb(hues.ravel(), saturations.ravel(), values.ravel())
    chosen = [np.array(colour, np.float64) for colour in OKABE_ITO]
    lab = lab_of(candidates)
    nearest = np.min([np.linalg.norm(lab - lab_of(colour[None]), axis=1) for colour in chosen], axis=0)
    while len(chosen) < MOST:
        farthest = int(nearest.argmax())
        chosen.append(candidates[farthest])
        nearest = np.minimum(nearest, np.linalg.norm(lab - lab[farthest], axis=1))
    return np.array(chosen).round().astype(np.uint8)


def lab_of(rgb_N3: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIELAB of sRGB colours from 0 to 255, white point D65."""
    share = rgb_N3 / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    xyz = linear @ SRGB_TO_XYZ.T / SRGB_TO_XYZ.sum(axis=1)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    lab: NDArray[np.float64] = np.stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1
    )
    return lab


def _rgb(hue: NDArray[np.float64], saturation: NDArray[np.float64], value: NDArray[np.float64]) -> NDArray[np.float64]:
    """sRGB from 0 to 255 of hue, saturation and value from 0 to 1."""
    sixth = (np.array([5, 3, 1]) + hue[:, None] * 6) % 6
    dip = np.clip(np.minimum(sixth, 4 - sixth), 0, 1)
    rgb: NDArray[np.float64] = 255 * value[:, None] * (1 - saturation[:, None] * dip)
    return rgb
