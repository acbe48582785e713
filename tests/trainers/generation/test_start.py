"""Trainings that begin from a published generator: with its weights, if it fits and has seen nobody held out."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.fitted_on import FITTED_ON
from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.files import sha256_of
from medsweep.identity import canonical
from medsweep.trainers.diffusion.config import DiffusionSettings
from medsweep.trainers.diffusion.config import resolve as resolve_diffusion
from medsweep.trainers.diffusion.family import DIFFUSION
from medsweep.trainers.diffusion.learner import DiffusionLearner
from medsweep.trainers.diffusion.sampler import load_denoiser
from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.generation.start import BEGAN_FROM, START, folder_to_begin_from, require_no_copy
from medsweep.trainers.generators import GeneratorConfig, Start
from medsweep.trainers.stylegan2.config import GanSettings
from medsweep.trainers.stylegan2.family import STYLEGAN2
from medsweep.trainers.stylegan2.learner import GanLearner
from medsweep.trainers.stylegan2.resolve import resolve as resolve_gan
from medsweep.trainers.stylegan2.sampler import load_generator

FOLD = Fold(index=1, of=4, patients=4)
FAMILIES = {"gan": STYLEGAN2, "diffusion": DIFFUSION}


def config_of(family: str, *, left_out: bool = False, **settings: Any) -> GeneratorConfig:
    short: dict[str, Any] = {"kimg": 0.008, "batch_size": 4, "report_every_steps": 2} | settings
    if family == "gan":
        sized: dict[str, Any] = {"latent_dim": 8, "channel_base": 64, "channel_max": 8} | short
        config: GeneratorConfig = resolve_gan(GanSettings(**sized), "b-sg", FOLD, 5, 32)
    else:
        config = resolve_diffusion(DiffusionSettings(**({"width": 8} | short)), "b-dm", FOLD, 5, 32)
    return config.model_copy(update={"left_out": left_out})


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def first(request, slices, tmp_path_factory) -> tuple[str, Path]:
    """A family, and what its generator of the patients left out leaves."""
    trial = FakeTrial(tmp_path_factory.mktemp(request.param))
    config = config_of(request.param, left_out=True)
    drain(FAMILIES[request.param].stage.run(config, {"prepare": slices}, trial))
    return request.param, trial.output


def published(folder: Path, **changes: Any) -> Start:
    files = {path.name: sha256_of(path) for path in folder.glob("*.safetensors")}
    fields: dict[str, Any] = {"digest": "a" * 64, "path": str(folder), "files": files, "fitted_on": ()}
    return Start(**fields | {"slices": None, "strangers": False} | changes)


def begun(family: str, slices: Path, start: Path | Start | None) -> Callable[[], Path | None]:
    config, inputs = config_of(family), {"prepare": slices}
    if isinstance(start, Path):
        inputs[START] = start
    else:
        config = config.model_copy(update={"start": start})
    misfits = FAMILIES[family].misfits
    assert misfits is not None
    return lambda: folder_to_begin_from(config, inputs, misfits)


def test_the_first_one_learns_from_the_patients_left_out_and_from_nobody_held_out(first, slices):
    groups = split(SliceSet.open(slices).patients, FOLD)
    fitted = set(json.loads((first[1] / FITTED_ON).read_text()))
    assert fitted
    assert not fitted & {*groups.train, *groups.test}


def test_a_training_begins_with_the_weights_and_tells_whom_they_have_seen(first, slices, tmp_path):
    family, folder = first
    data = TrainingSet.load(config_of(family), slices, "cpu")
    if family == "gan":
        start: Any = load_generator(folder)
        learner: Any = GanLearner(config_of(family), data, "cpu", start=start)
        begin = [learner.networks.g, learner.networks.mean_g]
    else:
        start = load_denoiser(folder)
        learner = DiffusionLearner(config_of(family), data, "cpu", start=start)
        begin = [learner.network, learner.mean]
    for network in begin:
        for name, value in start.network.state_dict().items():
            assert torch.equal(network.state_dict()[name], value), name
    drain(FAMILIES[family].stage.run(config_of(family), {"prepare": slices, START: folder}, FakeTrial(tmp_path)))
    output = tmp_path / "output"
    assert json.loads((output / BEGAN_FROM).read_text()) == json.loads((folder / FITTED_ON).read_text())
    assert json.loads((output / FITTED_ON).read_text()) == sorted(data.patients)


def test_one_that_has_seen_a_tested_patient_is_refused_by_the_name(first, slices, tmp_path):
    family, folder = first
    tested = split(SliceSet.open(slices).patients, FOLD).test[0]
    seen = Path(shutil.copytree(folder, tmp_path / "seen"))
    (seen / BEGAN_FROM).write_text(json.dumps([tested]))
    with pytest.raises(UserError, match=f"learned from 1 patients whom this fold holds out, first '{tested}'"):
        begun(family, slices, seen)()
    with pytest.raises(UserError, match=f"first '{tested}'"):
        begun(family, slices, published(seen))()
    assert begun(family, slices, published(seen, strangers=True))() == seen, "others who are called the same"


def test_one_that_has_seen_a_tested_patient_under_another_name_is_refused_by_the_mask(slices, tmp_path):
    data = SliceSet.open(slices)
    groups = split(data.patients, FOLD)
    (tmp_path / "reference").mkdir()
    for name, case in (("one", groups.train[0]), ("two", groups.test[0])):
        turned = np.swapaxes(data.reference(case), 1, 2)[:, ::-1]
        np.savez_compressed(tmp_path / "reference" / f"{name}.npz", labels=turned)
    learned = replace(data, folder=tmp_path)
    require_no_copy(learned, ["one"], data, groups.test)
    with pytest.raises(UserError, match=f"learned from 'two', whose mask is that of '{groups.test[0]}'"):
        require_no_copy(learned, ["one", "two"], data, groups.test)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"channel_max": 16}, ["channel_max 8, here 16"]),
        ({"latent_dim": 16, "noise": False}, ["latent_dim 8, here 16", "noise True, here False"]),
        ({"minibatch_std_group": 2, "discriminator_form": "concat"}, []),
        ({"mask_form": "soft-one-hot"}, ["mask_form signed-distance, here soft-one-hot"]),
    ],
)
def test_each_difference_of_a_gan_is_named_and_what_only_d_has_is_none(first, changes, told):
    family, folder = first
    if family == "gan":
        found = STYLEGAN2.misfits(folder, config_of(family, **changes), 2, 3)
        assert [text for text in found if not text.startswith("mask_clip_px")] == told


def test_other_data_do_not_fit(first, slices):
    family, folder = first
    misfits = FAMILIES[family].misfits
    assert misfits(folder, config_of(family), 2, 3) == []
    assert misfits(folder, config_of(family), 1, 4) == ["modalities 2, here 1", "classes 3, here 4"]


def test_files_that_changed_or_are_gone_are_named(first, slices, tmp_path):
    family, folder = first
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    start = published(copy)
    assert begun(family, slices, start)() == copy
    weights = next(iter(start.files))
    (copy / weights).write_bytes(b"other")
    with pytest.raises(UserError, match=f"{weights} changed since the sweep was planned"):
        begun(family, slices, start)()
    (copy / weights).unlink()
    with pytest.raises(UserError, match=f"{weights}, which this training begins from, is not on this machine"):
        begun(family, slices, start)()


def test_only_the_digest_of_what_it_begins_from_is_part_of_its_address(first):
    family, folder = first
    config = config_of(family)
    here, there = (config.model_copy(update={"start": published(path)}) for path in (folder, Path("elsewhere")))
    other = config.model_copy(update={"start": published(folder, digest="b" * 64)})
    assert canonical(here) == canonical(there) != canonical(other)
    assert not {"start", "left_out", "init_from"} & set(json.loads(canonical(config)))
