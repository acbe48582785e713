"""Preconditioning and sampler against distributions whose best denoiser is known."""

import math

import pytest
import torch

from medsweep.trainers.diffusion import edm


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def best_for_normal(x: torch.Tensor, level_N: torch.Tensor) -> torch.Tensor:
    """E[y | x] for y from N(0, DATA_SD^2)."""
    return x * edm.DATA_SD**2 / (edm.DATA_SD**2 + edm.as_factor(level_N) ** 2)


@pytest.mark.parametrize("level", [0.01, 0.5, 3.0, 80.0])
def test_the_network_meets_unit_variance_and_has_to_say_unit_variance(random, level):
    """Karras et al. 2022, appendix B.6: what F is given, and what it has to say, have variance 1 at each level."""
    clean = edm.DATA_SD * torch.randn(2, 1, 256, 256, generator=random)
    noisy = clean + level * torch.randn(clean.shape, generator=random)
    levels_N = torch.full((2,), level)
    met = {}

    def network(x: torch.Tensor, noise_N: torch.Tensor) -> torch.Tensor:
        met["x"], met["noise"] = x, noise_N
        return torch.zeros_like(x)

    skipped = edm.denoised(network, noisy, levels_N)
    assert float(met["x"].std()) == pytest.approx(1, rel=0.01)
    torch.testing.assert_close(met["noise"], torch.full((2,), math.log(level) / 4))
    added = edm.denoised(lambda x, _: torch.ones_like(x), noisy, levels_N) - skipped
    target = (clean - skipped) / added
    assert float(target.std()) == pytest.approx(1, rel=0.02)
    weighted = edm.loss_weight(levels_N) * (clean - skipped).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(weighted, torch.ones(2), rtol=0.03, atol=0)


def test_noise_levels_are_those_of_the_paper():
    levels = edm.schedule(18)
    assert (levels[0], levels[-2], levels[-1]) == (pytest.approx(80), pytest.approx(0.002), 0.0)
    assert levels[9] == pytest.approx((80 ** (1 / 7) + 9 / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7)
    drawn = edm.noise_levels(torch.tensor([-1.0, 0.0, 1.0]), mean=-1.2, sd=1.2)
    torch.testing.assert_close(drawn.log(), torch.tensor([-2.4, -1.2, 0.0]))


def test_a_normal_distribution_is_drawn_with_an_error_that_falls_by_the_square_of_the_steps(random):
    """dx/ds = (x - D) / s leads from s = 80 to sd / sqrt(sd^2 + 80^2) of where it began."""
    numbers = torch.randn(4, 1, 8, 8, generator=random, dtype=torch.float64)
    exact = numbers * edm.LARGEST * edm.DATA_SD / math.hypot(edm.DATA_SD, edm.LARGEST)
    errors = [float((edm.heun(best_for_normal, numbers, steps) - exact).abs().max()) for steps in (20, 40, 80)]
    assert errors[0] / errors[1] > 3 < errors[1] / errors[2]
    assert errors[2] < 0.01


def test_two_values_are_drawn_and_nothing_between_them(random):
    """For y = +-1/2 the best denoiser is tanh(x / (2 s^2)) / 2."""
    numbers = torch.randn(200, 1, 1, 1, generator=random, dtype=torch.float64)

    def best(x: torch.Tensor, level_N: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x / (2 * edm.as_factor(level_N) ** 2)) / 2

    drawn = edm.heun(best, numbers, 50)
    torch.testing.assert_close(drawn, numbers.sign() / 2, atol=0.01, rtol=0)


def test_the_network_is_asked_twice_in_each_step_but_the_last():
    asked = []

    def denoise(x: torch.Tensor, level_N: torch.Tensor) -> torch.Tensor:
        asked.append(level_N)
        return best_for_normal(x, level_N)

    edm.heun(denoise, torch.zeros(1, 1, 2, 2), 7)
    assert len(asked) == 13
