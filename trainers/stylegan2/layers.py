"""Building blocks of StyleGAN2 (Karras et al. 2020): equalised and modulated layers, resampling, batch statistics.

N samples, I input and O output channels, k kernel side, H x W pixels, D latent dimensions.
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from medsweep.identity import derive_seed

SLOPE = 0.2
LRELU_GAIN = math.sqrt(2)
"""Keeps the variance through a leaky ReLU; since lrelu(a x) = a lrelu(x) for a > 0, it is folded into weights."""


class SeededModule(nn.Module):
    """A module whose own random tensors come from a named seed, so that networks of different arms share them."""

    weight: nn.Parameter
    joined: int = 0
    """How many channels, the last ones, belong to a mask that is read beside the features.

    Their weights are drawn last, so that arms that differ in what is shown where have all other weights in common.
    """
    joined_dim: ClassVar[int] = 1
    """Where ``weight`` has these channels."""

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> None:
        """Fill the random tensors that this very module owns, by default its ``weight`` from N(0, 1)."""
        features = self.weight.shape[self.joined_dim] - self.joined
        for share in self.weight.split([features, self.joined], self.joined_dim):
            share.copy_(torch.empty(share.shape).normal_(generator=generator))


def constant(module: nn.Module, name: str, value: float | Tensor | None) -> None:
    """Keep a constant on the module's device and out of its state dict.

    A product with a 0-dimensional tensor of the same type costs a fifth of one with a Python number.
    """
    module.register_buffer(name, torch.tensor(value) if isinstance(value, float) else value, persistent=False)


def draw_weights(network: nn.Module, seed: int) -> None:
    """Initialise every ``SeededModule`` of ``network`` from ``seed`` and its own name, whatever else there is."""
    for name, module in network.named_modules():
        if isinstance(module, SeededModule):
            module.draw(torch.Generator().manual_seed(derive_seed(seed, "weights", name)))


class EqualisedLinear(SeededModule):
    """y = gain (x W^T m / sqrt(I) + b m) with W ~ N(0, 1) / m (Karras et al. 2018, section 4.1; m = lr multiplier)."""

    joined_dim = 0

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        joined: int = 0,
        bias: float = 0.0,
        multiplier: float = 1.0,
        gain: float = 1.0,
    ):
        super().__init__()
        outputs, self.joined = outputs + joined, joined
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.full((outputs,), bias / multiplier))
        self.weight_gain = gain * multiplier / math.sqrt(inputs)
        self.bias_gain = gain * multiplier
        self.multiplier = multiplier

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> None:
        super().draw(generator)
        self.weight.div_(self.multiplier)

    def forward(self, x_NI: Tensor) -> Tensor:
        return torch.addmm(self.bias, x_NI, self.weight.t(), beta=self.bias_gain, alpha=self.weight_gain)


class EqualisedConv(SeededModule):
    """Convolution with W ~ N(0, 1), scaled by gain / sqrt(I k k) in use; ``down`` halves H and W after a low-pass."""

    fir: Tensor
    bias_gain: Tensor
    weight_gain: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        joined: int = 0,
        bias: bool = True,
        gain: float = 1.0,
        down: bool = False,
    ):
        super().__init__()
        inputs, self.joined = inputs + joined, joined
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.kernel = kernel
        self.down = down
        constant(self, "bias_gain", gain)
        constant(self, "weight_gain", gain / math.sqrt(inputs * kernel * kernel))
        if down:
            constant(self, "fir", fir_filter(inputs))

    def forward(self, x_NIHW: Tensor) -> Tensor:
        weight = self.weight * self.weight_gain
        bias = None if self.bias is None else self.bias * self.bias_gain
        if not self.down:
            return functional.conv2d(x_NIHW, weight, bias, padding=self.kernel // 2)
        if self.kernel == 1:  # the filter is needed only at the pixels that are kept
            return functional.conv2d(halve(x_NIHW, self.fir), weight, bias)
        return functional.conv2d(low_pass(x_NIHW, self.fir, 2), weight, bias, stride=2)


def fir_filter(channels: int, gain: float = 1.0) -> Tensor:
    """The low-pass [1, 3, 3, 1] x [1, 3, 3, 1] with sum ``gain``, once per channel; (channels, 1, 4, 4)."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return (taps[:, None] * taps * (gain / 64)).expand(channels, 1, 4, 4).contiguous()


class _LowPass(torch.autograd.Function):
    """A filter that equals its mirror image is its own adjoint, up to the padding.

    Spelt out, since the second derivative of a grouped convolution runs channel by channel and also differentiates the
    filter, which nobody learns; here every derivative is one more depthwise convolution.

    Never let ``torch.compile`` see R1 or path lengths through this class: with torch 2.13 it leaves out a part of their
    gradient without a word. The main phases have no second derivative and may be compiled.
    """

    @staticmethod
    def forward(x_NCHW: Tensor, fir_C144: Tensor, padding: int) -> Tensor:
        return functional.conv2d(x_NCHW, fir_C144.to(x_NCHW.dtype), padding=padding, groups=len(fir_C144))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
        _, fir_C144, ctx.padding = inputs
        ctx.save_for_backward(fir_C144)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        return low_pass(slope, ctx.saved_tensors[0], 3 - ctx.padding), None, None


low_pass: Callable[[Tensor, Tensor, int], Tensor] = _LowPass.apply
"""x filtered with ``fir_filter`` after zero padding, (N, C, H + 2 padding - 3, W + 2 padding - 3).

Differentiable any number of times with respect to x only. The filter must be symmetric, as that of ``fir_filter`` is.
"""


class _StridedFilter(torch.autograd.Function):
    """One filter per channel at every stride-th pixel, or with ``adjoint`` its transpose.

    What ``_LowPass`` says of derivatives and of ``torch.compile`` holds here, too.
    """

    @staticmethod
    def forward(x_NCHW: Tensor, kernel_C1hw: Tensor, stride: tuple[int, int], padding: int, adjoint: bool) -> Tensor:
        operation = functional.conv_transpose2d if adjoint else functional.conv2d
        return operation(x_NCHW, kernel_C1hw.to(x_NCHW.dtype), stride=stride, padding=padding, groups=len(kernel_C1hw))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, tuple[int, int], int, bool], output: Tensor) -> None:
        _, kernel_C1hw, ctx.stride, ctx.padding, ctx.adjoint = inputs
        ctx.save_for_backward(kernel_C1hw)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None, None, None]:
        back = strided_filter(slope, ctx.saved_tensors[0], ctx.stride, ctx.padding, not ctx.adjoint)
        return back, None, None, None, None


strided_filter: Callable[[Tensor, Tensor, tuple[int, int], int, bool], Tensor] = _StridedFilter.apply
"""x, a filter (C, 1, h, w), stride, padding, adjoint: the correlation after zero padding, thinned out by the stride.

With ``adjoint`` the transpose of that, a transposed convolution. The stride has to divide what the padded picture has
beyond the filter, so that each is the other's adjoint. Differentiable any number of times with respect to x only.
"""


def halve(x_NCHW: Tensor, fir_C144: Tensor) -> Tensor:
    """The pixels of the low-pass that remain at half the resolution; H and W even, (N, C, H / 2, W / 2)."""
    return strided_filter(x_NCHW, fir_C144, (2, 2), 1, False)


def double(x_NCHW: Tensor, fir_C144: Tensor) -> Tensor:
    """Zeros inserted, then the low-pass of gain 4: (N, C, 2 H, 2 W); beyond the border the image counts as 0."""
    return strided_filter(x_NCHW, fir_C144, (2, 2), 1, True)


def demodulation(weight_OIkk: Tensor, style_NI: Tensor, eps_1: Tensor, gain: float = 1.0) -> Tensor:
    """d_no = gain / sqrt(sum_ik (W_oik s_ni)^2 + eps) (Karras et al. 2020, eq. 3), without a kernel per sample."""
    power_OI = weight_OIkk.square().sum(dim=(2, 3))
    return torch.addmm(eps_1, style_NI.square(), power_OI.t(), alpha=gain**-2, beta=gain**-2).rsqrt()


def scaled_conv(x_NIHW: Tensor, weight_OIkk: Tensor, style_NI: Tensor, fir_O144: Tensor | None = None) -> Tensor:
    """conv(s x, W), the modulated convolution before its demodulation (Karras et al. 2020, eq. 1).

    With ``fir_O144`` (gain 4) the result has twice the resolution: transposed convolution, then the low-pass.
    """
    scaled = x_NIHW * style_NI[:, :, None, None]
    if fir_O144 is None:
        return functional.conv2d(scaled, weight_OIkk, padding=weight_OIkk.shape[-1] // 2)
    twice = functional.conv_transpose2d(scaled, weight_OIkk.transpose(0, 1), stride=2)
    return low_pass(twice, fir_O144, 1)


class ModulatedConv(SeededModule):
    """Weights and style of a modulated 3x3 convolution.

    Returns conv(s x, W) and d times the gain of the activation to come; their product is the result. The equalised gain
    1 / sqrt(9 I) of W is in s, where it costs nothing, and demodulation cannot tell one from the other.
    """

    eps_1: Tensor
    fir: Tensor | None

    def __init__(self, inputs: int, outputs: int, latent_dim: int, *, joined: int = 0, up: bool = False):
        super().__init__()
        gain = 1 / math.sqrt(9 * (inputs + joined))
        self.style = EqualisedLinear(latent_dim, inputs, joined=joined, bias=1.0, gain=gain)
        inputs, self.joined = inputs + joined, joined
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        constant(self, "eps_1", torch.tensor([1e-8]))
        constant(self, "fir", fir_filter(outputs, gain=4.0) if up else None)

    def forward(self, x_NIHW: Tensor, w_ND: Tensor) -> tuple[Tensor, Tensor]:
        device = x_NIHW.device.type
        if not torch.is_autocast_enabled(device):
            style_NI = self.style(w_ND)
            y_NOHW = scaled_conv(x_NIHW, self.weight, style_NI, self.fir)
            return y_NOHW, demodulation(self.weight, style_NI, self.eps_1, LRELU_GAIN)
        # Styles and demodulation are small, and half precision would cost them more than it saves.
        with torch.autocast(device, enabled=False):
            style_NI = self.style(w_ND)
            d_NO = demodulation(self.weight, style_NI, self.eps_1, LRELU_GAIN)
        half = torch.get_autocast_dtype(device)
        return scaled_conv(x_NIHW.to(half), self.weight, style_NI.to(half), self.fir), d_NO


class ToImage(SeededModule):
    """1x1 modulated convolution without demodulation, styles times 1 / sqrt(I): features to output channels.

    So few channels come out that one kernel per sample costs less than to scale the features.
    """

    def __init__(self, inputs: int, outputs: int, latent_dim: int):
        super().__init__()
        self.style = EqualisedLinear(latent_dim, inputs, bias=1.0, gain=1 / math.sqrt(inputs))
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x_NIHW: Tensor, w_ND: Tensor) -> Tensor:
        kernel_NOI = self.weight.flatten(1) * self.style(w_ND)[:, None]
        image_NOP = torch.baddbmm(self.bias[:, None], kernel_NOI, x_NIHW.flatten(2))
        return image_NOP.view(len(image_NOP), -1, *x_NIHW.shape[2:])


def append_batch_std(x_NIHW: Tensor, group: int) -> Tensor:
    """One constant channel more: the standard deviation within each group of ``group`` neighbours in the batch.

    Taken per feature and pixel, then averaged over both (Karras et al. 2018, section 3). (N, I + 1, H, W).
    """
    N, _, H, W = x_NIHW.shape
    groups = x_NIHW.unflatten(0, (N // group, group))
    centred = groups - groups.mean(dim=1, keepdim=True)
    spread = (centred.square().mean(dim=1) + 1e-8).sqrt().mean(dim=(1, 2, 3))
    channel_N1HW = spread.repeat_interleave(group).view(N, 1, 1, 1).expand(N, 1, H, W)
    return torch.cat([x_NIHW, channel_N1HW], dim=1)
