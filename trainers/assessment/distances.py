"""Distances between two sets of images: Fréchet distance of features, and radial power spectra.

Shapes: N and M samples, D features, C modalities, R resolution in pixels, F frequency bins.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

HIGH = 0.25
"""Share of the Nyquist frequency above which a frequency counts as high."""


def frechet(a_ND: NDArray[np.floating], b_MD: NDArray[np.floating]) -> float:
    """Squared Fréchet distance of the Gaussians fitted to two feature sets (Heusel et al. 2017, eq. 6).

    With A, B the centred features over sqrt(n - 1), the trace term tr (S_a S_b)^(1/2) is the nuclear norm of A B',
    so no matrix root is taken and covariances without full rank (N <= D) are exact.

    Raises:
        ValueError: fewer than two samples in a set.
    """
    if min(len(a_ND), len(b_MD)) < 2:
        raise ValueError(f"a covariance needs two samples, got {len(a_ND)} and {len(b_MD)}")
    mean_a, mean_b = a_ND.mean(axis=0, dtype=np.float64), b_MD.mean(axis=0, dtype=np.float64)
    root_a, root_b = _covariance_root(a_ND, mean_a), _covariance_root(b_MD, mean_b)
    cross = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    shift = np.square(mean_a - mean_b).sum()
    return float(max(0.0, shift + np.square(root_a).sum() + np.square(root_b).sum() - 2 * cross))


def _covariance_root(x_ND: NDArray[np.floating], mean_D: Array) -> Array:
    """R with R' R = covariance, at most (D, D): the triangle of a QR keeps every inner product."""
    root: Array = np.linalg.qr((x_ND - mean_D) / np.sqrt(len(x_ND) - 1), mode="r")
    return root


def radial_psd(images_NCRR: NDArray[np.float32]) -> Array:
    """Power per modality and radial frequency, averaged over images and directions, (C, F).

    Bin f holds the frequencies that round to f cycles per image, f = 0 ... R // 2; corners beyond are left out.
    """
    side = images_NCRR.shape[-1]
    power_CRR = np.zeros(images_NCRR.shape[1:])
    for image in images_NCRR:
        power_CRR += np.square(np.abs(np.fft.fft2(image.astype(np.float64)))) / len(images_NCRR)
    cycles = np.fft.fftfreq(side) * side
    radius = np.rint(np.hypot(cycles[:, None], cycles)).astype(int)
    bins = np.arange(side // 2 + 1)
    return np.stack([power_CRR[:, radius == f].mean(axis=1) for f in bins], axis=1)


def radial_psd_log_error(real_CF: Array, synthetic_CF: Array) -> float:
    """Mean of abs(log P_synthetic - log P_real) over modalities and high frequencies, in nats.

    Powers below a trillionth of the real total count as that much, so that an empty bin stays finite.
    """
    first = int(np.floor(HIGH * (real_CF.shape[1] - 1))) + 1
    floor_C1 = 1e-12 * real_CF.sum(axis=1, keepdims=True) + np.finfo(float).tiny
    log_ratio = np.log(np.maximum(synthetic_CF, floor_C1)) - np.log(np.maximum(real_CF, floor_C1))
    return float(np.abs(log_ratio[:, first:]).mean())
