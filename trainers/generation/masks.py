"""Label maps as continuous channels that a GAN can emit, and back.

K classes, background included; N maps of R x R pixels.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from medsweep.trainers.generators import MaskForm
from medsweep.trainers.measures.structures import signed_distance

BLUR_PX = 0.5
"""SD of the Gaussian that softens a one-hot map; from 0.57 px upwards ``decode`` would lose a pixel that lies alone."""


def encode(labels_NRR: NDArray[np.uint8], classes: int, form: MaskForm, clip_px: float) -> NDArray[np.float32]:
    """Channels (N, K, R, R) in [-1, 1], positive inside the class and negative outside; ``decode`` undoes it.

    ``clip_px`` is read by the form ``signed-distance`` alone.
    """
    if form == "soft-one-hot":
        return soft_one_hot(labels_NRR, classes)
    return np.stack([signed_distances(labels_RR, classes, clip_px) for labels_RR in labels_NRR])


def decode(channels_NKRR: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Label maps (N, R, R): the class of the largest channel."""
    labels_NRR: NDArray[np.uint8] = channels_NKRR.argmax(axis=1).astype(np.uint8)
    return labels_NRR


def soft_one_hot(labels_NRR: NDArray[np.uint8], classes: int) -> NDArray[np.float32]:
    """2 p - 1, where p are one-hot maps blurred by a Gaussian of ``BLUR_PX``; (N, K, R, R).

    p sums to 1 over the classes, as the softmax of a generator does; a class that is absent is -1 everywhere.
    """
    inside_NKRR = labels_NRR[:, None] == np.arange(classes, dtype=np.uint8)[:, None, None]
    p_NKRR = gaussian_filter(inside_NKRR.astype(np.float32), (0, 0, BLUR_PX, BLUR_PX), mode="nearest")
    channels_NKRR: NDArray[np.float32] = (2 * p_NKRR - 1).clip(-1, 1)
    return channels_NKRR


def signed_distances(labels_RR: NDArray[np.uint8], classes: int, clip_px: float) -> NDArray[np.float32]:
    """Distance to the border of each class, positive inside, clipped at ``clip_px`` pixels and divided by it.

    A class that is absent is -1 everywhere, one that fills the map is 1 everywhere. Returns (K, R, R).
    """
    distances = [signed_distance(labels_RR == index) / clip_px for index in range(classes)]
    return np.stack(distances).clip(-1, 1).astype(np.float32)


def background(classes: int) -> NDArray[np.float32]:
    """The channels (K) of a pixel far outside everything: what lies beyond the border of a slice."""
    channels_K = np.full(classes, -1, np.float32)
    channels_K[0] = 1
    return channels_K
