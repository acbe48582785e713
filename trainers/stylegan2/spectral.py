"""Losses on the spectrum of images, for fine detail that D, which looks at ever smaller copies, judges poorly.

N samples, C channels, R pixels, B = R // 2 bins. All spectra are computed in single precision or better.
"""

import functools

import torch
from torch import Tensor

from medsweep.trainers.measures.spectra import rings

FLOOR = 1e-6
"""Power added before a logarithm, in squared image units: below noise of SD 0.001 a spectrum counts as flat."""


def focal_frequency(fake_NCRR: Tensor, real_NCRR: Tensor, alpha: float = 1.0) -> Tensor:
    """Focal frequency loss (Jiang et al. 2021, eq. 6-9): mean of w |F_fake - F_real|^2, w ~ |F_fake - F_real|^alpha.

    F is the orthonormal DFT. The images are no pairs, so F is the mean complex spectrum of each batch (the option
    ``ave_spectrum`` of the published implementation). By linearity that is the spectrum of the batch's mean image: the
    loss aligns mean images frequency by frequency, and texture of random phase cancels out of it (``spectrum_distance``
    is for that). w is divided by its largest value per channel and passes no gradient. The batches may differ in size.
    """
    gap_CRR = torch.fft.fft2(_precise(fake_NCRR).mean(dim=0) - _precise(real_NCRR).mean(dim=0), norm="ortho")
    with torch.no_grad():
        weight_CRR = gap_CRR.abs().pow(alpha)
        largest_C11 = weight_CRR.amax(dim=(1, 2), keepdim=True)
        weight_CRR = weight_CRR / largest_C11.clamp_min(torch.finfo(weight_CRR.dtype).tiny)
    loss: Tensor = (weight_CRR * (gap_CRR.real.square() + gap_CRR.imag.square())).mean()
    return loss


def radial_log_power(x_NCRR: Tensor) -> Tensor:
    """Natural logarithm of the mean power over a batch and over rings of spatial frequency, (C, B), differentiable.

    Bin b is the ring of b + 1 cycles per side, to the nearest integer; the mean of an image and the corners beyond the
    Nyquist frequency belong to none. Each image is freed from its mean and tapered by a periodic Hann window of unit
    mean square, since slices do not wrap around. White noise of SD s is log s^2 in every bin, ``FLOOR`` aside.
    """
    x_NCRR = _precise(x_NCRR)
    size = x_NCRR.shape[-1]
    centred_NCRR = x_NCRR - x_NCRR.mean(dim=(2, 3), keepdim=True)
    spectrum = torch.fft.fft2(centred_NCRR * _window(size, x_NCRR.dtype, x_NCRR.device), norm="ortho")
    power_CP = (spectrum.real.square() + spectrum.imag.square()).mean(dim=0).flatten(1)
    ring_P, pixels_B = _rings(size, x_NCRR.device)
    sums = power_CP.new_zeros(len(power_CP), size // 2 + 2).index_add(1, ring_P, power_CP)
    log_power_CB: Tensor = (sums[:, 1:-1] / pixels_B + FLOOR).log()
    return log_power_CB


def spectrum_distance(fake_NCRR: Tensor, real_log_power_CB: Tensor) -> Tensor:
    """Mean over channels and bins of the squared difference of radial log power spectra."""
    return (radial_log_power(fake_NCRR) - real_log_power_CB).square().mean()


def _precise(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


@functools.cache
def _window(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Separable Hann window (R, R) with a mean square of 1."""
    hann_R = torch.hann_window(size, periodic=True, dtype=torch.float64)
    window = torch.outer(hann_R, hann_R)
    return (window / window.square().mean().sqrt()).to(device, dtype)


@functools.cache
def _rings(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Ring of every DFT coefficient (R * R), with one last ring for the corners; coefficients per ring 1 to R // 2."""
    ring_RR, pixels_B = rings(size)
    ring_P = torch.from_numpy(ring_RR).clamp_max(size // 2 + 1).flatten()
    return ring_P.to(device), torch.from_numpy(pixels_B[1 : size // 2 + 1]).to(device)
