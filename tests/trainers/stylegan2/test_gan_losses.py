import math

import pytest
import torch
from torch import Tensor, nn

from medsweep.trainers.stylegan2 import losses
from medsweep.trainers.training.checkpoint import load_state, save_state

NUDGE = 1e-5


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_undecided_scores_cost_log_2_each():
    zero = torch.zeros(4)
    assert float(losses.generator_loss(zero)) == pytest.approx(math.log(2))
    assert float(losses.discriminator_loss(zero, zero)) == pytest.approx(2 * math.log(2))


def test_losses_point_the_right_way():
    high, low = torch.full((4,), 3.0), torch.full((4,), -3.0)
    assert losses.generator_loss(high) < losses.generator_loss(low)
    assert losses.discriminator_loss(high, low) < losses.discriminator_loss(low, high)


def test_a_relativistic_loss_knows_differences_of_pairs_alone():
    high, low = torch.tensor([3.0, -1.0]), torch.tensor([1.0, -1.5])
    expected = (math.log1p(math.exp(-2)) + math.log1p(math.exp(-0.5))) / 2
    assert float(losses.relativistic_loss(high, low)) == pytest.approx(expected)
    assert float(losses.relativistic_loss(high + 7, low + 7)) == pytest.approx(expected)
    assert losses.relativistic_loss(low, high) > losses.relativistic_loss(high, low)


def test_r1_of_a_linear_d_in_closed_form(random):
    """D(x) = <a, x> has the gradient a everywhere: sum_c gamma_c/2 |a_c|^2, with one weight per channel."""
    a = torch.randn(2, 4, 4, generator=random).requires_grad_(True)
    x = torch.randn(3, 2, 4, 4, generator=random).requires_grad_(True)
    gamma = torch.tensor([0.5, 50.0])
    penalty = losses.slope_penalties((a * x).sum(dim=(1, 2, 3)), x, gamma).mean()
    expected = (gamma / 2 * a.square().sum(dim=(1, 2))).sum()
    torch.testing.assert_close(penalty, expected)
    penalty.backward()
    torch.testing.assert_close(a.grad, (gamma[:, None, None] * a).detach())


def test_path_lengths_of_a_linear_g(random):
    """G(w) = sum over layers of s_n w: |J^T y| is s_n |y| / sqrt(H W) sqrt(D) for each sample."""
    N, L, D, H = 2, 3, 4, 16
    styles = torch.randn(N, L, D, generator=random).requires_grad_(True)
    scale = torch.tensor([1.0, 3.0])[:, None, None, None]
    images = scale * (torch.ones(N, 1, H, H) * styles.sum(dim=(1, 2))[:, None, None, None])
    lengths = losses.path_lengths(images, styles, torch.Generator().manual_seed(5))
    y = torch.randn(N, 1, H, H, generator=torch.Generator().manual_seed(5)) / H
    expected = (scale * y).sum(dim=(1, 2, 3)).abs() * math.sqrt(D)
    torch.testing.assert_close(lengths, expected)


def test_path_length_penalty_is_the_squared_deviation():
    assert float(losses.path_length_penalty(torch.tensor([1.0, 3.0]), torch.tensor(2.0))) == 1.0


def test_lazy_adam_corrects_rate_and_memory():
    rate, (beta1, beta2) = losses.lazy_adam(0.0025, 16)
    assert (rate, beta1, beta2) == (pytest.approx(0.0025 * 16 / 17), 0.0, pytest.approx(0.99 ** (16 / 17)))
    assert losses.lazy_adam(0.0025, None) == (0.0025, (0.0, 0.99))


def slope(function, x: Tensor) -> Tensor:
    """Gradient of a scalar function of ``x`` by central differences, entry by entry."""
    found = torch.zeros_like(x)
    for index in range(x.numel()):
        step = torch.zeros_like(x)
        step.view(-1)[index] = NUDGE
        found.view(-1)[index] = (function(x + step) - function(x - step)).detach() / (2 * NUDGE)
    return found


def smooth_network(random: torch.Generator, inputs: int, outputs: int) -> nn.Sequential:
    """conv, softplus, conv in float64: no kinks, so that differences are exact to the second order."""
    network = nn.Sequential(nn.Conv2d(inputs, 3, 3, padding=1), nn.Softplus(), nn.Conv2d(3, outputs, 3)).double()
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=random, dtype=torch.float64) / 2)
    return network


def test_r1_and_its_slope_against_finite_differences(random):
    d, gamma = smooth_network(random, 2, 1), torch.tensor([0.7, 30.0], dtype=torch.float64)
    x = torch.randn(3, 2, 4, 4, generator=random, dtype=torch.float64).requires_grad_(True)

    def r1(weight: Tensor | None = None) -> Tensor:
        given = {} if weight is None else {"0.weight": weight}
        return losses.slope_penalties(torch.func.functional_call(d, given, x).sum(dim=(1, 2, 3)), x, gamma).mean()

    slopes = slope(lambda x: d(x).sum(), x.detach())
    expected = (gamma[:, None, None] / 2 * slopes.square()).sum() / len(x)
    torch.testing.assert_close(r1(), expected, rtol=1e-6, atol=0)
    weight = d[0].weight
    (exact,) = torch.autograd.grad(r1(), weight)
    torch.testing.assert_close(exact, slope(r1, weight.detach()), rtol=1e-5, atol=1e-6)


def test_path_lengths_of_a_curved_g_against_finite_differences(random):
    """Samples do not meet in G, so differences of <G(w), y> over all samples are each sample's own."""
    N, L, D, H = 2, 2, 9, 4
    g, blend = smooth_network(random, 1, 2), torch.randn(L, D, 36, generator=random, dtype=torch.float64) / 3
    styles = torch.randn(N, L, D, generator=random, dtype=torch.float64).requires_grad_(True)

    def images(styles: Tensor) -> Tensor:
        return g(torch.einsum("nld,ldp->np", styles, blend).view(N, 1, H + 2, H + 2))

    y = torch.randn(N, 2, H, H, generator=torch.Generator().manual_seed(5)) / H
    slopes = slope(lambda styles: (images(styles) * y).sum(), styles.detach())
    expected = slopes.square().sum(dim=2).mean(dim=1).sqrt()
    lengths = losses.path_lengths(images(styles), styles, torch.Generator().manual_seed(5))
    torch.testing.assert_close(lengths, expected, rtol=1e-6, atol=0)


def test_running_mean_by_hand():
    mean = losses.RunningMean(decay=0.75)
    assert mean.value is None
    for x in (8.0, 0.0, 4.0):
        assert mean.update(torch.tensor(x, requires_grad=True)) is mean.value
    assert float(mean.value) == 0.75 * (0.75 * 8) + 0.25 * 4
    assert not mean.value.requires_grad


def test_lecam_by_hand():
    """Anchors 2 (real) and -1 (generated): reals 3 and -2 are 4 and 0 above -1; fakes 0 and 5 are 2 and 0 below 2."""
    anchors = losses.RunningMean()
    anchors.update(torch.tensor([2.0, -1.0]))
    real, fake = torch.tensor([3.0, -2.0], requires_grad=True), torch.tensor([0.0, 5.0], requires_grad=True)
    penalty = losses.lecam(real, fake, anchors.value)
    assert float(penalty.detach()) == (16 + 0) / 2 + (4 + 0) / 2
    penalty.backward()
    assert real.grad.tolist() == [4.0, 0.0]
    assert fake.grad.tolist() == [-2.0, 0.0]
    anchors.update(torch.tensor([12.0, 9.0]))
    assert anchors.value.tolist() == pytest.approx([0.99 * 2 + 0.01 * 12, 0.99 * -1 + 0.01 * 9])


@pytest.mark.parametrize("updates", [0, 2])
def test_anchors_go_on_from_a_checkpoint_with_the_same_bits(tmp_path, random, updates):
    anchors, resumed = losses.RunningMean(), losses.RunningMean()
    for _ in range(updates):
        anchors.update(torch.randn(2, generator=random))
    save_state(tmp_path, anchors.value)
    resumed.value = load_state(tmp_path)
    means = torch.randn(2, generator=random)
    assert torch.equal(anchors.update(means), resumed.update(means))


def test_a_wrong_mask_costs_what_a_generated_pair_costs(random):
    score = torch.randn(5, generator=random)
    both = losses.discriminator_loss(torch.full((5,), 100.0), score)
    torch.testing.assert_close(losses.mismatch_loss(score), both)
