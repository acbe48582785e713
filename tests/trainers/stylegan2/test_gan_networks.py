import pytest
import torch

from trainers.stylegan2.layers import draw_weights
from trainers.stylegan2.networks import Architecture, Discriminator, Generator, pyramid

ALL = ("d-blocks", "d-input", "generator")


def plan_of(resolution: int = 32, points: tuple[str, ...] = ALL, condition: int = 3) -> Architecture:
    return Architecture(
        resolution=resolution,
        channels=2,
        condition_channels=condition,
        points=points,
        latent_dim=8,
        mapping_layers=2,
        channel_base=128,
        channel_max=8,
        minibatch_std_group=2,
    )


def networks(plan: Architecture) -> tuple[Generator, Discriminator]:
    g, d = Generator(plan), Discriminator(plan)
    draw_weights(g, 1)
    draw_weights(d, 2)
    return g, d


def slope_of_d(points: tuple[str, ...]) -> torch.Tensor:
    """How the score of a fixed image changes with each pixel of its mask."""
    _, d = networks(plan_of(points=points))
    random = torch.Generator().manual_seed(0)
    x = torch.randn(2, 2, 32, 32, generator=random)
    mask = torch.randn(2, 3, 32, 32, generator=random).requires_grad_(True)
    (slope,) = torch.autograd.grad(d(x, mask).sum() + 0 * mask.sum(), mask)
    return slope


@pytest.mark.parametrize("resolution", [16, 32, 64])
def test_shapes(resolution):
    g, d = networks(plan_of(resolution))
    mask = torch.randn(4, 3, resolution, resolution)
    image = g(torch.randn(4, 8), mask, torch.Generator().manual_seed(0))
    assert image.shape == (4, 2, resolution, resolution)
    assert d(image, mask).shape == (4,)


def test_pyramid_averages_exactly():
    mask = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    levels = pyramid(mask)
    assert sorted(levels) == [4, 8, 16, 32]
    torch.testing.assert_close(levels[4], mask.unflatten(3, (4, 8)).unflatten(2, (4, 8)).mean(dim=(3, 5)))


@pytest.mark.parametrize("points", [(), ("generator",)])
def test_d_ignores_the_mask_where_both_its_points_are_off(points):
    assert torch.equal(slope_of_d(points), torch.zeros(2, 3, 32, 32))


def test_d_input_sees_every_pixel_of_the_mask():
    assert (slope_of_d(("d-input",)) != 0).all()


def test_d_blocks_see_averages_of_the_mask():
    """The highest level is R/2, so the four pixels under each of its pixels count the same."""
    quads = slope_of_d(("d-blocks",)).unflatten(3, (16, 2)).unflatten(2, (16, 2))
    assert (quads != 0).all()
    torch.testing.assert_close(quads, quads[:, :, :, :1, :, :1].expand_as(quads))


def test_g_ignores_the_mask_where_its_point_is_off():
    g, _ = networks(plan_of(points=("d-blocks", "d-input")))
    z = torch.randn(2, 8)
    assert torch.equal(g(z, torch.randn(2, 3, 32, 32)), g(z, torch.randn(2, 3, 32, 32)))


def test_g_is_shown_the_mask_once_its_gains_leave_zero():
    g, _ = networks(plan_of(points=("generator",)))
    z, one, other = torch.randn(2, 8), torch.randn(2, 3, 32, 32), torch.randn(2, 3, 32, 32)
    assert torch.equal(g(z, one), g(z, other))
    for conv in g.convs:
        conv.injection.gain.data.fill_(0.5)
    assert not torch.allclose(g(z, one), g(z, other))


def test_the_gains_have_a_slope_at_zero():
    g, _ = networks(plan_of(points=("generator",)))
    g(torch.randn(2, 8), torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert all(conv.injection.gain.grad != 0 for conv in g.convs)


def test_noise_is_silent_at_first_and_fresh_once_learned():
    g, _ = networks(plan_of())
    z, mask = torch.randn(2, 8), torch.randn(2, 3, 32, 32)
    random = torch.Generator().manual_seed(0)
    assert torch.equal(g(z, mask, random), g(z, mask))
    for conv in g.convs:
        conv.noise_strength.data.fill_(0.5)
    assert torch.equal(g(z, mask), g(z, mask))
    assert not torch.allclose(g(z, mask, random), g(z, mask, random))


def test_arms_share_the_initial_weights_of_what_they_have_in_common():
    with_mask, _ = networks(plan_of(points=ALL))
    without, _ = networks(plan_of(points=("d-input",)))
    shared = without.state_dict()
    assert all(torch.equal(with_mask.state_dict()[name], tensor) for name, tensor in shared.items())
    assert len(with_mask.state_dict()) > len(shared)


def test_real_and_generated_halves_of_a_batch_are_judged_apart():
    _, d = networks(plan_of(points=()))
    real, fake = torch.randn(2, 4, 2, 32, 32)
    together = d(torch.cat([real, fake]))
    torch.testing.assert_close(together, torch.cat([d(real), d(fake)]))
