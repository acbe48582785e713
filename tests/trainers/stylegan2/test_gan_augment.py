from typing import get_args

import pytest
import torch

from medsweep.data.folds import Fold
from medsweep.trainers.generation.masks import background
from medsweep.trainers.stylegan2.augment.ada import Ada
from medsweep.trainers.stylegan2.augment.diffaugment import DiffAugment, geometry, intensity
from medsweep.trainers.stylegan2.augment.kinds import AUGMENT_KINDS
from medsweep.trainers.stylegan2.config import Augment, GanSettings
from medsweep.trainers.stylegan2.resolve import READ_BY_AUGMENT, resolve

R = 16
STILL = 0.5
"""Draw that moves nothing."""
AWAY = 10.0
"""Draw that puts the centre of the cut-out far outside."""


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(2)


def test_translation_moves_by_whole_pixels_and_fills_with_zero(random):
    x = torch.randn(1, 2, R, R, generator=random)
    moved = geometry(x, torch.tensor([[0.999], [0.7], [AWAY], [AWAY]]))  # of -2 ... 2 pixels: 2 down, 1 to the right
    expected = torch.zeros_like(x)
    expected[..., 2:, 1:] = x[..., :-2, :-1]
    assert torch.equal(moved, expected)
    moved = geometry(x, torch.tensor([[0.0], [0.3], [AWAY], [AWAY]]))  # 2 up, 1 to the left
    expected = torch.zeros_like(x)
    expected[..., :-2, :-1] = x[..., 2:, 1:]
    assert torch.equal(moved, expected)


def test_nothing_moves_at_the_middle_of_the_range(random):
    x = torch.randn(2, 3, R, R, generator=random)
    assert torch.equal(geometry(x, torch.tensor([[STILL] * 2, [STILL] * 2, [AWAY] * 2, [AWAY] * 2])), x)


def test_cut_out_takes_a_square_of_half_the_side():
    cut = geometry(torch.ones(1, 1, R, R), torch.tensor([[STILL], [STILL], [0.5], [0.5]]))[0, 0]
    assert torch.equal(cut == 0, torch.nn.functional.pad(torch.ones(8, 8), (4, 4, 4, 4)) == 1)


def test_image_and_mask_move_together(random):
    mask = (torch.rand(6, 1, R, R, generator=random) > 0.5).float() * 2 - 1
    x = torch.cat([mask, mask, -mask], dim=1)  # an image equal to its first mask channel
    fill = torch.tensor([-1.0, -1.0, 1.0])[:, None, None]
    draws = torch.rand(4, 6, generator=random)
    y = geometry(x - fill, draws) + fill
    assert torch.equal(y[:, 0], y[:, 1])
    assert torch.equal(y[:, 1], -y[:, 2])
    assert not torch.equal(y, x)


def test_what_is_moved_in_is_background(random):
    fill = torch.cat([torch.zeros(1), torch.from_numpy(background(3))])[:, None, None]
    x = torch.full((8, 4, R, R), 9.0)
    y = DiffAugment(1, fill)(x, random)
    gone = y[:, 3] != 9
    assert gone.flatten(1).any(dim=1).all()
    for channel, value in ((1, 1.0), (2, -1.0), (3, -1.0)):
        assert (y[:, channel][gone] == value).all()
    assert (y[:, 0][gone] == 0).all()


def test_intensity_never_touches_the_mask(random):
    x = torch.randn(4, 3, R, R, generator=random)
    no_image = DiffAugment(0, torch.zeros(3, 1, 1))(x, torch.Generator().manual_seed(7))
    one_image = DiffAugment(1, torch.zeros(3, 1, 1))(x, torch.Generator().manual_seed(7))
    assert torch.equal(one_image[:, 1:], no_image[:, 1:])
    assert not torch.allclose(one_image[:, 0], no_image[:, 0])


def test_brightness_shifts_and_contrast_scales(random):
    x = torch.randn(2, 2, R, R, generator=random)
    y = intensity(x, torch.tensor([0.5, 1.0]), torch.tensor([1.0, 0.5]))
    torch.testing.assert_close(y[0].mean(), x[0].mean())
    torch.testing.assert_close(y[0].std(), 1.5 * x[0].std())
    torch.testing.assert_close(y[1], x[1] + 0.5)


def test_gradients_of_gradients_pass_through(random):
    augment = DiffAugment(1, torch.zeros(2, 1, 1))
    x = torch.randn(2, 2, R, R, generator=random).requires_grad_(True)
    scale = torch.ones((), requires_grad=True)
    (slope,) = torch.autograd.grad((scale * augment(x, random)).pow(3).sum(), x, create_graph=True)
    slope.square().sum().backward()
    assert float(scale.grad) > 0


@pytest.mark.parametrize(
    ("settings", "kind", "p"),
    [
        ({"augment": "none"}, None, 0.0),
        ({"augment": "diffaugment"}, DiffAugment, 1.0),
        ({"augment": "ada"}, Ada, 0.0),
        ({"augment": "ada-fixed", "ada_p": 0.7}, Ada, 0.7),
    ],
)
def test_the_setting_chooses_what_the_learner_calls(random, settings, kind, p):
    config = resolve(GanSettings(**settings), "b-sg", Fold(index=0, of=2), 0, R)
    fill = torch.tensor([0.0, -1.0, 1.0])[:, None, None]
    chosen = AUGMENT_KINDS[config.augment]
    augment = chosen.make(1, fill)
    x = torch.randn(4, 3, R, R, generator=random)
    assert chosen.first_p(config) == p
    assert (chosen.controller is not None) == (config.augment == "ada")
    before = random.get_state()
    y = augment(x, random, torch.tensor(1.0))
    if kind is None:
        assert y is x
        assert torch.equal(random.get_state(), before)
    else:
        assert type(augment) is kind
        assert torch.equal(y, kind(1, fill)(x, random.set_state(before), torch.tensor(1.0)))
        assert not torch.equal(y, x)


def test_diffaugment_does_not_read_p(random):
    augment = DiffAugment(1, torch.zeros(2, 1, 1))
    x = torch.randn(2, 2, R, R, generator=random)
    never, always = (augment(x, torch.Generator().manual_seed(1), torch.tensor(p)) for p in (0.0, 1.0))
    assert torch.equal(never, always)


def test_every_kind_is_registered_and_is_the_only_one_to_read_its_fields():
    assert list(AUGMENT_KINDS) == list(get_args(Augment))
    changed = {"ada_target": 0.3, "ada_kimg": 7.0, "ada_p": 0.9}
    assert {name for names in READ_BY_AUGMENT.values() for name in names} == set(changed)
    for name, read in READ_BY_AUGMENT.items():
        config = resolve(GanSettings(augment=name, **changed), "b-sg", Fold(index=0, of=2), 0, R)
        assert {field for field, value in changed.items() if getattr(config, field) == value} == set(read)
