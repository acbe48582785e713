"""The score stage: apply a published segmenter to the test and validation patients of its fold and measure it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from medsweep.data.fitted_on import require_unseen
from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.data.stage_config import StageConfig
from medsweep.trainers.scoring.evaluate import draw_overlay, evaluate, summary
from medsweep.trainers.segmentation.network import BEST, BEST_WEIGHTS, load_segmenter
from medsweep.trial import Progress, Trial


class ScoreConfig(StageConfig):
    """All that a score trial computes from, beside the network that it reads."""

    fold: Fold
    """Says who is tested and who validates; that of the network's training."""

    @property
    def cut(self) -> Fold:
        """The fold, whose held-out patients the network must not have seen."""
        return self.fold


def hours(config: ScoreConfig) -> float:
    """Hours on one CPU core: imports, loading and a small test set; the number of patients is not known here."""
    return 10.0 / 3600


def probe(config: ScoreConfig) -> ScoreConfig:
    """The whole trial, which takes seconds: its memory is that of one batch of slices in the network."""
    return config


def run(config: ScoreConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Stage function. Inputs: ``prepare``; ``network``, the output of a segment trial.

    Leaves metrics.parquet of the test patients (see ``evaluate``) and overlay.png. validation.parquet holds the same
    of the validation patients where the fold has some, and metrics_best.parquet that of the test patients under the
    best weights where training looked for them.

    Raises:
        UserError: an input was fitted on a test or validation patient.
    """
    torch.set_num_threads(trial.threads)
    data = SliceSet.open(inputs["prepare"])
    patients = split(data.patients, config.fold)
    for role in sorted(inputs):
        require_unseen(inputs[role], (*patients.test, *patients.validation))
    model = load_segmenter(inputs["network"], trial.device)
    table = evaluate(model, data, patients.test)
    table.to_parquet(trial.output / "metrics.parquet", index=False)
    metrics = summary(table, "test_")
    if patients.validation:
        table = evaluate(model, data, patients.validation)
        table.to_parquet(trial.output / "validation.parquet", index=False)
        metrics |= summary(table, "validation_")
    overlay = draw_overlay(model, data, patients.test, trial.output / "overlay.png")
    if (inputs["network"] / BEST).is_file():
        table = evaluate(load_segmenter(inputs["network"], trial.device, BEST_WEIGHTS), data, patients.test)
        table.to_parquet(trial.output / "metrics_best.parquet", index=False)
        metrics |= summary(table, "best_test_") | best_metrics(inputs["network"])
    yield Progress(step=1, total=1, metrics=metrics, pictures={"overlay": overlay})


def best_metrics(network: Path) -> dict[str, float]:
    """Step and validation Dice, in [0, 1], of the best weights that the segment trial in ``network`` has left."""
    best = json.loads((network / BEST).read_text())
    return {"best_step": float(best["step"]), "best_validation_dice": float(best["dice"])}
