"""StyleGAN2 written down from its papers: slow, one kernel per sample, zeros inserted, every derivative by autograd.

Karras et al. 2018 (equalised layers, batch statistics), 2019 (mapping, noise), 2020 (modulation, skip G, residual D, R1
and path lengths). Weights are read by the names of ``Generator`` and ``Discriminator``; nothing else is shared with
them. The one border: groups of the batch standard deviation are neighbours here as there. The published code takes
every (N / group)-th sample, which is the same up to the order of samples that are drawn independently.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

Weights = dict[str, Tensor]
GAIN = math.sqrt(2)


def activated(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.2 * x) * GAIN


def linear(weights: Weights, name: str, x: Tensor, multiplier: float = 1.0) -> Tensor:
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return x @ (weight * multiplier / math.sqrt(weight.shape[1])).T + bias * multiplier


def resampled(x: Tensor, *, up: int = 1, down: int = 1, pad: tuple[int, int], gain: float = 1.0) -> Tensor:
    """Zeros inserted, padded by ``pad`` before and after, filtered with [1, 3, 3, 1] squared, and thinned out."""
    N, C, H, W = x.shape
    wide = x.new_zeros(N, C, H, up, W, up)
    wide[:, :, :, 0, :, 0] = x
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype) / 8
    padded = functional.pad(wide.reshape(N * C, 1, H * up, W * up), (*pad, *pad))
    y = functional.conv2d(padded, (gain * taps[:, None] * taps)[None, None])[:, :, ::down, ::down]
    return y.reshape(N, C, *y.shape[2:])


def modulated(weights: Weights, name: str, x: Tensor, w: Tensor, *, up: bool = False, image: bool = False) -> Tensor:
    """One kernel per sample: modulate, demodulate (not towards an image), convolve."""
    weight = weights[f"{name}.weight"]
    _, inputs, k, _ = weight.shape
    style = linear(weights, f"{name}.style", w)
    outputs = []
    for sample, scale in zip(x, style, strict=True):
        kernel = weight / math.sqrt(inputs * k * k) * scale[None, :, None, None]
        if not image:
            kernel = kernel / torch.sqrt(kernel.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8)
        if up:
            side = sample.shape[-1]
            sparse = sample.new_zeros(1, inputs, 2 * side + 1, 2 * side + 1)
            sparse[0, :, : 2 * side : 2, : 2 * side : 2] = sample
            # what a transposed convolution does: every pixel leaves its unflipped kernel
            twice = functional.conv2d(functional.pad(sparse, (2, 0, 2, 0)), kernel.flip(2, 3))
            outputs.append(resampled(twice, pad=(1, 1), gain=4.0))
        else:
            outputs.append(functional.conv2d(sample[None], kernel, padding=k // 2))
    return torch.cat(outputs)


def mapped(weights: Weights, z: Tensor) -> Tensor:
    x = z / torch.sqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)
    layers = sum(name.startswith("mapping.layers.") and name.endswith("weight") for name in weights)
    for layer in range(layers):
        x = activated(linear(weights, f"mapping.layers.{layer}", x, multiplier=0.01))
    return x


def generated(weights: Weights, w_NLD: Tensor, noise_NP: Tensor) -> Tensor:
    """Images of the skip generator; the noise maps of a sample lie one behind the other."""
    used = 0

    def styled(name: str, x: Tensor, layer: int, *, up: bool = False) -> Tensor:
        nonlocal used
        y = modulated(weights, f"{name}.conv", x, w_NLD[:, layer], up=up)
        side = y.shape[-1]
        noise = noise_NP[:, used : used + side * side].reshape(-1, 1, side, side)
        used += side * side
        return activated(y + noise * weights[f"{name}.noise_strength"] + weights[f"{name}.bias"][:, None, None])

    def to_image(block: int, x: Tensor) -> Tensor:
        y = modulated(weights, f"images.{block}", x, w_NLD[:, 2 * block + 1], image=True)
        return y + weights[f"images.{block}.bias"][:, None, None]

    x = styled("convs.0", weights["constant.value"].repeat(len(w_NLD), 1, 1, 1), 0)
    image = to_image(0, x)
    for block in range(1, w_NLD.shape[1] // 2):
        x = styled(f"ups.{block - 1}", x, 2 * block - 1, up=True)
        x = styled(f"convs.{block}", x, 2 * block)
        image = resampled(image, up=2, pad=(2, 1), gain=4.0) + to_image(block, x)
    assert used == noise_NP.shape[1]
    return image


def convolved(weights: Weights, name: str, x: Tensor, *, down: bool = False) -> Tensor:
    weight, bias = weights[f"{name}.weight"], weights.get(f"{name}.bias")
    _, inputs, k, _ = weight.shape
    kernel = weight / math.sqrt(inputs * k * k)
    if down:
        left = k // 2
        y = functional.conv2d(resampled(x, pad=(1 + left, 1 + left)), kernel, stride=2)
    else:
        y = functional.conv2d(x, kernel, padding=k // 2)
    return y if bias is None else activated(y + bias[:, None, None])


def scored(weights: Weights, x: Tensor, group: int) -> Tensor:
    """Scores (N,) of the residual discriminator."""
    h = convolved(weights, "from_image", x)
    for block in range(sum(name.endswith("skip.weight") for name in weights)):
        y = convolved(weights, f"blocks.{block}.conv1", convolved(weights, f"blocks.{block}.conv0", h), down=True)
        h = (y + convolved(weights, f"blocks.{block}.skip", h, down=True)) / GAIN
    spread = [torch.sqrt(part.var(dim=0, unbiased=False) + 1e-8).mean() for part in h.split(group)]
    channel = torch.stack(spread).repeat_interleave(group)[:, None, None, None].expand(-1, 1, *h.shape[2:])
    h = convolved(weights, "conv", torch.cat([h, channel], dim=1))
    return linear(weights, "score", activated(linear(weights, "hidden", h.flatten(1))))[:, 0]


def styles(g: Weights, z: Tensor) -> Tensor:
    """The same w for every convolution and the last conversion to an image, (N, L, D)."""
    layers = sum(name.endswith("noise_strength") for name in g) + 1
    return mapped(g, z)[:, None].repeat(1, layers, 1)


def loss_of_g(g: Weights, d: Weights, z: Tensor, noise: Tensor, group: int) -> Tensor:
    return -functional.logsigmoid(scored(d, generated(g, styles(g, z), noise), group)).mean()


def loss_of_d(d: Weights, fake: Tensor, real: Tensor, group: int) -> Tensor:
    wrong = functional.logsigmoid(-scored(d, fake, group)).mean()
    return -wrong - functional.logsigmoid(scored(d, real, group)).mean()


def r1(d: Weights, real: Tensor, group: int, gamma: float) -> Tensor:
    x = real.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(scored(d, x, group).sum(), x, create_graph=True)
    return gamma / 2 * slope.square().sum(dim=(1, 2, 3)).mean()


def path_length(g: Weights, z: Tensor, noise: Tensor, y: Tensor, mean: float) -> Tensor:
    """Squared distance from the running mean, through which the gradient goes too; ``mean`` is that before."""
    w = styles(g, z)
    images = generated(g, w, noise)
    (slope,) = torch.autograd.grad((images * y / images.shape[-1]).sum(), w, create_graph=True)
    lengths = slope.square().sum(dim=2).mean(dim=1).sqrt()
    return (lengths - (mean + 0.01 * (lengths.mean() - mean))).square().mean()
