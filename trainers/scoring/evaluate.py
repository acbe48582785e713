"""Test metrics: every slice of every test patient, restacked and scored on the patient's original grid."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from medsweep.data.slices import SliceSet
from medsweep.metrics import REGION
from medsweep.trainers.measures.structures import Spacing, StructureScore, diagonal_mm, score, volume_ml
from medsweep.trainers.segmentation.network import predict
from medsweep.trainers.segmentation.predictions import segment_volume
from medsweep.trainers.training.pictures import grid_png

SHOWN_PATIENTS = 4


def evaluate(model: nn.Module, data: SliceSet, patients: Sequence[str]) -> pd.DataFrame:
    """One row per patient, foreground class and metric (``METRICS``), in that order, then its regions.

    Regions are unions of classes; their metrics are ``region_dice``, ``region_hd95_mm`` and so on, with the region as
    class. Columns: patient, class, metric, value (float64), status; then what all rows of a structure share, so that
    another rule for empty masks can be applied later: n_ref, n_pred, tp (voxels), diagonal_mm (of the volume), fp, fn
    (voxels), volume_ref_ml, volume_pred_ml, boundary_bias_mm (positive = grown; NaN where either mask is empty).
    """
    rows: list[dict[str, Any]] = []
    for patient in sorted(patients):
        volume = data.volumes[patient]
        reference_ZHW = data.reference(patient)
        prediction_ZHW = segment_volume(model, data, patient)
        diagonal = diagonal_mm(reference_ZHW.shape, volume.spacing_mm)
        for name, prefix, labels in structures(data):
            scores = score(np.isin(reference_ZHW, labels), np.isin(prediction_ZHW, labels), volume.spacing_mm)
            shared = _shared(scores, volume.spacing_mm, diagonal)
            rows += [
                {"patient": patient, "class": name, "metric": prefix + metric, "value": value} | shared
                for metric, value in scores.values.items()
            ]
    return pd.DataFrame(rows)


def _shared(scores: StructureScore, spacing_mm: Spacing, diagonal: float) -> dict[str, Any]:
    counts = scores.counts
    return {
        "status": scores.status,
        "n_ref": counts.n_ref,
        "n_pred": counts.n_pred,
        "tp": counts.tp,
        "diagonal_mm": diagonal,
        "fp": counts.fp,
        "fn": counts.fn,
        "volume_ref_ml": volume_ml(counts.n_ref, spacing_mm),
        "volume_pred_ml": volume_ml(counts.n_pred, spacing_mm),
        "boundary_bias_mm": scores.boundary_bias_mm,
    }


def structures(data: SliceSet) -> list[tuple[str, str, tuple[int, ...]]]:
    """Name, prefix of its metrics and class indices of all that is scored: foreground classes, then regions."""
    classes = [(name, "", (label,)) for label, name in enumerate(data.classes) if label > 0]
    return classes + [(name, REGION, labels) for name, labels in data.regions.items()]


def draw_overlay(model: nn.Module, data: SliceSet, patients: Sequence[str], path: Path) -> Path:
    """The fullest slice of a few patients, one per row: image, reference, image, prediction."""
    foreground = data.index["foreground"].to_numpy()
    spans = [data.volumes[patient].rows for patient in sorted(patients)[:SHOWN_PATIENTS]]
    rows = np.array([span.start + int(foreground[span.start : span.stop].argmax()) for span in spans])
    images = data.image_rows(rows)
    predicted = predict(model, torch.from_numpy(images)).argmax(dim=1).numpy().astype(np.uint8)
    masks = np.stack([data.masks[rows], predicted], axis=1)
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
