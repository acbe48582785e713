"""How images of one look become images of another, with what tells the images of a set apart left as it is.

Shapes: N images, C modalities, K classes, R resolution in pixels, B rings of frequency, F half cycles per image, Q
quantile levels.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.fft import dctn, idctn

from medsweep.trainers.measures.spectra import mean_power, rings
from medsweep.trainers.measures.texture import class_local_sd, local_moments

Array = NDArray[np.float64]
Images = NDArray[np.float32]
Labels = NDArray[np.uint8]

ROUNDS: Final = 2
GAINS: Final = (0.0, 3.0)
"""Limits of factors on amplitudes: more would amplify what a smooth image has lost, which is noise."""
LEVELS: Final = np.linspace(0, 1, 257)


@dataclass(frozen=True)
class LookMap:
    """In each round one gain for each ring of frequency, one monotone map of values and one gain of local deviations.

    The latter two are by class where classes are told apart. All images of a set are changed by the same rule, so the
    map does not make them more alike.
    """

    power_gains: Array
    """(rounds, C, B)."""
    own_values: Array
    """Quantiles at ``LEVELS`` that are moved, (rounds, K, C, Q); NaN for a class that a side does not show."""
    values: Array
    """Where they go to, (K, C, Q)."""
    local_gains: Array
    """(rounds, K, C)."""

    @classmethod
    def between(
        cls,
        images_NCRR: Images,
        target_NCRR: Images,
        labels: tuple[Labels, Labels] | None = None,
        classes: int = 1,
    ) -> "LookMap":
        """From the look of one set to that of another; ``labels`` (N, R, R) of both tell ``classes`` apart.

        The look is the mean power in rings, the quantiles of all pixels of a class, and ``class_local_sd``.
        """
        own_NRR, target_NRR = labels if labels is not None else (_one_class(images_NCRR), _one_class(target_NCRR))
        wanted_CB, wanted_KC = mean_power(target_NCRR), class_local_sd(target_NCRR, target_NRR, classes)
        wanted_KCQ = _quantiles(target_NCRR, target_NRR, classes)
        rounds: list[tuple[Array, Array, Array]] = []
        for _ in range(ROUNDS):
            gain_CB = _gain(np.sqrt(wanted_CB), np.sqrt(mean_power(images_NCRR)))
            gain_CB[:, 0] = 1
            images_NCRR = _filtered(images_NCRR, gain_CB)
            own_KCQ = _quantiles(images_NCRR, own_NRR, classes)
            images_NCRR = _moved(images_NCRR, own_NRR, own_KCQ, wanted_KCQ)
            gain_KC = _gain(wanted_KC, class_local_sd(images_NCRR, own_NRR, classes))
            images_NCRR = _sharpened(images_NCRR, own_NRR, gain_KC)
            rounds.append((gain_CB, own_KCQ, gain_KC))
        power_gains, own_values, local_gains = (np.stack(part) for part in zip(*rounds, strict=True))
        return cls(power_gains, own_values, wanted_KCQ, local_gains)

    @classmethod
    def unchanged(cls, channels: int, classes: int) -> "LookMap":
        """The map that leaves images as they are, with no rounds."""
        nothing = np.zeros((0, classes, channels))
        values_KCQ = np.zeros((classes, channels, len(LEVELS)))
        return cls(np.zeros((0, channels, 1)), np.zeros((0, *values_KCQ.shape)), values_KCQ, nothing)

    def __call__(self, images_NCRR: Images, labels_NRR: Labels | None = None) -> Images:
        """Images with the other look, float32 (N, C, R, R), one at a time, which bounds the memory."""
        labels_NRR = _one_class(images_NCRR) if labels_NRR is None else labels_NRR
        mapped = np.empty_like(images_NCRR)
        for sample in range(len(images_NCRR)):
            one = slice(sample, sample + 1)
            mapped[one] = self._of_some(images_NCRR[one], labels_NRR[one])
        return mapped

    def _of_some(self, images_NCRR: Images, labels_NRR: Labels) -> Images:
        for gain_CB, own_KCQ, gain_KC in zip(self.power_gains, self.own_values, self.local_gains, strict=True):
            images_NCRR = _moved(_filtered(images_NCRR, gain_CB), labels_NRR, own_KCQ, self.values)
            images_NCRR = _sharpened(images_NCRR, labels_NRR, gain_KC)
        return images_NCRR

    def save(self, path: Path) -> None:
        """Write it to one file."""
        save_file({name: np.ascontiguousarray(array) for name, array in asdict(self).items()}, path)

    @classmethod
    def open(cls, path: Path) -> "LookMap":
        """What ``save`` wrote."""
        return cls(**load_file(path))


@dataclass(frozen=True)
class FrequencyGains:
    """One gain for each frequency in half cycles per image, smooth in between, of images whose edges are mirrored.

    Finer than the rings of ``LookMap``, so that a blur is met nearly pixel by pixel: a network may see quite other
    things in images that a coarser rule has made as smooth.
    """

    gains: Array
    """(C, F)."""

    @classmethod
    def between(cls, images_NCRR: Images, target_NCRR: Images) -> "FrequencyGains":
        """From the mean power of one set to that of another; means are left as they are."""
        wanted_CF, own_CF = (np.sqrt(_mirrored_power(images)) for images in (target_NCRR, images_NCRR))
        gain_CF = _gain(wanted_CF, own_CF)
        gain_CF[:, 0] = 1
        return cls(gain_CF)

    def __call__(self, images_NCRR: Images) -> Images:
        """Images with the other power, float32 (N, C, R, R)."""
        radius_RR = _half_cycles(images_NCRR.shape[-1])
        gain_CRR = np.stack([np.interp(radius_RR, np.arange(len(gain_F)), gain_F) for gain_F in self.gains])
        filtered = np.empty(images_NCRR.shape, np.float32)
        for sample, image_CRR in enumerate(images_NCRR):
            filtered[sample] = idctn(_cosines(image_CRR) * gain_CRR, axes=(1, 2), norm="ortho")
        return filtered


def _cosines(image_CRR: Images) -> Array:
    found: Array = dctn(image_CRR.astype(np.float64), axes=(1, 2), norm="ortho")
    return found


def _half_cycles(side: int) -> Array:
    """Frequency of every coefficient of the cosine transform, (R, R), in half cycles per image."""
    radius_RR: Array = np.hypot(*np.indices((side, side)))
    return radius_RR


def _mirrored_power(images_NCRR: Images) -> Array:
    """Mean power of images that are mirrored at their edges, by the nearest whole half cycle, (C, F)."""
    near_RR = np.rint(_half_cycles(images_NCRR.shape[-1])).astype(np.int64)
    power_CRR = np.zeros(images_NCRR.shape[1:])
    for image_CRR in images_NCRR:
        power_CRR += _cosines(image_CRR) ** 2 / len(images_NCRR)
    pixels_F = np.bincount(near_RR.ravel())
    return np.stack([np.bincount(near_RR.ravel(), power_RR.ravel()) / pixels_F for power_RR in power_CRR])


def _one_class(images_NCRR: Images) -> Labels:
    return np.zeros((len(images_NCRR), *images_NCRR.shape[2:]), np.uint8)


def _gain(wanted: Array, own: Array) -> Array:
    usable = (own > 0) & (wanted >= 0)
    return np.clip(np.divide(wanted, own, out=np.ones_like(own), where=usable), *GAINS)


def _quantiles(images_NCRR: Images, labels_NRR: Labels, classes: int) -> Array:
    """(K, C, Q), NaN for a class that no image shows."""
    quantiles = np.full((classes, images_NCRR.shape[1], len(LEVELS)), np.nan)
    for index in np.unique(labels_NRR):
        inside = labels_NRR == index
        for channel in range(images_NCRR.shape[1]):
            quantiles[index, channel] = np.quantile(images_NCRR[:, channel][inside], LEVELS)
    return quantiles


def _filtered(images_NCRR: Images, gain_CB: Array) -> Images:
    gain_CRR = gain_CB[:, rings(images_NCRR.shape[-1])[0]]
    filtered = np.empty_like(images_NCRR)
    for sample, image in enumerate(images_NCRR):
        filtered[sample] = np.fft.ifft2(np.fft.fft2(image.astype(np.float64)) * gain_CRR).real
    return filtered


def _moved(images_NCRR: Images, labels_NRR: Labels, own_KCQ: Array, wanted_KCQ: Array) -> Images:
    moved = images_NCRR.copy()
    for index, channel in np.ndindex(own_KCQ.shape[:2]):
        own_Q, wanted_Q, inside = own_KCQ[index, channel], wanted_KCQ[index, channel], labels_NRR == index
        if np.isnan(own_Q[0] + wanted_Q[0]) or not inside.any():
            continue
        # equal quantiles, as those of air, go to the middle of where they are wanted
        values, place = np.unique(own_Q, return_inverse=True)
        targets = np.bincount(place, wanted_Q) / np.bincount(place)
        moved[:, channel][inside] = np.interp(images_NCRR[:, channel][inside], values, targets)
    return moved


def _sharpened(images_NCRR: Images, labels_NRR: Labels, gain_KC: Array) -> Images:
    mean_NCRR, _ = local_moments(images_NCRR)
    gain_NCRR = gain_KC[labels_NRR].transpose(0, 3, 1, 2)
    sharpened: Images = (mean_NCRR + gain_NCRR * (images_NCRR - mean_NCRR)).astype(np.float32)
    return sharpened
