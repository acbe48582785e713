"""The assess stage: how well each mask of a pool fits its image, and how far the pool is from the real slices."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from medsweep.data.fitted_on import require_unseen
from medsweep.data.folds import split
from medsweep.data.slices import SliceSet
from medsweep.trainers.assessment.config import AssessConfig
from medsweep.trainers.assessment.consistency import consistency, see, spoiled_metrics
from medsweep.trainers.assessment.features import judge
from medsweep.trainers.assessment.inception import load_extractor
from medsweep.trainers.assessment.metrics import inception_metrics, pool_metrics
from medsweep.trainers.measures.spectra import Spectra
from medsweep.trainers.pool import SCORES, Pool
from medsweep.trainers.segmentation.network import load_segmenter
from medsweep.trial import Progress, Trial

SPECTRA = "spectra.parquet"


def run(config: AssessConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Stage function. Inputs: ``prepare``, ``pool``, ``reference`` (the control arm's segmenter of this replicate).

    Leaves scores.parquet (sample, iou), spectra.parquet (see ``Spectra.table``), features.safetensors (see
    ``Sides.save``) and pool.json (see ``pool_metrics``,
    ``consistency``, ``spoiled_metrics`` and ``inception_metrics``).

    Raises:
        UserError: an input has seen a test patient, there are too few patients or samples for a null floor, or
            Inception-v3 is asked for and cannot be had.
    """
    torch.set_num_threads(trial.threads)
    extractor = load_extractor(Path(config.inception), trial.device) if config.inception is not None else None
    data, pool = SliceSet.open(inputs["prepare"]), Pool.open(inputs["pool"])
    parts = split(data.patients, config.fold)
    for role in sorted(inputs):
        require_unseen(inputs[role], (*parts.test, *parts.validation))
    model = load_segmenter(inputs["reference"], trial.device)
    seen = see(model, pool.images, np.arange(len(pool)))
    iou = mean_iou(pool.masks, seen, classes=len(data.classes))
    pd.DataFrame({"sample": np.arange(len(iou)), "iou": iou}).to_parquet(trial.output / SCORES, index=False)
    judged = judge(config, model, data, parts.train, pool)
    judged.deepest.save(trial.output)
    spectra = Spectra.of(data.image_rows(judged.rows), pool.images)
    spectra.table(data.modalities).to_parquet(trial.output / SPECTRA, index=False)
    metrics = pool_metrics(config, model, data, parts.train, pool, judged=judged, spectra=spectra)
    metrics |= consistency(model, data, parts.train, pool, seen)
    if pool.spoiled is not None:
        metrics |= spoiled_metrics(pool.spoiled, iou)
    if extractor is not None:
        metrics |= inception_metrics(config, extractor, data, pool, judged, device=trial.device)
    metrics |= {"iou_mean": float(iou.mean()), "iou_median": float(np.median(iou))}
    (trial.output / "pool.json").write_text(json.dumps(metrics, indent=2, sort_keys=True, allow_nan=False) + "\n")
    yield Progress(step=1, total=1, metrics=metrics)


def mean_iou(masks_NRR: NDArray[np.integer], seen_NRR: NDArray[np.integer], classes: int) -> NDArray[np.float64]:
    """Mean IoU over the foreground classes present in either mask, (N,); 1 where both are all background."""
    union_KN, both_KN = np.zeros((2, classes - 1, len(masks_NRR)))
    for label in range(1, classes):
        a_NRR, b_NRR = masks_NRR == label, seen_NRR == label
        union_KN[label - 1] = (a_NRR | b_NRR).sum(axis=(1, 2))
        both_KN[label - 1] = (a_NRR & b_NRR).sum(axis=(1, 2))
    present_N = (union_KN > 0).sum(axis=0)
    total_N = (both_KN / np.maximum(union_KN, 1)).sum(axis=0)
    return np.where(present_N > 0, total_N / np.maximum(present_N, 1), 1.0)
