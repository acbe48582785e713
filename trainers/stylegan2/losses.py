"""The losses of StyleGAN2 (Karras et al. 2020), each a short function of scores, images or styles.

N samples, C channels, K classes, R pixels, L layers, D latent dimensions.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from medsweep.trainers.training.accumulation import Random, normal


def generator_loss(fake_score_N: Tensor) -> Tensor:
    """Non-saturating logistic loss of G (Goodfellow et al. 2014, section 3): mean of -log sigmoid(D(G(z)))."""
    return functional.softplus(-fake_score_N).mean()


def discriminator_loss(real_score_N: Tensor, fake_score_N: Tensor) -> Tensor:
    """Logistic loss of D (Goodfellow et al. 2014, eq. 1): mean of -log sigmoid(D(x)) - log(1 - sigmoid(D(G(z))))."""
    return functional.softplus(-real_score_N).mean() + functional.softplus(fake_score_N).mean()


def r1_penalty(real_score_N: Tensor, real_NCHW: Tensor, gamma_C: Tensor) -> Tensor:
    """R1 (Mescheder et al. 2018, eq. 9) with one weight per channel: mean_n sum_c gamma_c/2 |dD/dx_nc|^2.

    ``real_NCHW`` is the image before augmentation, which the score must have been computed from. The result can be
    differentiated again with respect to the weights of D.
    """
    (slope_NCHW,) = torch.autograd.grad(real_score_N.sum(), real_NCHW, create_graph=True)
    return (slope_NCHW.square().sum(dim=(2, 3)) * (gamma_C / 2)).sum(dim=1).mean()


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


class RunningMean:
    """Exponential mean m <- decay m + (1 - decay) x of tensors of one shape; the first x is taken as it is."""

    def __init__(self, decay: float = 0.99):
        self.decay = decay
        self.value: Tensor | None = None
        """None before the first update; all that a checkpoint has to hold."""

    def update(self, x: Tensor) -> Tensor:
        """Take ``x`` into the mean and return the mean, without a gradient."""
        new = x.detach().clone()
        self.value = new if self.value is None else torch.lerp(new, self.value, self.decay)
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
