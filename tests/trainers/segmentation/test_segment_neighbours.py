"""2.5D input: the slices beside a slice are those of its own volume, in training, in tests and in predictions."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.fake_trial import FakeTrial, drain
from helpers.micro import write_micro
from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.identity import canonical
from medsweep.store.store import Store
from medsweep.study.plan import plan_sweep
from medsweep.trainers.scoring.config import ScoreConfig
from medsweep.trainers.scoring.score import run as score
from medsweep.trainers.segmentation.config import SegmentConfig, SegmentSettings, resolve
from medsweep.trainers.segmentation.network import load_segmenter, predict
from medsweep.trainers.segmentation.predictions import segment_volume
from medsweep.trainers.segmentation.samples import gather
from medsweep.trainers.segmentation.train import run
from medsweep.trainers.training.contract import require_same_bytes_after_kills

FOLD = Fold(index=0, of=4, validation=0.3)


def config(**settings: Any) -> SegmentConfig:
    tiny: dict[str, Any] = {"steps": 6, "batch_size": 4, "channels": (4, 8), "report_every_steps": 2}
    given = SegmentSettings(**tiny | {"neighbours": 1, "validate_every_steps": 3} | settings)
    return resolve(given, fold=FOLD, seed=0, count=0, candidates=0, unit="slices", resolution=32)


def test_neighbours_are_of_the_same_volume_and_its_ends_are_repeated(slices: Path) -> None:
    data = SliceSet.open(slices)
    first, second = (data.volumes[patient].rows for patient in data.patients[:2])
    rows = np.array([first.start, first.start + 1, first.stop - 1, second.start])
    assert data.beside(rows, 2).tolist() == [
        [first.start] * 3 + [first.start + 1, first.start + 2],
        [first.start] * 2 + [first.start + 1, first.start + 2, first.start + 3],
        [first.stop - 3, first.stop - 2] + [first.stop - 1] * 3,
        [second.start] * 3 + [second.start + 1, second.start + 2],
    ]
    assert data.beside(rows, 0).tolist() == [[row] for row in rows]


def test_a_training_batch_holds_the_slice_between_its_neighbours(slices: Path) -> None:
    data = SliceSet.open(slices)
    train = split(data.patients, FOLD).train
    samples = gather(config(), data, train, {}, "cpu")
    places = np.array([0, 5, samples.real - 1])
    images, masks = samples.batch(places)
    rows = data.rows(train)[places]
    expected = np.concatenate([data.images[data.beside(rows, 1)[:, one]] for one in range(3)], axis=1)
    np.testing.assert_array_equal(images.numpy(), expected)
    np.testing.assert_array_equal(masks.numpy(), data.masks[rows])


def test_a_whole_volume_is_seen_as_in_training_and_scored(slices: Path, tmp_path: Path) -> None:
    trial = FakeTrial(tmp_path / "segment")
    drain(run(config(), {"prepare": slices}, trial))
    assert json.loads((trial.output / "network.json").read_text())["neighbours"] == 1
    data, model = SliceSet.open(slices), load_segmenter(trial.output, "cpu")
    patient = split(data.patients, FOLD).test[0]
    volume = data.volumes[patient]
    around = data.beside(np.arange(volume.rows.start, volume.rows.stop), 1)
    stacked = torch.from_numpy(data.images[around.ravel()].reshape(len(around), -1, 32, 32).astype(np.float32))
    planes = volume.resize.undo(predict(model, stacked).numpy())
    np.testing.assert_array_equal(segment_volume(model, data, patient), planes.argmax(axis=1))
    scored = FakeTrial(tmp_path / "score")
    drain(score(ScoreConfig(fold=FOLD), {"prepare": slices, "network": trial.output}, scored))
    assert (scored.output / "overlay.png").is_file()
    assert (scored.output / "metrics_best.parquet").is_file()


def test_a_killed_training_with_neighbours_ends_alike(slices: Path, tmp_path: Path) -> None:
    require_same_bytes_after_kills(lambda trial: run(config(), {"prepare": slices}, trial), tmp_path, "2.5D")


def test_without_neighbours_addresses_are_the_old_ones() -> None:
    assert "neighbours" not in canonical(config(neighbours=0))
    assert "neighbours" in canonical(config(neighbours=1))


def test_synthetic_samples_have_no_neighbours(tmp_path: Path) -> None:
    reads = ("  segment: {", "  segment: {neighbours: 1, ")
    with pytest.raises(UserError, match=r"micro.yaml:\d+: .*segment.neighbours \(1\) reads the slices beside each"):
        plan_sweep(write_micro(tmp_path, reads), Store.create(tmp_path / "store"))


def test_a_control_that_sees_more_than_its_arms_is_refused(tmp_path: Path) -> None:
    control = ("control: {synthesise.count: 0}", "control: {synthesise.count: 0, segment.neighbours: 2}")
    with pytest.raises(UserError, match=r"micro.yaml:\d+: .*control sees 2 segment.neighbours, and the samples of"):
        plan_sweep(write_micro(tmp_path, control), Store.create(tmp_path / "store"))


def test_real_slices_are_compared_with_and_without_neighbours(tmp_path: Path) -> None:
    factors = (
        "factors:\n  gan.pipeline: [b-sg, mc-sg]\n  synthesise.count: [4]\n",
        "factors:\n  segment.neighbours: [1, 2]\n",
    )
    control = ("control: {synthesise.count: 0}", "control: {segment.neighbours: 0}")
    plan = plan_sweep(write_micro(tmp_path, factors, control), Store.create(tmp_path / "store")).plan
    trained = [trial.config.neighbours for trial in plan.trials.values() if trial.stage == "segment"]
    assert set(trained) == {0, 1, 2}
