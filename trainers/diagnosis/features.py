"""How far apart two groups of images lie inside a network, level by level, and how far training moved a level.

Shapes: N and M samples, D features.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medsweep.trainers.diagnosis.layers import observed_layers
from medsweep.trainers.precision import exact
from medsweep.trainers.segmentation.network import observe

CUTS = 5
"""Random cuts into folds over which a domain AUC is averaged."""
FOLDS = 4
SHRINKAGE = 0.1
"""Share of the identity in the covariance of features that were scaled to SD 1."""

Features = NDArray[np.float64]
Groups = NDArray[np.int64]


@dataclass(frozen=True)
class Moments:
    """Mean and variance per channel of what reaches a batch normalisation, (C,) each."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]

    def divergence(self, other: "Moments") -> float:
        """KL divergence of the Gaussian of this from that of ``other``, mean over channels."""
        first, second = self.variance + 1e-5, other.variance + 1e-5
        shift = (self.mean - other.mean) ** 2
        return float((0.5 * (np.log(second / first) + (first + shift) / second - 1)).mean())


@exact()
@torch.no_grad()
def level_features(model: nn.Module, images_NCRR: Tensor) -> dict[str, Features]:
    """Mean and SD over space of each channel, (N, 2D) by name of the level."""
    return {
        level: observe(model, images_NCRR, [name])[1].double().cpu().numpy()
        for level, name in observed_layers(model).items()
    }


@exact()
@torch.no_grad()
def normalised_moments(model: nn.Module, images_NCRR: Tensor) -> dict[str, Moments]:
    """Moments of what reaches each batch normalisation of a network in evaluation mode, by its dotted name."""
    found: dict[str, Moments] = {}

    def keep(name: str, x_NCHW: Tensor) -> None:
        variance, mean = torch.var_mean(x_NCHW.double(), dim=(0, 2, 3), correction=0)
        found[name] = Moments(mean.cpu().numpy(), variance.cpu().numpy())

    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.BatchNorm2d)]
    hooks = [
        layer.register_forward_pre_hook(lambda _m, inputs, name=name: keep(name, inputs[0])) for name, layer in layers
    ]
    try:
        model(images_NCRR)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def running_moments(model: nn.Module) -> dict[str, Moments]:
    """The running statistics of each batch normalisation."""
    return {
        name: Moments(layer.running_mean.double().cpu().numpy(), layer.running_var.double().cpu().numpy())
        for name, layer in model.named_modules()
        if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None and layer.running_var is not None
    }


def domain_aucs(
    x_ND: Features, x_groups_N: Groups, y_MD: Features, y_groups_M: Groups, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Chance that a linear classifier ranks an unseen sample of y above one of x, one value per cut; 0.5 tells nothing.

    Shrunken linear discriminant (Friedman 1989) on features scaled by the folds it is fitted on. Samples of a group (a
    patient) stay in one fold. NaN where a side has a single group.
    """
    folds = min(FOLDS, len(np.unique(x_groups_N)), len(np.unique(y_groups_M)))
    if folds < 2:
        return np.full(CUTS, math.nan)
    aucs = []
    for _ in range(CUTS):
        of_x_N, of_y_M = (_folds(groups, folds, rng) for groups in (x_groups_N, y_groups_M))
        cuts = [(of_x_N == fold, of_y_M == fold) for fold in range(folds)]
        aucs.append(np.mean([_auc(x_ND[~x], y_MD[~y], x_ND[x], y_MD[y]) for x, y in cuts]))
    return np.array(aucs)


def _folds(groups_N: Groups, folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    names, of_N = np.unique(groups_N, return_inverse=True)
    places: NDArray[np.int64] = rng.permutation(len(names))[of_N] % folds
    return places


def _auc(x_fit: Features, y_fit: Features, x_ND: Features, y_MD: Features) -> float:
    centre, scale = _scaling(np.concatenate([x_fit, y_fit]))
    x_fit, y_fit, x_ND, y_MD = ((part - centre) / scale for part in (x_fit, y_fit, x_ND, y_MD))
    residuals = np.concatenate([x_fit - x_fit.mean(axis=0), y_fit - y_fit.mean(axis=0)])
    covariance_DD = residuals.T @ residuals / len(residuals)
    shrunken_DD = (1 - SHRINKAGE) * covariance_DD + SHRINKAGE * np.eye(len(covariance_DD))
    direction_D = np.linalg.solve(shrunken_DD, y_fit.mean(axis=0) - x_fit.mean(axis=0))
    difference_NM = (y_MD @ direction_D)[None, :] - (x_ND @ direction_D)[:, None]
    return float(((difference_NM > 0) + 0.5 * (difference_NM == 0)).mean())


def _scaling(x_ND: Features) -> tuple[Features, Features]:
    sd_D = x_ND.std(axis=0)
    return x_ND.mean(axis=0), np.where(sd_D > 0, sd_D, 1.0)


def mean_shift(x_ND: Features, y_MD: Features) -> float:
    """Squared distance of the means in units of the SD of x, mean over the features that vary in x."""
    sd_D = x_ND.std(axis=0)
    varies_D = sd_D > 0
    shift_D = (y_MD.mean(axis=0) - x_ND.mean(axis=0))[varies_D] / sd_D[varies_D]
    return float((shift_D**2).mean()) if shift_D.size else math.nan


def linear_cka(x_ND: Features, y_NE: Features) -> float:
    """Linear CKA of two networks' features of the same samples (Kornblith et al. 2019), in [0, 1]; NaN if one is flat.

    |X'Y|^2 / (|X'X| |Y'Y|) with centred columns and Frobenius norms.
    """
    x, y = x_ND - x_ND.mean(axis=0), y_NE - y_NE.mean(axis=0)
    below = float(np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    return float(np.linalg.norm(x.T @ y) ** 2) / below if below > 0 else math.nan
