"""How weights move: the loss, the optimiser, its learning rate at every step, and the running average of the weights.

Shapes: N images, K classes, R resolution in pixels.
"""

import copy
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from medsweep.data.ignored import IGNORED
from medsweep.trainers.segmentation.config import SegmentConfig
from medsweep.trainers.training.transfer import upload

Loss = Callable[[Tensor, Tensor], Tensor]

MOMENTUM = 0.99
POLY_POWER = 0.9


def make_loss(
    config: SegmentConfig, pixels_K: NDArray[np.int64], device: torch.device, *, ignores: bool = False
) -> Loss:
    """A function from logits (N, K, R, R) and labels (N, R, R) to a scalar.

    Dice (Milletari 2016) is taken per foreground class over the whole batch, since slices without foreground have none
    of their own; ``dice-ce`` adds the cross-entropy, ``dice-focal`` the focal loss with gamma 2 (Lin 2017), both over
    all classes. Class weights multiply the classes of both parts; they come from ``pixels_K``, the pixels of each class
    in the real training slices. Where the dataset ``ignores`` voxels, the loss is that of all other pixels of the
    batch, and 0 where there are none.
    """
    loss = _loss_of_all(config, pixels_K, device)
    return _of_labelled(loss) if ignores else loss


def _of_labelled(loss: Loss) -> Loss:
    """``loss`` of the pixels that are labelled.

    Every loss here is one of the pixels of a batch, wherever they lie. So those that are labelled are put in one row.
    """

    def of_labelled(logits_NKRR: Tensor, labels_NRR: Tensor) -> Tensor:
        labelled_NRR = labels_NRR != IGNORED
        logits_PK = logits_NKRR.permute(0, 2, 3, 1)[labelled_NRR]
        if len(logits_PK) == 0:
            return logits_NKRR.sum() * 0
        return loss(logits_PK.T[None, :, :, None], labels_NRR[labelled_NRR][None, :, None])

    return of_labelled


def _loss_of_all(config: SegmentConfig, pixels_K: NDArray[np.int64], device: torch.device) -> Loss:
    from monai.losses import DiceCELoss, DiceLoss, FocalLoss

    weighted = config.class_weights == "inverse-frequency"
    weight = torch.tensor(inverse_frequency(pixels_K), dtype=torch.float32, device=device) if weighted else None
    shared = {"include_background": False, "to_onehot_y": True, "softmax": True, "batch": True}
    if config.loss == "dice-ce":
        both = DiceCELoss(**shared, weight=weight)
        return lambda logits, labels: both(logits, labels[:, None])
    dice: nn.Module = DiceLoss(**shared, weight=None if weight is None else weight[1:]).to(device)
    if config.loss == "dice":
        return lambda logits, labels: dice(logits, labels[:, None])
    # MONAI's DiceFocalLoss would take the softmax after it drops the background, which is constant with two classes.
    focal: nn.Module = FocalLoss(to_onehot_y=True, use_softmax=True, weight=weight).to(device)
    return lambda logits, labels: dice(logits, labels[:, None]) + focal(logits, labels[:, None])


def levels_of(output: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Logits of a network by level, the finest first; there is one without deep supervision."""
    return (output,) if isinstance(output, Tensor) else tuple(output)


def over_levels(loss: Loss, levels: Sequence[Tensor], labels_NRR: Tensor) -> Tensor:
    """The loss of logits at every level, each half the weight of the finer one, with weights that add up to 1.

    Labels are shrunk to each level by nearest neighbour, so that they stay classes (Isensee et al. 2021, deep
    supervision).
    """
    if len(levels) == 1:
        return loss(levels[0], labels_NRR)
    weights = [0.5**level for level in range(len(levels))]
    parts = [
        weight / sum(weights) * loss(logits_NKrr, _shrunk(labels_NRR, logits_NKrr.shape[-1]))
        for weight, logits_NKrr in zip(weights, levels, strict=True)
    ]
    return torch.stack(parts).sum()


def _shrunk(labels_NRR: Tensor, side: int) -> Tensor:
    if labels_NRR.shape[-1] == side:
        return labels_NRR
    shrunk = functional.interpolate(labels_NRR[:, None].float(), (side, side), mode="nearest-exact")
    return shrunk[:, 0].to(labels_NRR.dtype)


@torch.no_grad()
def cross_entropy_by_source(
    logits_NKRR: Tensor, labels_NRR: Tensor, synthetic_N: NDArray[np.bool_], *, ignores: bool = False
) -> dict[str, Tensor]:
    """Mean cross-entropy over the pixels of a batch's real and of its synthetic samples, each where it has any.

    Named ``cross_entropy_real`` and ``cross_entropy_synthetic``, without class weights whatever the loss. No second
    pass: the logits are those of the step, and both values stay on the device. Each sample counts alike; where the
    dataset ``ignores`` voxels, it is the mean over its other pixels, and 0 without any.
    """
    if ignores:
        sums_NRR = functional.cross_entropy(logits_NKRR, labels_NRR.long(), reduction="none", ignore_index=IGNORED)
        each_N = sums_NRR.sum(dim=(1, 2)) / (labels_NRR != IGNORED).sum(dim=(1, 2)).clamp(min=1)
    else:
        each_N = functional.cross_entropy(logits_NKRR, labels_NRR.long(), reduction="none").mean(dim=(1, 2))
    sources = {"real": ~synthetic_N, "synthetic": synthetic_N}
    return {
        f"cross_entropy_{source}": each_N @ upload(torch.from_numpy(of_N / of_N.sum()).to(each_N.dtype), each_N.device)
        for source, of_N in sources.items()
        if of_N.any()
    }


def inverse_frequency(pixels_K: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weights (K,) proportional to 1 / pixels, with mean 1 over the classes that occur; 1 for one that does not."""
    occurs_K = pixels_K > 0
    inverse = 1.0 / pixels_K[occurs_K]
    weights_K = np.ones(len(pixels_K))
    weights_K[occurs_K] = inverse / inverse.mean()
    return weights_K


def make_optimizer(config: SegmentConfig, weights: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019), or SGD with Nesterov momentum as nnU-Net has it (Isensee 2021)."""
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "adamw":
        return torch.optim.AdamW(weights, lr=rate, weight_decay=decay, fused=True)
    return torch.optim.SGD(weights, lr=rate, momentum=MOMENTUM, nesterov=True, weight_decay=decay, fused=True)


def learning_rate(config: SegmentConfig, step: int) -> float:
    """Rate of ``step`` (1, 2, ...): a linear rise to the peak at step ``warmup_steps``, then the schedule.

    ``cosine`` falls from the peak towards 0 (Loshchilov and Hutter 2017, one cycle), ``poly`` likewise as the share of
    steps that are left to the power of 0.9 (Chen 2017), ``constant`` stays.
    """
    if step <= config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    done = (step - 1 - config.warmup_steps) / (config.steps - config.warmup_steps)
    if config.schedule == "cosine":
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    return config.learning_rate * (1 - done) ** POLY_POWER if config.schedule == "poly" else config.learning_rate


class RunningAverage:
    """Exponential moving average of a network's weights and normalisation statistics, in a network of its own.

    The share that is kept per step is 0.5^(1 / half-life), and at most (1 + step) / (10 + step), so that short runs
    forget their initial weights.
    """

    def __init__(self, model: nn.Module, half_life_steps: int) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self._keep = 0.5 ** (1 / half_life_steps)
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        self._averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self._copied = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights of the network after ``step`` (1, 2, ...)."""
        keep = min(self._keep, (1 + step) / (10 + step))
        means, news = zip(*self._averaged, strict=True)
        torch._foreach_lerp_(means, news, 1 - keep)
        for own, new in self._copied:
            own.copy_(new)
