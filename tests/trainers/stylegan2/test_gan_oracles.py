"""The building blocks against slow float64 computations written out from their definitions."""

import math

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from torch import Tensor

from medsweep.trainers.stylegan2.layers import (
    LRELU_GAIN,
    EqualisedConv,
    EqualisedLinear,
    ModulatedConv,
    append_batch_std,
    draw_weights,
)

TAPS = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def correlate(x_IHW: np.ndarray, kernel_Ikk: np.ndarray) -> np.ndarray:
    """Sum over channels of the full correlation, which deep learning calls a convolution."""
    planes = zip(x_IHW, kernel_Ikk, strict=True)
    return sum(convolve2d(plane, kernel[::-1, ::-1], mode="full") for plane, kernel in planes)


def blur(plane_HW: np.ndarray, gain: float = 1.0) -> np.ndarray:
    return convolve2d(plane_HW, TAPS * gain, mode="full")


def drawn(module: torch.nn.Module) -> torch.nn.Module:
    draw_weights(module, 11)
    return module


def slow_modulated(layer: ModulatedConv, x_NIHW: Tensor, w_ND: Tensor, *, up: bool) -> np.ndarray:
    """One demodulated kernel per sample, output channel by output channel (Karras et al. 2020, eq. 1 to 3)."""
    x, w = x_NIHW.double().numpy(), w_ND.double().numpy()
    dense = layer.style.weight.detach().double().numpy()
    style_NI = w @ dense.T / math.sqrt(w.shape[1]) + layer.style.bias.detach().double().numpy()
    weight_OIkk = layer.weight.detach().double().numpy() / math.sqrt(9 * x.shape[1])
    out = []
    for image_IHW, style_I in zip(x, style_NI, strict=True):
        kernel_OIkk = weight_OIkk * style_I[None, :, None, None]
        kernel_OIkk /= np.sqrt((kernel_OIkk**2).sum(axis=(1, 2, 3), keepdims=True) + 1e-8)
        out.append([_output(image_IHW, kernel, up=up) for kernel in kernel_OIkk])
    return LRELU_GAIN * np.array(out)


def _output(x_IHW: np.ndarray, kernel_Ikk: np.ndarray, *, up: bool) -> np.ndarray:
    if not up:
        return correlate(x_IHW, kernel_Ikk)[1:-1, 1:-1]
    side = x_IHW.shape[1]
    sparse = np.zeros((len(x_IHW), 2 * side - 1, 2 * side - 1))
    sparse[:, ::2, ::2] = x_IHW
    twice = correlate(sparse, kernel_Ikk[:, ::-1, ::-1])  # a transposed convolution does not flip its kernel
    return blur(twice, gain=4.0)[2:-2, 2:-2]


@pytest.mark.parametrize("up", [False, True])
def test_modulated_convolution_is_the_definition(random, up):
    layer = drawn(ModulatedConv(5, 4, 6, up=up))
    x, w = torch.randn(3, 5, 8, 8, generator=random), torch.randn(3, 6, generator=random)
    y, d = layer(x, w)
    slow = torch.from_numpy(slow_modulated(layer, x, w, up=up))
    torch.testing.assert_close((y * d[:, :, None, None]).double(), slow, rtol=1e-4, atol=1e-5)


def test_modulated_convolution_equals_one_grouped_convolution(random):
    layer = drawn(ModulatedConv(5, 4, 6))
    x, w = torch.randn(3, 5, 8, 8, generator=random), torch.randn(3, 6, generator=random)
    kernels = layer.weight[None] * layer.style(w)[:, None, :, None, None]
    kernels = LRELU_GAIN * kernels / kernels.square().sum(dim=(2, 3, 4), keepdim=True).sqrt()
    fused = torch.nn.functional.conv2d(x.flatten(0, 1)[None], kernels.flatten(0, 1), padding=1, groups=3)
    y, d = layer(x, w)
    torch.testing.assert_close(y * d[:, :, None, None], fused.unflatten(1, (3, 4))[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("up", [False, True])
def test_demodulation_gives_unit_variance_whatever_the_styles(random, up):
    """64 channels of white noise; the activation's gain is taken off. Doubling blurs, so it keeps less than 1."""
    layer = drawn(ModulatedConv(64, 64, 16, up=up))
    layer.style.bias.data.uniform_(0.1, 8, generator=random)
    x, w = torch.randn(16, 64, 16, 16, generator=random), torch.randn(16, 16, generator=random)
    y, d = layer(x, w)
    variance = ((y * d[:, :, None, None])[:, :, 2:-2, 2:-2] / LRELU_GAIN).var(dim=(0, 2, 3))
    kept = 1.0 if not up else float((convolve2d(TAPS * 4, TAPS * 4)[3, 3]) / 4)
    assert variance.mean().item() == pytest.approx(kept, rel=0.05)
    assert variance.min() > 0.5 * kept
    assert variance.max() < 2 * kept


@pytest.mark.parametrize("kernel", [1, 3])
def test_halving_is_a_low_pass_then_every_second_pixel(random, kernel):
    layer = drawn(EqualisedConv(3, 2, kernel, gain=0.7, down=True))
    layer.bias.data.normal_(generator=random)
    x = torch.randn(2, 3, 8, 8, generator=random)
    weight = layer.weight.detach().double().numpy() * 0.7 / math.sqrt(3 * kernel**2)
    bias = layer.bias.detach().double().numpy() * 0.7
    padded = 2 if kernel == 1 else 1  # of the full low-pass, what both paddings leave at each side
    slow = np.empty((2, 2, 4, 4))
    for n, o in np.ndindex(2, 2):
        low = np.stack([blur(plane)[padded:-padded, padded:-padded] for plane in x[n].double().numpy()])
        inside = slice(kernel - 1, low.shape[1])
        slow[n, o] = correlate(low, weight[o])[inside, inside][::2, ::2] + bias[o]
    torch.testing.assert_close(layer(x).double(), torch.from_numpy(slow), rtol=1e-4, atol=1e-5)


def test_equalised_layers_divide_by_the_root_of_the_fan_in(random):
    linear, conv = drawn(EqualisedLinear(9, 4, multiplier=0.01, gain=1.5)), drawn(EqualisedConv(5, 4, 3, gain=1.5))
    linear.bias.data.normal_(generator=random)
    x = torch.randn(3, 9, generator=random)
    slow = 1.5 * (x.double() @ linear.weight.double().t() * 0.01 / 3 + linear.bias.double() * 0.01)
    torch.testing.assert_close(linear(x).double(), slow, rtol=1e-4, atol=1e-5)
    impulse = torch.zeros(1, 5, 3, 3)
    impulse[0, 2, 1, 1] = 1
    torch.testing.assert_close(conv(impulse)[0], conv.weight[:, 2].flip(1, 2) * 1.5 / math.sqrt(45))


def test_batch_std_by_hand():
    """Two groups of two: members 2a apart have an SD of a, per feature and pixel; then the mean over all."""
    x = torch.zeros(4, 2, 1, 2)
    x[0], x[1] = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]]), torch.tensor([[[3.0, 2.0]], [[-1.0, 12.0]]])
    x[2], x[3] = 1.0, 7.0
    y = append_batch_std(x, group=2)
    assert y.shape == (4, 3, 1, 2)
    expected = torch.tensor([(1 + 0 + 2 + 4) / 4] * 2 + [3.0] * 2)
    torch.testing.assert_close(y[:, 2], expected[:, None, None].expand(4, 1, 2), rtol=1e-4, atol=1e-3)
