"""The profile stage: what the laws of a pool look like by class, along edges, and from few patients to many.

No trial reads it, so that more can be measured without any training. Shapes: n samples, N real slices, K classes.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from medsweep.data.fitted_on import read_fitted_on, write_fitted_on
from medsweep.data.slices import SliceSet
from medsweep.files import write_json
from medsweep.trainers.assessment.assess import patients_of_trial
from medsweep.trainers.assessment.confident import confident_errors, confident_joint, sure_from
from medsweep.trainers.assessment.config import AssessConfig
from medsweep.trainers.assessment.edge_profile import CENTRES, EdgeFit, edge_fit, edge_sums, profiles
from medsweep.trainers.assessment.evidence import PoolEvidence
from medsweep.trainers.assessment.label_law import LawValue, label_law, mask_errors
from medsweep.trainers.assessment.masks import evenly_spread
from medsweep.trainers.assessment.real_side import RealSide, generator
from medsweep.trainers.assessment.variety import SAMPLES, curve, vendi_of
from medsweep.trainers.law import PREFIX
from medsweep.trainers.measures.resampling import percentile_interval, resampled
from medsweep.trainers.pool import EDGES, PROFILE, VARIETY, Pool
from medsweep.trainers.segmentation.network import load_segmenter
from medsweep.trial import Progress, Trial

LOOKED_AT: Final = 500
"""Samples, the first, and real slices, evenly spread, that are looked at, at most."""

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Objects = NDArray[np.object_]
Sides = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Masks and what a judge sees."""
Metrics = dict[str, float]
Tables = tuple[Metrics, pd.DataFrame]


def run(config: AssessConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Stage function, of the same config and inputs as an assess trial: ``prepare``, ``pool``, ``judge``, ``real``.

    Leaves profile.json (metrics by name), edges.parquet (modality, distance_px, real, pool: mean intensities),
    variety.parquet (source, patients, draw, vendi: the curve of real slices, and the pool without a number of patients)
    and fitted_on.json with all whom its inputs saw.

    Raises:
        UserError: an input has seen a test patient.
    """
    torch.set_num_threads(trial.threads)
    data, pool = SliceSet.open(inputs["prepare"]), Pool.open(inputs["pool"])
    train = patients_of_trial(config, data, inputs).train
    judge = load_segmenter(inputs["judge"], trial.device)
    evidence = PoolEvidence(config, data, train, pool, RealSide.open(inputs["real"]), judge)
    metrics: Metrics = {**label_errors(evidence)}
    parts: dict[str, Callable[[PoolEvidence], Tables]] = {EDGES: edges, VARIETY: variety}
    for file, part in parts.items():
        found, table = part(evidence)
        metrics |= found
        table.to_parquet(trial.output / file, index=False)
    write_json(trial.output / PROFILE, metrics)
    write_fitted_on(trial.output, sorted(set(train).union(*map(read_fitted_on, inputs.values()))))
    yield Progress(step=1, total=1, metrics=metrics)


def label_errors(evidence: PoolEvidence) -> Metrics:
    """``class_K/law_NAME`` of ``label_law`` of each class alone, and the errors of ``confident_errors``.

    A component of a class flips where the judge gives it mostly to another one. Beside real slices that the judge has
    not seen, with the look of the pool, as the law of all foreground is. Left out where that law is.
    """
    if "labels" in evidence.laws_left_out:
        return {}
    rows, images = evidence.unseen_rows, evidence.unseen_as_pool
    judge, classes, draws = evidence.segmenter, len(evidence.data.classes), evidence.config.bootstraps
    masks, owners = np.array(evidence.data.masks[rows]), evidence.data.owners[rows]
    whose = evidence.groups, owners
    seen, own = evidence.unseen_judged.seen, evidence.view.predicted
    found: dict[str, LawValue] = {}
    for label in range(1, classes):
        sides = (evidence.masks, own), (masks, seen)
        law = _law_of_class(label, sides, whose, draws, generator(evidence.config, f"labels of class {label}"))
        found |= {f"class_{label}/{PREFIX}{name}": value for name, value in law.items()}
    sure_K = sure_from(judge, images, masks, classes)
    joints = [
        confident_joint(judge, pictures, labels, sure_K)
        for pictures, labels in ((evidence.pool.images[:LOOKED_AT], evidence.masks[:LOOKED_AT]), (images, masks))
    ]
    errors = confident_errors(joints[0], joints[1], owners, draws, generator(evidence.config, "confident"))
    found |= {name.replace("confident", f"{PREFIX}confident"): value for name, value in errors.items()}
    return _told(found)


def _law_of_class(
    label: int, sides: tuple[Sides, Sides], whose: tuple[Indices, Objects], draws: int, rng: np.random.Generator
) -> dict[str, LawValue]:
    """``label_law`` of masks and views of the pool, then of real slices, of one class alone.

    Flips are of the components of that class in views with all classes.
    """

    def law(only: bool) -> dict[str, LawValue]:
        pool_nQ, real_NQ = (
            mask_errors(_alone(given, label), _alone(view, label))
            if only
            else mask_errors(np.where(given == label, given, 0), view)
            for given, view in sides
        )
        return label_law(pool_nQ, real_NQ, whose, draws, rng)

    return law(only=True) | {name: value for name, value in law(only=False).items() if name == "flips"}


def edges(evidence: PoolEvidence) -> Tables:
    """``law_edge_offset_px`` and ``law_edge_width`` of ``edge_fit`` beside the slices in use, and the profiles.

    Intervals are over samples and, independently, patients. ``law_edge_offset_px_floor``: mean size of the offset
    between random halves of the patients.
    """
    config, data, some = evidence.config, evidence.data, evenly_spread(len(evidence.rows), LOOKED_AT)
    rows = evidence.rows[some]
    of_pool = edge_sums(np.array(evidence.pool.images[:LOOKED_AT], np.float32), evidence.masks[:LOOKED_AT])
    of_real = edge_sums(data.image_rows(rows), np.array(data.masks[rows]))
    names, of_N = np.unique(data.owners[rows].astype(str), return_inverse=True)
    by_patient = np.zeros((len(names), *of_real.shape[1:]))
    np.add.at(by_patient, of_N, of_real)
    means = [profiles(side.sum(axis=0)) for side in (of_pool, of_real)]
    table = pd.DataFrame(
        [
            (modality, distance, float(real), float(pool))
            for modality, pool_B, real_B in zip(data.modalities, *means, strict=True)
            for distance, real, pool in zip(CENTRES, real_B, pool_B, strict=True)
        ],
        columns=["modality", "distance_px", "real", "pool"],
    )
    rng = generator(config, "edges")
    drawn = [
        np.tensordot(resampled(len(side), config.bootstraps, rng).astype(float), side, 1)
        for side in (of_pool, by_patient)
    ]
    # all draws together with the whole, since what is compared depends on the bins that have pixels
    both = [np.concatenate([mean[None], profiles(draws)]) for mean, draws in zip(means, drawn, strict=True)]
    fit = edge_fit(*both)
    if fit is None:
        return {}, table
    found = {"edge_offset_px": fit.offset_px, "edge_width": fit.width_ratio}
    bounded = min(len(of_pool), len(names)) > 1
    told = {
        f"{PREFIX}{name}": LawValue(float(x[0]), *(percentile_interval(x[1:]) if bounded else ()))
        for name, x in found.items()
    }
    return _told(told) | _edge_floor(evidence, of_real, some), table


def _edge_floor(evidence: PoolEvidence, of_real: Array, some: Indices) -> Metrics:
    fits: list[EdgeFit | None] = []
    for pair in evidence.halves:
        one, other = (profiles(of_real[np.isin(some, half)].sum(axis=0))[None] for half in pair)
        fits.append(edge_fit(one, other))
    offsets = [abs(float(fit.offset_px[0])) for fit in fits if fit is not None]
    return {f"{PREFIX}edge_offset_px_floor": float(np.mean(offsets))} if offsets else {}


def variety(evidence: PoolEvidence) -> Tables:
    """``law_vendi`` of the pool as ``as_many_patients`` takes it, and the curve that it is read off."""
    columns = ["source", "patients", "draw", "vendi"]
    if "variety" in evidence.laws_left_out:
        return {}, pd.DataFrame(columns=columns)
    pool, real = evidence.evened, evidence.real
    owners = real.left_out_owners["patient"].to_numpy()
    points = curve(real.left_out, owners, generator(evidence.config, "left out"), min(len(pool), SAMPLES))
    score = vendi_of(real.left_out, pool)
    table = [("real", k, draw, vendi) for k, *scores in points.tolist() for draw, vendi in enumerate(scores)]
    if score is None or not table:
        return {}, pd.DataFrame(columns=columns)
    return {f"{PREFIX}vendi": score}, pd.DataFrame([*table, ("pool", np.nan, 0, score)], columns=columns)


def _alone(masks_NRR: NDArray[np.uint8], label: int) -> NDArray[np.uint8]:
    alone_NRR: NDArray[np.uint8] = (masks_NRR == label).astype(np.uint8)
    return alone_NRR


def _told(values: Mapping[str, LawValue]) -> Metrics:
    ends = ("", "_low", "_high")
    return {
        f"{name}{end}": float(x)
        for name, value in values.items()
        for end, x in zip(ends, value, strict=True)
        if np.isfinite(x)
    }
