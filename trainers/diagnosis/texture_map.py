"""Whether pixels whose surroundings have a texture unlike that of reals are the ones that a network gets wrong.

Shapes: N samples, C modalities, R resolution in pixels, S strata, M pixels kept of each stratum of a sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from medsweep.trainers.diagnosis.losses import Row, boundary_distance, pixel_entropy
from medsweep.trainers.diagnosis.probes import Slices
from medsweep.trainers.measures.structures import BAND_PX
from medsweep.trainers.measures.texture import local_moments
from medsweep.trainers.segmentation.network import predict

EDGES_PX: Final = (BAND_PX, 3.0, 6.0, 12.0)
"""Distances from the foreground's boundary at which one stratum of a class ends and the next begins."""
FLAT: Final = 0.01
"""Local SD below which a window counts as flat, on the scale of prepared slices."""
KEPT: Final = 256
"""Pixels of a stratum of a sample that are looked at, evenly spread; each stands for as many as were left out."""
SHUFFLES: Final = 200

Array = NDArray[np.float64]
Strata = NDArray[np.int64]


@dataclass(frozen=True)
class TextureMap:
    """Where samples of a pool have a texture unlike that of reals, whatever network sees them."""

    pool: Slices
    strata: Strata
    """``strata_of``, (N, R, R)."""
    error: Array
    """``texture_error``, (N, R, R)."""

    @classmethod
    def of(cls, pool: Slices, real: Slices, classes: int) -> "TextureMap":
        """Of samples beside real slices."""
        strata_NRR = strata_of(pool.masks, classes)
        return cls(pool, strata_NRR, texture_error(pool.images, strata_NRR, real, classes))


def texture_rows(model: nn.Module, texture: TextureMap, classes: Sequence[str], rng: np.random.Generator) -> list[Row]:
    """``texture_slope`` with the quantiles of its null and p, of all pixels, boundary, rest and each class.

    The slope of per-pixel cross-entropy on ``texture_error``, in nats per IQR, inside strata of class and distance.
    """
    pool = texture.pool
    entropy_NRR = pixel_entropy(
        predict(model, torch.from_numpy(pool.images), whole_batches=True).double().numpy(), pool.masks
    )
    bands = len(EDGES_PX) + 1
    count = bands * len(classes)
    groups = {"all": np.arange(count), "boundary": np.arange(0, count, bands)}
    groups["rest"] = np.setdiff1d(groups["all"], groups["boundary"])
    groups |= {name: np.arange(bands * label, bands * (label + 1)) for label, name in enumerate(classes)}
    kept = Kept.of(entropy_NRR, texture.error, texture.strata, count)
    rows: list[Row] = []
    for group, strata in groups.items():
        found = kept.only(strata).slope_and_null(rng)
        if found is not None:
            slope, null_K = found
            low, high = np.quantile(null_K, [0.025, 0.975])
            away_K, away = np.abs(null_K - null_K.mean()), abs(slope - null_K.mean())
            p = (1 + np.count_nonzero(away_K >= away)) / (1 + len(null_K))
            told = {"": slope, "_null_low": low, "_null_high": high, "_p": p}
            rows += [(f"texture_slope{end}", group, float(value)) for end, value in told.items()]
    return rows


def strata_of(masks_NRR: NDArray[np.uint8], classes: int) -> Strata:
    """Stratum of each pixel, class by class from the boundary outwards; see ``EDGES_PX``."""
    far_NRR = np.digitize(np.abs(boundary_distance(masks_NRR)), EDGES_PX, right=True)
    strata_NRR: Strata = masks_NRR.astype(np.int64) * (len(EDGES_PX) + 1) + far_NRR
    return strata_NRR


def texture_error(images_NCRR: NDArray[np.float32], strata_NRR: Strata, real: Slices, classes: int) -> Array:
    """|log local SD - its median over reals of the stratum| over their interquartile range, mean over modalities.

    (N, R, R), >= 0. NaN where the reals of a stratum do not vary or are missing.
    """
    real_strata = strata_of(real.masks, classes)
    own, theirs = _log_sd(images_NCRR), _log_sd(real.images)
    count = (len(EDGES_PX) + 1) * classes
    channels = own.shape[1]
    quartiles = np.full((3, count, channels), np.nan)
    for stratum in np.unique(real_strata):
        at = real_strata == stratum
        for channel in range(channels):
            quartiles[:, stratum, channel] = np.quantile(theirs[:, channel][at], [0.25, 0.5, 0.75])
    iqr_SC = quartiles[2] - quartiles[0]
    iqr_SC[iqr_SC == 0] = np.nan
    errors = [np.abs(own[:, c] - quartiles[1, :, c][strata_NRR]) / iqr_SC[:, c][strata_NRR] for c in range(channels)]
    shown = np.sum([np.isfinite(error) for error in errors], axis=0)
    total = np.sum([np.nan_to_num(error) for error in errors], axis=0)
    return np.where(shown > 0, total / np.maximum(shown, 1), np.nan)


def _log_sd(images_NCRR: NDArray[np.float32]) -> Array:
    log_NCRR: Array = np.log(np.maximum(local_moments(images_NCRR)[1], FLAT))
    return log_NCRR


@dataclass(frozen=True)
class Kept:
    """Pixels of each stratum of each sample."""

    entropy: Array
    """(N, S, M)."""
    error: Array
    """(N, S, M)."""
    weight: Array
    """Pixels that each one stands for, (N, S); 0 where a sample does not show a stratum."""

    @classmethod
    def of(cls, entropy_NRR: Array, error_NRR: Array, strata_NRR: Strata, count: int) -> "Kept":
        """``KEPT`` of each, in the order of rows, some of them twice where there are fewer."""
        samples = len(entropy_NRR)
        entropy, error = (np.zeros((samples, count, KEPT)) for _ in range(2))
        weight = np.zeros((samples, count))
        for sample in range(samples):
            defined_RR = np.isfinite(error_NRR[sample])
            for stratum in np.unique(strata_NRR[sample]):
                pixels = np.flatnonzero((strata_NRR[sample] == stratum) & defined_RR)
                if pixels.size:
                    chosen = pixels[np.arange(KEPT) * pixels.size // KEPT]
                    entropy[sample, stratum] = entropy_NRR[sample].ravel()[chosen]
                    error[sample, stratum] = error_NRR[sample].ravel()[chosen]
                    weight[sample, stratum] = pixels.size / KEPT
        return cls(entropy, error, weight)

    def only(self, strata: Strata) -> "Kept":
        """Those of some strata."""
        return Kept(self.entropy[:, strata], self.error[:, strata], self.weight[:, strata])

    def slope_and_null(self, rng: np.random.Generator) -> tuple[float, Array] | None:
        """Slope inside strata, and the same for ``SHUFFLES`` exchanges of errors between samples.

        In each exchange a sample gets the errors of the same stratum of another one, in their order. So errors stay as
        alike inside a sample as they are, and what place in the image explains stays in the null. None where errors do
        not vary or fewer than two samples are there.
        """
        shown_NS = self.weight > 0
        slope = _slope(self.entropy, self.error, self.weight)
        if slope is None or shown_NS.any(axis=1).sum() < 2:
            return None
        null = []
        for _ in range(SHUFFLES):
            source_NS = _next_of(shown_NS, rng)
            exchanged = np.take_along_axis(self.error, source_NS[:, :, None], axis=0)
            null.append(_slope(self.entropy, exchanged, self.weight) or 0.0)
        return slope, np.array(null)


def _next_of(shown_NS: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
    """For each sample and stratum the next sample that shows it, round a circle of samples in random order."""
    order = rng.permutation(len(shown_NS))
    source_NS = np.tile(np.arange(len(shown_NS))[:, None], shown_NS.shape[1])
    for stratum in range(shown_NS.shape[1]):
        members = order[shown_NS[order, stratum]]
        source_NS[members, stratum] = np.roll(members, -1)
    return source_NS


def _slope(entropy_NSM: Array, error_NSM: Array, weight_NS: Array) -> float | None:
    """Least squares with an intercept per stratum, weighted; None where errors do not vary inside strata."""
    weight_NS1 = weight_NS[:, :, None]
    total_S = np.maximum(weight_NS.sum(axis=0) * error_NSM.shape[2], np.finfo(float).tiny)[None, :, None]
    mean_S = (weight_NS1 * error_NSM).sum(axis=(0, 2), keepdims=True) / total_S
    around = error_NSM - mean_S
    spread = float((weight_NS1 * around**2).sum())
    return float((weight_NS1 * around * entropy_NSM).sum()) / spread if spread > 0 else None
