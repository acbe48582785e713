"""All that is said of a pool as a whole, as flat names and numbers; every metric is explained in docs/metrics.md."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import nn

from medsweep.data.slices import SliceSet
from medsweep.trainers.assessment.config import AssessConfig
from medsweep.trainers.assessment.features import Judged, Metrics, Sides, embed, generator, judge, plain, principal
from medsweep.trainers.assessment.inception import Extractor, inception_features, window
from medsweep.trainers.assessment.masks import describe, shape_distances
from medsweep.trainers.assessment.nearest_masks import nearest_masks
from medsweep.trainers.measures.frechet import frechet, frechet_infinity, frechet_spread
from medsweep.trainers.measures.kernels import alike, cubic_kernel, kid, mmd, vendi
from medsweep.trainers.measures.neighbours import FAR, authenticity, nearest_ratio, prdc
from medsweep.trainers.measures.spectra import (
    Spectra,
    high_frequency_log_error,
    laplacian_ratio,
    laplacian_variance,
    radial_psd_log_error,
    slope_difference,
)
from medsweep.trainers.pool import Pool

PAIRS = 2000
"""Samples of each side at most where all pairs are held in memory."""


def pool_metrics(
    config: AssessConfig,
    model: nn.Module,
    data: SliceSet,
    train: Sequence[str],
    pool: Pool,
    *,
    judged: Judged | None = None,
    spectra: Spectra | None = None,
) -> Metrics:
    """Distances of the pool from the real foreground slices of the training patients; see docs/metrics.md.

    A metric that these samples do not define (too few of them, a constant) is left out; ``n_real``, ``n_pool``,
    ``n_patients``, ``n_matched`` (each side of ``frechet`` and its floor) and ``n_equal`` (each side of what compares
    all pairs) say how many there were. ``judged`` is ``judge`` of the same arguments, and ``spectra`` are those of its
    rows and of the pool, where they are at hand.

    Raises:
        UserError: fewer than two samples on a side of the null floor.
    """
    judged = judged or judge(config, model, data, train, pool)
    sides, real_masks, masks = judged.deepest, data.masks[judged.rows], np.array(pool.masks)
    distances = frechet_metrics(sides, "frechet")
    return {
        "n_real": len(sides.real),
        "n_pool": len(pool),
        "n_patients": len(train),
        "n_matched": sides.matched,
        **distances,
        **frechet_metrics(plain(model, data, pool, judged), "frechet_random"),
        **_decoder(judged),
        **_frechet_uncertainty(config, sides, distances["frechet"]),
        **_pair_metrics(config, sides),
        **_memorisation(sides),
        **_texture(data.image_rows(judged.rows), pool.images, spectra),
        **shape_distances(describe(real_masks, len(data.classes)), describe(masks, len(data.classes))),
        **nearest_masks(real_masks, sides.owners, masks),
    }


def frechet_metrics(sides: Sides, name: str) -> Metrics:
    """``name``: mean distance from one half to the pool; ``name``_floor: to the other half, as a perfect generator has.

    All are cut to ``matched`` samples, since the bias of the distance depends on the number of samples.
    """
    n, real, pool = sides.matched, sides.real, sides.pool
    to_pool = [frechet(real[a[:n]], pool[:n]) for a, _ in sides.halves]
    to_real = [frechet(real[a[:n]], real[b[:n]]) for a, b in sides.halves]
    return {name: float(np.mean(to_pool)), f"{name}_floor": float(np.mean(to_real))}


def equal_sides(config: AssessConfig, sides: Sides) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """As many real samples as of the pool, at most ``PAIRS``: the same ones whatever the features are."""
    equal = min(len(sides.real), len(sides.pool), PAIRS)
    return sides.real[generator(config, "equal").permutation(len(sides.real))[:equal]], sides.pool[:equal]


def inception_metrics(
    config: AssessConfig, extractor: Extractor, data: SliceSet, pool: Pool, judged: Judged, *, device: str
) -> Metrics:
    """Fréchet and kernel distance on 2048 features per modality of Inception-v3, on the samples of ``judged``."""
    rows = judged.rows
    extract = partial(inception_features, extractor, window(data.image_rows(rows)), device=device)
    every = np.arange(len(pool))
    sides = replace(judged.deepest, real=embed(extract, data.images, rows), pool=embed(extract, pool.images, every))
    real, synthetic = equal_sides(config, sides)
    kernel = cubic_kernel(np.concatenate([real, synthetic]))
    distance = float(mmd(kernel, (np.arange(len(kernel)) < len(real))[None])[0])
    return {**frechet_metrics(sides, "frechet_inception"), "kid_inception": distance}


def _decoder(judged: Judged) -> Metrics:
    sides = principal(judged.all_layers)
    if sides is None:
        return {}
    return {**frechet_metrics(sides, "frechet_decoder"), "frechet_decoder_dims": sides.real.shape[1]}


def _frechet_uncertainty(config: AssessConfig, sides: Sides, distance: float) -> Metrics:
    found: Metrics = {}
    if len(set(sides.owners)) >= 3:
        rng = generator(config, "bootstrap")
        low, high = frechet_spread(sides.real, sides.owners, sides.pool, config.bootstraps, rng)
        found |= {"frechet_low": max(0.0, distance + low), "frechet_high": distance + high}
    if min(len(sides.real), len(sides.pool)) >= 100:
        rng = generator(config, "infinity")
        found["frechet_infinity"] = frechet_infinity(sides.real, sides.pool, rng)
    return found


def _pair_metrics(config: AssessConfig, sides: Sides) -> Metrics:
    """Metrics over all pairs, of equally many samples on both sides."""
    real, pool = equal_sides(config, sides)
    equal = len(real)
    distance, p = kid(real, pool, config.permutations, generator(config, "permutations"))
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


def _texture(real_NCRR: NDArray[np.float32], pool_NCRR: NDArray[np.float32], spectra: Spectra | None) -> Metrics:
    spectra = spectra or Spectra.of(real_NCRR, pool_NCRR)
    real, synthetic = spectra.real, spectra.synthetic
    found = {
        "radial_psd_log_error": radial_psd_log_error(real, synthetic),
        "high_frequency_log_error": high_frequency_log_error(real, synthetic),
        "spectral_slope_difference": slope_difference(real, synthetic),
    }
    ratio = laplacian_ratio(laplacian_variance(real_NCRR), laplacian_variance(pool_NCRR))
    return found if ratio is None else found | {"laplacian_ratio": ratio}
