"""The assess stage: how well each mask of a pool fits its image, and how far the pool is from the real slices.

The real side is the same for all pools of a fold and judge, so the embed stage works it out once.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from medsweep.data.fitted_on import read_fitted_on, require_unseen, write_fitted_on
from medsweep.data.folds import Split, split, unused_patients
from medsweep.data.slices import SliceSet
from medsweep.files import write_json
from medsweep.trainers.assessment.config import AssessConfig, EmbedConfig
from medsweep.trainers.assessment.evidence import PoolEvidence
from medsweep.trainers.assessment.fine_texture import RealTexture
from medsweep.trainers.assessment.inception import Extractor, load_extractor
from medsweep.trainers.assessment.law_metrics import judges_differ
from medsweep.trainers.assessment.metrics import pool_metrics
from medsweep.trainers.assessment.real_side import RealSide, generator, real_rows
from medsweep.trainers.law import PoolLaw
from medsweep.trainers.pool import ASSESSMENT, LEFT_OUT, LOOK_MAP, SCORES, SPECTRA, Pool
from medsweep.trainers.segmentation.network import load_segmenter
from medsweep.trial import Progress, Trial


def embed(config: EmbedConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Stage function. Inputs: ``prepare``, ``judge`` (the segmenter whose view masks are compared with).

    Leaves what ``RealSide.save`` and ``RealTexture.save`` write of the foreground slices of the training patients, of
    the validation patients, on which nothing is fitted, and of those whom the study leaves out, where the config says
    so; fitted_on.json with all these but the validation patients, and with the judge's.

    Raises:
        UserError: an input has seen a test patient, or Inception-v3 is asked for and cannot be had.
    """
    torch.set_num_threads(trial.threads)
    extractor = _extractor(config, trial)
    data = SliceSet.open(inputs["prepare"])
    patients, fitted_on = patients_of_trial(config, data, inputs), read_fitted_on(inputs["judge"])
    judge = load_segmenter(inputs["judge"], trial.device)
    left_out = unused_patients("embed", data.patients, config.fold) if config.left_out else ()
    others = {"watched": patients.validation, "left_out": left_out}
    real = RealSide.of(config, data, patients.train, judge, extractor, fitted_on=fitted_on, **others)
    real.save(trial.output)
    rows, rng = real_rows(data, patients.train), generator(config, "fine texture")
    RealTexture.of(judge, data, rows, rng, config.halvings).save(trial.output)
    write_fitted_on(trial.output, sorted(fitted_on.union(patients.train, left_out)))
    yield Progress(step=1, total=1, metrics={"n_real": float(len(real.layers))})


def run(config: AssessConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Stage function. Inputs: ``prepare``, ``pool``, ``judge``, ``real`` (what ``embed`` left of this judge), and where
    the judges are compared ``other``, the assess trial of the pool by another one.

    Leaves scores.parquet (sample, iou, then the columns of ``agreement`` and of ``abnormality``), left_out.json (what
    is not told of the agreement, and why), law.json (see ``PoolLaw``), judged.npz (see ``JudgedMasks``, where the label
    law is told), look_map.safetensors (``planted_look``),
    spectra.parquet (see ``Spectra.table``), features.safetensors (see ``FeatureSets.save``), pool_metrics.json (see
    ``pool_metrics``) and fitted_on.json with all whom its inputs saw.

    Raises:
        UserError: an input has seen a test patient, there are too few patients or samples for a null floor, or
            Inception-v3 is asked for and cannot be had.
    """
    torch.set_num_threads(trial.threads)
    extractor = _extractor(config, trial)
    data, pool = SliceSet.open(inputs["prepare"]), Pool.open(inputs["pool"])
    train = patients_of_trial(config, data, inputs).train
    segmenter = load_segmenter(inputs["judge"], trial.device)
    evidence = PoolEvidence(config, data, train, pool, RealSide.open(inputs["real"]), segmenter, extractor)
    scores = pd.DataFrame({"sample": np.arange(len(pool)), "iou": evidence.iou})
    pd.concat([scores, evidence.agreement, evidence.abnormality], axis=1).to_parquet(trial.output / SCORES, index=False)
    evidence.planted_look.save(trial.output / LOOK_MAP)
    evidence.bottleneck.save(trial.output)
    evidence.spectra.table(data.modalities).to_parquet(trial.output / SPECTRA, index=False)
    write_json(trial.output / LEFT_OUT, evidence.left_out)
    metrics = pool_metrics(evidence) | RealTexture.open(inputs["real"]).differences(segmenter, pool.images)
    if "other" in inputs:
        metrics |= judges_differ(metrics, PoolLaw.open(inputs["other"]))
    PoolLaw.of(metrics, evidence.laws_left_out).save(trial.output)
    if "labels" not in evidence.laws_left_out:
        evidence.some_judged.save(trial.output)
    write_fitted_on(trial.output, sorted(set(evidence.train).union(*map(read_fitted_on, inputs.values()))))
    (trial.output / ASSESSMENT).write_text(json.dumps(metrics, indent=2, sort_keys=True, allow_nan=False) + "\n")
    yield Progress(step=1, total=1, metrics=metrics)


def _extractor(config: EmbedConfig, trial: Trial) -> Extractor | None:
    return load_extractor(Path(config.inception), trial.device) if config.inception is not None else None


def patients_of_trial(config: EmbedConfig, data: SliceSet, inputs: Mapping[str, Path]) -> Split:
    """The patients of the fold.

    Raises:
        UserError: an input has seen a test or validation patient.
    """
    patients = split(data.patients, config.fold)
    for role in sorted(inputs):
        require_unseen(inputs[role], (*patients.test, *patients.validation))
    return patients
