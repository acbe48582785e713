import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.generation.device import device_settings
from medsweep.trainers.stylegan2.config import GanConfig, GanSettings
from medsweep.trainers.stylegan2.cost import probe
from medsweep.trainers.stylegan2.learner import GanLearner
from medsweep.trainers.stylegan2.resolve import resolve
from medsweep.trainers.stylegan2.sampler import load_generator
from medsweep.trainers.stylegan2.train import run
from medsweep.trainers.training.checkpoint import load_state, save_state
from medsweep.trial import DivergedError

FOLD = Fold(index=1, of=4)
TINY = {
    "batch_size": 4,
    "kimg": 0.04,
    "latent_dim": 8,
    "channel_base": 64,
    "channel_max": 8,
    "path_length_every_steps": 3,
    "r1_every_steps": 4,
    "report_every_steps": 2,
}


def tiny(variant: str, resolution: int = 32, **settings: object) -> GanConfig:
    return resolve(GanSettings(**(TINY | settings)), variant, FOLD, 5, resolution)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


EVERYTHING = {
    "augment": "ada",
    "ada_kimg": 0.05,
    "lecam_weight": 1e-3,
    "spectrum_weight": 0.1,
    "focal_frequency_weight": 0.1,
    "mismatch_weight": 0.5,
    "injection_form": "affine",
    "discriminator_form": "projection",
    "mask_form": "soft-one-hot",
}


@pytest.mark.parametrize(
    ("variant", "more"), [("b-sg", {}), ("m-sg", {}), ("c-sg", {}), ("c-sg", EVERYTHING), ("b-sg", EVERYTHING)]
)
def test_a_run_broken_off_anywhere_ends_with_the_same_bytes(slices, tmp_path, variant, more):
    config, inputs = tiny(variant, **more), {"prepare": slices}
    whole = FakeTrial(tmp_path / "whole")
    undisturbed = drain(run(config, inputs, whole))
    assert [progress.step for progress in undisturbed] == [2, 4, 6, 8, 10]
    for reports in random.Random(len(more)).sample(range(1, 5), 2):
        broken = FakeTrial(tmp_path / f"broken-{reports}", due=True)
        stage = run(config, inputs, broken)
        for _ in range(reports + 1):  # the checkpoint of a report is written when the next one is asked for
            next(stage)
        stage.close()
        resumed = drain(run(config, inputs, FakeTrial(broken.folder)))
        assert [progress.step for progress in resumed] == list(range(2 * reports + 2, 11, 2))
        expected = [progress.metrics for progress in undisturbed[reports:]]
        assert [progress.metrics for progress in resumed] == expected
        assert contents(broken.output) == contents(whole.output)


def test_channels_last_goes_on_from_a_checkpoint_to_the_bit(slices, tmp_path):
    config = tiny("b-sg", channel_max=16, augment="ada", lecam_weight=1e-3)
    data, settings = TrainingSet.load(config, slices, "cpu"), replace(device_settings("cpu", 32), channels_last=True)
    whole, resumed = (GanLearner(config, data, "cpu", device_settings=settings) for _ in range(2))
    for step in (1, 2, 3):
        whole.step(step)
    save_state(tmp_path, whole.state_dict())
    assert resumed.load_state_dict(load_state(tmp_path)) == []
    for step in (4, 5, 6):
        assert whole.step(step) == resumed.step(step)
    ours, theirs = whole.networks.state_dict(), resumed.networks.state_dict()
    for network in ("g", "d", "mean_g"):
        for name, weight in ours[network].items():
            assert torch.equal(weight, theirs[network][name]), name
    assert not all(weight.is_contiguous() for weight in whole.networks.d.parameters()), "channels-last was not tried"


def test_a_checkpoint_of_a_gpu_goes_on_elsewhere_with_fresh_random_numbers(slices, tmp_path):
    config, outputs = tiny("b-sg", kimg=0.024), []
    stage = run(config, {"prepare": slices}, FakeTrial(tmp_path / "gpu", due=True))
    next(stage), next(stage)
    stage.close()
    step, folder = FakeTrial(tmp_path / "gpu").restore()
    state = load_state(folder)
    state["batches"]["random"] = {"device": "cuda", "state": torch.zeros(16, dtype=torch.uint8)}
    for number in (1, 2):
        trial = FakeTrial(tmp_path / str(number))
        trial.checkpoint(step, lambda target: save_state(target, state))
        drain(run(config, {"prepare": slices}, trial))
        [note] = trial.notes
        assert note.startswith("continued from step 2: the checkpoint was left by a trial on cuda")
        outputs.append(contents(trial.output))
    assert outputs[0] == outputs[1]
    unmoved = drain(run(config, {"prepare": slices}, FakeTrial(tmp_path / "gpu")))
    assert [report.step for report in unmoved] == [4, 6]
    assert contents(tmp_path / "gpu" / "output") != outputs[0]


def test_output_and_metrics(slices, tmp_path):
    trial = FakeTrial(tmp_path)
    reports = drain(run(tiny("b-sg"), {"prepare": slices}, trial))
    names = {"generator.safetensors", "generator.json", "fitted_on.json", "samples.png", "real.png"}
    assert names <= set(contents(trial.output))
    assert reports[-1].pictures["samples"].is_file()
    named = set().union(*(progress.metrics for progress in reports))
    noise = {f"noise_strength_{layer}" for layer in range(7)}  # one at 4 px, two each at 8, 16 and 32
    assert named == noise | {
        "loss_g", "grad_norm_g", "path_length", "loss_d", "grad_norm_d", "real_sign", "score_gap", "r1", "variety",
        "augment_p", "frechet_random", "kimg",
    }  # fmt: skip


def test_only_the_training_patients_are_looked_at(slices, tmp_path):
    """Test patients full of NaN change no byte of the result."""
    poisoned = tmp_path / "poisoned"
    shutil.copytree(slices, poisoned)
    known = SliceSet.open(slices)
    parts = split(known.patients, FOLD)
    images = np.load(poisoned / "images.npy")
    images[known.rows(parts.test)] = np.nan
    np.save(poisoned / "images.npy", images)
    masks = np.load(poisoned / "masks.npy")
    masks[known.rows(parts.test)] = 1
    np.save(poisoned / "masks.npy", masks)
    clean, dirty = FakeTrial(tmp_path / "clean"), FakeTrial(tmp_path / "dirty")
    drain(run(tiny("b-sg"), {"prepare": slices}, clean))
    drain(run(tiny("b-sg"), {"prepare": poisoned}, dirty))
    assert contents(clean.output) == contents(dirty.output)
    assert json.loads((clean.output / "fitted_on.json").read_text()) == list(parts.train)


def test_seeds_differ(slices, tmp_path):
    weights = []
    for seed in (1, 2):
        trial = FakeTrial(tmp_path / str(seed))
        drain(run(tiny("m-sg").model_copy(update={"seed": seed}), {"prepare": slices}, trial))
        weights.append((trial.output / "generator.safetensors").read_bytes())
    assert weights[0] != weights[1]


def test_published_generator_is_the_averaged_one(slices, tmp_path):
    config, trial = tiny("b-sg"), FakeTrial(tmp_path)
    data = TrainingSet.load(config, slices, "cpu")
    learner = GanLearner(config, data, "cpu")
    for number in range(1, config.total_steps + 1):
        learner.step(number)
    drain(run(config, {"prepare": slices}, trial))
    sampler = load_generator(trial.output)
    numbers = torch.randn(3, sampler.numbers_per_sample, generator=torch.Generator().manual_seed(0))
    given = numbers[:, :8], None, numbers[:, 8:]
    with torch.no_grad():
        mean, last = learner.networks.mean_g(*given), learner.networks.g(*given)
    assert np.array_equal(sampler.sample(numbers).images, data.intensity.to_slices(mean[:, :2]).numpy())
    assert not np.allclose(mean, last)


def test_average_follows_its_half_life(slices):
    """After the ramp-up n = 0.05 seen images, a batch of 4 weighs 1 - 0.5^(4 / n)."""
    config = tiny("m-sg")
    learner = GanLearner(config, TrainingSet.load(config, slices, "cpu"), "cpu")
    before, after = learner.networks.mean_g.constant.value.clone(), learner.networks.g.constant.value
    after.data.add_(1.0)
    learner.networks.average(seen_images=400)
    torch.testing.assert_close(learner.networks.mean_g.constant.value, before + 1 - 0.5 ** (4 / 20))


def test_divergence_is_named(slices, tmp_path):
    with pytest.raises(DivergedError, match=r"at step \d+"):
        drain(run(tiny("b-sg", learning_rate=1e18, kimg=0.4), {"prepare": slices}, FakeTrial(tmp_path)))


def test_collapse_is_named(slices, tmp_path):
    config = tiny("m-sg")
    learner = GanLearner(config, TrainingSet.load(config, slices, "cpu"), "cpu")
    for conversion in learner.networks.g.images:
        conversion.weight.data.zero_()
    with pytest.raises(DivergedError, match="collapsed to one picture by step 4"):
        learner._diagnostics.scalars(4)


def test_wrong_resolution_is_refused(slices, tmp_path):
    with pytest.raises(UserError, match="configured for 64 px, the prepared slices have 32 px"):
        drain(run(tiny("b-sg", resolution=64), {"prepare": slices}, FakeTrial(tmp_path)))


@pytest.mark.parametrize(("injection", "obeys"), [("full", True), ("discriminator", False)])
def test_c_sg_learns_to_obey_the_mask_that_g_is_shown(tmp_path, injection, obeys):
    """Images that are bright where the mask is: G paints what it is shown, and cannot where it is shown nothing."""
    folder = bright_where_masked(tmp_path / "slices")
    settings = GanSettings(
        injection=injection, batch_size=8, kimg=1.2, latent_dim=8, channel_base=128, channel_max=16,
        learning_rate=0.005, path_length_weight=0.0, augment="none", ema_kimg=0.2, r1_gamma=0.2,
    )  # fmt: skip
    config = resolve(settings, "c-sg", Fold(index=0, of=2), 0, 16)
    data = TrainingSet.load(config, folder, "cpu")
    learner = GanLearner(config, data, "cpu")
    assert obedience(learner, data) < 0.3
    for number in range(1, config.total_steps + 1):
        learner.step(number)
    assert obedience(learner, data) > 0.7 if obeys else obedience(learner, data) < 0.5


def obedience(learner: GanLearner, data: TrainingSet) -> float:
    """Correlation of generated pixels with the masks they were generated for."""
    numbers = torch.randn(32, learner.sampler.numbers_per_sample, generator=torch.Generator().manual_seed(1))
    labels = data.labels[:32]
    images = learner.sampler.sample(numbers, labels).images
    return float(np.corrcoef(images[:, 0].ravel(), labels.ravel())[0, 1])


def bright_where_masked(folder: Path) -> Path:
    """A slice set of 2 patients with 64 slices of 16 px: rectangles, 1.5 inside and -0.5 outside, a little noise."""
    rng = np.random.default_rng(0)
    masks = np.zeros((128, 16, 16), np.uint8)
    for mask in masks:
        top, left = rng.integers(1, 8, 2)
        height, width = rng.integers(4, 8, 2)
        mask[top : top + height, left : left + width] = 1
    images = (2.0 * masks - 0.5 + 0.1 * rng.standard_normal(masks.shape)).astype(np.float32)[:, None]
    folder.mkdir()
    np.save(folder / "images.npy", images)
    np.save(folder / "masks.npy", masks)
    patient = np.repeat(["a", "b"], 64)
    foreground = (masks > 0).sum(axis=(1, 2))
    index = pd.DataFrame({"patient": patient, "slice": np.tile(np.arange(64), 2), "foreground": foreground})
    index.to_parquet(folder / "index.parquet")
    fit = {"height": 16, "width": 16, "scaled_height": 16, "scaled_width": 16, "side": 16}
    volumes = {
        name: {
            "first": first, "count": 64, "spacing_mm": [1.0, 1.0, 1.0], "fit": fit,
            "affine": np.eye(4).tolist(), "slice_axis": 2,
            "stored": {"shape": [16, 16, 64], "affine": np.eye(4).tolist(), "sform_code": 2, "qform_code": 0},
        }
        for name, first in (("a", 0), ("b", 64))
    }  # fmt: skip
    cohort = {"modalities": ["T1"], "classes": ["background", "box"], "resolution": 16, "volumes": volumes}
    cohort |= {"values": {"0": 0, "1": 1}, "regions": {}, "made_up": True}
    cohort |= {"intensity": {}, "inside": {"T1": "all"}, "constants": None}
    (folder / "cohort.json").write_text(json.dumps(cohort))
    return folder


def test_distortions_move_in_what_lies_around_the_slices(slices):
    data = TrainingSet.load(tiny("b-sg"), slices, "cpu")
    corners = data.images[:, :, [0, 0, -1, -1], [0, -1, 0, -1]].numpy()
    for channel, around in enumerate(data.surroundings().tolist()):
        assert np.median(corners[:, channel]) == pytest.approx(around, abs=0.05)
        assert around < 0


def test_held_out_slices_are_scored_and_never_learned_from(slices, tmp_path):
    fold = FOLD.model_copy(update={"validation": 0.3})
    config = tiny("b-sg").model_copy(update={"fold": fold})
    reports = drain(run(config, {"prepare": slices}, FakeTrial(tmp_path / "clean")))
    assert {"overfitting", "score_held_out"} <= set(reports[0].metrics)
    known = SliceSet.open(slices)
    watched = split(known.patients, fold).validation
    assert TrainingSet.load(config, slices, "cpu").held_out.patients == watched
    poisoned = tmp_path / "poisoned"
    shutil.copytree(slices, poisoned)
    images = np.load(poisoned / "images.npy")
    images[known.rows(watched)] += 1
    np.save(poisoned / "images.npy", images)
    again = drain(run(config, {"prepare": poisoned}, FakeTrial(tmp_path / "dirty")))
    name = "generator.safetensors"
    outputs = [tmp_path / part / "output" / name for part in ("clean", "dirty")]
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert again[0].metrics["score_held_out"] != reports[0].metrics["score_held_out"]


def test_a_frozen_segmenter_teaches_c_sg_and_must_know_the_same_patients(slices, tmp_path):
    from medsweep.trainers.segmentation.network import SegmenterArchitecture, build, save_segmenter

    folder = tmp_path / "reference"
    folder.mkdir()
    shape = SegmenterArchitecture(modalities=2, classes=3, channels=(4, 8), residual_units=0)
    save_segmenter(build(shape, seed=0), shape, folder)
    config, parts = tiny("c-sg", segmenter_weight=1.0), split(SliceSet.open(slices).patients, FOLD)
    for seen, refused in ((parts.train, False), (parts.train + parts.test[:1], True)):
        (folder / "fitted_on.json").write_text(json.dumps(seen))
        stage = run(config, {"prepare": slices, "reference": folder}, FakeTrial(tmp_path / str(refused)))
        if refused:
            with pytest.raises(UserError, match="reference segmenter was fitted on 1 patients outside"):
                drain(stage)
        else:
            assert "segmenter" in drain(stage)[0].metrics


def test_wrong_masks_and_spectra_enter_the_losses(slices, tmp_path):
    reports = drain(run(tiny("c-sg", **EVERYTHING), {"prepare": slices}, FakeTrial(tmp_path)))
    assert {"lecam", "spectrum", "focal_frequency", "mismatch"} <= set(reports[-1].metrics)
    assert 0 <= reports[-1].metrics["augment_p"] <= 1


def test_a_probe_visits_all_phases_and_diagnostics_twice(slices, tmp_path):
    rare = {"kimg": 4.0, "path_length_every_steps": 7, "r1_every_steps": 7, "report_every_steps": 9}
    config = probe(tiny("c-sg", **EVERYTHING, **rare))
    reports = drain(run(config, {"prepare": slices}, FakeTrial(tmp_path)))
    assert [report.step for report in reports] == [1, 2]
    for report in reports:
        assert {"loss_g", "path_length", "loss_d", "r1", "variety", "lecam", "mismatch"} <= set(report.metrics)


def test_the_threads_that_are_told_are_those_that_were_granted(slices, tmp_path):
    torch.set_num_threads(2)
    trial = FakeTrial(tmp_path, threads=1)
    drain(run(tiny("m-sg", kimg=0.004), {"prepare": slices}, trial))
    assert json.loads((trial.output / "hardware.json").read_text())["threads"] == 1
