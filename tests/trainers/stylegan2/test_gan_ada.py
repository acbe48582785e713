"""ADA's distortions: exact where they should be, the same for image and mask, and drawn as often as stated."""

import math

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from medsweep.trainers.stylegan2.augment import ada
from medsweep.trainers.stylegan2.augment.ada import Ada, blit, draw, low_pass, rotation, sampling_grid, warp

R = 32
EYE = torch.eye(2)[None]
STILL = torch.zeros(1, 2)


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(4)


def blob(row: float, column: float, sd_row: float = 3.0, sd_column: float = 3.0) -> torch.Tensor:
    """A Gaussian at a place given in pixels from the centre, (1, 1, R, R)."""
    place = torch.arange(R) - (R - 1) / 2
    down = torch.exp(-((place - row) ** 2) / (2 * sd_row**2))
    right = torch.exp(-((place - column) ** 2) / (2 * sd_column**2))
    return (down[:, None] * right)[None, None]


@pytest.mark.parametrize(("channels", "images", "side"), [(1, 1, 16), (1, 0, 32), (7, 3, 64)])
def test_nothing_changes_at_p_zero(random, channels, images, side):
    x = torch.randn(5, channels, side, side, generator=random)
    fill = torch.randn(channels, 1, 1, generator=random)
    assert torch.equal(Ada(images, fill)(x, random, torch.tensor(0.0)), x)
    changed = Ada(images, fill)(x, random, torch.tensor(1.0))
    assert changed.shape == x.shape
    assert changed.dtype == x.dtype
    assert not (changed == x).flatten(1).all(dim=1).any()


def test_samples_that_draw_nothing_pass_as_they_are(random):
    x = torch.randn(64, 2, R, R, generator=random)
    p = torch.tensor(0.1)
    drawn = draw(64, R, torch.Generator().manual_seed(1), p)
    idle = ~drawn.warped & (drawn.turn == torch.eye(2)).all(dim=(1, 2)) & (drawn.jump == 0).all(dim=1)
    idle &= (drawn.brightness == 0) & (drawn.contrast == 1)
    y = Ada(1, torch.full((2, 1, 1), -1.0))(x, torch.Generator().manual_seed(1), p)
    assert 0 < idle.sum() < 64
    assert torch.equal((y == x).flatten(1).all(dim=1), idle)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_turns_and_flips_exchange_pixels(random, quarters, mirrored):
    x = torch.randn(1, 2, R, R, generator=random)
    cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarters]
    sign = -1 if mirrored else 1
    turned, inside = blit(x, torch.tensor([[[cos, sin], [-sin * sign, cos * sign]]]), torch.zeros(1, 2).long())
    expected = torch.rot90(x.flip(3) if mirrored else x, quarters, (2, 3))
    assert inside.all()
    assert torch.equal(turned, expected)


def test_every_drawn_turn_is_one_of_the_eight_of_the_square(random):
    turns = draw(400, R, random, torch.tensor(1.0)).turn
    assert turns.dtype == torch.int64
    assert torch.equal((turns @ turns.mT), torch.eye(2).long().expand(400, 2, 2))
    assert len(turns.flatten(1).unique(dim=0)) == 8


def test_a_jump_goes_down_and_right_and_leaves_fill(random):
    x = torch.randn(1, 1, R, R, generator=random)
    moved, inside = blit(x, torch.eye(2).long()[None], torch.tensor([[3, 2]]))
    assert torch.equal(moved[..., 3:, 2:], x[..., :-3, :-2])
    assert inside[..., 3:, 2:].all()
    assert inside.sum() == (R - 3) * (R - 2)


@pytest.mark.parametrize(
    ("affine", "shift", "expected"),
    [
        (EYE, STILL, blob(4, -2)),
        (EYE, torch.tensor([[1.5, 3.25]]), blob(5.5, 1.25)),
        (EYE / 1.2, STILL, blob(4.8, -2.4, 3.6, 3.6)),
        (torch.diag(torch.tensor([1 / 1.25, 1.25]))[None], STILL, blob(5, -1.6, 3.75, 2.4)),
        (rotation(torch.tensor([math.pi / 2])), STILL, blob(-2, -4)),
        (rotation(torch.tensor([math.pi / 4])), STILL, blob(math.sqrt(2), -3 * math.sqrt(2))),
        (rotation(torch.tensor([math.pi / 2])), torch.tensor([[3.0, 0.0]]), blob(1, -4)),
    ],
)
def test_the_warp_moves_a_smooth_blob_as_geometry_says(affine, shift, expected):
    torch.testing.assert_close(warp(blob(4, -2), affine, shift), expected, atol=0.015, rtol=0)


def test_composed_draws_are_scale_then_turn_then_stretch_then_turn(random):
    drawn = draw(200, R, random, torch.tensor(1.0))
    determinant = torch.linalg.det(drawn.affine)
    singular = torch.linalg.svdvals(drawn.affine)
    scale = torch.log2(determinant) / 2  # the stretch keeps the area, and turns keep everything
    stretch = torch.log2(singular[:, 0] / singular[:, 1]) / 2
    assert float(scale.std()) == pytest.approx(0.2, rel=0.15)
    assert float(stretch.square().mean().sqrt()) == pytest.approx(0.2, rel=0.15)
    assert not torch.allclose(drawn.affine, drawn.affine.mT, atol=1e-2)


def test_shrinking_does_not_alias():
    stripes = torch.cos(torch.arange(64) * (0.9 * math.pi)).expand(1, 1, 64, 64)  # just below Nyquist
    affine = 2 * EYE  # half the size: beyond what the smaller grid can show
    side = 2 * 64 + 10
    naive_grid = sampling_grid(affine, STILL, side)[:, 5:-5:2, 5:-5:2] * (side / 128)
    naive = functional.grid_sample(stripes, naive_grid, align_corners=False)
    middle = (..., slice(20, 44), slice(20, 44))
    assert float(naive[middle].std()) > 0.1
    assert float(warp(stripes, affine, STILL)[middle].std()) < 0.2 * float(naive[middle].std())


def test_the_low_pass_keeps_constants_and_cuts_what_only_the_fine_grid_can_show():
    taps = low_pass(torch.device("cpu"))
    assert len(taps) == 12
    assert torch.allclose(taps, taps.flip(0))
    assert float(taps.sum()) == pytest.approx(1)
    spectrum = torch.fft.rfft(taps, 240).abs()  # of 120 frequencies up to the fine Nyquist, 60 is the coarse one
    assert float((spectrum[:40] - 1).abs().max()) < 0.05
    assert float(spectrum[85:].max()) < 0.05


def test_image_and_mask_move_together(random):
    mask = (torch.rand(16, 1, R, R, generator=random) > 0.5).float() * 2 - 1
    pair = torch.cat([mask, -mask], dim=1)  # as if no channel were an image
    y = Ada(0, torch.tensor([-1.0, 1.0])[:, None, None])(pair, random, torch.tensor(0.7))
    torch.testing.assert_close(y[:, 0], -y[:, 1])
    assert not torch.allclose(y, pair, atol=0.1)


def test_intensity_is_one_affine_map_per_sample_and_never_touches_the_mask(random):
    x = torch.rand(16, 1, R, R, generator=random).expand(-1, 4, -1, -1).contiguous()
    fill = torch.zeros(4, 1, 1)
    p = torch.tensor(1.0)
    y = Ada(2, fill)(x, torch.Generator().manual_seed(7), p)
    drawn = draw(16, R, torch.Generator().manual_seed(7), p)
    assert torch.equal(y[:, 2:], Ada(0, fill)(x, torch.Generator().manual_seed(7), p)[:, 2:])
    expected = (y[:, 3] + drawn.brightness[:, None, None]) * drawn.contrast[:, None, None]
    torch.testing.assert_close(y[:, 0], expected)
    torch.testing.assert_close(y[:, 1], expected)
    assert not torch.allclose(y[:, 0], y[:, 2], atol=0.05)


def test_what_lies_outside_is_fill(random):
    fill = torch.tensor([0.5, 1.0, -1.0])[:, None, None]
    x = fill.expand(8, 3, R, R).clone()
    x[..., 8:-8, 8:-8] = 3.0
    far = warp(functional.pad(torch.ones(1, 1, 20, 20), (6, 6, 6, 6)), EYE, torch.tensor([[24.0, 0.0]]))
    assert torch.equal(far[..., :20, :], torch.zeros(1, 1, 20, R))
    y = Ada(0, fill)(x, random, torch.tensor(1.0))
    for channel in range(3):
        fill_share = (y[:, channel] - fill[channel]).abs().lt(1e-5).float().mean()
        assert float(fill_share) > 0.3
    plain = fill.expand(8, 3, R, R)
    torch.testing.assert_close(Ada(0, fill)(plain, random, torch.tensor(1.0)), plain)


def test_a_jump_alone_is_exact_and_brings_in_fill(random):
    fill = torch.tensor([0.3, -1.0])[:, None, None]
    x = torch.randn(200, 2, R, R, generator=random)
    p = torch.tensor(0.15)
    drawn = draw(200, R, torch.Generator().manual_seed(1), p)
    jumped = ~drawn.warped & (drawn.turn == torch.eye(2)).all(dim=(1, 2)) & (drawn.jump > 0).all(dim=1)
    y = Ada(0, fill)(x, torch.Generator().manual_seed(1), p)
    assert jumped.any()
    for number in jumped.nonzero()[:, 0].tolist():
        down, right = drawn.jump[number].tolist()
        expected = fill.repeat(1, R, R)
        expected[:, down:, right:] = x[number, :, :-down, :-right]
        assert torch.equal(y[number], expected)


def test_mass_and_energy_stay(random):
    x = torch.zeros(600, 1, R, R)
    x[..., R // 2, R // 2] = 1
    y = Ada(0, torch.zeros(1, 1, 1))(x, random, torch.tensor(1.0))
    mass = y.sum(dim=(1, 2, 3))
    assert float(mass.mean()) == pytest.approx(math.exp((2 * 0.2 * math.log(2)) ** 2 / 2), rel=0.06)  # area ~ scale^2
    assert float(y.square().sum(dim=(1, 2, 3)).max()) < 3


@pytest.mark.parametrize("p", [0.25, 1.0])
def test_each_operation_is_drawn_as_often_as_published(random, p):
    n = 20_000
    drawn = draw(n, 64, random, torch.tensor(p))

    def share(happened: torch.Tensor) -> float:
        return float(happened.float().mean())

    turn = drawn.turn
    bound = 4 * math.sqrt(0.25 / n)
    assert share(turn[:, 0, 0] * turn[:, 1, 1] - turn[:, 0, 1] * turn[:, 1, 0] == -1) == pytest.approx(p / 2, abs=bound)
    assert share((turn[:, 0] == torch.tensor([1, 0])).all(dim=1)) == pytest.approx(1 - p * 3 / 4, abs=bound)
    assert share((drawn.jump != 0).any(dim=1)) == pytest.approx(p * (1 - 1 / 17**2), abs=bound)
    assert drawn.jump.abs().max() == 8
    assert share((drawn.shift != 0).any(dim=1)) == pytest.approx(p, abs=bound)
    assert share(drawn.brightness != 0) == pytest.approx(p, abs=bound)
    assert share(drawn.contrast != 1) == pytest.approx(p, abs=bound)
    assert share(drawn.warped) == pytest.approx(1 - (1 - p) ** 4, abs=bound)  # both rotations together count once
    singular = torch.linalg.svdvals(drawn.affine)
    stretched = singular[:, 0] / singular[:, 1] > 1 + 1e-4
    scaled = (torch.linalg.det(drawn.affine) - 1).abs() > 1e-4
    assert share(stretched) == pytest.approx(p, abs=bound)
    assert share(scaled) == pytest.approx(p, abs=bound)
    assert share(stretched & scaled) == pytest.approx(p * p, abs=bound)
    turned = drawn.affine[:, 0, 1].abs() > 1e-7
    assert share(turned) == pytest.approx(p, abs=bound)
    assert float(drawn.shift[drawn.shift != 0].std()) == pytest.approx(8, rel=0.05)
    assert float(drawn.brightness[drawn.brightness != 0].std()) == pytest.approx(0.2, rel=0.05)
    assert float(drawn.contrast[drawn.contrast != 1].log2().std()) == pytest.approx(0.5, rel=0.05)


def test_random_numbers_taken_do_not_depend_on_p(random):
    after = []
    for p in (0.0, 0.3, 1.0):
        random.manual_seed(3)
        draw(5, R, random, torch.tensor(p))
        after.append(random.get_state())
    assert torch.equal(after[0], after[1])
    assert torch.equal(after[0], after[2])


def test_equal_generators_give_equal_bits(random):
    x = torch.randn(6, 3, R, R, generator=random)
    ada, p = Ada(1, torch.zeros(3, 1, 1)), torch.tensor(0.6)
    first, again, other = (ada(x, torch.Generator().manual_seed(seed), p) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_gradients_of_gradients_are_right(random):
    ada = Ada(1, torch.tensor([0.3, -1.0])[:, None, None])
    x = torch.randn(2, 2, 8, 8, generator=random, dtype=torch.float32)

    def distorted(x: torch.Tensor) -> torch.Tensor:
        return ada(x, torch.Generator().manual_seed(5), torch.tensor(1.0))

    x.requires_grad_(True)
    weight = torch.ones((), requires_grad=True)
    (slope,) = torch.autograd.grad((weight * distorted(x)).pow(3).sum() / 3, x, create_graph=True)
    penalty = slope.square().sum()
    penalty.backward()
    penalty = float(penalty.detach())
    assert x.grad.isfinite().all()
    # The slope is proportional to weight^3, hence the penalty to weight^6.
    assert float(weight.grad) == pytest.approx(6 * penalty, rel=1e-4)
    step = torch.randn(x.shape, generator=random) * 1e-2
    penalties = []
    for sign in (1, -1):
        moved = (x.detach() + sign * step).requires_grad_(True)
        (slope,) = torch.autograd.grad(distorted(moved).pow(3).sum() / 3, moved)
        penalties.append(float(slope.square().sum()))
    assert (penalties[0] - penalties[1]) / 2 == pytest.approx(float((x.grad * step).sum()), rel=1e-2)


class Convolutions(TorchDispatchMode):
    """Counts the convolutions that run inside the ``with``."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += "convolution" in str(function)
        return function(*args, **(kwargs or {}))


def test_the_second_derivative_of_the_warp_is_exact_and_runs_no_convolution_per_map(random, monkeypatch):
    """Which is what PyTorch does of a grouped one."""

    def plain(x, kernel, stride, padding, adjoint):
        operation = functional.conv_transpose2d if adjoint else functional.conv2d
        return operation(x, kernel, stride=stride, padding=padding, groups=len(kernel))

    x = torch.randn(6, 3, 16, 16, generator=random).requires_grad_(True)
    turn, shift = 0.9 * torch.eye(2).expand(6, 2, 2), torch.full((6, 2), 1.5)
    found = []
    for filter_of in (ada.strided_filter, plain):
        monkeypatch.setattr(ada, "strided_filter", filter_of)
        (slope,) = torch.autograd.grad(ada.warp(x, turn, shift).pow(3).sum(), x, create_graph=True)
        with Convolutions() as convolutions:
            (curve,) = torch.autograd.grad(slope.square().sum(), x)
        found.append((slope.detach(), curve, convolutions.count))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-4, atol=1e-3)
    assert found[0][2] <= 12
    assert found[1][2] > 18
