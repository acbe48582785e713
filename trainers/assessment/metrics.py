"""Every metric of a pool as a whole, each one function of the ``PoolEvidence``; the table is at the end.

A function returns its metric by name, with what it is to be read beside: a floor, the value of real data, an interval.
What the samples do not define (too few of them, a constant) is left out, never NaN. Titles, units and directions are
recorded in ``medsweep.pool_metrics``. Shapes: N real slices, n samples of the pool, D features.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import scipy
from numpy.typing import NDArray

from medsweep.trainers.assessment import law_metrics
from medsweep.trainers.assessment.agreement import IN_USE, MEASURES, excess
from medsweep.trainers.assessment.evidence import (
    FeatureSets,
    PoolEvidence,
    principal_components,
)
from medsweep.trainers.assessment.masks import describe, mean_hd95_to, shape_distances
from medsweep.trainers.assessment.real_side import generator
from medsweep.trainers.assessment.variety import as_varied
from medsweep.trainers.measures import frechet, kernels, neighbours, spectra

PAIRS = 2000
"""Samples of each side at most where all pairs are held in memory."""

Metrics = dict[str, float]


def pool_metrics(evidence: PoolEvidence) -> Metrics:
    """All metrics in ``POOL_METRICS`` that the samples define.

    Raises:
        UserError: fewer than two samples on a side of the null floor.
    """
    return {name: value for metric in POOL_METRICS for name, value in metric(evidence).items()}


def sample_counts(evidence: PoolEvidence) -> Metrics:
    """Numbers of slices, samples and patients.

    ``n_matched`` samples are on each side of every Fréchet distance and of all floors, ``n_equal`` on each side of what
    compares all pairs.
    """
    real, equal = evidence.bottleneck.real, len(equal_samples(evidence, evidence.bottleneck)[0])
    counts = {"n_real": len(real), "n_pool": len(evidence.pool), "n_patients": len(evidence.train)}
    return {**counts, "n_matched": evidence.bottleneck.matched, "n_equal": equal}


def frechet_and_floor(sets: FeatureSets, name: str) -> Metrics:
    """Mean Fréchet distance ``name`` from one half of the patients to the pool, and ``name``_floor to the other half.

    The floor is what a perfect generator would get. Both are in squared units of the features, >= 0, lower is better,
    and cut to ``matched`` samples, since the bias of the distance depends on their number (Heusel et al. 2017).
    """
    n, fit = sets.matched, frechet.Gaussian.of
    pool, halves = fit(sets.pool[:n]), [(fit(sets.real[a[:n]]), fit(sets.real[b[:n]])) for a, b in sets.halves]
    to_pool = [frechet.distance(a, pool) for a, _ in halves]
    to_real = [frechet.distance(a, b) for a, b in halves]
    return {name: float(np.mean(to_pool)), f"{name}_floor": float(np.mean(to_real))}


def frechet_distance(evidence: PoolEvidence) -> Metrics:
    """``frechet`` at the bottleneck, with its floor and the interval over resampled patients, of 3 or more.

    ``frechet_infinity``: the distance for endlessly many samples, of 100 on each side or more; below 0 by chance. In
    squared feature units, lower is better (Heusel et al. 2017; interval: Efron 1979; Chong and Forsyth 2020).
    """
    sets, config = evidence.bottleneck, evidence.config
    metrics = frechet_and_floor(sets, "frechet")
    if len(set(sets.owners)) >= 3:
        rng = generator(config, "bootstrap")
        low, high = frechet.frechet_spread(sets.real, sets.owners, sets.pool, config.bootstraps, rng)
        distance = metrics["frechet"]
        metrics |= {"frechet_low": max(0.0, distance + low), "frechet_high": distance + high}
    if min(len(sets.real), len(sets.pool)) >= 100:
        rng = generator(config, "infinity")
        metrics["frechet_infinity"] = frechet.frechet_infinity(sets.real, sets.pool, rng)
    return metrics


def frechet_random(evidence: PoolEvidence) -> Metrics:
    """``frechet_random``, with its floor, on a network with fixed random weights; >= 0, lower is better."""
    return frechet_and_floor(evidence.random_network, "frechet_random")


def frechet_decoder(evidence: PoolEvidence) -> Metrics:
    """``frechet_decoder``, with its floor, on principal components of bottleneck and decoder, and their number.

    In units of the SD of real features, squared, >= 0, lower is better. See ``principal_components``.
    """
    sets = principal_components(evidence.all_layers)
    if sets is None:
        return {}
    return {**frechet_and_floor(sets, "frechet_decoder"), "frechet_decoder_dims": sets.real.shape[1]}


def inception_distances(evidence: PoolEvidence) -> Metrics:
    """``frechet_inception``, with its floor, and ``kid_inception``, on Inception-v3 where it was asked for.

    Lower is better; for comparison with the literature (Heusel et al. 2017, Binkowski et al. 2018).
    """
    sets = evidence.inception_network
    if sets is None:
        return {}
    real, pool = equal_samples(evidence, sets)
    distance = _first_from_rest(np.concatenate([real, pool]), len(real))
    return {**frechet_and_floor(sets, "frechet_inception"), "kid_inception": distance}


def kernel_distance(evidence: PoolEvidence) -> Metrics:
    """``kid`` at the bottleneck, with its permutation p and its floor between halves of the patients.

    Squared MMD with a cubic kernel, unbiased, lower is better, below 0 by chance (Binkowski et al. 2018). The p is too
    small, since slices of a patient are not exchangeable (Gretton et al. 2012).
    """
    sets, config = evidence.bottleneck, evidence.config
    real, pool = equal_samples(evidence, sets)
    distance, p = kernels.kid(real, pool, config.permutations, generator(config, "permutations"))
    n = min(sets.matched, PAIRS)
    floors = [_first_from_rest(sets.real[np.concatenate([a[:n], b[:n]])], n) for a, b in sets.halves]
    return {"kid": distance, "kid_p": p, "kid_floor": float(np.mean(floors))}


def _first_from_rest(x_ND: NDArray[np.floating], first: int) -> float:
    """Squared MMD of the first samples from all others."""
    return float(kernels.mmd(kernels.cubic_kernel(x_ND), (np.arange(len(x_ND)) < first)[None])[0])


def fidelity_and_diversity(evidence: PoolEvidence) -> Metrics:
    """``precision`` and ``recall`` (Kynkäänniemi et al. 2019), ``density`` and ``coverage`` (Naeem et al. 2020).

    Shares in [0, 1], density in [0, inf), higher is better; of more than 5 samples on each side. See ``prdc``.
    Each with ``_floor``, the same between halves of the real patients, which have half the samples.
    """
    real, pool = equal_samples(evidence, evidence.bottleneck)
    floors = {f"{name}_floor": value for name, value in evidence.real.neighbour_floor.items()}
    return neighbours.prdc(real, pool) | floors if len(real) > neighbours.DENSITY_NEIGHBOUR else {}


def effective_number(evidence: PoolEvidence) -> Metrics:
    """``vendi``, the effective number of distinct samples, and ``vendi_real`` of as many real ones.

    In [1, n_equal], higher is more varied (Friedman and Dieng 2023, definition 3.1).
    """
    real, pool = equal_samples(evidence, evidence.bottleneck)
    if len(real) <= (neighbour := neighbours.DENSITY_NEIGHBOUR):
        return {}
    sets = {"vendi": pool, "vendi_real": real}
    similarity = {name: kernels.gaussian_similarity(real, x, neighbour) for name, x in sets.items()}
    return {name: kernels.vendi(matrix) for name, matrix in similarity.items() if matrix is not None}


def varied_as(evidence: PoolEvidence) -> Metrics:
    """``varied_as_patients``, the training patients whose slices are as varied as the pool, with least and most.

    In (0, ``n_patients``], higher is more varied; an upper bound, since images unlike any real one
    count as varied. See ``variety``.
    """
    sets = evidence.bottleneck
    as_many = as_varied(evidence.real.variety, sets.real, sets.pool)
    if as_many is None:
        return {}
    name = "varied_as_patients"
    return {name: as_many.patients, f"{name}_low": as_many.low, f"{name}_high": as_many.high}


def authenticity(evidence: PoolEvidence) -> Metrics:
    """``authenticity``, the share of samples that are no copies, and ``authenticity_real`` between halves of patients.

    In [0, 1], best as high as the real one; copies give 0 (Alaa et al. 2022, Stein et al. 2023).
    """
    sets, real = evidence.bottleneck, evidence.real
    own = neighbours.authenticity(sets.real, real.nearest, sets.pool)
    return {"authenticity": own, "authenticity_real": real.authenticity}


def nearest_ratio(evidence: PoolEvidence) -> Metrics:
    """``nearest_ratio``: median distance to the nearest real slice, over that between patients.

    >= 0, best at 1, as far as an unseen patient; copies give 0. Left out with fewer than two patients, and where
    patients coincide.
    """
    sets, between = evidence.bottleneck, evidence.real.between_owners
    if not between:
        return {}
    return {"nearest_ratio": float(np.median(neighbours.nearest(sets.pool, sets.real)[0])) / between}


def texture(evidence: PoolEvidence) -> Metrics:
    """Differences of radial power spectra, and the ratio of variances of the Laplacian; see ``measures.spectra``.

    Each with ``_floor``, the mean size of the same between halves of the real patients; a ratio is told from 1.
    """
    ratio = _defined(laplacian_ratio=spectra.laplacian_ratio(evidence.real.laplacian, evidence.view.laplacian))
    floors = {f"{name}_floor": value for name, value in evidence.real.texture_floor.items()}
    return evidence.spectra.spectral_differences() | ratio | floors


def mask_shapes(evidence: PoolEvidence) -> Metrics:
    """``mask_ks_NAME``: Kolmogorov-Smirnov statistic of each descriptor of masks; in [0, 1], lower is better."""
    return shape_distances(evidence.real.shapes, describe(evidence.masks, len(evidence.data.classes)))


def mask_novelty(evidence: PoolEvidence) -> Metrics:
    """``mask_nearest_hd95_px``: HD95 in pixels to the nearest real mask, that between patients, and the gap, best at 0.

    Below 0 masks are copies, above they have shapes that no patient has. See ``mean_hd95_to``.
    """
    own, between = mean_hd95_to(evidence.masks, evidence.real_masks), evidence.real.between_patients
    if own is None or between is None:
        return _defined(mask_nearest_hd95_px=own)
    return {
        "mask_nearest_hd95_px": own,
        "mask_nearest_hd95_px_real": between,
        "mask_nearest_hd95_gap_px": own - between,
    }


def consistency(evidence: PoolEvidence) -> Metrics:
    """How well masks agree with what the judge sees in their images, all foreground as one class.

    ``consistency_NAME`` for each of ``MEASURES``: means over the samples that define it, so that a missed one counts in
    ``missed`` and ``dice`` alone. Beside them the same of real slices, ``_in_use`` of the training patients and
    ``_unseen`` of those among them and the validation patients that the judge was not fitted on. Left out of pools
    whose masks a segmenter drew.
    """
    if "consistency" in evidence.left_out:
        return {}
    real = evidence.real.agreement
    sides = {"": evidence.agreement, "_in_use": real[real["group"] == IN_USE], "_unseen": real[real["unseen"]]}
    unseen = sides["_unseen"]
    means = {f"consistency_{name}{side}": table[name].mean() for side, table in sides.items() for name in MEASURES}
    counts = {"n_unseen": len(unseen), "n_unseen_patients": unseen["patient"].nunique()}
    return counts | {name: float(mean) for name, mean in means.items() if np.isfinite(mean)}


def excess_over_unseen(evidence: PoolEvidence) -> Metrics:
    """``excess_NAME`` for each of ``MEASURES``, and by class: mean over the pool minus that of unseen real slices.

    With ``_low`` and ``_high``, see ``excess``. Both sides are judged by one segmenter. Left out where it has seen all
    real slices, and of pools whose masks a segmenter drew.
    """
    if "excess" in evidence.left_out:
        return {}
    unseen = evidence.real.agreement[evidence.real.agreement["unseen"]]
    metrics: Metrics = {}
    for column, values in evidence.agreement.items():
        rng = generator(evidence.config, f"excess {column}")
        draws = evidence.config.bootstraps
        found = excess(values.to_numpy(), unseen[column].to_numpy(), unseen["patient"].to_numpy(), draws, rng)
        if found is not None:
            prefix, _, measure = str(column).rpartition("/")
            name = f"{prefix}/excess_{measure}" if prefix else f"excess_{measure}"
            told = {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
            metrics |= {key: value for key, value in told.items() if np.isfinite(value)}
    return metrics


def segmenter_agreement(evidence: PoolEvidence) -> Metrics:
    """``iou_mean`` and ``iou_median`` of the samples' ``mean_iou``, in [0, 1], higher is better.

    Where a treatment spoiled samples on purpose, also how well the IoU finds them; see ``auc_of_spoiled``. Of pools
    whose masks a segmenter drew there is nothing but the share that was spoiled.
    """
    spoiled = evidence.pool.spoiled
    if "consistency" in evidence.left_out:
        return {} if spoiled is None else {"spoiled_share": float(spoiled.mean())}
    metrics = {"iou_mean": float(evidence.iou.mean()), "iou_median": float(np.median(evidence.iou))}
    return metrics if spoiled is None else metrics | auc_of_spoiled(spoiled, evidence.iou)


def auc_of_spoiled(spoiled_n: NDArray[np.bool_], iou_n: NDArray[np.floating]) -> Metrics:
    """``spoiled_share``, and ``spoiled_auc`` where there are samples of both kinds.

    The latter is the chance that a spoiled sample has a lower IoU than one that was not, ties half; in [0, 1], higher
    is better (area under the ROC curve; Hanley and McNeil 1982).
    """
    bad, good = int(spoiled_n.sum()), int((~spoiled_n).sum())
    share = {"spoiled_share": float(spoiled_n.mean())}
    if not (bad and good):
        return share
    above = scipy.stats.rankdata(1 - iou_n)[spoiled_n].sum() - bad * (bad + 1) / 2
    return {**share, "spoiled_auc": float(above / (bad * good))}


def equal_samples(evidence: PoolEvidence, sets: FeatureSets) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """As many real samples as of the pool, at most ``PAIRS``: the same ones whatever the features are."""
    equal = min(len(sets.real), len(sets.pool), PAIRS)
    order = generator(evidence.config, "equal").permutation(len(sets.real))
    return sets.real[order[:equal]], sets.pool[:equal]


def _defined(**values: float | None) -> Metrics:
    return {name: value for name, value in values.items() if value is not None}


POOL_METRICS: Final[tuple[Callable[[PoolEvidence], Metrics], ...]] = (
    sample_counts,
    frechet_distance,
    frechet_random,
    frechet_decoder,
    inception_distances,
    kernel_distance,
    fidelity_and_diversity,
    effective_number,
    varied_as,
    authenticity,
    nearest_ratio,
    texture,
    mask_shapes,
    mask_novelty,
    consistency,
    excess_over_unseen,
    segmenter_agreement,
    law_metrics.labels,
    law_metrics.look_of_pool,
    law_metrics.look_beside_new,
    law_metrics.domain_auc,
    law_metrics.variety_beside_unseen,
    law_metrics.as_many_patients,
)
"""What an assessment measures; a new metric is a function here and a record in ``medsweep.pool_metrics``."""
