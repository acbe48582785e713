"""Label maps as continuous channels that a GAN can emit, and back.

K classes, background included; N maps of R x R pixels.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from trainers.stylegan2.config import MaskForm


def encode(labels_NRR: NDArray[np.uint8], classes: int, form: MaskForm, clip_px: float) -> NDArray[np.float32]:
    """Channels (N, K, R, R) in [-1, 1], positive inside the class and negative outside; ``decode`` undoes it."""
    if form == "one-hot":
        return one_hot(labels_NRR, classes)
    return np.stack([signed_distance(labels_RR, classes, clip_px) for labels_RR in labels_NRR])


def decode(channels_NKRR: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Label maps (N, R, R): the class of the largest channel."""
    return channels_NKRR.argmax(axis=1).astype(np.uint8)


def one_hot(labels_NRR: NDArray[np.uint8], classes: int) -> NDArray[np.float32]:
    """1 inside a class and -1 outside, (N, K, R, R)."""
    inside_NKRR = labels_NRR[:, None] == np.arange(classes, dtype=np.uint8)[:, None, None]
    return np.where(inside_NKRR, np.float32(1), np.float32(-1))


def signed_distance(labels_RR: NDArray[np.uint8], classes: int, clip_px: float) -> NDArray[np.float32]:
    """Distance to the border of each class, positive inside, clipped at ``clip_px`` pixels and divided by it.

    Borders run midway between pixel centres, hence the half pixel. A class that is absent is -1 everywhere, one that
    fills the map is 1 everywhere. Returns (K, R, R).
    """
    channels_KRR = np.empty((classes, *labels_RR.shape), np.float32)
    for index in range(classes):
        inside_RR = labels_RR == index
        if inside_RR.all() or not inside_RR.any():
            channels_KRR[index] = 1 if inside_RR.any() else -1
            continue
        depth = distance_transform_edt(inside_RR) - distance_transform_edt(~inside_RR)
        channels_KRR[index] = (depth - 0.5 * np.sign(depth)) / clip_px
    return channels_KRR.clip(-1, 1)


def background(classes: int) -> NDArray[np.float32]:
    """The channels (K) of a pixel far outside everything: what lies beyond the border of a slice."""
    channels_K = np.full(classes, -1, np.float32)
    channels_K[0] = 1
    return channels_K
