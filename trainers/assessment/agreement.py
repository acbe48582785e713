"""How far masks lie from what a judge sees in their images, sample by sample, and beside reals that it has not seen.

Shapes: N or n masks of R x R pixels with class indices, 0 = background. Distances are of the contours in one slice.
"""

from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medsweep.trainers.assessment.masks import PIXELS, Masks
from medsweep.trainers.measures.resampling import percentile_interval, resampled
from medsweep.trainers.measures.structures import (
    Counts,
    assd_mm,
    boundary_shift_mm,
    dice,
    hd95_mm,
    surface_distances,
)

MEASURES: Final = ("dice", "hd95_px", "assd_px", "bias_px", "missed")
IN_USE, WATCHED = "in use", "watched"

BY_CONSTRUCTION: Final = (
    "its masks are what a segmenter sees (relabel), so a segmenter agrees with them by construction"
)
ALL_SEEN: Final = (
    "the judge was fitted on all real slices in use, and the fold has no validation patients; set "
    "replicates.validation, or data.patients below the training group"
)


def agreement(masks_NRR: Masks, predicted_NRR: Masks, classes: int) -> pd.DataFrame:
    """One row per mask: ``MEASURES`` of all foreground as one class, then of each class as ``class_K/NAME``.

    ``dice``: 0 to 1, NaN where neither side shows it. ``missed``: 1 where the mask shows it and no pixel of the view
    overlaps it, else 0; NaN where the mask does not show it. ``hd95_px``, ``assd_px`` (>= 0) and ``bias_px``, above 0
    where the mask is the larger one, are NaN where it is missed or not shown.
    """
    columns: dict[str, list[float]] = {}
    for label in range(classes):
        prefix = f"class_{label}/" if label else ""
        for mask_RR, seen_RR in zip(masks_NRR, predicted_NRR, strict=True):
            pair = (mask_RR == label, seen_RR == label) if label else (mask_RR > 0, seen_RR > 0)
            for name, value in zip(MEASURES, _measured(*pair), strict=True):
                columns.setdefault(prefix + name, []).append(value)
    return pd.DataFrame(columns, dtype=np.float64)


def _measured(mask_RR: NDArray[np.bool_], seen_RR: NDArray[np.bool_]) -> tuple[float, ...]:
    """``MEASURES`` of one structure of one sample."""
    counts = Counts.of(seen_RR, mask_RR)
    overlap = dice(counts) if counts.n_ref or counts.n_pred else np.nan
    if not counts.tp:
        return overlap, np.nan, np.nan, np.nan, 1.0 if counts.n_pred else np.nan
    distances = surface_distances(seen_RR, mask_RR, PIXELS)
    return overlap, hd95_mm(distances), assd_mm(distances), boundary_shift_mm(distances), 0.0


class Excess(NamedTuple):
    """Mean of a pool minus that of real slices, with its interval; infinite bounds where there is none."""

    value: float
    low: float
    high: float


def excess(
    pool_n: NDArray[np.float64],
    real_N: NDArray[np.float64],
    owners_N: NDArray[np.object_],
    draws: int,
    rng: np.random.Generator,
) -> Excess | None:
    """Mean over the pool minus mean over real slices, NaN left out; None where a side has no value.

    Percentile interval of 95 % over ``draws``, each of samples and, independently, of whole patients with replacement
    (Efron 1979). Fewer than two samples or patients have no interval.
    """
    pool_n, shown_N = pool_n[np.isfinite(pool_n)], np.isfinite(real_N)
    if not (len(pool_n) and shown_N.any()):
        return None
    by_patient = pd.Series(real_N[shown_N]).groupby(owners_N[shown_N])
    sums_P, sizes_P = by_patient.sum().to_numpy(), by_patient.size().to_numpy()
    value = float(pool_n.mean() - sums_P.sum() / sizes_P.sum())
    if min(len(pool_n), len(sums_P)) < 2:
        return Excess(value, -np.inf, np.inf)
    drawn_DP = resampled(len(sums_P), draws, rng)
    means_D = resampled(len(pool_n), draws, rng) @ pool_n / len(pool_n) - drawn_DP @ sums_P / (drawn_DP @ sizes_P)
    return Excess(value, *percentile_interval(means_D))
