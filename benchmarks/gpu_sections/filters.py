"""Ways to apply the low-pass [1, 3, 3, 1] x [1, 3, 3, 1] / 64 to x (N, C, H, W), each differentiable twice.

Each takes ``padding`` pixels of zeros and returns every ``stride``-th pixel: (H + 2 padding - 4) // stride + 1 rows.
``double_*`` are the transposes of the filter with padding 1 and stride 2, which double the resolution.
"""

import functools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from medsweep.trainers.stylegan2.layers import fir_filter, halve, low_pass

Filter = Callable[[Tensor, int, int], Tensor]
TAPS = (1 / 8, 3 / 8, 3 / 8, 1 / 8)


@functools.cache
def _fir(channels: int, device: torch.device) -> Tensor:
    return fir_filter(channels).to(device)


@functools.cache
def _taps(device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.tensor(TAPS, device=device, dtype=dtype)


def depthwise(x: Tensor, padding: int, stride: int) -> Tensor:
    """What the networks do today."""
    fir = _fir(x.shape[1], x.device)
    return low_pass(x, fir, padding) if stride == 1 else halve(x, fir)


def as_samples(x: Tensor, padding: int, stride: int) -> Tensor:
    """Channels as samples of one channel, so that the convolution is dense."""
    taps = _taps(x.device, x.dtype)
    flat = x.reshape(-1, 1, *x.shape[2:])
    y = functional.conv2d(flat, (taps[:, None] * taps)[None, None], stride=stride, padding=padding)
    return y.view(*x.shape[:2], *y.shape[2:])


def separable(x: Tensor, padding: int, stride: int) -> Tensor:
    """Rows, then columns."""
    channels = x.shape[1]
    taps = _taps(x.device, x.dtype).expand(channels, 1, 1, 4)
    rows = functional.conv2d(x, taps, stride=(1, stride), padding=(0, padding), groups=channels)
    return functional.conv2d(rows, taps.transpose(2, 3), stride=(stride, 1), padding=(padding, 0), groups=channels)


def means(x: Tensor, padding: int, stride: int) -> Tensor:
    """Three means of neighbours, since [1, 3, 3, 1] = [1, 1] * [1, 1] * [1, 1]."""
    y = functional.pad(x, (padding,) * 4)
    for _ in range(2):
        y = functional.avg_pool2d(y, 2, stride=1)
    return functional.avg_pool2d(y, 2, stride=stride)


def shifted(x: Tensor, padding: int, stride: int) -> Tensor:
    """Shifted copies, weighted and added up, one axis after the other."""
    y = functional.pad(x, (padding,) * 4)
    for axis in (2, 3):
        length = y.shape[axis] - 3
        parts = (tap * y.narrow(axis, place, length) for place, tap in enumerate(TAPS))
        y = functools.reduce(torch.add, parts)
    return y[:, :, ::stride, ::stride]


FILTERS: dict[str, Filter] = {
    "depthwise, as it is": depthwise,
    "channels as samples": as_samples,
    "separable": separable,
    "three means": means,
    "shifted": shifted,
}


def double_depthwise(x: Tensor) -> Tensor:
    """What the networks do today, as the derivative of ``halve``."""
    fir = _fir(x.shape[1], x.device).to(x.dtype)
    return functional.conv_transpose2d(x, fir, stride=2, padding=1, groups=x.shape[1])


def double_as_samples(x: Tensor) -> Tensor:
    """Channels as samples."""
    taps = _taps(x.device, x.dtype)
    flat = x.reshape(-1, 1, *x.shape[2:])
    y = functional.conv_transpose2d(flat, (taps[:, None] * taps)[None, None], stride=2, padding=1)
    return y.view(*x.shape[:2], *y.shape[2:])


def double_bilinear(x: Tensor) -> Tensor:
    """Bilinear doubling of x in a frame of zeros, which is then cut away; the sum of the taps differs by 4."""
    wide = functional.interpolate(functional.pad(x, (1,) * 4), scale_factor=2, mode="bilinear", align_corners=False)
    return wide[:, :, 2:-2, 2:-2] / 4


DOUBLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "depthwise, as it is": double_depthwise,
    "channels as samples": double_as_samples,
    "bilinear in a frame": double_bilinear,
}
