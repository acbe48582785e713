"""Training slices mirrored left to right: which, in what order, and what refuses them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from medsweep.data.folds import Fold
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.identity import canonical
from medsweep.trainers.diffusion.config import DiffusionSettings
from medsweep.trainers.diffusion.config import resolve as resolve_diffusion
from medsweep.trainers.generation.data import TrainingSet, require_left_and_right
from medsweep.trainers.generation.masks import decode
from medsweep.trainers.generators import GeneratorConfig
from medsweep.trainers.stylegan2.config import GanSettings
from medsweep.trainers.stylegan2.resolve import resolve as resolve_gan

FOLD = Fold(index=1, of=4, validation=0.2)


def config_of(family: str, **settings: object) -> GeneratorConfig:
    if family == "gan":
        return resolve_gan(GanSettings(**settings), "c-sg", FOLD, 0, 32)
    return resolve_diffusion(DiffusionSettings(**settings), "c-dm", FOLD, 0, 32)


@pytest.mark.parametrize("family", ["gan", "diffusion"])
def test_every_training_slice_is_followed_by_its_mirror_image_with_its_mask(slices, family):
    plain, both = (TrainingSet.load(config_of(family, flip=flip), slices, "cpu") for flip in (False, True))
    count = len(plain)
    assert len(both) == 2 * count
    assert torch.equal(both.images[:count], plain.images)
    assert torch.equal(both.images[count:], plain.images.flip(-1))
    assert np.array_equal(both.labels[count:], plain.labels[:, :, ::-1])
    assert np.array_equal(decode(both.channels.float().numpy()), both.labels)
    assert both.intensity == plain.intensity
    assert torch.equal(both.held_out.images, plain.held_out.images), "what is watched is real"


@pytest.mark.parametrize("family", ["gan", "diffusion"])
def test_a_training_without_it_is_the_trial_that_it_was(family):
    assert "flip" not in canonical(config_of(family))
    assert '"flip":true' in canonical(config_of(family, flip=True))


def test_slices_of_one_side_of_the_body_are_refused(slices):
    data = SliceSet.open(slices)
    require_left_and_right(data)
    some = dict(list(data.volumes.items())[:1])
    sagittal = {patient: replace(volume, slice_axis=0) for patient, volume in some.items()}
    with pytest.raises(UserError, match="those of 1 cases are sagittal, first 'phantom_0001'"):
        require_left_and_right(replace(data, volumes=data.volumes | sagittal))
