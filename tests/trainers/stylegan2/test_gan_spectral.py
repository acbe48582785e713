import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from medsweep.trainers.stylegan2.losses import (
    FLOOR,
    RunningMean,
    focal_frequency,
    radial_log_power,
    spectrum_distance,
)
from medsweep.trainers.training.checkpoint import load_state, save_state

R = 32


def noise(seed: int, count: int = 32, channels: int = 1) -> Tensor:
    return torch.randn(count, channels, R, R, generator=torch.Generator().manual_seed(seed))


def blurred(x: Tensor) -> Tensor:
    return functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1), mode="circular"), 3, stride=1)


def test_white_noise_has_a_flat_spectrum_at_the_log_of_its_variance():
    levels = radial_log_power(torch.cat([noise(1, 200), 3 * noise(2, 200)], dim=1))
    assert levels.shape == (2, R // 2)
    expected = torch.tensor([0.0, math.log(9)])[:, None].expand(2, R // 2)
    torch.testing.assert_close(levels, expected, rtol=0, atol=0.15)


@pytest.mark.parametrize("cycles", [1, 5, 12, 16])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_wave_peaks_in_the_bin_of_its_cycles(cycles, axis):
    wave = torch.cos(2 * math.pi * cycles * torch.arange(R) / R)
    image = (wave[:, None] if axis == 0 else wave[None, :]).expand(R, R)
    assert int(radial_log_power(image[None, None])[0].argmax()) == cycles - 1


def test_rings_hold_the_coefficients_of_their_radius():
    """Every coefficient by hand, from a transform of the tapered image in numpy's order."""
    x = noise(3, 2).double()
    hann = 0.5 - 0.5 * torch.cos(2 * math.pi * torch.arange(R, dtype=torch.float64) / R)
    taper = hann[:, None] * hann[None, :]
    taper = taper / taper.square().mean().sqrt()
    power = torch.fft.fft2((x - x.mean(dim=(2, 3), keepdim=True)) * taper).abs().square().mean(dim=0)[0] / R**2
    rings: dict[int, list[float]] = {}
    for row in range(R):
        for column in range(R):
            radius = math.hypot(min(row, R - row), min(column, R - column))
            rings.setdefault(round(radius), []).append(float(power[row, column]))
    expected = [math.log(sum(rings[ring]) / len(rings[ring]) + FLOOR) for ring in range(1, R // 2 + 1)]
    torch.testing.assert_close(radial_log_power(x)[0], torch.tensor(expected, dtype=torch.float64))


def test_a_constant_image_is_at_the_floor_with_a_finite_slope():
    flat = torch.full((2, 1, R, R), 3.0, requires_grad=True)
    levels = radial_log_power(flat)
    torch.testing.assert_close(levels, torch.full_like(levels, math.log(FLOOR)))
    levels.sum().backward()
    assert flat.grad.isfinite().all()


def test_blurred_noise_is_farther_from_noise_than_other_noise():
    target = radial_log_power(noise(1))
    assert spectrum_distance(blurred(noise(2)), target) > 10 * spectrum_distance(noise(2), target)
    assert float(spectrum_distance(noise(1), target)) == 0


def test_descent_gives_a_blurred_batch_its_high_frequencies_back():
    target, x = radial_log_power(noise(1)), blurred(noise(2)).requires_grad_(True)
    before = radial_log_power(x.detach())
    (slope,) = torch.autograd.grad(spectrum_distance(x, target), x)
    after = radial_log_power(x.detach() - 0.5 * slope / slope.abs().max())
    high = slice(R // 4, None)
    assert (after[0, high] > before[0, high]).all()
    assert spectrum_distance(x.detach() - 0.5 * slope / slope.abs().max(), target) < spectrum_distance(x, target)


def test_half_precision_images_are_judged_in_single():
    x = noise(4, 4).bfloat16()
    assert torch.equal(radial_log_power(x), radial_log_power(x.float()))
    assert focal_frequency(x, noise(5, 4)).dtype == torch.float32


def test_focal_frequency_by_hand_on_4_by_4():
    """The mean images differ by 2 cos(pi i / 2) + 0.5: |F| is 2 at DC and 4 at (+-1, 0), ortho; w is |F| / 4."""
    row = torch.cos(math.pi * torch.arange(4) / 2)[:, None].expand(4, 4)
    gap = 2 * row + 0.5
    real = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(7))
    fake = torch.stack([real.mean(dim=0) + 2 * gap, real.mean(dim=0)])
    for alpha in (1.0, 2.0):
        expected = ((2 / 4) ** alpha * 4 + 2 * 16) / 16
        assert float(focal_frequency(fake, real, alpha)) == pytest.approx(expected, rel=1e-5)


def test_focal_frequency_weighs_each_channel_by_its_own_largest_gap():
    real = torch.zeros(1, 2, 4, 4)
    fake = torch.stack([torch.full((4, 4), 1.0), torch.full((4, 4), 0.1)])[None]
    assert float(focal_frequency(fake, real)) == pytest.approx((16 + 0.16) / 32, rel=1e-5)


def test_focal_frequency_of_a_batch_with_itself_is_0_with_slope_0():
    x = noise(6, 4, 2).requires_grad_(True)
    loss = focal_frequency(x, x.detach())
    loss.backward()
    assert float(loss.detach()) == 0
    assert (x.grad == 0).all()


def test_focal_weights_pass_no_gradient():
    """With w held, the slope along the mean image is 2 / R^2 times the inverse transform of w (F_fake - F_real)."""
    real, fake = noise(8, 4).double(), noise(9, 4).double().requires_grad_(True)
    focal_frequency(fake, real).backward()
    gap = torch.fft.fft2(fake.detach().mean(dim=0) - real.mean(dim=0), norm="ortho")
    expected = 2 / R**2 * torch.fft.ifft2(gap * gap.abs() / gap.abs().max(), norm="ortho").real
    torch.testing.assert_close(fake.grad.sum(dim=0), expected)


def test_running_mean_decays_and_resumes(tmp_path):
    running, resumed = RunningMean(decay=0.9), RunningMean(decay=0.9)
    running.update(radial_log_power(noise(1, 4)))
    running.update(radial_log_power(2 * noise(2, 4)))
    expected = 0.9 * radial_log_power(noise(1, 4)) + 0.1 * radial_log_power(2 * noise(2, 4))
    torch.testing.assert_close(running.value, expected)
    save_state(tmp_path, running.value)
    resumed.value = load_state(tmp_path)
    running.update(radial_log_power(noise(3, 4)))
    resumed.update(radial_log_power(noise(3, 4)))
    assert torch.equal(running.value, resumed.value)
