"""How unlike the masks of other people a mask is, sample by sample.

Shapes: n masks of R x R pixels with class indices, 0 = background, N real masks of known people, D descriptors.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medsweep.trainers.assessment.masks import CHUNK, DESCRIPTORS, describe, hd95_to_nearest

NOBODY: Final = ""
"""Owner of a mask that was drawn by a generator."""
SHRUNKEN: Final = 0.1
"""Share of the identity in the covariance of descriptors, without which a rare direction decides."""
LEAST: Final = 10
"""Real masks that show a class, from which its descriptors have a density."""

Array = NDArray[np.float64]
Masks = NDArray[np.uint8]


def abnormality(
    masks_nRR: Masks, owners_n: Sequence[str] | NDArray[np.object_], real_NRR: Masks, owners_N: NDArray[np.object_],
    classes: int,
) -> pd.DataFrame:  # fmt: skip
    """One row per mask, about its foreground, then about each class as ``class_K/NAME``.

    ``area_px``: pixels. ``nearest_px``: HD95 to the nearest real mask of other people, both centred, >= 0; NaN for an
    empty mask or where there are no others. ``log_density``: natural log of the density of ``DESCRIPTORS``, in units
    of their SD over real masks, the lowest over the classes that the mask shows; see ``log_densities``.
    ``class_K/z_NAME``: descriptor minus the mean over real masks, over their SD; NaN where the class is absent, or the
    SD is 0.
    """
    real, own = describe(real_NRR, classes), describe(masks_nRR, classes)
    tables = [pd.DataFrame({"area_px": (masks_nRR > 0).sum(axis=(1, 2)).astype(np.float64)})]
    tables[0]["nearest_px"] = _nearest_of_others(masks_nRR, owners_n, real_NRR, owners_N)
    densities = []
    for label in range(1, classes):
        z_nD, real_ND = _standardised(own, real, label)
        densities.append(log_densities(z_nD, real_ND))
        columns = {f"class_{label}/z_{name}": z for name, z in zip(DESCRIPTORS, z_nD.T, strict=True)}
        area_n = (masks_nRR == label).sum(axis=(1, 2)).astype(np.float64)
        tables.append(pd.DataFrame({f"class_{label}/area_px": area_n, **columns}))
    # a class that is absent has no density
    tables[0]["log_density"] = pd.DataFrame(np.stack(densities, axis=1)).min(axis=1, skipna=True).to_numpy()
    return pd.concat(tables, axis=1)


def _nearest_of_others(
    masks_nRR: Masks, owners_n: Sequence[str] | NDArray[np.object_], real_NRR: Masks, owners_N: NDArray[np.object_]
) -> Array:
    """``nearest_px`` of each mask."""
    names = {name: number for number, name in enumerate(sorted({*map(str, owners_N)}))}
    real_owner_N = np.array([names[str(owner)] for owner in owners_N], np.int64)
    owner_n = np.array([names.get(str(owner), -1) for owner in owners_n], np.int64)
    shown_n, shown_N = masks_nRR.any(axis=(1, 2)), real_NRR.any(axis=(1, 2))
    nearest_n = np.full(len(masks_nRR), np.nan)
    for rows in np.array_split(np.flatnonzero(shown_n), -(-int(shown_n.sum()) // CHUNK) or 1):
        nearest_n[rows] = hd95_to_nearest(masks_nRR[rows], owner_n[rows], real_NRR[shown_N], real_owner_N[shown_N])
    return nearest_n


def _standardised(own: pd.DataFrame, real: pd.DataFrame, label: int) -> tuple[Array, Array]:
    """Descriptors of one class of both sides in units of the real SD about the real mean, (n, D) and (N, D)."""
    own_nD, real_ND = (
        table.loc[table["class"] == label, list(DESCRIPTORS)].to_numpy(np.float64) for table in (own, real)
    )
    # a class that is absent still has an area, of 0, which is no shape
    own_nD, real_ND = (np.where(np.isnan(x).any(axis=1, keepdims=True), np.nan, x) for x in (own_nD, real_ND))
    shown_ND = real_ND[~np.isnan(real_ND).any(axis=1)]
    if len(shown_ND) < 2:
        return np.full(own_nD.shape, np.nan), np.empty((0, len(DESCRIPTORS)))
    mean_D, sd_D = shown_ND.mean(axis=0), shown_ND.std(axis=0, ddof=1)
    sd_D[sd_D <= 1e-9 * np.maximum(np.abs(mean_D), 1.0)] = np.nan
    return (own_nD - mean_D) / sd_D, (shown_ND - mean_D) / sd_D


def log_densities(z_nD: Array, real_ND: Array) -> Array:
    """Log density of each row under a Gaussian with the covariance of the real rows, (n,); NaN for a row with NaN.

    The covariance is (1 - s) S + s I, s = ``SHRUNKEN`` (Ledoit and Wolf 2004, with a fixed weight). Columns without
    spread are left out; NaN for all with fewer than ``LEAST`` real rows.
    """
    told_D = ~np.isnan(real_ND).any(axis=0)
    if len(real_ND) < LEAST or not told_D.any():
        return np.full(len(z_nD), np.nan)
    z_nD, real_ND = z_nD[:, told_D], real_ND[:, told_D]
    size = z_nD.shape[1]
    covariance_DD = (1 - SHRUNKEN) * np.atleast_2d(np.cov(real_ND, rowvar=False)) + SHRUNKEN * np.eye(size)
    distance_n = np.einsum("nd,de,ne->n", z_nD, np.linalg.inv(covariance_DD), z_nD)
    density_n: Array = -0.5 * (distance_n + np.linalg.slogdet(covariance_DD)[1] + size * np.log(2 * np.pi))
    return density_n
