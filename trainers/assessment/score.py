"""The assess stage: how well each mask of a pool fits its image, and how far the pool is from the real slices."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from medsweep.data.folds import split
from medsweep.data.provenance import require_unseen
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.identity import derive_seed
from medsweep.trial import Progress, Trial
from trainers.assessment.config import AssessConfig
from trainers.assessment.distances import frechet, radial_psd, radial_psd_log_error
from trainers.pool import Pool
from trainers.segmentation.network import features, load_segmenter, predict
from trainers.segmentation.samples import SCORES

CHUNK = 256
"""Samples read from disk at a time."""


def run(config: AssessConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Stage function. Inputs: ``prepare``, ``pool``, ``reference`` (the control arm's segmenter of this replicate).

    Leaves scores.parquet (sample, iou) and pool.json (see ``pool_metrics``).

    Raises:
        UserError: an input has seen a test patient, or there are too few patients or samples for a null floor.
    """
    torch.set_num_threads(trial.threads)
    data, pool = SliceSet.open(inputs["prepare"]), Pool.open(inputs["pool"])
    parts = split(data.patients, config.fold)
    for role in sorted(inputs):
        require_unseen(inputs[role], (*parts.test, *parts.validation))
    model = load_segmenter(inputs["reference"], trial.device)
    iou = sample_ious(model, pool, classes=len(data.classes))
    pd.DataFrame({"sample": np.arange(len(iou)), "iou": iou}).to_parquet(trial.output / SCORES, index=False)
    metrics = pool_metrics(config, model, data, parts.train, pool)
    metrics |= {"iou_mean": float(iou.mean()), "iou_median": float(np.median(iou))}
    (trial.output / "pool.json").write_text(json.dumps(metrics, indent=2, sort_keys=True, allow_nan=False) + "\n")
    yield Progress(step=1, total=1, metrics=metrics)


def sample_ious(model: nn.Module, pool: Pool, classes: int) -> NDArray[np.float64]:
    """IoU between each sample's mask and what ``model`` sees in its image, (n,); see ``mean_iou``."""
    ious = []
    for first in range(0, len(pool), CHUNK):
        images = torch.from_numpy(np.array(pool.images[first : first + CHUNK]))
        seen = predict(model, images, whole_batches=True).argmax(dim=1).numpy()
        ious.append(mean_iou(pool.masks[first : first + CHUNK], seen, classes))
    return np.concatenate(ious)


def mean_iou(masks_NRR: NDArray[np.integer], seen_NRR: NDArray[np.integer], classes: int) -> NDArray[np.float64]:
    """Mean IoU over the foreground classes present in either mask, (N,); 1 where both are all background."""
    labels = np.arange(1, classes)
    a_NKP = masks_NRR.reshape(len(masks_NRR), 1, -1) == labels[:, None]
    b_NKP = seen_NRR.reshape(len(seen_NRR), 1, -1) == labels[:, None]
    union_NK, both_NK = (a_NKP | b_NKP).sum(axis=2), (a_NKP & b_NKP).sum(axis=2)
    present_N = (union_NK > 0).sum(axis=1)
    total_N = (both_NK / np.maximum(union_NK, 1)).sum(axis=1)
    return np.where(present_N > 0, total_N / np.maximum(present_N, 1), 1.0)


def pool_metrics(
    config: AssessConfig, model: nn.Module, data: SliceSet, train: Sequence[str], pool: Pool
) -> dict[str, float]:
    """Distances of the pool from the real foreground slices of the training patients.

    The training patients are halved at random, ``halvings`` times. ``frechet`` is the mean distance from one half to
    the pool, ``frechet_floor`` the mean distance from it to the other half: what a perfect generator would get. All
    sets are cut to ``n_matched`` samples, since the bias of the distance depends on the number of samples.
    """
    rows = data.rows(train, foreground_only=True)
    owners = data.index["patient"].to_numpy()[rows]
    real_ND, pool_MD = _features(model, data.images, rows), _features(model, pool.images, np.arange(len(pool)))
    halves = [_halve(owners, train, config, number) for number in range(config.halvings)]
    matched = min(len(pool), *(len(part) for pair in halves for part in pair))
    if matched < 2:
        raise UserError(
            f"assess needs 2 samples on each side, got {len(pool)} synthetic ones and {len(train)} training patients "
            f"with {len(rows)} foreground slices; ask for a larger pool or more patients"
        )
    to_pool = [frechet(real_ND[a[:matched]], pool_MD[:matched]) for a, _ in halves]
    to_real = [frechet(real_ND[a[:matched]], real_ND[b[:matched]]) for a, b in halves]
    return {
        "frechet": float(np.mean(to_pool)),
        "frechet_floor": float(np.mean(to_real)),
        "n_real": len(rows),
        "n_pool": len(pool),
        "n_matched": matched,
        "radial_psd_log_error": radial_psd_log_error(radial_psd(data.image_rows(rows)), radial_psd(pool.images)),
    }


def _halve(
    owners: NDArray[np.object_], patients: Sequence[str], config: AssessConfig, number: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Shuffled positions of the slices of one random half of the patients, and of the other half."""
    rng = np.random.default_rng(derive_seed("assess", "halves", config.fold.index, config.seed, number))
    shuffled = rng.permutation(np.array(sorted(patients), dtype=object))
    first = np.isin(owners, shuffled[: len(shuffled) // 2])
    return rng.permutation(np.flatnonzero(first)), rng.permutation(np.flatnonzero(~first))


def _features(model: nn.Module, images: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    chunks = [rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK)]
    return np.concatenate(
        [features(model, torch.from_numpy(np.array(images[chunk], dtype=np.float32))).numpy() for chunk in chunks]
    )
