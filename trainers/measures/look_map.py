"""How images of one look become images of another, with what tells the images of a set apart left as it is.

Shapes: N images, C modalities, R resolution in pixels, B rings of frequency, Q quantile levels.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from medsweep.trainers.measures.spectra import mean_power, rings

Array = NDArray[np.float64]
Images = NDArray[np.float32]

ROUNDS: Final = 2
MOST_GAIN: Final = 3.0
"""Largest factor on an amplitude: more would amplify what a smooth image has lost, which is noise."""
LEVELS: Final = np.linspace(0, 1, 257)


@dataclass(frozen=True)
class LookMap:
    """One gain for each ring of frequency, then one monotone map of values, by modality, in each of ``ROUNDS``.

    All images of a set get the same, and no mask is read: so a map changes neither how varied a set is nor what its
    masks say.
    """

    gains: tuple[Array, ...]
    """(C, B) of each round."""
    values: tuple[tuple[Array, Array], ...]
    """Quantiles at ``LEVELS`` that are moved, and where to, (C, Q) each."""

    @classmethod
    def between(cls, images_NCRR: Images, target_NCRR: Images) -> "LookMap":
        """From the look of one set, which is its mean power in rings and its quantiles, to that of another."""
        wanted_CB, levels_CQ = mean_power(target_NCRR), _quantiles(target_NCRR)
        gains: list[Array] = []
        values: list[tuple[Array, Array]] = []
        for _ in range(ROUNDS):
            own_CB = mean_power(images_NCRR)
            ratio_CB = np.divide(wanted_CB, own_CB, out=np.ones_like(own_CB), where=own_CB > 0)
            gain_CB = np.minimum(np.sqrt(ratio_CB), MOST_GAIN)
            gain_CB[:, 0] = 1
            images_NCRR = _filtered(images_NCRR, gain_CB)
            gains.append(gain_CB)
            values.append((_quantiles(images_NCRR), levels_CQ))
            images_NCRR = _moved(images_NCRR, *values[-1])
        return cls(tuple(gains), tuple(values))

    def __call__(self, images_NCRR: Images) -> Images:
        """Images with the other look, float32 (N, C, R, R)."""
        for gain_CB, (own_CQ, wanted_CQ) in zip(self.gains, self.values, strict=True):
            images_NCRR = _moved(_filtered(images_NCRR, gain_CB), own_CQ, wanted_CQ)
        return images_NCRR


def _quantiles(images_NCRR: Images) -> Array:
    by_modality = images_NCRR.transpose(1, 0, 2, 3).reshape(images_NCRR.shape[1], -1)
    return np.stack([np.quantile(values, LEVELS).astype(np.float64) for values in by_modality])


def _filtered(images_NCRR: Images, gain_CB: Array) -> Images:
    gain_CRR = gain_CB[:, rings(images_NCRR.shape[-1])[0]]
    filtered = np.empty_like(images_NCRR)
    for sample, image in enumerate(images_NCRR):
        filtered[sample] = np.fft.ifft2(np.fft.fft2(image.astype(np.float64)) * gain_CRR).real
    return filtered


def _moved(images_NCRR: Images, own_CQ: Array, wanted_CQ: Array) -> Images:
    moved = np.empty_like(images_NCRR)
    for channel, (own_Q, wanted_Q) in enumerate(zip(own_CQ, wanted_CQ, strict=True)):
        # equal quantiles, as those of air, go to the middle of where they are wanted
        values, place = np.unique(own_Q, return_inverse=True)
        targets = np.bincount(place, wanted_Q) / np.bincount(place)
        moved[:, channel] = np.interp(images_NCRR[:, channel], values, targets)
    return moved
