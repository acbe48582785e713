"""The score stage: apply a published segmenter to the test and validation patients of its fold and measure it.

Every slice of every patient is predicted, restacked and scored on the patient's original grid.
"""

import json
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from medsweep.data.fitted_on import require_unseen
from medsweep.data.folds import split
from medsweep.data.ignored import IGNORED, as_background
from medsweep.data.slices import SliceSet
from medsweep.metrics import REGION
from medsweep.trainers.measures.structures import OVERLAPS, bounding_box, diagonal_mm, score, volume_ml
from medsweep.trainers.scoring.config import ScoreConfig
from medsweep.trainers.segmentation.network import BEST, BEST_WEIGHTS, load_segmenter, neighbours_of, predict
from medsweep.trainers.segmentation.predictions import segment_volume
from medsweep.trainers.training.pictures import grid_png
from medsweep.trial import Progress, Trial

SHOWN_PATIENTS = 4


def run(config: ScoreConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Stage function. Inputs: ``prepare``; ``network``, the output of a segment trial.

    Leaves metrics.parquet of the test patients (see ``evaluate``) and overlay.png of the worst of them.
    validation.parquet holds the same of the validation patients where the fold has some, and metrics_best.parquet that
    of the test patients under the best weights where training looked for them.

    Raises:
        UserError: an input was fitted on a test or validation patient.
    """
    torch.set_num_threads(trial.threads)
    data = SliceSet.open(inputs["prepare"])
    patients = split(data.patients, config.fold)
    for role in sorted(inputs):
        require_unseen(inputs[role], (*patients.test, *patients.validation))
    model = load_segmenter(inputs["network"], trial.device)

    def measure(network: nn.Module, tested: Sequence[str], file: str) -> pd.DataFrame:
        table = evaluate(network, data, tested, threads=trial.threads)
        table.to_parquet(trial.output / file, index=False)
        return table

    table = measure(model, patients.test, "metrics.parquet")
    metrics = summary(table, "test_")
    if patients.validation:
        metrics |= summary(measure(model, patients.validation, "validation.parquet"), "validation_")
    overlay = draw_overlay(model, data, worst_first(table)[:SHOWN_PATIENTS], trial.output / "overlay.png")
    if (inputs["network"] / BEST).is_file():
        best = load_segmenter(inputs["network"], trial.device, BEST_WEIGHTS)
        metrics |= summary(measure(best, patients.test, "metrics_best.parquet"), "best_test_")
        chosen = json.loads((inputs["network"] / BEST).read_text())
        metrics |= {"best_step": float(chosen["step"]), "best_validation_dice": float(chosen["dice"])}
    yield Progress(step=1, total=1, metrics=metrics, pictures={"overlay": overlay})


def evaluate(model: nn.Module, data: SliceSet, patients: Sequence[str], *, threads: int = 1) -> pd.DataFrame:
    """One row per patient, foreground class and metric (``METRICS``), in that order, then its regions.

    Regions are unions of classes; their metrics are ``region_dice``, ``region_hd95_mm`` and so on, with the region as
    class. Columns: patient, class, metric, value (float64), status; then what all rows of a structure share, so that
    another rule for empty masks can be applied later: n_ref, n_pred, tp (voxels), diagonal_mm (of the volume), fp, fn
    (voxels), volume_ref_ml, volume_pred_ml, boundary_bias_mm (positive = grown; NaN where either mask is empty).
    Ignored voxels are in none of them, and a patient who has some has no distances (``measures.structures``).

    Patients are measured in threads while the next one is predicted, where the model lies on a GPU or there is more
    than one thread.
    """
    # on a GPU this thread does nothing but wait
    beside = threads - (next(model.parameters()).device.type == "cpu")
    predicted = ((patient, segment_volume(model, data, patient)) for patient in sorted(patients))
    if not beside:
        return pd.DataFrame([row for patient, labels in predicted for row in rows_of(data, patient, labels)])
    rows: list[dict[str, Any]] = []
    pending: deque[Future[list[dict[str, Any]]]] = deque()
    with ThreadPoolExecutor(beside) as pool:
        for patient, labels in predicted:
            pending.append(pool.submit(rows_of, data, patient, labels))
            if len(pending) > beside:
                rows += pending.popleft().result()
        for future in pending:
            rows += future.result()
    return pd.DataFrame(rows)


def rows_of(data: SliceSet, patient: str, prediction_ZHW: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """The rows of ``evaluate`` for one patient, given class indices on the original grid, (Z, H, W)."""
    reference_ZHW, spacing_mm = data.reference(patient), data.volumes[patient].spacing_mm
    has_ignored = data.ignores and bool((reference_ZHW == IGNORED).any())
    if has_ignored:
        labelled_ZHW = reference_ZHW != IGNORED
        reference_ZHW, prediction_ZHW = reference_ZHW * labelled_ZHW, prediction_ZHW * labelled_ZHW
    diagonal, shown_ZHW = diagonal_mm(reference_ZHW.shape, spacing_mm), (reference_ZHW | prediction_ZHW) > 0
    if shown_ZHW.any():
        box = bounding_box(shown_ZHW)
        reference_ZHW, prediction_ZHW = reference_ZHW[box], prediction_ZHW[box]
    rows: list[dict[str, Any]] = []
    for name, prefix, labels in structures(data):
        scores = score(np.isin(reference_ZHW, labels), np.isin(prediction_ZHW, labels), spacing_mm)
        counts = scores.counts
        shared = {
            "n_ref": counts.n_ref, "n_pred": counts.n_pred, "tp": counts.tp,
            "diagonal_mm": diagonal, "fp": counts.fp, "fn": counts.fn,
            "volume_ref_ml": volume_ml(counts.n_ref, spacing_mm),
            "volume_pred_ml": volume_ml(counts.n_pred, spacing_mm),
            "boundary_bias_mm": math.nan if has_ignored else scores.boundary_bias_mm,
        }  # fmt: skip
        unknown = has_ignored and scores.status in ("ok", "missed")
        for metric, value in scores.values.items():
            lost = unknown and metric not in OVERLAPS
            said = {"value": math.nan, "status": "ignored"} if lost else {"value": value, "status": scores.status}
            rows.append({"patient": patient, "class": name, "metric": prefix + metric} | said | shared)
    return rows


def structures(data: SliceSet) -> list[tuple[str, str, tuple[int, ...]]]:
    """Name, prefix of its metrics and class indices of all that is scored: foreground classes, then regions."""
    classes = [(name, "", (label,)) for label, name in enumerate(data.classes) if label > 0]
    return classes + [(name, REGION, labels) for name, labels in data.regions.items()]


def worst_first(metrics: pd.DataFrame) -> list[str]:
    """Patients by their mean Dice over classes, the lowest first; ties by name, those without any last."""
    dice = metrics.loc[metrics["metric"] == "dice"].groupby("patient", sort=True)["value"].mean()
    return [str(patient) for patient in dice.sort_values(kind="stable", na_position="last").index]


def draw_overlay(model: nn.Module, data: SliceSet, patients: Sequence[str], path: Path) -> Path:
    """The fullest slice of each patient, in their order, one per row: image, reference, image, prediction.

    Ignored pixels of the reference look like background.
    """
    foreground = data.index["foreground"].to_numpy()
    spans = [data.volumes[patient].rows for patient in patients]
    rows = np.array([span.start + int(foreground[span.start : span.stop].argmax()) for span in spans])
    images = data.image_rows(rows)
    seen = data.image_rows(data.beside(rows, neighbours_of(model)).ravel()).reshape(len(rows), -1, *images.shape[2:])
    predicted = predict(model, torch.from_numpy(seen)).argmax(dim=1).numpy().astype(np.uint8)
    masks = np.stack([as_background(data.masks[rows], ignores=data.ignores), predicted], axis=1)
    return grid_png(path, images.repeat(2, axis=0), masks.reshape(-1, *masks.shape[2:]), columns=2)


def summary(metrics: pd.DataFrame, prefix: str) -> dict[str, float]:
    """Mean Dice per class and over all, with the number of structures behind it; undefined ones are left out."""
    scored = metrics[(metrics["metric"] == "dice") & metrics["value"].notna()]
    values = {f"{prefix}structures": float(len(scored))}
    if len(scored):
        means = scored.groupby("class", sort=True)["value"].mean()
        values |= {f"{prefix}dice_{name}": float(mean) for name, mean in means.items()}
        values[f"{prefix}dice"] = float(scored["value"].mean())
    return values
