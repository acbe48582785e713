import math

import pytest
import torch

from trainers.stylegan2 import losses


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


def test_r1_of_a_linear_d_in_closed_form(random):
    """D(x) = <a, x> has the gradient a everywhere: sum_c gamma_c/2 |a_c|^2, with one weight per channel."""
    a = torch.randn(2, 4, 4, generator=random).requires_grad_(True)
    x = torch.randn(3, 2, 4, 4, generator=random).requires_grad_(True)
    gamma = torch.tensor([0.5, 50.0])
    penalty = losses.r1_penalty((a * x).sum(dim=(1, 2, 3)), x, gamma)
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
