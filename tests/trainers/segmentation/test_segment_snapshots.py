"""Snapshots of a training: when they are taken, what they hold, and that they survive a kill."""

import pytest
import torch
from safetensors.torch import load_file

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.fitted_on import write_fitted_on
from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.trainers.pool import Pool
from medsweep.trainers.segmentation.config import SegmentConfig, SegmentSettings, resolve
from medsweep.trainers.segmentation.snapshots import load_snapshots
from medsweep.trainers.segmentation.train import run

FOLD = Fold(index=0, of=4)


def config(**settings) -> SegmentConfig:
    tiny = {"steps": 20, "batch_size": 4, "channels": (4, 8), "residual_units": 0, "report_every_steps": 5}
    given = SegmentSettings(**(tiny | settings))
    return resolve(given, fold=FOLD, seed=0, count=8, candidates=0, unit="slices", resolution=32)


@pytest.fixture(scope="module")
def inputs(slices, tmp_path_factory):
    data = SliceSet.open(slices)
    rows = data.rows(split(data.patients, FOLD).train)[:8]
    folder = tmp_path_factory.mktemp("pool")
    Pool(images=data.images[rows], masks=data.masks[rows], slices_per_patient=4).save(folder)
    write_fitted_on(folder, [])
    return {"prepare": slices, "pool": folder}


def trained(inputs, folder, **settings):
    trial = FakeTrial(folder)
    drain(run(config(**settings), inputs, trial))
    return trial.output


def test_a_snapshot_is_the_training_that_ends_there_and_changes_nothing(inputs, tmp_path):
    plain = trained(inputs, tmp_path / "plain", schedule="constant")
    output = trained(inputs, tmp_path / "snapshots", schedule="constant", snapshots=5)
    assert (plain / "network.safetensors").read_bytes() == (output / "network.safetensors").read_bytes()
    found = load_snapshots(output)
    assert [snapshot.percent for snapshot in found] == [10, 25, 50, 75, 100]
    short = load_file(trained(inputs, tmp_path / "short", schedule="constant", steps=10) / "network.safetensors")
    assert found[2].weights.keys() == short.keys()
    assert all(torch.equal(found[2].weights[name], short[name]) for name in short)
    assert any("running_var" in name for name in short)
    moments = found[2].second_moments
    assert set(moments) == {name for name in short if "running" not in name and "num_batches" not in name}
    assert all(moments[name].shape == short[name].shape and float(moments[name].min()) >= 0 for name in moments)


def test_without_adamw_there_are_no_second_moments(inputs, tmp_path):
    found = load_snapshots(trained(inputs, tmp_path, optimizer="sgd", snapshots=3))
    assert [(snapshot.percent, len(snapshot.second_moments)) for snapshot in found] == [(25, 0), (75, 0), (100, 0)]


def test_a_killed_training_leaves_the_same_snapshots(inputs, tmp_path):
    whole = trained(inputs, tmp_path / "whole", snapshots=5)
    iterator = run(config(snapshots=5), inputs, FakeTrial(tmp_path / "killed", due=True))
    for _ in range(3):
        next(iterator)
    iterator.close()
    killed = trained(inputs, tmp_path / "killed", snapshots=5)
    names = [path.name for path in whole.glob("snapshot-*")]
    assert len(names) == 5
    for name in names:
        assert (whole / name).read_bytes() == (killed / name).read_bytes()
