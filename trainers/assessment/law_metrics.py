"""The three laws of a pool as metrics: labels, look and variety; each is a function of the ``PoolEvidence``.

What the samples do not define is left out. Shapes: N real slices, n samples of the pool, D features.
"""

import numpy as np
from numpy.typing import NDArray

from medsweep.trainers.assessment.evidence import PoolEvidence
from medsweep.trainers.assessment.label_law import LawValue, label_law, mask_errors
from medsweep.trainers.assessment.real_side import generator
from medsweep.trainers.assessment.variety import SAMPLES, as_varied, curve
from medsweep.trainers.diagnosis.features import domain_aucs
from medsweep.trainers.law import PREFIX, PoolLaw
from medsweep.trainers.measures import kernels
from medsweep.trainers.measures.neighbours import DENSITY_NEIGHBOUR
from medsweep.trainers.measures.texture import local_sd_log_ratio

Metrics = dict[str, float]
Objects = NDArray[np.object_]


def labels(evidence: PoolEvidence) -> Metrics:
    """``law_NAME`` of ``label_law`` with ``_low`` and ``_high``, beside real slices that the judge has not seen.

    These slices are given the look of the pool first, by a map that reads no mask, so that what the judge sees less
    well for its look alone is not taken for misfit. Left out where the judge has seen all real slices, and of pools
    whose masks a segmenter drew.
    """
    if "labels" in evidence.laws_left_out:
        return {}
    config = evidence.config
    unseen = evidence.unseen_judged
    real_NQ = mask_errors(np.array(evidence.data.masks[unseen.rows]), unseen.seen)
    owners_N = evidence.data.owners[unseen.rows]
    pool_nQ = mask_errors(evidence.masks, evidence.view.predicted)
    law = label_law(pool_nQ, real_NQ, (evidence.groups, owners_N), config.bootstraps, generator(config, "labels"))
    return {name: value for measure, bounded in law.items() for name, value in _told(measure, bounded).items()}


def look_of_pool(evidence: PoolEvidence) -> Metrics:
    """``law_look``: mean of ``radial_psd_log_error`` and of |log ratio of local SD| to the slices in use, in nats.

    Local SD is compared in the classes that the judge sees, so that masks play no part.
    """
    power = evidence.spectra.spectral_differences()["radial_psd_log_error"]
    return {"law_look": (power + local_sd_log_ratio(evidence.view.local_sd, evidence.real.local_sd)) / 2}


def look_beside_new(evidence: PoolEvidence) -> Metrics:
    """``law_class_quantiles`` with its floor, and ``law_look_shown``: whether a look would be planted; ``look_law``."""
    found, floor = evidence.look_law
    told = {"law_class_quantiles": found.quantiles, "law_look_shown": float(evidence.look_law.shown)}
    return told if floor is None else told | {"law_class_quantiles_floor": floor.quantiles}


def domain_auc(evidence: PoolEvidence) -> Metrics:
    """``law_domain_auc`` of the pool against unseen real slices at the judge's first level, and its floor.

    The floor is the range of the same between random halves of these patients. See ``domain_aucs``.
    """
    unseen_N = evidence.real.agreement["unseen"].to_numpy()
    real, owners_N = evidence.real.first[unseen_N], evidence.real.agreement["patient"].to_numpy()[unseen_N]
    patients, of_N = np.unique(owners_N.astype(str), return_inverse=True)
    if real.shape[1] == 0 or len(patients) < 2:
        return {}
    rng, x = generator(evidence.config, "domain"), real.astype(np.float64)
    groups_n = evidence.pool.groups(evidence.data.owners)
    auc = float(domain_aucs(x, of_N, evidence.view.first.astype(np.float64), groups_n, rng).mean())
    found = {"law_domain_auc": auc} if np.isfinite(auc) else {}
    floors = []
    for _ in range(evidence.config.halvings):
        first = np.isin(of_N, rng.permutation(len(patients))[: len(patients) // 2])
        floors.append(domain_aucs(x[first], of_N[first], x[~first], of_N[~first], rng).mean())
    if np.isfinite(floors).all():
        found |= {"law_domain_auc_floor_low": float(min(floors)), "law_domain_auc_floor_high": float(max(floors))}
    return found


def variety_beside_unseen(evidence: PoolEvidence) -> Metrics:
    """``law_vendi_share``: Vendi score of the pool over that of as many unseen real slices, at the bottleneck.

    The pool is given the look of real slices first. The unseen are validation patients where there are any, the same
    for every judge, else those in use.
    """
    watched = evidence.real.watched
    if not len(watched):
        watched = evidence.bottleneck.real[evidence.real.agreement["unseen"].to_numpy()[: len(evidence.rows)]]
    equal = min(len(watched), len(evidence.pool), SAMPLES)
    if equal <= DENSITY_NEIGHBOUR:
        return {}
    real = watched[generator(evidence.config, "variety").permutation(len(watched))[:equal]]
    similarity = [kernels.gaussian_similarity(real, x, DENSITY_NEIGHBOUR) for x in (evidence.evened[:equal], real)]
    scores = [kernels.vendi(matrix) for matrix in similarity if matrix is not None]
    return {"law_vendi_share": scores[0] / scores[1]} if scores else {}


def as_many_patients(evidence: PoolEvidence) -> Metrics:
    """``law_patients``: training patients left out whose slices are as varied as the pool, with least and most.

    The pool is given the look of real slices first, and as many slices are compared. See ``variety``.
    """
    if "variety" in evidence.laws_left_out:
        return {}
    pool, real = evidence.evened, evidence.real
    owners_N = real.left_out_owners["patient"].to_numpy()
    points = curve(real.left_out, owners_N, generator(evidence.config, "left out"), min(len(pool), SAMPLES))
    found = as_varied(points, real.left_out, pool)
    return {} if found is None else _told("patients", LawValue(found.patients, found.low, found.high))


def judges_differ(metrics: Metrics, other: PoolLaw) -> Metrics:
    """``law_judges_differ``: 1 where the intervals of bias or random error by two judges lie apart, else 0.

    Left out where neither law has an interval by both.
    """
    own, apart = PoolLaw.of(metrics, {}).values, []
    for measure in ("bias_px", "random_px"):
        names = [f"{measure}_low", f"{measure}_high"]
        if all(name in law for law in (own, other.values) for name in names):
            (low, high), (least, most) = ([law[name] for name in names] for law in (own, other.values))
            apart.append(low > most or least > high)
    return {"law_judges_differ": float(any(apart))} if apart else {}


def _told(measure: str, bounded: LawValue) -> Metrics:
    ends = {"": bounded.value, "_low": bounded.low, "_high": bounded.high}
    return {f"{PREFIX}{measure}{end}": value for end, value in ends.items() if np.isfinite(value)}
