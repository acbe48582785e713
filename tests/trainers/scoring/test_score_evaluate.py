"""Restacking and scoring: an oracle is perfect on the original grid, a blind network is missed everywhere."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.config import DataConfig, PrepareConfig
from medsweep.data.phantom import PhantomConfig
from medsweep.data.prepare import run as prepare
from medsweep.data.slices import SliceSet
from medsweep.data.source import inspect_source
from medsweep.metrics import SCORES, STRUCTURE_METRICS
from medsweep.trainers.measures.structures import TOLERANCE_MM
from medsweep.trainers.scoring.score import draw_overlay, evaluate, summary, worst_first
from medsweep.trainers.segmentation.predictions import segment_volume

BEST = {"dice": 1, "hd95_mm": 0, "assd_mm": 0, "surface_dice": 1}


class Oracle(nn.Module):
    """Knows the mask of every slice by heart."""

    def __init__(self, data):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))
        self.masks = {image.tobytes(): mask for image, mask in zip(data.images, data.masks, strict=True)}

    def forward(self, images):
        masks = np.stack([self.masks[image.numpy().tobytes()] for image in images])
        return 50.0 * nn.functional.one_hot(torch.from_numpy(masks).long(), 3).movedim(-1, 1)


class Blind(nn.Module):
    """Sees background everywhere."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        logits = torch.zeros(len(images), 3, *images.shape[2:])
        logits[:, 0] = 1
        return logits


@pytest.fixture(scope="module")
def roomy(tmp_path_factory):
    """Three phantoms whose planes fit into the square, so that nothing is lost by preparing them."""
    trial = FakeTrial(tmp_path_factory.mktemp("roomy"))
    phantom = PhantomConfig(patients=3, seed=2, shape=(36, 32, 8), spacing_mm=(1.8, 1.8, 5.0))
    data = DataConfig(dataset="phantom", phantom=phantom, resolution=40)
    drain(prepare(PrepareConfig(**dict(data), source=inspect_source(data, trial.scratch).fingerprint), {}, trial))
    return SliceSet.open(trial.output)


def test_an_oracle_is_perfect_on_the_original_grid(roomy):
    oracle = Oracle(roomy)
    for patient in roomy.patients:
        np.testing.assert_array_equal(segment_volume(oracle, roomy, patient), roomy.reference(patient))
    table = evaluate(oracle, roomy, roomy.patients)
    present = table[table["n_ref"] > 0]
    assert len(present) > 0
    assert (present["status"] == "ok").all()
    for metric, best in BEST.items():
        assert (present.loc[present["metric"] == metric, "value"] == best).all()
    assert (present[["fp", "fn", "boundary_bias_mm"]] == 0).all(axis=None)
    np.testing.assert_allclose(present["volume_pred_ml"], present["n_ref"] * 1.8 * 1.8 * 5.0 / 1000)


def test_an_oracle_loses_little_where_slices_were_shrunk(slices):
    data = SliceSet.open(slices)
    table = evaluate(Oracle(data), data, data.patients)
    organ = table[(table["class"] == "organ") & (table["metric"] == "dice")]
    assert data.volumes[data.patients[0]].resize.scaled_height < data.volumes[data.patients[0]].resize.height
    assert 0.9 < organ["value"].mean() < 1


def test_what_a_blind_network_misses_is_not_dropped(roomy):
    table = evaluate(Blind(), roomy, roomy.patients)
    missed = table[table["n_ref"] > 0]
    assert (missed["status"] == "missed").all()
    for metric in STRUCTURE_METRICS:
        assert (missed.loc[missed["metric"] == metric, "value"] == SCORES[metric].worst).all()
    assert (missed["fn"] == missed["n_ref"]).all()
    assert (missed["volume_pred_ml"] == 0).all()
    assert table["boundary_bias_mm"].isna().all()
    empty = table[table["n_ref"] == 0]
    assert (empty["status"] == "empty-both").all()
    assert empty["value"].isna().all()
    found = summary(table, "test_")
    assert found["test_dice"] == 0
    assert found["test_structures"] == len(missed) / len(STRUCTURE_METRICS)


def test_every_structure_and_metric_has_one_row_in_order(roomy):
    data = replace(roomy, regions={"whole": (1, 2)})
    table = evaluate(Blind(), data, data.patients[:2])
    keys = [
        (patient, name, prefix + metric)
        for patient in data.patients[:2]
        for name, prefix in (("organ", ""), ("lesion", ""), ("whole", "region_"))
        for metric in STRUCTURE_METRICS
    ]
    assert list(table[["patient", "class", "metric"]].itertuples(index=False, name=None)) == keys
    whole = table[table["class"] == "whole"].set_index("patient")["n_ref"]
    for patient in data.patients[:2]:
        assert (whole[patient] == np.count_nonzero(data.reference(patient))).all()


def test_what_rows_share_says_how_an_organ_was_shrunk(roomy):
    """The organ loses its last column in every slice; all four rows of it say so."""
    table = evaluate(Oracle(replace(roomy, masks=_shrunk(roomy.masks))), roomy, roomy.patients)
    organ = table[table["class"] == "organ"]
    assert (organ["fn"] > 0).all()
    assert (organ["fp"] == 0).all()
    assert (organ["boundary_bias_mm"] < 0).all()
    assert (organ["n_ref"] == organ["tp"] + organ["fn"]).all()
    assert (organ["n_pred"] == organ["tp"] + organ["fp"]).all()
    assert (organ["volume_pred_ml"] < organ["volume_ref_ml"]).all()
    shared = [name for name in table.columns if name not in ("metric", "value")]
    assert len(organ[shared].drop_duplicates()) == len(roomy.patients)


def _shrunk(masks):
    return np.where(np.roll(masks, -1, axis=2) == 0, 0, masks).astype(np.uint8)


def test_tables_of_results_and_analysis_know_exactly_these_metrics():
    assert list(SCORES) == [prefix + metric for prefix in ("", "region_") for metric in STRUCTURE_METRICS]
    for name in ("surface_dice", "region_surface_dice"):
        assert SCORES[name].title.endswith(f"at {TOLERANCE_MM:g} mm")
    assert {name: metric.higher_is_better for name, metric in SCORES.items()} == {
        prefix + metric: best == 1 for prefix in ("", "region_") for metric, best in BEST.items()
    }


def test_overlay_shows_reference_beside_prediction(roomy, tmp_path):
    from PIL import Image

    oracle, blind = (
        np.asarray(Image.open(draw_overlay(model, roomy, roomy.patients, tmp_path / name)))
        for model, name in ((Oracle(roomy), "oracle.png"), (Blind(), "blind.png"))
    )
    half = oracle.shape[1] // 2
    assert oracle.shape == blind.shape
    np.testing.assert_array_equal(oracle[:, :half], blind[:, :half])
    assert (oracle[:, half:] != blind[:, half:]).any()


def test_patients_are_measured_alike_in_threads(roomy):
    oracle = Oracle(replace(roomy, masks=_shrunk(roomy.masks)))
    alone, beside = (evaluate(oracle, roomy, roomy.patients, threads=threads) for threads in (1, 3))
    pd.testing.assert_frame_equal(alone, beside)


def test_the_worst_patients_come_first_and_those_without_dice_last():
    rows = [
        ("a", "dice", 0.9), ("a", "dice", 0.5), ("b", "dice", 0.2), ("b", "dice", np.nan), ("c", "dice", np.nan),
        ("d", "dice", 0.2), ("e", "dice", 0.8), ("e", "hd95_mm", 0.0),
    ]  # fmt: skip
    assert worst_first(pd.DataFrame(rows, columns=["patient", "metric", "value"])) == ["b", "d", "a", "e", "c"]
