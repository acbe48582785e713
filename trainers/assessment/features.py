"""The feature sets that distances compare: of the pool and of the real slices, and the halves of the patients.

Shapes: N real slices, n samples of the pool, D features.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import Tensor, nn

from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.identity import derive_seed
from medsweep.trainers.assessment.config import AssessConfig
from medsweep.trainers.assessment.random_features import RandomFeatures
from medsweep.trainers.pool import FEATURES, Pool
from medsweep.trainers.segmentation.network import bottleneck, decoder_layers, features

CHUNK = 256
"""Samples read from disk at a time; whole batches of the segmenter."""

COMPONENTS = 64
"""Principal components of the decoder's features at most."""

Metrics = dict[str, float]
Indices = NDArray[np.int64]
Extract = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Sides:
    """Features of the real foreground slices of the training patients (N, D), whose they are (N,), and the pool's."""

    real: NDArray[np.floating]
    owners: NDArray[np.object_]
    pool: NDArray[np.floating]
    halves: list[tuple[Indices, Indices]]
    """Slices of a random half of the patients and of the other half, shuffled."""

    @property
    def matched(self) -> int:
        """Samples that every half and the pool have."""
        return min(len(self.pool), *(len(part) for pair in self.halves for part in pair))

    def save(self, folder: Path) -> None:
        """Write ``FEATURES``: float32 ``pool`` (n, D) and ``real`` (N, D), as ``SliceSet.rows`` orders the slices."""
        sets = {"pool": self.pool, "real": self.real}
        save_file({name: np.ascontiguousarray(x, np.float32) for name, x in sets.items()}, folder / FEATURES)


@dataclass(frozen=True)
class Judged:
    """What the reference segmenter makes of both sides, in one pass."""

    rows: Indices
    """Real slices, by their row in the slice set, ascending."""
    deepest: Sides
    """At the bottleneck."""
    all_layers: Sides
    """At the bottleneck and at each stage of the decoder."""


def judge(config: AssessConfig, model: nn.Module, data: SliceSet, train: Sequence[str], pool: Pool) -> Judged:
    """Features of all samples of the pool and of the foreground slices of ``train``.

    Those of a sample do not depend, not even in the last bit, on how many others the pool holds.

    Raises:
        UserError: fewer than two samples on a side of the null floor.
    """
    rows = data.rows(train, foreground_only=True)
    owners = data.index["patient"].to_numpy()[rows]
    halves = [_halve(owners, train, config, number) for number in range(config.halvings)]
    extract = partial(features, model, layers=(bottleneck(model), *decoder_layers(model)), whole_batches=True)
    sides = Sides(embed(extract, data.images, rows), owners, embed(extract, pool.images, np.arange(len(pool))), halves)
    if sides.matched < 2:
        raise UserError(
            f"assess needs 2 samples on each side, got {len(pool)} synthetic ones and {len(train)} training patients "
            f"with {len(rows)} foreground slices; ask for a larger pool or more patients"
        )
    width = features(model, torch.from_numpy(data.image_rows(rows[:1]))).shape[1]
    return Judged(rows, replace(sides, real=sides.real[:, :width], pool=sides.pool[:, :width]), sides)


def plain(model: nn.Module, data: SliceSet, pool: Pool, judged: Judged) -> Sides:
    """Features of a network with random weights, of as many samples as the distances need."""
    device, sides = next(model.parameters()).device, judged.deepest
    network = RandomFeatures(len(data.modalities)).to(device)
    first = np.arange(sides.matched)

    def extract(x_NCRR: Tensor) -> Tensor:
        return network(x_NCRR.to(device)).cpu()

    return replace(sides, real=embed(extract, data.images, judged.rows), pool=embed(extract, pool.images, first))


def principal(sides: Sides) -> Sides | None:
    """Both sides on the first principal components of the real side alone, after each feature has SD 1 there.

    min(64, N // 4, rank) components, those of most variance; features that are constant on the real side are left
    out. None where no component is left.
    """
    real_ND = sides.real.astype(np.float64)
    centre_D, scale_D = real_ND.mean(axis=0), real_ND.std(axis=0)
    # A constant float32 column may have an SD of its rounding
    varies_D = scale_D > 1e-6 * np.abs(centre_D)
    if not varies_D.any():
        return None

    def standardise(x_ND: NDArray[np.floating]) -> NDArray[np.float64]:
        z_ND: NDArray[np.float64] = (x_ND[:, varies_D] - centre_D[varies_D]) / scale_D[varies_D]
        return z_ND

    z_ND = standardise(real_ND)
    _, size_K, axes_KD = np.linalg.svd(z_ND, full_matrices=False)
    rank = int((size_K > size_K[0] * max(z_ND.shape) * np.finfo(np.float64).eps).sum())
    axes_KD = axes_KD[: min(COMPONENTS, len(z_ND) // 4, rank)]
    if not len(axes_KD):
        return None
    return replace(sides, real=z_ND @ axes_KD.T, pool=standardise(sides.pool) @ axes_KD.T)


def embed(extract: Extract, images_NCRR: NDArray[np.floating], rows: Indices) -> NDArray[np.float32]:
    """Features of some rows, (n, D)."""
    return np.concatenate([extract(part).numpy() for part in parts(images_NCRR, rows)])


def parts(images_NCRR: NDArray[np.floating], rows: Indices) -> Iterator[Tensor]:
    """Some rows as float32 tensors of at most ``CHUNK`` images each."""
    for first in range(0, len(rows), CHUNK):
        yield torch.from_numpy(np.array(images_NCRR[rows[first : first + CHUNK]], dtype=np.float32))


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
