"""The look law of a pool beside the real slices that looks are planted in, and from what size on it is no chance.

Shapes: n images, G groups of them, C modalities, K classes, F frequencies, B bins of intensity.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medsweep.trainers.measures.mask_validity import ratio
from medsweep.trainers.measures.spectra import Spectra, radial_psd
from medsweep.trainers.measures.texture import local_sd_log_ratio, local_sd_sums

BINS: Final = 256
"""Of intensity, from the least to the most of both sides."""
LEVEL: Final = 97.5
"""Percentage of the draws of real patients that a difference must pass, in one of two measures."""

Array = NDArray[np.float64]


class Labelled(NamedTuple):
    """Images with what the judge sees in them, and whose they are."""

    images: NDArray[np.float32]
    """(n, C, R, R)."""
    labels: NDArray[np.uint8]
    """(n, R, R)."""
    groups: NDArray[np.int64]
    """(n,)."""


class LookDifference(NamedTuple):
    """Of the look of two sets of images, each 0 or more."""

    look: float
    """Mean of ``radial_psd_log_error`` and of |log ratio of local SD|, in nats."""
    quantiles: float
    """Mean distance between the quantile functions of a class (Wasserstein-1), over the SD of the modality."""


class LookLaw(NamedTuple):
    """How a pool differs from real slices, and how as few real patients differ from the others."""

    found: LookDifference
    floor: LookDifference | None
    """``LEVEL`` of the draws of patients; None with fewer than two."""

    @property
    def shown(self) -> bool:
        """Whether a measure is above its floor, or the floor is not known."""
        return self.floor is None or any(one > most for one, most in zip(self.found, self.floor, strict=True))


class _Sums(NamedTuple):
    """Sums over the images of each group, from which the look of all of some groups follows."""

    images: Array
    """(G,)."""
    power: Array
    """(G, C, F)."""
    local_sd: Array
    """(G, K, C)."""
    pixels: Array
    """(G, K)."""
    values: Array
    """Pixels by intensity, (G, K, C, B)."""

    @classmethod
    def of(cls, side: Labelled, classes: int, edges_CB: Array) -> "_Sums":
        parts = [_group(side, place, classes, edges_CB) for place in np.unique(side.groups)]
        return cls(*(np.stack(part) for part in zip(*parts, strict=True)))

    def whole(self, some_G: NDArray[np.bool_] | slice = slice(None)) -> "_Sums":
        """Sums over some groups, one group."""
        return _Sums(*(part[some_G].sum(axis=0) for part in self))


def look_law(
    pool: Labelled, real: Labelled, classes: int, patients: int, *, draws: int, rng: np.random.Generator
) -> LookLaw:
    """Differences of the pool from the real slices, and those of as few ``patients`` among them from the others.

    Groups of ``real`` are patients. At most half of them are drawn.
    """
    edges_CB, sd_C = _edges(pool.images, real.images), real.images.std(axis=(0, 2, 3), dtype=np.float64)
    by_patient = _Sums.of(real, classes, edges_CB)
    widths_C = np.diff(edges_CB, axis=1)[:, 0]
    found = _difference(_Sums.of(pool, classes, edges_CB).whole(), by_patient.whole(), widths_C, sd_C)
    every = len(by_patient.images)
    if every < 2:
        return LookLaw(found, None)
    few, drawn = max(1, min(patients, every // 2)), []
    for _ in range(draws):
        some_G = np.isin(np.arange(every), rng.permutation(every)[:few])
        drawn.append(_difference(by_patient.whole(some_G), by_patient.whole(~some_G), widths_C, sd_C))
    return LookLaw(found, LookDifference(*np.percentile(drawn, LEVEL, axis=0).tolist()))


def _group(side: Labelled, place: int, classes: int, edges_CB: Array) -> tuple[Array, ...]:
    here = side.groups == place
    images, labels = side.images[here], side.labels[here]
    sd_KC, pixels_K = local_sd_sums(images, labels, classes)
    values_KCB = np.array(
        [
            [np.histogram(images[:, c][labels == k], edges_B)[0] for c, edges_B in enumerate(edges_CB)]
            for k in range(classes)
        ],
        np.float64,
    )
    count = np.float64(len(images))
    return np.asarray(count), count * radial_psd(images), sd_KC, pixels_K.astype(np.float64), values_KCB


def _edges(*sides: NDArray[np.float32]) -> Array:
    """Of the bins, (C, B + 1)."""
    least_C = np.min([side.min(axis=(0, 2, 3)) for side in sides], axis=0).astype(np.float64)
    most_C = np.max([side.max(axis=(0, 2, 3)) for side in sides], axis=0).astype(np.float64)
    return np.linspace(least_C, np.maximum(most_C, least_C + 1e-6), BINS + 1, axis=1)


def _difference(own: _Sums, other: _Sums, widths_C: Array, sd_C: Array) -> LookDifference:
    """Of the sums of two sets; classes that one of them does not show play no part."""
    power = Spectra(other.power / other.images, own.power / own.images).spectral_differences()["radial_psd_log_error"]
    local = local_sd_log_ratio(*(ratio(side.local_sd, side.pixels[:, None]) for side in (own, other)))
    below = [ratio(side.values.cumsum(axis=-1), side.pixels[:, None, None]) for side in (own, other)]
    # the area between two distribution functions is that between their quantile functions
    apart_KC = np.abs(below[0] - below[1]).sum(axis=-1) * widths_C
    usable_C = sd_C > 0
    shown_KC = apart_KC[:, usable_C] / sd_C[usable_C]
    return LookDifference((power + local) / 2, float(np.nanmean(shown_KC)) if np.isfinite(shown_KC).any() else 0.0)
