import pytest
import torch

from medsweep.data.folds import Fold
from medsweep.trainers.stylegan2.architecture import Architecture
from medsweep.trainers.stylegan2.config import GanSettings
from medsweep.trainers.stylegan2.layers import draw_weights
from medsweep.trainers.stylegan2.networks import Discriminator, Generator, StyledConv
from medsweep.trainers.stylegan2.resolve import resolve

ALL = ("d-blocks", "d-input", "generator")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def plan_of(resolution: int = 32, points: tuple[str, ...] = ALL, **changes: object) -> Architecture:
    tiny = {"latent_dim": 8, "mapping_layers": 2, "channel_base": 128, "channel_max": 8, "minibatch_std_group": 2}
    shapes = {"resolution": resolution, "channels": 2, "condition_channels": 3, "points": points}
    return Architecture(**(shapes | tiny | changes))


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
    image = g(torch.randn(4, 8), mask, g.noise(4, torch.Generator().manual_seed(0)))
    assert image.shape == (4, 2, resolution, resolution)
    assert d(image, mask).shape == (4,)


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


def test_noise_is_silent_at_first_and_every_layer_reads_its_own_map():
    """Where one layer listens, only the pixels of its map change the image."""
    g, _ = networks(plan_of())
    z, mask, noise = torch.randn(2, 8), torch.randn(2, 3, 32, 32), g.noise(2, torch.Generator().manual_seed(0))
    assert noise.shape == (2, 4**2 + 2 * (8**2 + 16**2 + 32**2))
    assert torch.equal(g(z, mask, noise), g(z, mask))
    layers = [g.convs[0], g.ups[0], g.convs[1], g.ups[1], g.convs[2], g.ups[2], g.convs[3]]
    for layer, own in zip(layers, noise.requires_grad_(True).split([16, 64, 64, 256, 256, 1024, 1024], 1), strict=True):
        layer.noise_strength.data.fill_(0.5)
        (slope,) = torch.autograd.grad(g(z, mask, noise).square().sum(), noise)
        assert slope.count_nonzero() == own.numel()
        layer.noise_strength.data.fill_(0)


def test_real_and_generated_halves_of_a_batch_are_judged_apart():
    _, d = networks(plan_of(points=()))
    real, fake = torch.randn(2, 4, 2, 32, 32)
    together = d(torch.cat([real, fake]))
    torch.testing.assert_close(together, torch.cat([d(real), d(fake)]))


@pytest.mark.parametrize("form", ["add", "concat", "affine"])
def test_every_resolution_has_its_layers(form):
    for power in range(4, 10):
        plan = plan_of(2**power, injection_form=form, channels=7, condition_channels=5)
        with torch.device("meta"):
            g, d = Generator(plan), Discriminator(plan)
        assert (len(g.convs), len(g.ups), len(d.blocks)) == (power - 1, power - 2, power - 2)
        assert g.images[-1].weight.shape[0] == 7
        assert plan.style_layers == len(g.convs) + len(g.ups) + 1


@pytest.mark.parametrize(("modalities", "classes"), [(1, 2), (3, 6)])
@pytest.mark.parametrize("variant", ["b-sg", "m-sg", "c-sg"])
def test_any_number_of_modalities_and_classes(variant, modalities, classes):
    settings = GanSettings(preset="tiny", channel_base=64, channel_max=4, latent_dim=4, mask_form="soft-one-hot")
    plan = Architecture.of(resolve(settings, variant, Fold(index=0, of=2), 0, 16), modalities, classes)
    channels = {"b-sg": modalities + classes, "m-sg": classes, "c-sg": modalities}[variant]
    g, d = networks(plan)
    mask = torch.randn(4, classes, 16, 16) if variant == "c-sg" else None
    fake = g(torch.randn(4, 4), mask)
    assert fake.shape == (4, channels, 16, 16)
    assert d(fake, mask).shape == (4,)
    assert plan.mask_channels == (0 if variant == "c-sg" else classes)


def test_architecture_takes_every_form_from_the_configuration():
    forms = {"injection_form": "affine", "discriminator_form": "projection", "condition_resize": "nearest"}
    settings = GanSettings(mask_form="soft-one-hot", noise=False, **forms)
    plan = Architecture.of(resolve(settings, "c-sg", Fold(index=0, of=2), 0, 64), 1, 3)
    assert {name: getattr(plan, name) for name in forms} == forms
    assert (plan.noise, plan.mask_form, plan.points) == (False, "soft-one-hot", ALL)
    assert Architecture.model_validate_json(plan.model_dump_json()) == plan


def test_soft_one_hot_masks_are_probabilities_and_images_stay_linear():
    linear, _ = networks(plan_of(points=(), channels=5, mask_channels=3))
    soft, _ = networks(plan_of(points=(), channels=5, mask_channels=3, mask_form="soft-one-hot"))
    z = torch.randn(2, 8)
    raw, out = linear(z), soft(z)
    assert torch.equal(out[:, :2], raw[:, :2])
    torch.testing.assert_close(out[:, 2:], 2 * raw[:, 2:].exp() / raw[:, 2:].exp().sum(1, keepdim=True) - 1)
    torch.testing.assert_close(out[:, 2:].sum(1), torch.full((2, 32, 32), -1.0))  # 2 - K


def test_without_noise_nothing_is_drawn_and_no_weight_is_left_over():
    g, _ = networks(plan_of(noise=False))
    random = torch.Generator().manual_seed(0)
    before = random.get_state()
    assert g.noise(2, random) is None
    assert torch.equal(random.get_state(), before)
    assert all(layer.noise_strength is None for layer in g.modules() if isinstance(layer, StyledConv))
    assert not [name for name in g.state_dict() if "noise" in name]


@pytest.mark.parametrize("form", ["add", "concat", "affine"])
@pytest.mark.parametrize("half_from", [8, 16])
def test_half_precision_stays_close_and_learns(form, half_from):
    plan = plan_of(16, injection_form=form, channels=5, mask_channels=3, mask_form="soft-one-hot")
    g, d = networks(plan)
    with torch.no_grad():
        for weight in g.parameters():
            weight[weight == 0] = 0.2
    names = set(g.state_dict())
    z, mask, noise = torch.randn(4, 8), torch.randn(4, 3, 16, 16), g.noise(4, torch.Generator().manual_seed(0))
    exact_image = g(z, mask, noise)
    exact_score = d(exact_image, mask)
    g.half_from = d.half_from = half_from
    image = g(z, mask, noise)
    score = d(image, mask)
    assert set(g.state_dict()) == names
    assert (image.dtype, score.dtype) == (torch.float32, torch.float32)
    assert not torch.equal(image, exact_image)
    assert (image - exact_image).std() < 0.03 * exact_image.std()
    assert (score - exact_score).abs().max() < 0.1 * exact_score.abs().max()
    score.sum().backward()
    for network in (g, d):
        assert [name for name, weight in network.named_parameters() if weight.grad is None] == []
        assert all(
            weight.grad.dtype == torch.float32 and weight.grad.isfinite().all() for weight in network.parameters()
        )


def test_half_precision_spares_styles_demodulation_and_last_layers():
    """Every input of a layer that must stay exact is float32 and no autocast is on around it."""
    g, d = networks(plan_of(16))
    g.half_from = d.half_from = 8
    exact = [*g.images, d.conv, d.hidden, d.score, *g.mapping.layers]
    exact += [layer.conv.style for layer in g.modules() if isinstance(layer, StyledConv)]
    seen = []

    def note(layer: torch.nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        seen.append((inputs[0].dtype, output.dtype, torch.is_autocast_enabled("cpu")))

    for layer in exact:
        layer.register_forward_hook(note)
    mask = torch.randn(2, 3, 16, 16)
    d(g(torch.randn(2, 8), mask), mask)
    assert len(seen) == len(exact)
    assert set(seen) == {(torch.float32, torch.float32, False)}


@pytest.mark.parametrize("half_from", [None, 8, 16, 32])
def test_half_precision_covers_exactly_the_high_resolutions(half_from):
    g, d = networks(plan_of(32))
    g.half_from = d.half_from = half_from
    seen = {}

    def note(layer: torch.nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        r = output.shape[-1] * (2 if layer in d.blocks else 1)
        seen[type(layer).__name__, r] = output.dtype

    for layer in [*g.ups, *g.convs, *d.blocks]:
        layer.register_forward_hook(note)
    mask = torch.randn(2, 3, 32, 32)
    d(g(torch.randn(2, 8), mask), mask)
    halves = {place for place, dtype in seen.items() if dtype == torch.bfloat16}
    assert len(seen) == 4 + 3
    assert halves == {place for place in seen if half_from is not None and place[1] >= half_from}


def test_half_precision_demodulates_exactly():
    g, _ = networks(plan_of(16))
    x, w = torch.randn(4, 8, 8, 8), torch.randn(4, 8)
    exact, d_exact = g.convs[1].conv(x, w)
    with torch.autocast("cpu", torch.bfloat16):
        y, d = g.convs[1].conv(x, w)
    assert torch.equal(d, d_exact)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), exact, rtol=0.05, atol=0.1)


def test_channels_last_changes_the_layout_only():
    g, d = networks(plan_of(16))
    z, mask = torch.randn(4, 8), torch.randn(4, 3, 16, 16)
    image = g(z, mask)
    score = d(image, mask)
    g, d = g.to(memory_format=torch.channels_last), d.to(memory_format=torch.channels_last)
    torch.testing.assert_close(g(z, mask), image, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        d(image.contiguous(memory_format=torch.channels_last), mask), score, rtol=1e-4, atol=1e-4
    )
