"""Fine texture of two sets of images: which grey values are neighbours, local patterns, energies of wavelets.

Shapes: N images, C modalities, R resolution in pixels, L grey levels, P patterns, S scales.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr

Array = NDArray[np.float64]
Images = NDArray[np.float32]

LEVELS: Final = 16
DISTANCES: Final = (1, 2)
"""In pixels, of the two that are neighbours."""
DIRECTIONS: Final = ((0, 1), (1, 0), (1, 1), (1, -1))
RING: Final = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
"""The eight neighbours of a pixel, each one bit of its pattern."""
SCALES: Final = 3
PERCENTILES: Final = (1, 99)


def grey_window(images_NCRR: Images) -> Array:
    """Values between which the grey levels lie, (C, 2): the 1st and 99th percentile, or a unit where they coincide."""
    by_modality = images_NCRR.swapaxes(0, 1).reshape(images_NCRR.shape[1], -1)
    window_C2: Array = np.percentile(by_modality, PERCENTILES, axis=1).T.astype(np.float64)
    window_C2[:, 1] = np.where(window_C2[:, 1] > window_C2[:, 0], window_C2[:, 1], window_C2[:, 0] + 1)
    return window_C2


@dataclass(frozen=True)
class Patterns:
    """What fine texture is told from; all are means over a set, so that those of two sets have a weighted mean."""

    neighbours: Array
    """``neighbour_shares``, (C, 2, L, L)."""
    local: Array
    """``pattern_shares``, (C, P)."""
    energy: Array
    """``detail_energy``, (C, S)."""

    @classmethod
    def of(cls, images_NCRR: Images, window_C2: Array) -> "Patterns":
        """Of a set of images, with grey levels as ``grey_window`` gave them."""
        return cls(
            neighbour_shares(grey_levels(images_NCRR, window_C2)),
            pattern_shares(images_NCRR),
            detail_energy(images_NCRR),
        )

    @classmethod
    def mean(cls, sets: Sequence["Patterns"], weights: Sequence[float]) -> "Patterns":
        """Of several sets together, each with a weight."""
        parts = zip(*((one.neighbours, one.local, one.energy) for one in sets), strict=True)
        return cls(*(np.average(np.stack(part), axis=0, weights=weights) for part in parts))

    def differences(self, synthetic: "Patterns") -> dict[str, float]:
        """How synthetic images differ from these, means over modalities; what is flat on a side is left out.

        ``glcm_contrast_log_ratio``, ``glcm_homogeneity_difference``, ``glcm_correlation_difference``: see
        ``glcm_features``, synthetic over or minus real, means over the distances. ``lbp_divergence``: Jensen-Shannon
        divergence of the patterns in bits, 0 to 1. ``haar_log_ratio_S``: detail energy of scale S, synthetic over real.
        """
        real, own = glcm_features(self.neighbours), glcm_features(synthetic.neighbours)
        found = {
            "glcm_contrast_log_ratio": _log_ratio(own["contrast"], real["contrast"]),
            **{f"glcm_{name}_difference": own[name] - real[name] for name in ("homogeneity", "correlation")},
            "lbp_divergence": _divergence(synthetic.local, self.local),
            **{
                f"haar_log_ratio_{scale + 1}": _log_ratio(synthetic.energy[:, scale], self.energy[:, scale])
                for scale in range(SCALES)
            },
        }
        return {name: float(values.mean()) for name, values in found.items() if np.isfinite(values).all()}


def _log_ratio(own: Array, real: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Array = np.log(own) - np.log(real)
    return ratio


def _divergence(one_CP: Array, other_CP: Array) -> Array:
    """Jensen-Shannon divergence in bits, (C,)."""
    mean_CP = (one_CP + other_CP) / 2
    nats_C: Array = (rel_entr(one_CP, mean_CP) + rel_entr(other_CP, mean_CP)).sum(axis=1) / 2
    bits_C: Array = np.maximum(nats_C, 0) / np.log(2)
    return bits_C


def grey_levels(images_NCRR: Images, window_C2: Array) -> NDArray[np.int64]:
    """Grey levels 0 to 15 of equal width between the values of the window; what lies beyond is in the last ones."""
    low, high = (window_C2[:, end][None, :, None, None] for end in (0, 1))
    level = np.floor((images_NCRR - low) / (high - low) * LEVELS)
    return np.clip(level, 0, LEVELS - 1).astype(np.int64)


def neighbour_shares(levels_NCRR: NDArray[np.int64]) -> Array:
    """Grey-level co-occurrence matrix (Haralick et al. 1973), (C, 2, L, L): shares of pairs of levels.

    Symmetric, over four directions, for ``DISTANCES`` of 1 and 2 pixels (diagonal ones that many rows and columns).
    """
    channels = levels_NCRR.shape[1]
    shares = np.zeros((channels, len(DISTANCES), LEVELS, LEVELS))
    for channel in range(channels):
        levels_NRR = levels_NCRR[:, channel]
        for place, distance in enumerate(DISTANCES):
            for rows, columns in DIRECTIONS:
                first, second = _shifted(levels_NRR, rows * distance, columns * distance)
                pairs = np.bincount((LEVELS * first + second).ravel(), minlength=LEVELS**2)
                shares[channel, place] += pairs.reshape(LEVELS, LEVELS)
    shares += shares.swapaxes(-1, -2)
    normalised: Array = shares / shares.sum(axis=(-1, -2), keepdims=True)
    return normalised


def _shifted(values_NRR: NDArray[np.int64], rows: int, columns: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels, and those ``rows`` (from 0) and ``columns`` away from them, where both are in the image."""
    side = values_NRR.shape[-1]
    left, right = max(0, -columns), side - max(0, columns)
    first = values_NRR[..., : side - rows, left:right]
    return first, values_NRR[..., rows:, left + columns : right + columns]


def glcm_features(shares: Array) -> dict[str, Array]:
    """Of co-occurrence matrices (..., L, L), each (...): with levels i and j and shares p (Haralick et al. 1973),

    ``contrast`` sum p (i - j)^2, ``homogeneity`` sum p / (1 + (i - j)^2), ``correlation`` of i with j, in [-1, 1], NaN
    where all pixels have one level.
    """
    level = np.arange(LEVELS)
    apart = (level[:, None] - level[None, :]) ** 2
    of_level = shares.sum(axis=-1)
    mean = of_level @ level
    variance = of_level @ level**2 - mean**2
    product = (shares * np.outer(level, level)).sum(axis=(-1, -2))
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = (product - mean**2) / variance
    return {
        "contrast": (shares * apart).sum(axis=(-1, -2)),
        "homogeneity": (shares / (1 + apart)).sum(axis=(-1, -2)),
        "correlation": correlation,
    }


def pattern_shares(images_NCRR: Images) -> Array:
    """Shares of the 256 local binary patterns (Ojala et al. 1996), (C, 256): which of 8 neighbours are no darker."""
    inner = images_NCRR[..., 1:-1, 1:-1]
    side = images_NCRR.shape[-1]
    code = np.zeros_like(inner, dtype=np.int64)
    for bit, (row, column) in enumerate(RING):
        neighbour = images_NCRR[..., 1 + row : side - 1 + row, 1 + column : side - 1 + column]
        code |= (neighbour >= inner).astype(np.int64) << bit
    counts = [np.bincount(code[:, channel].ravel(), minlength=256) for channel in range(code.shape[1])]
    shares_CP: Array = np.stack(counts) / code[:, 0].size
    return shares_CP


def detail_energy(images_NCRR: Images) -> Array:
    """Mean square of the three kinds of Haar details of each of ``SCALES`` scales, the finest first, (C, S).

    The transform is orthonormal, so white noise of variance v has energy v in every scale. Odd rows and columns at the
    end are left out.
    """
    smooth, energy = images_NCRR.astype(np.float64), []
    for _ in range(SCALES):
        even_rows, even_columns = (size // 2 * 2 for size in smooth.shape[-2:])
        x = smooth[..., :even_rows, :even_columns]
        a, b, c, d = x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]
        details = (a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2
        energy.append(np.mean([np.square(detail).mean(axis=(0, 2, 3)) for detail in details], axis=0))
        smooth = (a + b + c + d) / 2
    return np.stack(energy, axis=1)
