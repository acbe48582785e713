import shutil

import numpy as np
import pytest
import torch

from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.generation.intensity import IntensityRange
from medsweep.trainers.stylegan2.config import GanSettings
from medsweep.trainers.stylegan2.learner import GanLearner
from medsweep.trainers.stylegan2.resolve import resolve

FOLD = Fold(index=1, of=4, validation=0.3)
SETTINGS = GanSettings(
    batch_size=4, latent_dim=8, channel_base=64, channel_max=8, path_length_every_steps=1, r1_every_steps=1,
    report_every_steps=2,
)  # fmt: skip


def test_the_central_part_of_every_modality_becomes_minus_one_to_one():
    random = np.random.default_rng(0)
    images = (random.standard_normal((20, 2, 32, 32)) * [[[1.0]], [[30.0]]] + [[[5.0]], [[-7.0]]]).astype(np.float32)
    images[0, 0, 0, :3] = 1e4
    found = IntensityRange.of(images)
    scaled = found.from_slices(torch.from_numpy(images))
    for modality in scaled.unbind(1):
        assert float((modality.abs() > 1).float().mean()) == pytest.approx(0.01, abs=1e-3)
        assert float(modality.mean(dim=(1, 2))[1:].mean()) == pytest.approx(0, abs=0.02)
    torch.testing.assert_close(found.to_slices(scaled), torch.from_numpy(images), rtol=1e-5, atol=1e-5)
    assert torch.equal(IntensityRange().from_slices(scaled), scaled)


def test_a_modality_that_is_missing_is_0():
    images = np.full((3, 1, 8, 8), -1.5, np.float32)
    found = IntensityRange.of(images)
    assert torch.equal(found.from_slices(torch.from_numpy(images)), torch.zeros(3, 1, 8, 8))
    assert torch.equal(found.to_slices(torch.zeros(1, 1, 2, 2)), torch.full((1, 1, 2, 2), -1.5))


@pytest.mark.parametrize(("variant", "augment"), [("b-sg", "diffaugment"), ("c-sg", "ada-fixed")])
def test_training_does_not_depend_on_the_unit_of_the_slices(slices, tmp_path, variant, augment):
    """Penalties, distortions and learning rates act alike, and samples come back in the unit of the slices."""
    shutil.copytree(slices, tmp_path / "scaled")
    np.save(tmp_path / "scaled/images.npy", 4 * np.load(slices / "images.npy"))
    said, pools = [], []
    for folder in (slices, tmp_path / "scaled"):
        config = resolve(SETTINGS.model_copy(update={"augment": augment}), variant, FOLD, 3, 32)
        data = TrainingSet.load(config, folder, "cpu")
        learner = GanLearner(config, data, "cpu")
        steps = [learner.step(number) for number in (1, 2)]
        # the distance is between values of slices, and so it has their unit
        said.append([{name: value for name, value in step.items() if name != "frechet_random"} for step in steps])
        numbers = torch.randn(4, learner.sampler.numbers_per_sample, generator=torch.Generator().manual_seed(0))
        labels = data.labels[:4] if variant == "c-sg" else None
        pools.append(learner.sampler.sample(numbers, labels).images)
    assert said[0] == said[1]
    np.testing.assert_allclose(pools[1], 4 * pools[0], rtol=1e-5)


def test_held_out_slices_are_scaled_as_the_training_slices(slices):
    data = TrainingSet.load(resolve(SETTINGS, "b-sg", FOLD, 3, 32), slices, "cpu")
    known = SliceSet.open(slices)
    parts = split(known.patients, FOLD)
    for group, patients in ((data, parts.train), (data.held_out, parts.validation)):
        images = known.image_rows(known.rows(patients, foreground_only=True))
        assert group.intensity == data.intensity
        np.testing.assert_allclose(data.intensity.to_slices(group.images), images, rtol=1e-5, atol=1e-6)
    assert data.intensity == IntensityRange.of(known.image_rows(known.rows(parts.train, foreground_only=True)))
