"""The mask in G and D: which points and forms see it, how they start, and that all their weights learn."""

from itertools import chain, combinations, product

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from medsweep.trainers.stylegan2.architecture import Architecture
from medsweep.trainers.stylegan2.conditioning import AddedMask, AffineMask, pyramid
from medsweep.trainers.stylegan2.layers import EqualisedConv, ModulatedConv, draw_weights
from medsweep.trainers.stylegan2.losses import discriminator_loss, generator_loss
from medsweep.trainers.stylegan2.networks import Discriminator, Generator

POINTS = ("d-blocks", "d-input", "generator")
POINT_SETS = tuple(chain.from_iterable(combinations(POINTS, count) for count in range(4)))
G_FORMS = ("add", "concat", "affine")
D_FORMS = ("concat", "projection")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def plan_of(points: tuple[str, ...] = POINTS, **changes: object) -> Architecture:
    tiny = {"latent_dim": 6, "mapping_layers": 2, "channel_base": 64, "channel_max": 6, "minibatch_std_group": 2}
    return Architecture(
        **({"resolution": 16, "channels": 2, "condition_channels": 3, "points": points} | tiny | changes)
    )


def networks(plan: Architecture) -> tuple[Generator, Discriminator]:
    g, d = Generator(plan), Discriminator(plan)
    draw_weights(g, 1)
    draw_weights(d, 2)
    return g, d


def stirred(network: torch.nn.Module) -> torch.nn.Module:
    """With every weight that starts at 0 moved away from it, as after some steps."""
    with torch.no_grad():
        for weight in network.parameters():
            weight[weight == 0] = 0.3
    return network


def two_masks(resolution: int = 16) -> Tensor:
    return torch.randn(2, 2, 3, resolution, resolution, generator=torch.Generator().manual_seed(5)).clamp(-1, 1)


def silent_weights(network: torch.nn.Module) -> list[str]:
    return [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]


def variants() -> list[Architecture]:
    """Every variant x point set x form of G x form of D, noise on and off."""
    joint = plan_of((), condition_channels=0, channels=5, mask_channels=3)
    alone = plan_of((), condition_channels=0, channels=3, mask_channels=3)
    plans = [
        plan.model_copy(update={"mask_form": form})
        for plan in (joint, alone)
        for form in ("signed-distance", "soft-one-hot")
    ]
    forms = product(POINT_SETS, G_FORMS, D_FORMS)
    plans += [plan_of(points, injection_form=g, discriminator_form=d) for points, g, d in forms]
    return plans + [plan_of(noise=False, injection_form=form) for form in G_FORMS]


def test_gradients_reach_every_weight_of_every_variant():
    random = torch.Generator().manual_seed(0)
    for plan in variants():
        g, d = (stirred(network) for network in networks(plan))
        mask = two_masks()[0] if plan.condition_channels else None
        fake = g(torch.randn(2, 6, generator=random), mask, g.noise(2, random))
        generator_loss(d(fake, mask)).backward()
        assert silent_weights(g) == [], plan
        d.zero_grad()
        real = torch.randn(fake.shape, generator=random)
        discriminator_loss(d(real, mask), d(fake.detach(), mask)).backward()
        assert silent_weights(d) == [], plan


@pytest.mark.parametrize(("g_form", "d_form"), list(product(G_FORMS, D_FORMS)))
def test_a_mask_leaves_a_trace_exactly_where_it_is_switched_on(g_form, d_form):
    one, other = two_masks()
    z, x = torch.randn(2, 6), torch.randn(2, 2, 16, 16)
    for points in POINT_SETS:
        g, d = (stirred(net) for net in networks(plan_of(points, injection_form=g_form, discriminator_form=d_form)))
        assert torch.equal(g(z, one), g(z, other)) == ("generator" not in points)
        assert torch.equal(d(x, one), d(x, other)) == (not {"d-input", "d-blocks"} & set(points))


@pytest.mark.parametrize("form", ["add", "affine"])
def test_added_and_affine_masks_start_as_the_unconditional_generator(form):
    z = torch.randn(2, 6)
    shown, _ = networks(plan_of(injection_form=form))
    blind, _ = networks(plan_of(()))
    assert torch.equal(shown(z, two_masks()[0]), blind(z))
    shown(z, two_masks()[0]).square().sum().backward()
    injections = [layer for layer in shown.modules() if isinstance(layer, AddedMask | AffineMask)]
    assert len(injections) == 3
    for layer in injections:
        assert (layer.gain if form == "add" else layer.weight).grad.abs().max() > 0


def test_affine_masks_scale_and_shift():
    layer = AffineMask(2, 3)
    layer.weight.data.normal_(generator=torch.Generator().manual_seed(0))
    y, m = torch.randn(4, 3, 5, 5), torch.randn(4, 2, 5, 5)
    gamma, beta = (torch.einsum("oi,nihw->nohw", part[:, :, 0, 0], m) / 2**0.5 for part in layer.weight.chunk(2))
    torch.testing.assert_close(layer(y, m), y * (1 + gamma) + beta)


def test_joined_masks_are_read_once_per_resolution_by_the_next_convolution():
    """K more inputs and styles: the doubling to 8 px reads m_4, the second convolutions from 8 px on read m_r."""
    g, _ = networks(plan_of(resolution=32, injection_form="concat", channel_max=4))
    layers = {"4": g.convs[0], "4 to 8": g.ups[0], "8": g.convs[1], "8 to 16": g.ups[1], "16": g.convs[2]}
    joined = {name: layer.conv.weight.shape[1] - 4 for name, layer in layers.items()}
    assert joined == {"4": 0, "4 to 8": 3, "8": 3, "8 to 16": 0, "16": 3}
    assert all(layers[name].conv.style.weight.shape[0] == 4 + more for name, more in joined.items())


def test_joined_parts_draw_what_layers_without_masks_draw():
    """Latent and channel numbers that are no multiple of 16, where plain draws of another size would differ."""
    for wide, plain in (
        (EqualisedConv(5, 7, 3, joined=3), EqualisedConv(5, 7, 3)),
        (ModulatedConv(5, 7, 6, joined=3), ModulatedConv(5, 7, 6)),
    ):
        draw_weights(wide, 4)
        draw_weights(plain, 4)
        assert torch.equal(wide.weight[:, :5], plain.weight)
        assert wide.weight[:, 5:].std() > 0.5
        if isinstance(wide, ModulatedConv):
            assert torch.equal(wide.style.weight[:5], plain.style.weight)
            assert torch.equal(wide.style.bias, torch.ones(8))


@pytest.mark.parametrize(("g_form", "d_form"), list(product(G_FORMS, D_FORMS)))
def test_arms_share_the_initial_weights_of_all_they_have_in_common(g_form, d_form):
    base = networks(plan_of(()))
    arm = networks(plan_of(injection_form=g_form, discriminator_form=d_form))
    for blind, shown in zip(base, arm, strict=True):
        more = shown.state_dict()
        for name, tensor in blind.state_dict().items():
            assert torch.equal(more[name][tuple(slice(side) for side in tensor.shape)], tensor), name


def test_projection_adds_an_inner_product_that_is_linear_in_the_mask():
    _, d = networks(plan_of(discriminator_form="projection"))
    _, blind = networks(plan_of(()))
    x, (one, other) = torch.randn(2, 2, 16, 16), two_masks()
    base = d(x, torch.zeros(2, 3, 16, 16))
    torch.testing.assert_close(base, blind(x))
    torch.testing.assert_close(d(x, one + other) - base, d(x, one) + d(x, other) - 2 * base, rtol=1e-4, atol=1e-5)
    seen = []
    d.score.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    score = d(x, one)
    embedded = functional.avg_pool2d(one, 4).flatten(1) @ d.projection.embedding.weight.t() / 48**0.5
    torch.testing.assert_close(score - base, (seen[0] * embedded).sum(1) / 6**0.5, rtol=1e-4, atol=1e-5)


def test_pyramid_averages_exactly():
    mask = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    levels = pyramid(mask)
    assert sorted(levels) == [4, 8, 16, 32]
    torch.testing.assert_close(levels[4], mask.unflatten(3, (4, 8)).unflatten(2, (4, 8)).mean(dim=(3, 5)))


def test_nearest_pyramid_keeps_the_pixel_beside_the_centre():
    mask = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for r, level in pyramid(mask, "nearest").items():
        torch.testing.assert_close(level, functional.interpolate(mask, size=(r, r), mode="nearest-exact"))


def test_thin_structures_survive_averages_only():
    line = torch.zeros(1, 1, 32, 32)
    line[:, :, :, 17] = 1
    assert pyramid(line)[8].sum() > 0
    assert pyramid(line, "nearest")[8].sum() == 0


def test_the_resampling_reaches_both_networks():
    z, x, mask = torch.randn(2, 6), torch.randn(2, 2, 16, 16), two_masks()[0]
    g, d = (stirred(network) for network in networks(plan_of()))
    g2, d2 = (stirred(network) for network in networks(plan_of(condition_resize="nearest")))
    assert not torch.allclose(g(z, mask), g2(z, mask))
    assert not torch.allclose(d(x, mask), d2(x, mask))
