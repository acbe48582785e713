"""The losses of StyleGAN2 (Karras et al. 2020), each a short function of scores, images or styles.

N samples, C channels, K classes, R pixels, L layers, D latent dimensions.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
        self._value: Tensor | None = None

    @property
    def value(self) -> Tensor:
        """The mean, without a gradient.

        Raises:
            RuntimeError: nothing has been averaged yet.
        """
        if self._value is None:
            raise RuntimeError("a running mean was read before its first update")
        return self._value

    def update(self, x: Tensor) -> None:
        """Take ``x`` into the mean."""
        new = x.detach().clone()
        self._value = new if self._value is None else torch.lerp(new, self._value, self.decay)

    def state_dict(self) -> dict[str, Any]:
        """The mean, None before the first update."""
        return {"value": self._value}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Return to what ``state_dict`` returned."""
        self._value = state["value"]


@dataclass(frozen=True)
class LecamAnchors:
    """Running means of D's scores of real and of generated pairs, with decay 0.99 (Tseng et al. 2021)."""

    real: RunningMean = field(default_factory=RunningMean)
    fake: RunningMean = field(default_factory=RunningMean)

    def update(self, real_score_N: Tensor, fake_score_N: Tensor) -> None:
        """Take the mean scores of a batch into the anchors."""
        self.real.update(real_score_N.mean())
        self.fake.update(fake_score_N.mean())

    def state_dict(self) -> dict[str, Any]:
        """Both means."""
        return {"real": self.real.state_dict(), "fake": self.fake.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Return to what ``state_dict`` returned."""
        self.real.load_state_dict(state["real"])
        self.fake.load_state_dict(state["fake"])


def lecam(real_score_N: Tensor, fake_score_N: Tensor, anchors: LecamAnchors) -> Tensor:
    """LeCam regularisation of D (Tseng et al. 2021, R_LC): E relu(D(x) - a_F)^2 + E relu(a_R - D(G(z)))^2.

    a_R and a_F are the anchors. The rectifiers are those of the published implementation: only a real score above the
    generated anchor, and a generated score below the real one, is drawn back.

    Raises:
        RuntimeError: the anchors have not been updated yet.
    """
    above_N = functional.relu(real_score_N - anchors.fake.value)
    below_N = functional.relu(anchors.real.value - fake_score_N)
    return above_N.square().mean() + below_N.square().mean()


def mismatch_loss(score_N: Tensor) -> Tensor:
    """Logistic loss of D for a real image beside a mask of another one: mean of -log(1 - sigmoid(D(x, m'))).

    The matching-aware third term of Reed et al. 2016, algorithm 1: a wrong pair counts as generated.
    """
    return functional.softplus(score_N).mean()


def segmenter_cross_entropy(logits_NKRR: Tensor, labels_NRR: Tensor) -> Tensor:
    """Mean over pixels of -log softmax(logits)[label], in nats; the labels (N, R, R) are integers below K.

    With the logits of a frozen segmenter on G(z, m) and the labels of m it tells G to draw what the mask says.
    """
    return functional.cross_entropy(logits_NKRR.float(), labels_NRR.long())


def lazy_adam(learning_rate: float, every_steps: int | None) -> tuple[float, tuple[float, float]]:
    """Learning rate and betas of an Adam that takes one regularisation step after every ``every_steps`` main steps.

    Both are corrected by c = k / (k + 1) (Karras et al. 2020, appendix B, lazy regularisation); None is c = 1.
    """
    c = 1.0 if every_steps is None else every_steps / (every_steps + 1)
    return learning_rate * c, (0.0, 0.99**c)
