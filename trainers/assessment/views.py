"""One pass over images: what the judge and a random network see in them, and their texture.

Shapes: n images, C modalities, D features, R resolution in pixels, F frequency bins.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medsweep.trainers.diagnosis.layers import observed_layers
from medsweep.trainers.measures.mask_validity import ratio
from medsweep.trainers.measures.spectra import laplacian_variance, radial_psd
from medsweep.trainers.measures.texture import local_sd_sums
from medsweep.trainers.random_features import RandomFeatures
from medsweep.trainers.segmentation.network import feature_layers, most_likely, observe

BATCH = 32
"""Images in a batch: few enough for the maps of a layer to stay in a CPU's cache."""

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class View:
    """What is seen in n images.

    What belongs to an image does not depend, not even in the last bit, on how many others there are.
    """

    layers: NDArray[np.float32]
    """Features (n, D) at the judge's bottleneck, then at each stage of its decoder."""
    random: NDArray[np.float32]
    """Features of ``RandomFeatures``, of all images or the first few."""
    predicted: NDArray[np.uint8]
    """Class that the judge gives each pixel, (n, R, R)."""
    power: NDArray[np.float64]
    """``radial_psd``, (C, F)."""
    laplacian: NDArray[np.float64]
    """``laplacian_variance``, (C,)."""
    local_sd: NDArray[np.float64]
    """``class_local_sd`` of the classes that the judge sees, (K, C)."""
    first: NDArray[np.float32]
    """Features (n, D) at the judge's first level; none of a network that does not show it."""


@torch.no_grad()
def look(judge: nn.Module, images_NCRR: NDArray[np.floating], rows: Indices, random_images: int | None = None) -> View:
    """View of some rows of ``images_NCRR`` by a segmenter; the random network sees the first ``random_images``."""
    device, layers, top = next(judge.parameters()).device, feature_layers(judge), _first_level(judge)
    network = RandomFeatures(images_NCRR.shape[1]).to(device)
    seen: dict[str, list[Tensor]] = {"all": [], "random": [], "predicted": []}
    power, laplacian, wanted = [], [], len(rows) if random_images is None else random_images
    local: list[tuple[NDArray[np.float64], NDArray[np.int64]]] = []
    for first in range(0, len(rows), BATCH):
        images = np.array(images_NCRR[rows[first : first + BATCH]], np.float32)
        power.append(len(images) * radial_psd(images))
        laplacian.append(len(images) * laplacian_variance(images))
        # a batch of another size may be summed in another order
        x_BCRR = torch.zeros(BATCH, *images.shape[1:])
        x_BCRR[: len(images)] = torch.from_numpy(images)
        x_BCRR = x_BCRR.to(device)
        logits_BKRR, features_BD = observe(judge, x_BCRR, (*top, *layers))
        labels_BRR = most_likely(logits_BKRR)
        seen["all"].append(features_BD)
        seen["predicted"].append(labels_BRR)
        local.append(local_sd_sums(images, labels_BRR[: len(images)].cpu().numpy(), logits_BKRR.shape[1]))
        if first < wanted:
            seen["random"].append(network(x_BCRR))
    whole = {name: torch.cat(parts).cpu().numpy() for name, parts in seen.items()}
    sums_KC, pixels_K = (np.sum(part, axis=0) for part in zip(*local, strict=True))
    width = observe(judge, x_BCRR[:1], top)[1].shape[1] if top else 0
    return View(
        layers=whole["all"][: len(rows), width:],
        first=whole["all"][: len(rows), :width],
        local_sd=ratio(sums_KC, pixels_K[:, None]),
        random=whole["random"][:wanted],
        predicted=whole["predicted"][: len(rows)],
        power=np.sum(power, axis=0) / len(rows),
        laplacian=np.sum(laplacian, axis=0) / len(rows),
    )


def _first_level(judge: nn.Module) -> tuple[str, ...]:
    """Name of the first level on the way down, where the network shows it."""
    return tuple(name for level, name in observed_layers(judge).items() if level == "encoder 1")
