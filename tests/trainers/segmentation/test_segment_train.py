"""The segment stage as a whole: contract, resume, pairing of arms, no leaks, and that it learns."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.fitted_on import write_fitted_on
from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.trainers.pool import Pool
from medsweep.trainers.scoring.config import ScoreConfig
from medsweep.trainers.scoring.score import run as score_network
from medsweep.trainers.segmentation import train as segment_train
from medsweep.trainers.segmentation.config import SegmentSettings, resolve
from medsweep.trainers.segmentation.network import SegmenterArchitecture, load_segmenter
from medsweep.trainers.segmentation.samples import gather
from medsweep.trainers.segmentation.train import BestWeights, UNetLearner, run, validation_dice
from medsweep.trainers.training.checkpoint import load_state, save_state

FOLD = Fold(index=0, of=4)
WATCHED = Fold(index=0, of=4, validation=0.3)
TINY = {"steps": 12, "batch_size": 4, "channels": (4, 8), "residual_units": 0, "report_every_steps": 4}
FILES = ["exposure.json", "fitted_on.json", "network.json", "network.safetensors"]


def config(count=0, seed=0, **settings):
    given = SegmentSettings(**(TINY | settings))
    return resolve(given, fold=FOLD, seed=seed, count=count, candidates=0, unit="slices", resolution=32)


@pytest.fixture(scope="module")
def pool(slices, tmp_path_factory):
    """40 noisy copies of training slices."""
    data = SliceSet.open(slices)
    rows = data.rows(split(data.patients, FOLD).train)[:40]
    noise = np.random.default_rng(0).normal(0, 0.3, data.images[rows].shape)
    folder = tmp_path_factory.mktemp("pool")
    Pool(images=data.images[rows] + noise, masks=data.masks[rows], slices_per_patient=10).save(folder)
    write_fitted_on(folder, [])
    return folder


def segment(folder, inputs, **settings):
    trial = FakeTrial(folder)
    return drain(run(config(**settings), inputs, trial)), trial.output


def exposure(output):
    return json.loads((output / "exposure.json").read_text())


def test_outputs_and_reports(slices, pool, tmp_path):
    reports, output = segment(tmp_path, {"prepare": slices, "pool": pool}, count=8)
    assert sorted(path.name for path in output.iterdir()) == FILES
    assert [report.step for report in reports] == [4, 8, 12, 12]
    assert all(report.total == 12 for report in reports)
    assert {"loss", "learning_rate", "cross_entropy_real", "cross_entropy_synthetic"} == set(reports[0].metrics)
    assert not any("dice" in name or "structures" in name for report in reports for name in report.metrics)
    parts = split(SliceSet.open(slices).patients, FOLD)
    assert json.loads((output / "fitted_on.json").read_text()) == list(parts.train)


EVERYTHING = {
    "optimizer": "sgd",
    "schedule": "poly",
    "warmup_steps": 3,
    "clip_norm": 1.0,
    "ema_half_life_steps": 4,
    "augment": "full",
    "loss": "dice-focal",
    "class_weights": "inverse-frequency",
    "mixing": "pretrain",
    "validate_every_steps": 3,
}


@pytest.mark.parametrize(("kill_after", "more"), [(1, {}), (2, {}), (1, EVERYTHING), (2, EVERYTHING)])
def test_a_killed_run_goes_on_and_leaves_the_same_bytes(slices, pool, tmp_path, kill_after, more):
    inputs = {"prepare": slices, "pool": pool}
    given = SegmentSettings(**(TINY | more))
    fold = WATCHED if more else FOLD
    settings = resolve(given, fold=fold, seed=0, count=8, candidates=0, unit="slices", resolution=32)
    whole = FakeTrial(tmp_path / "whole")
    reports = drain(run(settings, inputs, whole))
    killed = FakeTrial(tmp_path / "killed", due=True)
    iterator = run(settings, inputs, killed)
    for _ in range(kill_after + 1):  # the checkpoint of a report is written when the next one is asked for
        next(iterator)
    iterator.close()
    step, _ = killed.restore()
    assert step == 4 * kill_after
    again = drain(run(settings, inputs, FakeTrial(tmp_path / "killed")))
    assert [(r.step, dict(r.metrics)) for r in again] == [(r.step, dict(r.metrics)) for r in reports[kill_after:]]
    names = [path.name for path in whole.output.iterdir()]
    assert sorted(names) == sorted(FILES + (["best.json", "best.safetensors"] if more else []))
    for name in names:
        assert (whole.output / name).read_bytes() == (killed.output / name).read_bytes(), name


def test_arms_of_a_replicate_start_from_the_same_weights(slices, pool):
    data = SliceSet.open(slices)
    shape = SegmenterArchitecture(modalities=2, classes=3, channels=(4, 8), residual_units=0)

    def weights(**settings):
        asked = config(**settings)
        samples = gather(asked, data, split(data.patients, FOLD).train, {"pool": pool}, "cpu")
        return torch.cat([value.flatten() for value in UNetLearner(asked, samples, shape).model.parameters()])

    alone = weights()
    assert torch.equal(weights(count=8), alone)
    assert torch.equal(weights(count=40, mixing="fixed-exposure", augment="none"), alone)
    assert not torch.equal(weights(seed=1), alone)


@pytest.mark.parametrize("count", [0, 8, 40])
@pytest.mark.parametrize("mixing", ["uniform", "fixed-exposure", "pretrain"])
def test_the_number_of_samples_seen_does_not_depend_on_the_count(slices, pool, tmp_path, count, mixing):
    _, output = segment(tmp_path, {"prepare": slices, "pool": pool}, count=count, mixing=mixing)
    found = exposure(output)
    assert found["real_slices_seen"] + found["synthetic_slices_seen"] == 12 * 4
    assert (found["synthetic_slices"], found["kept"], found["generated"]) == (count, count, count)
    if mixing != "uniform":
        assert found["synthetic_slices_seen"] == (24 if count else 0)
    else:
        assert (found["synthetic_slices_seen"] > 0) == (count > 0)


def test_nothing_of_the_test_patients_reaches_the_weights(slices, tmp_path):
    data = SliceSet.open(slices)
    spoilt = tmp_path / "spoilt"
    shutil.copytree(slices, spoilt)
    rows = data.rows(split(data.patients, FOLD).test)
    for name, value in (("images", 1e3), ("masks", 1)):
        array = np.load(spoilt / f"{name}.npy")
        array[rows] = value
        np.save(spoilt / f"{name}.npy", array)
    _, clean = segment(tmp_path / "a", {"prepare": slices})
    _, other = segment(tmp_path / "b", {"prepare": spoilt})
    assert (clean / "network.safetensors").read_bytes() == (other / "network.safetensors").read_bytes()


def test_a_pool_whose_generator_saw_a_test_patient_is_refused(slices, pool, tmp_path):
    leaky = tmp_path / "leaky"
    shutil.copytree(pool, leaky)
    test = split(SliceSet.open(slices).patients, FOLD).test
    (leaky / "fitted_on.json").write_text(json.dumps([test[0]]))
    with pytest.raises(UserError, match=f"first '{test[0]}'"):
        segment(tmp_path / "trial", {"prepare": slices, "pool": leaky}, count=8)


def test_it_learns_and_the_network_can_be_opened_again(slices, tmp_path):
    inputs = {"prepare": slices}
    serious = {"steps": 150, "batch_size": 8, "channels": (8, 16, 32), "residual_units": 2, "learning_rate": 1e-2}
    _, output = segment(tmp_path / "a", inputs, **serious, augment="rigid")
    _, chance = segment(tmp_path / "b", inputs, steps=1)
    data = SliceSet.open(slices)
    learnt, unlearnt = (load_segmenter(folder, "cpu") for folder in (output, chance))
    assert not learnt.training
    tested = split(data.patients, FOLD).test
    assert validation_dice(learnt, data, tested) > validation_dice(unlearnt, data, tested) + 0.2


def test_validation_patients_are_never_trained_on(slices, tmp_path):
    watched = config().model_copy(update={"fold": WATCHED})
    trial = FakeTrial(tmp_path)
    drain(run(watched, {"prepare": slices}, trial))
    parts = split(SliceSet.open(slices).patients, WATCHED)
    assert len(parts.validation) == 2
    assert json.loads((trial.output / "fitted_on.json").read_text()) == list(parts.train)
    assert not set(parts.validation) & set(parts.train)


def learner_of(slices, best=None, **settings):
    data = SliceSet.open(slices)
    asked = config(**settings)
    samples = gather(asked, data, split(data.patients, FOLD).train, {}, "cpu")
    return UNetLearner(asked, samples, SegmenterArchitecture.of(asked, modalities=2, classes=3), best)


def flat(model):
    return torch.cat([value.flatten() for value in model.parameters()])


def test_the_average_is_what_is_published(slices, tmp_path):
    plain = learner_of(slices)
    averaged = learner_of(slices, ema_half_life_steps=3)
    for step in range(1, 13):
        plain.step(step)
        averaged.step(step)
    assert torch.equal(flat(averaged.model), flat(plain.model))
    assert not torch.equal(flat(averaged.final_model), flat(plain.model))
    _, output = segment(tmp_path, {"prepare": slices}, ema_half_life_steps=3)
    assert torch.equal(flat(load_segmenter(output, "cpu")), flat(averaged.final_model))


def test_clipping_bounds_the_step_and_reports_the_norm(slices):
    settings = {"optimizer": "sgd", "weight_decay": 0.0, "learning_rate": 1.0, "schedule": "constant"}
    learner = learner_of(slices, clip_norm=1e-3, **settings)
    before = flat(learner.model).clone()
    norm = float(learner.step(1)["gradient_norm"])
    assert norm > 0.01
    # Nesterov's first step is (1 + momentum) times the gradient.
    assert float((flat(learner.model) - before).norm().detach()) == pytest.approx(1.99e-3, rel=1e-2)


def test_the_best_weights_are_those_that_validation_liked_most(slices, tmp_path):
    given = SegmentSettings(**(TINY | {"steps": 24, "learning_rate": 3e-2, "validate_every_steps": 5}))
    asked = resolve(given, fold=WATCHED, seed=0, count=0, candidates=0, unit="slices", resolution=32)
    data = SliceSet.open(slices)
    parts = split(data.patients, WATCHED)
    samples = gather(asked, data, parts.train, {}, "cpu")
    learner = UNetLearner(asked, samples, SegmenterArchitecture.of(asked, 2, 3), BestWeights(data, parts.validation))
    scored, weights = {}, {}
    for step in range(1, 25):
        if (found := learner.step(step).get("validation_dice")) is not None:
            scored[step], weights[step] = found, flat(learner.model).clone()
    assert list(scored) == [5, 10, 15, 20, 24]
    assert len(set(scored.values())) > 1
    best = max(scored, key=scored.get)
    reports = drain(run(asked, {"prepare": slices}, FakeTrial(tmp_path)))
    left = json.loads((tmp_path / "output" / "best.json").read_text())
    assert left["step"] == learner.best.step == best
    assert left["dice"] == learner.best.dice == scored[best]
    assert reports[-1].metrics["validation_dice"] == scored[24]
    opened = load_segmenter(tmp_path / "output", "cpu", "best.safetensors")
    assert torch.equal(flat(opened), weights[best])


def test_the_first_of_the_best_is_kept_and_survives_a_checkpoint(slices, monkeypatch, tmp_path):
    data, found = SliceSet.open(slices), iter([0.2, 0.7, 0.7, 0.1, 0.6, 0.8])
    monkeypatch.setattr(segment_train, "validation_dice", lambda *_: next(found))
    watching = {"fold": WATCHED, "validate_every_steps": 1}

    def learner():
        asked = config().model_copy(update=watching)
        samples = gather(asked, data, split(data.patients, WATCHED).train, {}, "cpu")
        return UNetLearner(asked, samples, SegmenterArchitecture.of(asked, 2, 3), BestWeights(data, ()))

    first, weights = learner(), {}
    for step in range(1, 5):
        first.step(step)
        weights[step] = first.model.state_dict()["model.0.conv.weight"].clone()
    assert (first.best.step, first.best.dice) == (2, 0.7)
    save_state(tmp_path, first.state_dict())
    again = learner()
    again.load_state_dict(load_state(tmp_path))
    again.step(5)
    assert (again.best.step, again.best.dice) == (2, 0.7)
    assert torch.equal(again.best.weights["model.0.conv.weight"], weights[2])
    again.step(6)
    assert (again.best.step, again.best.dice) == (6, 0.8)


def test_validation_without_foreground_cannot_choose(slices):
    data = SliceSet.open(slices)
    empty = dataclasses.replace(data, classes=("background",))
    with pytest.raises(UserError, match="needs foreground in the 2 validation patients"):
        validation_dice(learner_of(slices).model.eval(), empty, split(data.patients, WATCHED).validation)


@pytest.mark.parametrize("network", ["attention-unet", "segresnet"])
def test_other_networks_train_through_the_same_stage(slices, tmp_path, network):
    _, output = segment(tmp_path, {"prepare": slices}, network=network, steps=4)
    assert json.loads((output / "network.json").read_text())["network"] == network
    score = FakeTrial(tmp_path / "score")
    reports = drain(score_network(ScoreConfig(fold=FOLD), {"prepare": slices, "network": output}, score))
    assert reports[-1].metrics["test_structures"] > 0
