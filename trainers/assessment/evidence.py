"""What pool metrics are computed from: features of the pool and of real slices, and what the segmenter sees in them.

Shapes: N real slices, n samples of the pool, C modalities, D features, R resolution in pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import Tensor, nn
from torch.nn import functional

from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.identity import derive_seed
from medsweep.trainers.assessment.config import AssessConfig
from medsweep.trainers.assessment.inception import Extractor, inception_features, window
from medsweep.trainers.assessment.masks import mean_iou
from medsweep.trainers.measures.spectra import Spectra
from medsweep.trainers.pool import FEATURES, Pool
from medsweep.trainers.precision import exact
from medsweep.trainers.segmentation.network import feature_layers, features, predict

CHUNK = 256
"""Samples read from disk at a time; whole batches of the segmenter."""

COMPONENTS = 64
"""Principal components of the decoder's features at most."""

WIDTHS = (16, 32, 64)
"""Feature maps per level of the random network; each level halves the resolution."""

Indices = NDArray[np.int64]
Extract = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class FeatureSets:
    """Features of the real foreground slices of the training patients (N, D), whose they are (N,), and the pool's."""

    real: NDArray[np.floating]
    owners: NDArray[np.object_]
    pool: NDArray[np.floating]
    halves: list[tuple[Indices, Indices]]
    """Slices of a random half of the patients and of the other half, shuffled."""

    @property
    def matched(self) -> int:
        """Samples that every half and the pool have."""
        return min(len(self.pool), *(len(half) for halves in self.halves for half in halves))

    def save(self, folder: Path) -> None:
        """Write ``FEATURES``: float32 ``pool`` (n, D) and ``real`` (N, D), as ``SliceSet.rows`` orders the slices."""
        sets = {"pool": self.pool, "real": self.real}
        save_file({name: np.ascontiguousarray(x, np.float32) for name, x in sets.items()}, folder / FEATURES)


@dataclass(frozen=True)
class PoolEvidence:
    """A pool beside the real foreground slices of the training patients; what metrics share is worked out once.

    What belongs to a sample does not depend, not even in the last bit, on how many others the pool holds.
    """

    config: AssessConfig
    data: SliceSet
    train: Sequence[str]
    """Training patients."""
    pool: Pool
    segmenter: nn.Module
    """The reference segmenter, which was fitted on the training patients."""
    inception: Extractor | None = None

    @cached_property
    def rows(self) -> Indices:
        """The N real slices, by their row in the slice set, ascending."""
        return self.data.rows(self.train, foreground_only=True)

    @property
    def real_images(self) -> NDArray[np.float32]:
        """Real images (N, C, R, R), read again each time since they may fill the memory."""
        return self.data.image_rows(self.rows)

    @cached_property
    def real_masks(self) -> NDArray[np.uint8]:
        """Real masks, (N, R, R)."""
        return np.array(self.data.masks[self.rows])

    @cached_property
    def predicted(self) -> NDArray[np.uint8]:
        """Masks that the segmenter sees in the pool, (n, R, R)."""
        return predicted_masks(self.segmenter, self.pool.images, np.arange(len(self.pool)))

    @cached_property
    def iou(self) -> NDArray[np.float64]:
        """``mean_iou`` of each sample's mask with what the segmenter sees, (n,)."""
        return mean_iou(self.pool.masks, self.predicted, classes=len(self.data.classes))

    @cached_property
    def spectra(self) -> Spectra:
        """Radial power spectra of both sides."""
        return Spectra.of(self.real_images, self.pool.images)

    @cached_property
    def all_layers(self) -> FeatureSets:
        """Features at the segmenter's bottleneck and at each stage of its decoder.

        Raises:
            UserError: fewer than two samples on a side of the null floor.
        """
        owners = self.data.index["patient"].to_numpy()[self.rows]
        halves = [_halve(owners, self.train, self.config, number) for number in range(self.config.halvings)]
        extract = partial(features, self.segmenter, layers=feature_layers(self.segmenter), whole_batches=True)
        sets = FeatureSets(self._of_real(extract), owners, self._of_pool(extract), halves)
        if sets.matched < 2:
            raise UserError(
                f"assess needs 2 samples on each side, got {len(self.pool)} synthetic ones and {len(self.train)} "
                f"training patients with {len(self.rows)} foreground slices; ask for a larger pool or more patients"
            )
        return sets

    @cached_property
    def bottleneck(self) -> FeatureSets:
        """Features at the segmenter's bottleneck, which come first of all layers."""
        width = features(self.segmenter, torch.from_numpy(self.data.image_rows(self.rows[:1]))).shape[1]
        return replace(self.all_layers, real=self.all_layers.real[:, :width], pool=self.all_layers.pool[:, :width])

    @cached_property
    def random_network(self) -> FeatureSets:
        """Features of a network with random weights, of as many samples of the pool as the distances need."""
        network = RandomFeatures(len(self.data.modalities)).to(next(self.segmenter.parameters()).device)
        matched = self.bottleneck.matched
        return replace(self.bottleneck, real=self._of_real(network), pool=self._of_pool(network, matched))

    @cached_property
    def inception_network(self) -> FeatureSets | None:
        """2048 features per modality of Inception-v3, where it was asked for."""
        if self.inception is None:
            return None
        device = next(self.segmenter.parameters()).device
        extract = partial(inception_features, self.inception, window(self.real_images), device=device)
        return replace(self.bottleneck, real=self._of_real(extract), pool=self._of_pool(extract))

    def _of_real(self, extract: Extract) -> NDArray[np.float32]:
        return by_chunks(extract, self.data.images, self.rows)

    def _of_pool(self, extract: Extract, count: int | None = None) -> NDArray[np.float32]:
        return by_chunks(extract, self.pool.images, np.arange(len(self.pool))[:count])


def generator(config: AssessConfig, purpose: str, number: int = 0) -> np.random.Generator:
    """Random numbers for one purpose of one assess trial."""
    return np.random.default_rng(derive_seed("assess", purpose, config.fold.index, config.seed, number))


def _halve(
    owners: NDArray[np.object_], patients: Sequence[str], config: AssessConfig, number: int
) -> tuple[Indices, Indices]:
    """Shuffled positions of the slices of one random half of the patients, and of the other half."""
    rng = generator(config, "halves", number)
    shuffled = rng.permutation(np.array(sorted(patients), dtype=object))
    first = np.isin(owners, shuffled[: len(shuffled) // 2])
    return rng.permutation(np.flatnonzero(first)), rng.permutation(np.flatnonzero(~first))


def predicted_masks(segmenter: nn.Module, images_NCRR: NDArray[np.floating], rows: Indices) -> NDArray[np.uint8]:
    """Class that ``segmenter`` gives each pixel of some rows, (n, R, R)."""

    def classes(x_NCRR: Tensor) -> Tensor:
        return predict(segmenter, x_NCRR, whole_batches=True).argmax(dim=1).to(torch.uint8)

    return by_chunks(classes, images_NCRR, rows)


def by_chunks(extract: Extract, images_NCRR: NDArray[np.floating], rows: Indices) -> NDArray[Any]:
    """What ``extract`` gives for some rows, ``CHUNK`` at a time, (n, ...)."""
    chunks = (images_NCRR[rows[first : first + CHUNK]] for first in range(0, len(rows), CHUNK))
    return np.concatenate([extract(torch.from_numpy(np.array(x, dtype=np.float32))).numpy() for x in chunks])


def principal_components(sets: FeatureSets) -> FeatureSets | None:
    """Both sides on the first principal components of the real side alone, after each feature has SD 1 there.

    min(64, N // 4, rank) components, those of most variance; features that are constant on the real side are left
    out. None where no component is left.
    """
    real_ND = sets.real.astype(np.float64)
    centre_D, scale_D = real_ND.mean(axis=0), real_ND.std(axis=0)
    # A constant float32 column may have an SD of its rounding
    varies_D = scale_D > 1e-6 * np.abs(centre_D)
    if not varies_D.any():
        return None
    z_ND, pool_nD = ((x[:, varies_D] - centre_D[varies_D]) / scale_D[varies_D] for x in (real_ND, sets.pool))
    _, size_K, axes_KD = np.linalg.svd(z_ND, full_matrices=False)
    rank = int((size_K > size_K[0] * max(z_ND.shape) * np.finfo(np.float64).eps).sum())
    axes_KD = axes_KD[: min(COMPONENTS, len(z_ND) // 4, rank)]
    if not len(axes_KD):
        return None
    return replace(sets, real=z_ND @ axes_KD.T, pool=pool_nD @ axes_KD.T)


class RandomFeatures(nn.Module):
    """A feature space that no data shaped: mean and SD over space of each map of each level of a random network.

    (N, C, R, R) to (N, 2 sum(WIDTHS)), R at least 8. 3x3 convolutions with the normal weights of He et al. 2015
    (eq. 10), leaky ReLU, 2x2 averaging. Weights depend on C alone, so that values can be compared between datasets
    with the same number of modalities.
    """

    def __init__(self, channels: int):
        super().__init__()
        random = torch.Generator().manual_seed(derive_seed("assess", "random-features", channels))
        for level, (inputs, outputs) in enumerate(zip((channels, *WIDTHS), WIDTHS, strict=False)):
            weight = torch.randn(outputs, inputs, 3, 3, generator=random) * (2 / (9 * inputs)) ** 0.5
            self.register_buffer(f"weight_{level}", weight)

    @exact()
    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Features of images ``x``, float32 on the CPU."""
        x, pooled = x.to(next(self.buffers()).device), []
        for weight in self.buffers():
            x = functional.leaky_relu(functional.conv2d(x, weight, padding=1), 0.2)
            flat = x.flatten(start_dim=2)
            pooled += [flat.mean(dim=2), flat.std(dim=2, correction=0)]
            x = functional.avg_pool2d(x, 2)
        return torch.cat(pooled, dim=1).cpu()
