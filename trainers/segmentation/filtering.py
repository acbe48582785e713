"""Which samples of a pool a U-Net is given, and what a filter did to their diversity.

Shapes: N samples or real slices, D features. A filter keeps what the reference segmenter finds easy, so its survivors
may be fewer kinds of samples than chance would leave; ``survivors`` measures that against random draws of equal size.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import load_file

from medsweep.identity import derive_seed
from medsweep.trainers.measures.kernels import gaussian_similarity, vendi
from medsweep.trainers.measures.neighbours import DENSITY_NEIGHBOUR, radii, squared_distances
from medsweep.trainers.pool import FEATURES, Pool
from medsweep.trainers.segmentation.config import SegmentConfig
from medsweep.trial import PoolDryError

DRAWS = 8
"""Random draws that the survivors of a filter are compared with."""

PAIRS = 1000
"""Samples of a side at most where all pairs are held in memory."""

Rows = NDArray[np.int64]
Features = NDArray[np.float32]


@dataclass(frozen=True)
class Choice:
    """Samples of a pool that are trained on."""

    rows: Rows
    """Their numbers in the pool, ascending."""
    generated: int
    """Samples that were looked at to find them: the first so many of the pool."""


def choose(config: SegmentConfig, pool: Pool, iou: pd.Series | None) -> Choice:
    """The first ``count`` samples of the pool, or what the filter that the config asks for leaves of it.

    A filter looks at the first ``candidates`` samples alone, so what it finds does not depend on the pool's size.
    ``filter_by: random`` takes as many as the IoU filter keeps, out of exactly those that it looked at to find them:
    each sample has one random place per fold and seed, whatever the arm and its count, and the lowest places win.
    ``iou`` in [0, 1] is by sample number, and None where ``min_iou`` is 0.

    Raises:
        PoolDryError: the pool, or what the filter leaves of it, is too small.
    """
    unit = pool.slices_per_patient if config.unit == "patients" else 1
    wanted, candidates = config.count * unit, config.candidates * unit
    if len(pool) < max(wanted, candidates):
        needed = max(wanted, candidates)
        raise PoolDryError(
            f"its pool ran dry, the arm asks for {needed} synthetic samples and the pool has {len(pool)}"
        )
    if iou is None:
        return Choice(np.arange(wanted), wanted)
    passing = np.flatnonzero(iou.loc[pd.RangeIndex(candidates)].to_numpy() >= config.min_iou)
    fixed_kept = config.filter_mode == "fixed-kept"
    if len(passing) < (needed := wanted if fixed_kept else 1):
        asks, more = (f"asks for {wanted}", "headroom") if fixed_kept else ("needs one", "count")
        raise PoolDryError(
            f"its pool ran dry, {len(passing)} of {candidates} synthetic samples passed segment.min_iou "
            f"{config.min_iou:g} and the arm {asks}; lower that threshold, raise synthesise.{more}, or drop the arm"
        )
    choice = Choice(passing[:needed], int(passing[needed - 1]) + 1) if fixed_kept else Choice(passing, wanted)
    if config.filter_by == "random":
        places = _generator(config, "random").random(choice.generated)
        lowest = np.argsort(places, kind="stable")[: len(choice.rows)]
        return Choice(np.sort(lowest), choice.generated)
    return choice


def survivors(config: SegmentConfig, pool: Pool, choice: Choice, scores: Path) -> dict[str, float]:
    """How many samples a filter kept, and how diverse and how large they are beside what it looked at.

    ``generated``, ``kept``, ``retention`` (their ratio); ``kept_area_ratio``: mean foreground area of the kept samples
    over that of all looked at; ``kept_vendi``: effective number of distinct samples (Friedman and Dieng 2023), in
    [1, kept]; ``kept_coverage``: share of real slices in whose ball a kept sample lies (Naeem et al. 2020), in [0, 1].
    Both grow with the number of samples, so ``random_vendi`` and ``random_coverage``, means over ``DRAWS`` draws of as
    many samples among those looked at, are what to compare them with. Beyond ``PAIRS`` samples of a side, ``PAIRS`` of
    them are drawn. Undefined values (too few real slices for a ball, coinciding ones, no foreground) are left out.
    ``scores`` is the folder that an assess trial left, with the features.
    """
    numbers: dict[str, float] = {
        "generated": choice.generated,
        "kept": len(choice.rows),
        "retention": len(choice.rows) / choice.generated,
    }
    area_N = np.array([np.count_nonzero(mask) for mask in pool.masks[: choice.generated]])
    if area_N.any():
        numbers["kept_area_ratio"] = float(area_N[choice.rows].mean() / area_N.mean())
    features = load_file(scores / FEATURES)
    return numbers | _diversity(features["real"], features["pool"], choice, _generator(config, "survivors"))


def _diversity(real_ND: Features, pool_ND: Features, choice: Choice, rng: np.random.Generator) -> dict[str, float]:
    if len(real_ND) <= DENSITY_NEIGHBOUR:
        return {}
    real_ND = real_ND[_draw(rng, np.arange(len(real_ND)), PAIRS)]
    kept = _spread(real_ND, pool_ND[_draw(rng, choice.rows, PAIRS)])
    size, looked_at = min(PAIRS, len(choice.rows)), np.arange(choice.generated)
    draws = [_spread(real_ND, pool_ND[_draw(rng, looked_at, size)]) for _ in range(DRAWS)]
    chance = {f"random_{name}": float(np.mean([draw[name] for draw in draws])) for name in kept}
    return {f"kept_{name}": value for name, value in kept.items()} | chance


def _spread(real_ND: Features, x_ND: Features) -> dict[str, float]:
    inside_NN = squared_distances(real_ND, x_ND) <= radii(real_ND, DENSITY_NEIGHBOUR)[:, None]
    numbers = {"coverage": float(inside_NN.any(axis=1).mean())}
    similarity_NN = gaussian_similarity(real_ND, x_ND, DENSITY_NEIGHBOUR)
    return numbers if similarity_NN is None else numbers | {"vendi": vendi(similarity_NN)}


def _draw(rng: np.random.Generator, rows: Rows, most: int) -> Rows:
    return np.sort(rng.choice(rows, min(most, len(rows)), replace=False))


def _generator(config: SegmentConfig, purpose: str) -> np.random.Generator:
    return np.random.default_rng(derive_seed("segment", "filter", purpose, config.fold.index, config.seed))
