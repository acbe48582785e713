"""The assess stage: how well each mask of a pool fits its image, and how far the pool is from the real slices."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from medsweep.data.fitted_on import require_unseen
from medsweep.data.folds import split
from medsweep.data.slices import SliceSet
from medsweep.trainers.assessment.config import AssessConfig
from medsweep.trainers.assessment.evidence import PoolEvidence
from medsweep.trainers.assessment.inception import load_extractor
from medsweep.trainers.assessment.metrics import pool_metrics
from medsweep.trainers.pool import ASSESSMENT, SCORES, Pool
from medsweep.trainers.segmentation.network import load_segmenter
from medsweep.trial import Progress, Trial

SPECTRA = "spectra.parquet"


def run(config: AssessConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Stage function. Inputs: ``prepare``, ``pool``, ``reference`` (the control arm's segmenter of this replicate).

    Leaves scores.parquet (sample, iou), spectra.parquet (see ``Spectra.table``), features.safetensors (see
    ``FeatureSets.save``) and pool_metrics.json (see ``pool_metrics``).

    Raises:
        UserError: an input has seen a test patient, there are too few patients or samples for a null floor, or
            Inception-v3 is asked for and cannot be had.
    """
    torch.set_num_threads(trial.threads)
    extractor = load_extractor(Path(config.inception), trial.device) if config.inception is not None else None
    data, pool = SliceSet.open(inputs["prepare"]), Pool.open(inputs["pool"])
    patients = split(data.patients, config.fold)
    for role in sorted(inputs):
        require_unseen(inputs[role], (*patients.test, *patients.validation))
    segmenter = load_segmenter(inputs["reference"], trial.device)
    evidence = PoolEvidence(config, data, patients.train, pool, segmenter, extractor)
    scores = pd.DataFrame({"sample": np.arange(len(pool)), "iou": evidence.iou})
    scores.to_parquet(trial.output / SCORES, index=False)
    evidence.bottleneck.save(trial.output)
    evidence.spectra.table(data.modalities).to_parquet(trial.output / SPECTRA, index=False)
    metrics = pool_metrics(evidence)
    (trial.output / ASSESSMENT).write_text(json.dumps(metrics, indent=2, sort_keys=True, allow_nan=False) + "\n")
    yield Progress(step=1, total=1, metrics=metrics)
