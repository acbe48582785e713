"""All that is said of a pool as a whole, as flat names and numbers; every metric is explained in docs/metrics.md."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.identity import derive_seed
from trainers.assessment.config import AssessConfig
from trainers.assessment.distances import frechet, frechet_infinity, frechet_spread
from trainers.assessment.kernels import alike, cubic_kernel, kid, mmd, vendi
from trainers.assessment.masks import describe, shape_distances
from trainers.assessment.neighbours import FAR, authenticity, nearest_ratio, prdc
from trainers.assessment.random_features import RandomFeatures
from trainers.assessment.spectra import (
    high_frequency_log_error,
    laplacian_ratio,
    laplacian_variance,
    radial_psd,
    radial_psd_log_error,
    slope_difference,
)
from trainers.pool import Pool
from trainers.segmentation.network import features, predict

CHUNK = 256
"""Samples read from disk at a time."""

PAIRS = 2000
"""Samples of each side at most where all pairs are held in memory."""

Metrics = dict[str, float]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Sides:
    """Features of the real foreground slices of the training patients (N, D), whose they are (N,), and the pool's."""

    real: NDArray[np.float32]
    owners: NDArray[np.object_]
    pool: NDArray[np.float32]
    halves: list[tuple[Indices, Indices]]
    """Slices of a random half of the patients and of the other half, shuffled."""

    @property
    def matched(self) -> int:
        """Samples that every half and the pool have."""
        return min(len(self.pool), *(len(part) for pair in self.halves for part in pair))


def pool_metrics(
    config: AssessConfig, model: nn.Module, data: SliceSet, train: Sequence[str], pool: Pool
) -> dict[str, float]:
    """Distances of the pool from the real foreground slices of the training patients; see docs/metrics.md.

    A metric that these samples do not define (too few of them, a constant) is left out; ``n_real``, ``n_pool``,
    ``n_patients``, ``n_matched`` (each side of ``frechet`` and its floor) and ``n_equal`` (each side of what compares
    all pairs) say how many there were.

    Raises:
        UserError: fewer than two samples on a side of the null floor.
    """
    rows = data.rows(train, foreground_only=True)
    owners = data.index["patient"].to_numpy()[rows]
    halves = [_halve(owners, train, config, number) for number in range(config.halvings)]
    judge, random = partial(features, model), _random_features(model, len(data.modalities))
    every = np.arange(len(pool))
    judged = Sides(embed(judge, data.images, rows), owners, embed(judge, pool.images, every), halves)
    if judged.matched < 2:
        raise UserError(
            f"assess needs 2 samples on each side, got {len(pool)} synthetic ones and {len(train)} training patients "
            f"with {len(rows)} foreground slices; ask for a larger pool or more patients"
        )
    distance, floor = _halved_frechet(judged)
    plain = Sides(embed(random, data.images, rows), owners, embed(random, pool.images, every[: judged.matched]), halves)
    distance_random, floor_random = _halved_frechet(plain)
    return {
        "n_real": len(rows),
        "n_pool": len(pool),
        "n_patients": len(train),
        "n_matched": judged.matched,
        "frechet": distance,
        "frechet_floor": floor,
        "frechet_random": distance_random,
        "frechet_random_floor": floor_random,
        **_frechet_uncertainty(config, judged, distance),
        **_pair_metrics(config, judged),
        **_memorisation(judged),
        **_texture(data.image_rows(rows), pool.images),
        **shape_distances(*(describe(masks, len(data.classes)) for masks in (data.masks[rows], np.array(pool.masks)))),
    }


def consistency(
    model: nn.Module, data: SliceSet, train: Sequence[str], pool: Pool, seen_MRR: NDArray[np.uint8]
) -> Metrics:
    """Foreground Dice of what ``model`` sees with the pool's masks, the same on training slices, and the difference.

    ``seen_MRR`` is ``see(model, pool.images, ...)``. The model was fitted on those training slices, so its Dice there
    is higher than on unseen real ones, and the gap to those would be nearer 0.
    """
    rows = data.rows(train, foreground_only=True)
    synthetic = foreground_dice(pool.masks, seen_MRR)
    real = foreground_dice(data.masks[rows], see(model, data.images, rows))
    if synthetic is None or real is None:
        return {}
    return {"consistency_dice": synthetic, "consistency_dice_real": real, "consistency_gap": synthetic - real}


def foreground_dice(masks_NRR: NDArray[np.integer], seen_NRR: NDArray[np.integer]) -> float | None:
    """Mean Dice of all foreground as one class, over samples where either mask has some; None where there are none."""
    a_NRR, b_NRR = masks_NRR > 0, seen_NRR > 0
    total_N = a_NRR.sum(axis=(1, 2)) + b_NRR.sum(axis=(1, 2))
    both_N = (a_NRR & b_NRR).sum(axis=(1, 2))
    return float((2 * both_N / np.maximum(total_N, 1))[total_N > 0].mean()) if total_N.any() else None


def see(model: nn.Module, images_NCRR: NDArray[np.floating], rows: Indices) -> NDArray[np.uint8]:
    """Class that ``model`` gives each pixel of some rows, (n, R, R)."""
    return np.concatenate(
        [
            predict(model, part, whole_batches=True).argmax(dim=1).to(torch.uint8).numpy()
            for part in _parts(images_NCRR, rows)
        ]
    )


def embed(extract: Callable[[Tensor], Tensor], images_NCRR: NDArray[np.floating], rows: Indices) -> NDArray[np.float32]:
    """Features of some rows, (n, D)."""
    return np.concatenate([extract(part).numpy() for part in _parts(images_NCRR, rows)])


def _parts(images_NCRR: NDArray[np.floating], rows: Indices) -> list[Tensor]:
    chunks = [rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK)]
    return [torch.from_numpy(np.array(images_NCRR[chunk], dtype=np.float32)) for chunk in chunks]


def _random_features(model: nn.Module, channels: int) -> Callable[[Tensor], Tensor]:
    device = next(model.parameters()).device
    network = RandomFeatures(channels).to(device)
    return lambda x: network(x.to(device)).cpu()


def _generator(config: AssessConfig, purpose: str, number: int = 0) -> np.random.Generator:
    return np.random.default_rng(derive_seed("assess", purpose, config.fold.index, config.seed, number))


def _halve(
    owners: NDArray[np.object_], patients: Sequence[str], config: AssessConfig, number: int
) -> tuple[Indices, Indices]:
    """Shuffled positions of the slices of one random half of the patients, and of the other half."""
    rng = _generator(config, "halves", number)
    shuffled = rng.permutation(np.array(sorted(patients), dtype=object))
    first = np.isin(owners, shuffled[: len(shuffled) // 2])
    return rng.permutation(np.flatnonzero(first)), rng.permutation(np.flatnonzero(~first))


def _halved_frechet(sides: Sides) -> tuple[float, float]:
    """Mean distance from one half to the pool, and to the other half: what a perfect generator would get.

    All are cut to ``matched`` samples, since the bias of the distance depends on the number of samples.
    """
    n, real, pool = sides.matched, sides.real, sides.pool
    to_pool = [frechet(real[a[:n]], pool[:n]) for a, _ in sides.halves]
    to_real = [frechet(real[a[:n]], real[b[:n]]) for a, b in sides.halves]
    return float(np.mean(to_pool)), float(np.mean(to_real))


def _frechet_uncertainty(config: AssessConfig, sides: Sides, distance: float) -> Metrics:
    found: Metrics = {}
    if len(set(sides.owners)) >= 3:
        rng = _generator(config, "bootstrap")
        low, high = frechet_spread(sides.real, sides.owners, sides.pool, config.bootstraps, rng)
        found |= {"frechet_low": max(0.0, distance + low), "frechet_high": distance + high}
    if min(len(sides.real), len(sides.pool)) >= 100:
        rng = _generator(config, "infinity")
        found["frechet_infinity"] = frechet_infinity(sides.real, sides.pool, rng)
    return found


def _pair_metrics(config: AssessConfig, sides: Sides) -> Metrics:
    """Metrics over all pairs, of equally many samples on both sides."""
    equal = min(len(sides.real), len(sides.pool), PAIRS)
    real = sides.real[_generator(config, "equal").permutation(len(sides.real))[:equal]]
    pool = sides.pool[:equal]
    distance, p = kid(real, pool, config.permutations, _generator(config, "permutations"))
    n = min(sides.matched, PAIRS)
    floors = [
        mmd(cubic_kernel(sides.real[np.concatenate([a[:n], b[:n]])]), (np.arange(2 * n) < n)[None])[0]
        for a, b in sides.halves
    ]
    found: Metrics = {"n_equal": equal, "kid": distance, "kid_p": p, "kid_floor": float(np.mean(floors))}
    if equal > FAR:
        found |= prdc(real, pool)
        likeness = {"vendi": alike(real, pool, FAR), "vendi_real": alike(real, real, FAR)}
        found |= {name: vendi(matrix) for name, matrix in likeness.items() if matrix is not None}
    return found


def _memorisation(sides: Sides) -> Metrics:
    real = sides.real
    unseen = [authenticity(real[a], real[b]) for a, b in sides.halves]
    found = {"authenticity": authenticity(real, sides.pool), "authenticity_real": float(np.mean(unseen))}
    ratio = nearest_ratio(real, sides.owners, sides.pool)
    return found if ratio is None else found | {"nearest_ratio": ratio}


def _texture(real_NCRR: NDArray[np.float32], pool_NCRR: NDArray[np.float32]) -> Metrics:
    real, synthetic = radial_psd(real_NCRR), radial_psd(pool_NCRR)
    found = {
        "radial_psd_log_error": radial_psd_log_error(real, synthetic),
        "high_frequency_log_error": high_frequency_log_error(real, synthetic),
        "spectral_slope_difference": slope_difference(real, synthetic),
    }
    ratio = laplacian_ratio(laplacian_variance(real_NCRR), laplacian_variance(pool_NCRR))
    return found if ratio is None else found | {"laplacian_ratio": ratio}
