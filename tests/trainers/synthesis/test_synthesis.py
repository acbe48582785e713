import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.identity import identity
from medsweep.trainers.diffusion.family import DIFFUSION
from medsweep.trainers.generators import Sampling
from medsweep.trainers.measures.mask_validity import change_counts, postprocess, validity
from medsweep.trainers.pool import Pool
from medsweep.trainers.stylegan2.config import GanSettings
from medsweep.trainers.stylegan2.family import STYLEGAN2
from medsweep.trainers.stylegan2.resolve import resolve
from medsweep.trainers.stylegan2.sampler import WEIGHTS, load_generator
from medsweep.trainers.stylegan2.train import run as train_gan
from medsweep.trainers.synthesis import recipe as recipes
from medsweep.trainers.synthesis import synthesise
from medsweep.trainers.synthesis.config import (
    SynthesiseConfig,
    SynthesiseSettings,
    gpu_hours,
    hours,
    probe,
    sampling_fields,
)
from medsweep.trainers.synthesis.pipelines import PIPELINES, load_generators
from medsweep.trainers.synthesis.real_masks import Perturbation
from medsweep.trainers.synthesis.recipe import BATCH, Pipeline, masks_then_images
from medsweep.trainers.synthesis.synthesise import run

FOLD = Fold(index=0, of=4)
FEW = Fold(index=0, of=4, patients=3)
SETTINGS = GanSettings(batch_size=4, kimg=0.02, latent_dim=8, channel_base=64, channel_max=8, report_every_steps=5)


@pytest.fixture(scope="module")
def generators(slices, tmp_path_factory) -> dict[str, Path]:
    """Three hardly trained generators of one fold with noise that is heard, as inputs of the stage, and the slices."""
    folders = {"prepare": slices}
    for role, variant in (("joint", "b-sg"), ("mask", "m-sg"), ("image", "c-sg")):
        trial = FakeTrial(tmp_path_factory.mktemp(role))
        drain(train_gan(resolve(SETTINGS, variant, FOLD, 1, 32), {"prepare": slices}, trial))
        folders[role] = heard(trial.output, 0.3)
    return folders


def heard(folder: Path, strength: float) -> Path:
    """A published generator after its noise was given a strength."""
    weights = load_file(folder / WEIGHTS)
    for name, weight in weights.items():
        if name.endswith("noise_strength"):
            weight.fill_(strength)
    save_file(weights, folder / WEIGHTS)
    return folder


@pytest.fixture(scope="module")
def few(slices, tmp_path_factory) -> dict[str, Path]:
    """A C-SG that has seen three of the six training patients."""
    trial = FakeTrial(tmp_path_factory.mktemp("few"))
    drain(train_gan(resolve(SETTINGS, "c-sg", FEW, 1, 32), {"prepare": slices}, trial))
    return {"prepare": slices, "image": trial.output}


def pool_of(folder: Path, inputs: dict[str, Path], pipeline: str, count: int, **settings: object) -> Pool:
    config = {"unit": "slices", "fold": FOLD, "seed": 3, "resolution": 32} | settings
    trial = FakeTrial(folder)
    reports = drain(run(SynthesiseConfig(count=count, pipeline=pipeline, **config), inputs, trial))
    assert reports[-1].step == reports[-1].total
    assert reports[-1].pictures["grid"].is_file()
    return Pool.open(trial.output)


PERTURB = Perturbation(bias_px=0.5, random_px=1.0, smooth_px=4.0, elastic_px=1.0, elastic_smooth_px=5.0)


@pytest.mark.parametrize(
    ("pipeline", "settings"), [("b-sg", {}), ("mc-sg", {}), ("c-sg", {}), ("c-sg", {"perturb": PERTURB})]
)
def test_a_small_pool_is_the_head_of_a_large_one(generators, tmp_path, pipeline, settings):
    large = pool_of(tmp_path / "large", generators, pipeline, 37, **settings)
    assert large.images.shape == (37, 2, 32, 32)
    assert large.masks.max() < 3
    assert len({image.tobytes() for image in large.images}) == 37
    for count in (1, 16, 21):
        small = pool_of(tmp_path / str(count), generators, pipeline, count, **settings)
        assert len(small) == count
        assert np.array_equal(small.images, large.images[:count])
        assert np.array_equal(small.masks, large.masks[:count])


@pytest.mark.parametrize("settings", [{}, {"masks": "held-out"}])
def test_painted_samples_say_which_slice_they_come_from(few, tmp_path, settings):
    data = SliceSet.open(few["prepare"])
    pool = pool_of(tmp_path / "all", few, "c-sg", 21, fold=FEW, **settings)
    np.testing.assert_array_equal(pool.masks, data.masks[pool.rows])
    head = pool_of(tmp_path / "head", few, "c-sg", 5, fold=FEW, **settings)
    np.testing.assert_array_equal(head.rows, pool.rows[:5])
    bent = pool_of(tmp_path / "bent", few, "c-sg", 5, fold=FEW, perturb=PERTURB, **settings)
    np.testing.assert_array_equal(bent.rows, pool.rows[:5])


def test_samples_of_generated_masks_have_no_source(generators, tmp_path):
    assert pool_of(tmp_path, generators, "mc-sg", 3).rows is None


def test_seed_decides(generators, tmp_path):
    one, same, other = (
        pool_of(tmp_path / name, generators, "b-sg", 4, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert np.array_equal(one.images, same.images)
    assert not np.allclose(one.images, other.images)


def test_same_config_gives_the_same_bytes(generators, tmp_path):
    for name in ("a", "b"):
        pool_of(tmp_path / name, generators, "mc-sg", 5)
    for path in (tmp_path / "a/output").iterdir():
        assert path.read_bytes() == (tmp_path / "b/output" / path.name).read_bytes()


def test_c_sg_alone_takes_every_training_mask_once_per_round(generators, tmp_path):
    slices = SliceSet.open(generators["prepare"])
    rows = slices.rows(split(slices.patients, FOLD).train, foreground_only=True)
    pool = pool_of(tmp_path, generators, "c-sg", 2 * len(rows))
    real = sorted(mask.tobytes() for mask in slices.masks[rows])
    first, second = pool.masks[: len(rows)], pool.masks[len(rows) :]
    assert sorted(mask.tobytes() for mask in first) == real
    assert sorted(mask.tobytes() for mask in second) == real
    assert not np.array_equal(first, second)


def test_mc_sg_images_are_made_for_the_hard_masks_of_m_sg(generators, tmp_path):
    """The masks depend on the mask generator alone, and a C-SG that is another one changes the images only."""
    pool = pool_of(tmp_path / "one", generators, "mc-sg", 4)
    trial = FakeTrial(tmp_path / "other-gan")
    drain(train_gan(resolve(SETTINGS, "c-sg", FOLD, 2, 32), {"prepare": generators["prepare"]}, trial))
    other = pool_of(tmp_path / "two", generators | {"image": trial.output}, "mc-sg", 4)
    assert np.array_equal(pool.masks, other.masks)
    assert not np.allclose(pool.images, other.images)


def test_count_in_patients(generators, tmp_path):
    slices = SliceSet.open(generators["prepare"])
    each = slices.slices_per_patient(split(slices.patients, FOLD).train)
    pool = pool_of(tmp_path, generators, "b-sg", 3, unit="patients")
    assert (len(pool), pool.slices_per_patient) == (3 * each, each)


def test_full_truncation_leaves_one_picture_and_its_noise(generators, tmp_path):
    heard_pool = pool_of(tmp_path / "heard", generators, "b-sg", 4, truncation=0.0)
    assert not np.allclose(heard_pool.images[1:], heard_pool.images[:1], atol=1e-2)
    shutil.copytree(generators["joint"], tmp_path / "silent")
    silent = generators | {"joint": heard(tmp_path / "silent", 0.0)}
    pool = pool_of(tmp_path / "pool", silent, "b-sg", 4, truncation=0.0)
    np.testing.assert_allclose(pool.images[1:], pool.images[:1].repeat(3, axis=0), atol=1e-5)


def detail_correlation(images: np.ndarray) -> float:
    """Mean correlation between samples of what a mean over 3 x 3 pixels takes away."""
    means = torch.nn.functional.avg_pool2d(torch.from_numpy(np.array(images)), 3, stride=1)
    detail = (images[:, :, 1:-1, 1:-1] - means.numpy()).reshape(len(images), -1)
    pairs = np.corrcoef(detail)[np.triu_indices(len(images), 1)]
    return float(pairs.mean())


def test_samples_have_fine_detail_of_their_own(generators, tmp_path):
    """Beside the same samples with one frozen set of noise maps, as the generators once had."""
    pool = pool_of(tmp_path, generators, "b-sg", 32)
    sampler = load_generator(generators["joint"])
    numbers = torch.randn(32, sampler.numbers_per_sample, generator=torch.Generator().manual_seed(0))
    numbers[:, 8:] = numbers[:1, 8:]
    assert detail_correlation(pool.images) < 0.5 * detail_correlation(sampler.sample(numbers).images)


@pytest.mark.parametrize("pipeline", ["mc-sg", "c-sg"])
def test_samples_do_not_depend_on_the_size_of_a_batch(generators, tmp_path, monkeypatch, pipeline):
    large = pool_of(tmp_path / "large", generators, pipeline, 20)
    for module in (recipes, synthesise):
        monkeypatch.setattr(module, "BATCH", 3)
    small = pool_of(tmp_path / "small", generators, pipeline, 20)
    assert np.array_equal(small.masks, large.masks)
    np.testing.assert_allclose(small.images, large.images, rtol=1e-4, atol=1e-4)


def test_images_stay_within_the_range_of_prepared_slices(generators, tmp_path):
    from safetensors.numpy import load_file, save_file

    loud = tmp_path / "loud"
    shutil.copytree(generators["joint"], loud)
    tensors = load_file(loud / "generator.safetensors")
    tensors["images.3.bias"] = tensors["images.3.bias"] + 100
    save_file(tensors, loud / "generator.safetensors")
    pool = pool_of(tmp_path / "pool", generators | {"joint": loud}, "b-sg", 2)
    assert (pool.images == 5).all()


def test_a_generator_that_saw_a_test_patient_is_refused(generators, tmp_path):
    with pytest.raises(UserError, match="joint generator was fitted on 2 patients outside the fold's training group"):
        pool_of(tmp_path, generators, "b-sg", 2, fold=Fold(index=1, of=4))


def test_a_generator_that_does_not_say_whom_it_saw_is_refused(generators, tmp_path):
    silent = tmp_path / "silent"
    shutil.copytree(generators["joint"], silent)
    (silent / "fitted_on.json").unlink()
    with pytest.raises(UserError, match=r"joint generator left no fitted_on.json, so nobody knows whose slices it saw"):
        pool_of(tmp_path / "pool", generators | {"joint": silent}, "b-sg", 2)


def test_a_generator_of_other_slices_is_refused(generators, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(generators["joint"], other)
    card = json.loads((other / "generator.json").read_text())
    card["modalities"], card["classes"] = 1, 4
    (other / "generator.json").write_text(json.dumps(card))
    with pytest.raises(UserError, match=r"\(32, 1, 4\), the prepared slices have \(32, 2, 3\)"):
        pool_of(tmp_path / "pool", generators | {"joint": other}, "b-sg", 2)


def test_price_counts_both_generators():
    config = {"count": 10, "unit": "slices", "fold": FOLD, "seed": 0, "resolution": 32}
    single = hours(SynthesiseConfig(pipeline="b-sg", **config))
    assert hours(SynthesiseConfig(pipeline="mc-sg", **config)) == 2 * single > 0
    on_gpu = gpu_hours(SynthesiseConfig(pipeline="b-sg", **config))
    assert gpu_hours(SynthesiseConfig(pipeline="mc-sg", **config)) == 2 * on_gpu
    assert 0 < on_gpu < single


def test_masks_are_measured_before_and_changed_by_declared_steps_only(generators, tmp_path, monkeypatch):
    cleaned = []

    def counted(labels, *settings):
        cleaned.append(len(labels))
        return postprocess(labels, *settings)

    monkeypatch.setattr("medsweep.trainers.synthesis.mask_cleaner.postprocess", counted)
    raw = pool_of(tmp_path / "raw", generators, "mc-sg", 21)
    steps = ("fill-holes", "largest-component", "min-area")
    clean = pool_of(tmp_path / "clean", generators, "mc-sg", 21, postprocess=steps, min_area_px=6)
    assert cleaned == [BATCH] * 4
    folders = [tmp_path / name / "output" for name in ("raw", "clean")]
    measured = [pd.read_parquet(folder / "validity.parquet") for folder in folders]
    pd.testing.assert_frame_equal(*measured)
    pd.testing.assert_frame_equal(measured[0], validity(np.asarray(raw.masks), 3))
    about = json.loads((folders[1] / "pool.json").read_text())["postprocess"]
    assert about == {step: change_counts(pixels) for step, pixels in postprocess(raw.masks, steps, 3, 6)[1].items()}
    changed = int((np.asarray(raw.masks) != np.asarray(clean.masks)).any((1, 2)).sum())
    assert 0 < changed <= sum(step["samples"] for step in about.values())
    after = validity(np.asarray(clean.masks), 3)
    assert after["components"].max() <= 1 < measured[0]["components"].max()
    assert json.loads((folders[0] / "pool.json").read_text())["postprocess"] == {}
    found = json.loads((folders[0] / "validity.json").read_text())
    assert 0 <= found["valid_share"] <= 1


def test_real_masks_have_no_validity(generators, tmp_path):
    pool_of(tmp_path, generators, "c-sg", 4)
    assert not (tmp_path / "output" / "validity.json").exists()


def test_fields_on_masks_are_neutral_where_the_pipeline_does_not_read_them():
    given = SynthesiseSettings(postprocess=("fill-holes", "min-area"), min_area_px=5, masks="held-out", perturb=PERTURB)
    real, generated = {"masks": "held-out", "perturb": PERTURB}, {"postprocess": given.postprocess, "min_area_px": 5}
    neutral = sampling_fields(SynthesiseSettings(), "c-sg")
    assert neutral == sampling_fields(SynthesiseSettings(), "b-sg") == sampling_fields(SynthesiseSettings(), "mc-sg")
    assert sampling_fields(given, "c-sg") == neutral | real
    assert sampling_fields(given, "b-sg") == sampling_fields(given, "mc-sg") == neutral | generated
    unread = given.model_copy(update={"postprocess": ("fill-holes",)})
    assert sampling_fields(unread, "b-sg") == neutral | {"postprocess": ("fill-holes",)}


def test_fields_on_steps_are_neutral_where_none_are_taken_and_stay_out_of_old_digests():
    given = SynthesiseSettings(truncation=0.5, steps=40, guidance=2.0)
    neutral = sampling_fields(SynthesiseSettings(), "c-sg")
    assert sampling_fields(given, "c-sg") == neutral | {"truncation": 0.5}
    assert sampling_fields(given, "b-dm") == neutral | {"steps": 40}
    assert sampling_fields(given, "c-dm") == neutral | {"steps": 40, "guidance": 2.0}
    assert {"steps", "guidance"}.isdisjoint(identity(SynthesiseSettings()))


def test_a_pipeline_of_both_kinds_of_generators_reads_the_fields_of_both(monkeypatch):
    generators = {"mask": (STYLEGAN2, "m-sg"), "image": (DIFFUSION, "c-dm")}
    monkeypatch.setitem(PIPELINES, "mc-sg", Pipeline(generators, masks_then_images))
    given = SynthesiseSettings(truncation=0.5, steps=40, guidance=2.0)
    assert sampling_fields(given, "mc-sg") == dict(given)


def test_generators_of_families_that_draw_in_steps_do_so_as_settings_say(slices):
    asked = []

    class Trained:
        fitted_to = (32, 2, 3)

        def with_sampling(self, sampling):
            asked.append(sampling)
            return "in steps"

    generators = {"mask": (STYLEGAN2, "m-sg"), "image": (DIFFUSION, "c-dm")}
    trained = {role: (replace(family, load=lambda *_: Trained()), kind) for role, (family, kind) in generators.items()}
    inputs, sampling = dict.fromkeys(generators, slices), Sampling(steps=7)
    data = SliceSet.open(slices)
    assert Trained.fitted_to == (data.resolution, len(data.modalities), len(data.classes))
    loaded = load_generators(Pipeline(trained, masks_then_images), inputs, data, "cpu", sampling)
    assert isinstance(loaded["mask"], Trained)
    assert (loaded["image"], asked) == ("in steps", [sampling])


def test_steps_and_guidance_are_paid_for():
    def price(**fields):
        return hours(
            SynthesiseConfig(count=10, unit="slices", pipeline="c-dm", fold=FOLD, seed=0, resolution=32, **fields)
        )

    assert price(steps=50) == pytest.approx(2 * price(steps=25)) == pytest.approx(price(steps=25, guidance=2.0))


def test_c_sg_paints_the_masks_of_training_patients_left_out_and_says_who_they_are(few, tmp_path):
    slices = SliceSet.open(few["prepare"])
    train = set(split(slices.patients, FEW).train)
    others = sorted(set(split(slices.patients, FOLD).train) - train)
    rows = slices.rows(others, foreground_only=True)
    pool = pool_of(tmp_path / "all", few, "c-sg", len(rows), fold=FEW, masks="held-out")
    assert sorted(mask.tobytes() for mask in pool.masks) == sorted(mask.tobytes() for mask in slices.masks[rows])
    assert json.loads((tmp_path / "all/output/fitted_on.json").read_text()) == sorted(train | set(others))
    assert pool.slices_per_patient == slices.slices_per_patient(sorted(train))
    head = pool_of(tmp_path / "head", few, "c-sg", 5, fold=FEW, masks="held-out")
    assert np.array_equal(head.images, pool.images[:5])
    own = pool_of(tmp_path / "own", few, "c-sg", 5, fold=FEW)
    assert not np.array_equal(own.masks, head.masks)
    assert json.loads((tmp_path / "own/output/fitted_on.json").read_text()) == sorted(train)


def test_perturbed_masks_are_painted_and_their_shift_is_told(generators, tmp_path):
    grown = Perturbation(bias_px=1.0)
    plain = pool_of(tmp_path / "plain", generators, "c-sg", 20)
    pool = pool_of(tmp_path / "grown", generators, "c-sg", 20, perturb=grown)
    assert ((np.asarray(pool.masks) > 0) >= (np.asarray(plain.masks) > 0)).all()
    assert ((np.asarray(pool.masks) > 0).sum(axis=(1, 2)) > (np.asarray(plain.masks) > 0).sum(axis=(1, 2))).all()
    assert not np.allclose(pool.images, plain.images)
    told = json.loads((tmp_path / "grown/output/pool.json").read_text())["perturb"]
    assert told["boundary_bias_px"] == pytest.approx(1, abs=0.2)
    assert told["vanished"] == 0
    assert "perturb" not in json.loads((tmp_path / "plain/output/pool.json").read_text())


def test_patients_beyond_the_fold_are_declared_and_must_exist(few, tmp_path):
    config = {"count": 2, "unit": "slices", "seed": 0, "resolution": 32}
    held_out = SynthesiseConfig(pipeline="c-sg", fold=FEW, masks="held-out", **config)
    assert held_out.borrows == FOLD
    assert SynthesiseConfig(pipeline="c-sg", fold=FEW, **config).borrows is None
    with pytest.raises(ValidationError, match=r"set data\.patients below the training group"):
        SynthesiseConfig(pipeline="c-sg", fold=FOLD, masks="held-out", **config)
    with pytest.raises(ValidationError, match=r"by pipelines of real masks alone \(c-sg, .*\), not by b-sg"):
        SynthesiseConfig(pipeline="b-sg", fold=FEW, masks="held-out", **config)
    with pytest.raises(UserError, match="no training patient left out of the 6 in use"):
        pool_of(tmp_path, few, "c-sg", 2, fold=FOLD.model_copy(update={"patients": 6}), masks="held-out")


def test_a_probe_draws_one_batch_whatever_is_done_to_it(generators, tmp_path):
    base = {"fold": FEW, "seed": 3, "resolution": 32}
    held_out = SynthesiseConfig(
        count=500, unit="patients", pipeline="c-sg", truncation=0.5, masks="held-out", perturb=PERTURB, **base
    )
    cleaned = SynthesiseConfig(count=9, unit="slices", pipeline="mc-sg", postprocess=("min-area",), **base)
    assert probe(held_out) == probe(cleaned.model_copy(update={"pipeline": "c-sg"}))
    assert probe(held_out) != probe(cleaned)
    assert probe(cleaned) != probe(cleaned.model_copy(update={"resolution": 64}))
    trial = FakeTrial(tmp_path)
    drain(run(probe(cleaned.model_copy(update={"fold": FOLD})), generators, trial))
    assert len(Pool.open(trial.output)) == BATCH
