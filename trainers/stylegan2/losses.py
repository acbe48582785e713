"""The losses of StyleGAN2 (Karras et al. 2020) and optional ones, each a short function of scores, images or styles.

N samples, C channels, R pixels, L layers, D latent dimensions, B = R // 2 rings of spatial frequency. Terms on spectra
are for fine detail, which D, looking at ever smaller copies, judges poorly. They are computed in single precision or
better.
"""

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional

from medsweep.trainers.measures.spectra import rings
from medsweep.trainers.training.accumulation import Random, normal

FLOOR = 1e-6
"""Power added before a logarithm, in squared image units: below noise of SD 0.001 a spectrum counts as flat."""


def generator_loss(fake_score_N: Tensor) -> Tensor:
    """Non-saturating logistic loss of G (Goodfellow et al. 2014, section 3): mean of -log sigmoid(D(G(z)))."""
    return functional.softplus(-fake_score_N).mean()


def discriminator_loss(real_score_N: Tensor, fake_score_N: Tensor) -> Tensor:
    """Logistic loss of D (Goodfellow et al. 2014, eq. 1): mean of -log sigmoid(D(x)) - log(1 - sigmoid(D(G(z))))."""
    return functional.softplus(-real_score_N).mean() + functional.softplus(fake_score_N).mean()


def relativistic_loss(higher_score_N: Tensor, lower_score_N: Tensor) -> Tensor:
    """Mean of -log sigmoid(a - b) over pairs of scores, of which a should be the higher one.

    For D, a is the score of a real pair and b that of a generated one; for G it is the other way round
    (Jolicoeur-Martineau 2019, RpGAN; Huang et al. 2024, section 2).
    """
    return functional.softplus(lower_score_N - higher_score_N).mean()


def slope_penalties(score_N: Tensor, x_NCHW: Tensor, gamma_C: Tensor) -> Tensor:
    """sum_c gamma_c/2 |dD/dx_nc|^2 for each sample, with one weight per channel, (N,).

    Its mean over real images is R1, and over generated ones R2 (Mescheder et al. 2018, eq. 9 and 10). ``x_NCHW`` are
    the images before augmentation, which the scores must have been computed from. The result can be differentiated
    again with respect to the weights of D.
    """
    (slope_NCHW,) = torch.autograd.grad(score_N.sum(), x_NCHW, create_graph=True)
    return (slope_NCHW.square().sum(dim=(2, 3)) * (gamma_C / 2)).sum(dim=1)


def path_lengths(images_NCHW: Tensor, styles_NLD: Tensor, random: Random) -> Tensor:
    """|J_w^T y| per sample for random images y (Karras et al. 2020, eq. 4), root mean square over layers; (N,).

    y has unit-variance pixels divided by sqrt(H W), so that lengths do not depend on the resolution.
    """
    y_NCHW = normal(images_NCHW.shape, random, images_NCHW.device)
    y_NCHW = y_NCHW / math.sqrt(images_NCHW.shape[2] * images_NCHW.shape[3])
    (slope_NLD,) = torch.autograd.grad((images_NCHW * y_NCHW).sum(), styles_NLD, create_graph=True)
    return slope_NLD.square().sum(dim=2).mean(dim=1).sqrt()


def path_length_penalty(lengths_N: Tensor, mean_length: Tensor) -> Tensor:
    """Squared deviation from the running mean length a (Karras et al. 2020, eq. 4): E (|J_w^T y| - a)^2."""
    return (lengths_N - mean_length).square().mean()


def path_length_target(mean_length: Tensor, batch_mean: Tensor, weight: float) -> Tensor:
    """b = a + weight (m - a), which takes the place of the running mean a in the penalty; without a gradient.

    a was moved by ``weight`` towards the mean length m of this very batch, and the published implementation follows
    the gradient through that too. E 2 (l - a) (dl - weight dm) is E 2 (l - b) dl, so the constant b gives the same one.
    """
    return torch.lerp(mean_length, batch_mean, weight).detach()


class RunningMean:
    """Exponential mean m <- decay m + (1 - decay) x of tensors of one shape; the first x is taken as it is."""

    def __init__(self, decay: float = 0.99):
        self.decay = decay
        self.value: Tensor | None = None
        """None before the first update; all that a checkpoint has to hold."""

    def update(self, x: Tensor) -> Tensor:
        """Take ``x`` into the mean and return the mean, without a gradient."""
        new = x.detach().clone()
        if self.value is None:
            self.value = new
        else:  # in place, so that a graph finds it where it was
            self.value.copy_(torch.lerp(new, self.value, self.decay))
        return self.value


def lecam(real_score_N: Tensor, fake_score_N: Tensor, anchors_2: Tensor) -> Tensor:
    """LeCam regularisation of D (Tseng et al. 2021, R_LC): E relu(D(x) - a_F)^2 + E relu(a_R - D(G(z)))^2.

    The anchors (a_R, a_F) are running means, with decay 0.99, of D's mean score of real and of generated pairs. The
    rectifiers are those of the published implementation: only a real score above the generated anchor, and a generated
    score below the real one, is drawn back.
    """
    above_N = functional.relu(real_score_N - anchors_2[1])
    below_N = functional.relu(anchors_2[0] - fake_score_N)
    return above_N.square().mean() + below_N.square().mean()


def mismatch_loss(score_N: Tensor) -> Tensor:
    """Logistic loss of D for a real image beside a mask of another one: mean of -log(1 - sigmoid(D(x, m'))).

    The matching-aware third term of Reed et al. 2016, algorithm 1: a wrong pair counts as generated.
    """
    return functional.softplus(score_N).mean()


def lazy_adam(learning_rate: float, every_steps: int | None) -> tuple[float, tuple[float, float]]:
    """Learning rate and betas of an Adam that takes one regularisation step after every ``every_steps`` main steps.

    Both are corrected by c = k / (k + 1) (Karras et al. 2020, appendix B, lazy regularisation); None is c = 1.
    """
    c = 1.0 if every_steps is None else every_steps / (every_steps + 1)
    return learning_rate * c, (0.0, 0.99**c)


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
