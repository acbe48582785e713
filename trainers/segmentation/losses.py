"""What a segmenter is trained to lower: Dice, alone or beside a loss of every pixel, through MONAI.

Shapes: N images, K classes, R resolution in pixels.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medsweep.trainers.segmentation.config import SegmentConfig

Loss = Callable[[Tensor, Tensor], Tensor]


def make_loss(config: SegmentConfig, pixels_K: NDArray[np.int64], device: torch.device) -> Loss:
    """A function from logits (N, K, R, R) and labels (N, R, R) to a scalar.

    Dice (Milletari 2016) is taken per foreground class over the whole batch, since slices without foreground have none
    of their own; ``dice-ce`` adds the cross-entropy, ``dice-focal`` the focal loss with gamma 2 (Lin 2017), both over
    all classes. Class weights multiply the classes of both parts.

    Args:
        config: of the trial.
        pixels_K: pixels of each class in the real training slices; read with ``inverse-frequency`` alone.
        device: where the logits are.
    """
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


def inverse_frequency(pixels_K: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weights (K,) proportional to 1 / pixels, with mean 1 over the classes that occur; 1 for one that does not."""
    occurs_K = pixels_K > 0
    inverse = 1.0 / pixels_K[occurs_K]
    weights_K = np.ones(len(pixels_K))
    weights_K[occurs_K] = inverse / inverse.mean()
    return weights_K
