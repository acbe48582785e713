"""Texture of two sets of images: radial power spectra and Laplacians.

Shapes: N images, C modalities, R resolution in pixels, F frequency bins, B rings of frequency. "Log" is natural.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.fft import rfft2

Array = NDArray[np.float64]

HIGH = 0.25
"""Share of the Nyquist frequency above which a frequency counts as high."""


def ring_power(image_CRR: NDArray[np.float32]) -> Array:
    """Mean power of each ring of spatial frequency, (C, B): ring b holds b cycles per side, to the nearest integer.

    The DFT is orthonormal and has no window, so white noise of SD s has the power s^2 in every ring. The corners beyond
    the Nyquist frequency have rings of their own.
    """
    ring_RR, pixels_B = rings(image_CRR.shape[-1])
    power_CRR = np.abs(np.fft.fft2(image_CRR.astype(np.float64), norm="ortho")) ** 2
    return np.stack([np.bincount(ring_RR.ravel(), plane.ravel()) / pixels_B for plane in power_CRR])


def mean_power(images_NCRR: NDArray[np.float32]) -> Array:
    """Mean over images of ``ring_power``, (C, B)."""
    power_CB: Array = np.mean([ring_power(image) for image in images_NCRR], axis=0)
    return power_CB


@functools.cache
def rings(size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ring of every DFT coefficient (R, R), and coefficients per ring (B)."""
    cycles_R = np.fft.fftfreq(size, d=1 / size)
    ring_RR = np.rint(np.hypot(cycles_R[:, None], cycles_R[None, :])).astype(np.int64)
    return ring_RR, np.bincount(ring_RR.ravel())


def radial_psd(images_NCRR: NDArray[np.float32]) -> Array:
    """Power of the plain DFT per modality and radial frequency, averaged over images and directions, (C, F).

    Bin f holds the frequencies that round to f cycles per image, f = 0 ... R // 2; corners beyond are left out.
    """
    side = images_NCRR.shape[-1]
    bins, (ring_RR, pixels_B) = side // 2 + 1, rings(side)
    # the DFT of a real image is symmetric, so half of it is worked out and all but its edges count twice
    weight_F = np.where((np.arange(bins) == 0) | (2 * np.arange(bins) == side), 1, 2)
    power_CRF = np.square(np.abs(rfft2(images_NCRR.astype(np.float64)))).mean(axis=0) * weight_F
    ring_P = ring_RR[:, :bins].ravel()
    return np.stack([(np.bincount(ring_P, plane.ravel()) / pixels_B)[:bins] for plane in power_CRF])


@dataclass(frozen=True)
class Spectra:
    """Mean radial spectra of real and of synthetic images, (C, F) each."""

    real: Array
    synthetic: Array

    def table(self, modalities: Sequence[str]) -> pd.DataFrame:
        """One row per modality and frequency: modality, cycles (per image), real, synthetic."""
        rows = [
            (name, cycles, self.real[channel, cycles], self.synthetic[channel, cycles])
            for channel, name in enumerate(modalities)
            for cycles in range(self.real.shape[1])
        ]
        return pd.DataFrame(rows, columns=["modality", "cycles", "real", "synthetic"])

    def spectral_differences(self) -> dict[str, float]:
        """Differences of log P, synthetic minus real, as means over modalities (Durall et al. 2020).

        ``radial_psd_log_error``: without their sign, over high frequencies, in nats; ``high_frequency_log_error``: with
        it, below 0 is too smooth; ``spectral_slope_difference``: slope over log f, by least squares over all bins but
        f = 0, below 0 where power falls off faster than in real images.
        """
        bins = self.real.shape[1]
        # so that an empty bin stays finite
        floor_C1 = 1e-12 * self.real.sum(axis=1, keepdims=True) + np.finfo(float).tiny
        ratio_CF = np.log(np.maximum(self.synthetic, floor_C1)) - np.log(np.maximum(self.real, floor_C1))
        high_CF = ratio_CF[:, int(HIGH * (bins - 1)) + 1 :]
        slopes_C = np.polynomial.polynomial.polyfit(np.log(np.arange(1, bins)), ratio_CF[:, 1:].T, 1)[1]
        return {
            "radial_psd_log_error": float(np.abs(high_CF).mean()),
            "high_frequency_log_error": float(high_CF.mean()),
            "spectral_slope_difference": float(slopes_C.mean()),
        }


def laplacian_variance(images_NCRR: NDArray[np.float32]) -> Array:
    """Mean square of the five-point Laplacian, per modality, (C,); its mean over an image is all but zero."""
    x = images_NCRR.astype(np.float64)
    edges = x[..., :-2, 1:-1] + x[..., 2:, 1:-1] + x[..., 1:-1, :-2] + x[..., 1:-1, 2:]
    variance_C: Array = np.square(edges - 4 * x[..., 1:-1, 1:-1]).mean(axis=(0, 2, 3))
    return variance_C


def laplacian_ratio(real_C: Array, synthetic_C: Array) -> float | None:
    """Laplacian variance of synthetic over real images, mean over modalities: below 1 is too smooth, above too rough.

    None where a modality of the real images is flat.
    """
    return float((synthetic_C / real_C).mean()) if (real_C > 0).all() else None
