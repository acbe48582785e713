"""What real patients have among themselves: the values that those of a pool are read beside.

Shapes: N real slices, n those of a patient, C modalities, R resolution in pixels, D features, P patients.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from medsweep.trainers.measures.neighbours import DENSITY_NEIGHBOUR, prdc
from medsweep.trainers.measures.spectra import Spectra, laplacian_ratio, laplacian_variance, radial_psd

HALF: Final = 1000
"""Slices of each half at most where all pairs are held in memory."""


def neighbours_between(
    x_ND: NDArray[np.floating], halves: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]
) -> dict[str, float]:
    """Mean ``prdc`` from one half of the patients to the other, over halvings; empty where a half is too small."""
    counts = [min(len(a), len(b), HALF) for a, b in halves]
    if min(counts) <= DENSITY_NEIGHBOUR:
        return {}
    shares = [prdc(x_ND[a[:n]], x_ND[b[:n]]) for (a, b), n in zip(halves, counts, strict=True)]
    return {name: float(np.mean([one[name] for one in shares])) for name in shares[0]}


def halves_apart(images: Iterable[NDArray[np.float32]], rng: np.random.Generator, halvings: int) -> dict[str, float]:
    """Mean size of each difference of ``Spectra`` and of the Laplacian ratio from 1, between halves of the patients.

    ``images`` are those of each patient, (n, C, R, R), read one patient at a time; every slice counts the same. Empty
    with fewer than two patients.
    """
    by_patient = [(radial_psd(x), laplacian_variance(x), float(len(x))) for x in images]
    if len(by_patient) < 2:
        return {}
    power_PCF, laplacian_PC, slices_P = (np.stack(one) for one in zip(*by_patient, strict=True))
    sizes = []
    for _ in range(halvings):
        shuffled = rng.permutation(len(by_patient))
        halves = shuffled[: len(by_patient) // 2], shuffled[len(by_patient) // 2 :]
        power = [np.average(power_PCF[half], axis=0, weights=slices_P[half]) for half in halves]
        ratio = laplacian_ratio(*(np.average(laplacian_PC[half], axis=0, weights=slices_P[half]) for half in halves))
        sizes.append(Spectra(*power).spectral_differences() | ({} if ratio is None else {"laplacian_ratio": ratio - 1}))
    return {name: float(np.mean([abs(one[name]) for one in sizes if name in one])) for name in sizes[0]}
