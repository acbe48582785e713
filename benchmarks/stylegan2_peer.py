"""The peer of the StyleGAN2 benchmark: networks, losses and phases as a user writes them down in PyTorch.

One kernel per sample in a grouped convolution, dense 4x4 low-pass filters at full resolution, noise, bias and leaky
ReLU as separate operations, the Adam of torch with its defaults. Same layers and same losses as the
product's ``stylegan2``.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from medsweep.trainers.stylegan2.architecture import Architecture
from medsweep.trainers.stylegan2.config import GanConfig


class PlainLinear(nn.Module):
    """y = x W^T m / sqrt(I) + b m."""

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, multiplier: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), bias / multiplier))
        self.gain, self.multiplier = multiplier / math.sqrt(inputs), multiplier

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight * self.gain, self.bias * self.multiplier)


def plain_filter(x: Tensor, padding: int, gain: float = 1.0) -> Tensor:
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = (taps[:, None] * taps * (gain / 64)).expand(x.shape[1], 1, 4, 4)
    return functional.conv2d(x, kernel, padding=padding, groups=x.shape[1])


def plain_activation(x: Tensor, bias: Tensor) -> Tensor:
    return functional.leaky_relu(x + bias[:, None, None], 0.2) * math.sqrt(2)


class PlainModulated(nn.Module):
    """One kernel per sample, run as one grouped convolution."""

    def __init__(
        self, latent_dim: int, inputs: int, outputs: int, *, kernel: int = 3, up: bool = False, image: bool = False
    ):
        super().__init__()
        self.style = PlainLinear(latent_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.up, self.image = up, image

    def forward(self, x: Tensor, w_ND: Tensor) -> Tensor:
        samples, inputs, height, width = x.shape
        outputs, _, k, _ = self.weight.shape
        kernels = self.weight / math.sqrt(inputs * k * k) * self.style(w_ND)[:, None, :, None, None]
        if not self.image:
            kernels = kernels * torch.rsqrt(kernels.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8)
        x = x.reshape(1, samples * inputs, height, width)
        if self.up:
            kernels = kernels.transpose(1, 2).reshape(samples * inputs, outputs, k, k)
            y = functional.conv_transpose2d(x, kernels, stride=2, groups=samples)
            y = plain_filter(y.reshape(samples, outputs, *y.shape[2:]), padding=1, gain=4.0)
        else:
            y = functional.conv2d(x, kernels.reshape(-1, inputs, k, k), padding=k // 2, groups=samples)
            y = y.reshape(samples, outputs, height, width)
        if self.image:
            return y + self.bias[:, None, None]
        y = y + self.noise_strength * torch.randn(samples, 1, *y.shape[2:])
        return plain_activation(y, self.bias)


class PlainGenerator(nn.Module):
    """Mapping and skip-type synthesis."""

    def __init__(self, plan: Architecture):
        super().__init__()
        dim, width = plan.latent_dim, plan.width
        self.plan = plan
        self.mapping = nn.ModuleList(PlainLinear(dim, dim, multiplier=0.01) for _ in range(plan.mapping_layers))
        self.constant = nn.Parameter(torch.randn(1, width(4), 4, 4))
        up = {r: PlainModulated(dim, width(r // 2), width(r), up=True) for r in plan.resolutions if r > 4}
        self.ups = nn.ModuleList(up.values())
        self.convs = nn.ModuleList(PlainModulated(dim, width(r), width(r)) for r in plan.resolutions)
        self.images = nn.ModuleList(
            PlainModulated(dim, width(r), plan.channels, kernel=1, image=True) for r in plan.resolutions
        )

    def styles(self, samples: int) -> Tensor:
        x = torch.randn(samples, self.plan.latent_dim)
        x = x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)
        for layer in self.mapping:
            x = functional.leaky_relu(layer(x), 0.2) * math.sqrt(2)
        return x[:, None].repeat(1, self.plan.style_layers, 1)

    def forward(self, w_NLD: Tensor) -> Tensor:
        x = self.convs[0](self.constant.repeat(len(w_NLD), 1, 1, 1), w_NLD[:, 0])
        image = self.images[0](x, w_NLD[:, 1])
        for block, up in enumerate(self.ups, start=1):
            x = self.convs[block](up(x, w_NLD[:, 2 * block - 1]), w_NLD[:, 2 * block])
            inserted = functional.pad(image[:, :, :, None, :, None], (0, 1, 0, 0, 0, 1)).flatten(4, 5).flatten(2, 3)
            image = plain_filter(functional.pad(inserted, (2, 1, 2, 1)), padding=0, gain=4.0)
            image = image + self.images[block](x, w_NLD[:, 2 * block + 1])
        return image


class PlainConv(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, down: bool = False, linear: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = None if linear else nn.Parameter(torch.zeros(outputs))
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.weight.shape[-1]
        weight = self.weight / math.sqrt(self.weight[0].numel())
        if self.down:
            y = functional.conv2d(plain_filter(x, padding=1 + kernel // 2), weight, stride=2)
        else:
            y = functional.conv2d(x, weight, padding=kernel // 2)
        return y if self.bias is None else plain_activation(y, self.bias)


class PlainDiscriminator(nn.Module):
    """Residual D."""

    def __init__(self, plan: Architecture):
        super().__init__()
        width, last = plan.width, plan.width(4)
        self.group = plan.minibatch_std_group
        self.first = PlainConv(plan.channels, width(plan.resolution), 1)
        self.blocks = nn.ModuleList()
        for r in reversed(plan.resolutions[1:]):
            skip = PlainConv(width(r), width(r // 2), 1, down=True, linear=True)
            branch = nn.Sequential(PlainConv(width(r), width(r), 3), PlainConv(width(r), width(r // 2), 3, down=True))
            self.blocks.append(nn.ModuleList([branch, skip]))
        self.last = PlainConv(last + 1, last, 3)
        self.hidden, self.score = PlainLinear(last * 16, last), PlainLinear(last, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for branch, skip in self.blocks:
            x = (branch(x) + skip(x)) * math.sqrt(0.5)
        groups = x.unflatten(0, (-1, self.group))
        spread = (groups.var(dim=1, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))
        spread = spread.repeat_interleave(self.group)[:, None, None, None].expand(-1, 1, 4, 4)
        x = self.last(torch.cat([x, spread], dim=1)).flatten(1)
        return self.score(functional.leaky_relu(self.hidden(x), 0.2) * math.sqrt(2))


class PlainTraining:
    """The phases of one training with its lazy penalties of R1 and path length."""

    def __init__(self, plan: Architecture, config: GanConfig):
        torch.manual_seed(0)
        self.plan, self.config, self.samples = plan, config, config.batch_size
        self.g, self.d = PlainGenerator(plan), PlainDiscriminator(plan)
        self.real = torch.randn(self.samples, plan.channels, plan.resolution, plan.resolution)
        self.adam = {
            network: torch.optim.Adam(network.parameters(), lr=config.learning_rate, betas=(0.0, 0.99))
            for network in (self.g, self.d)
        }
        self.mean_length = torch.zeros(())

    def generator(self) -> None:
        self.d.requires_grad_(False)
        self._descend(self.g, functional.softplus(-self.d(self.g(self.g.styles(self.samples)))).mean())
        self.d.requires_grad_(True)

    def discriminator(self) -> None:
        with torch.no_grad():
            fake = self.g(self.g.styles(self.samples))
        loss = functional.softplus(self.d(fake)).mean() + functional.softplus(-self.d(self.real)).mean()
        self._descend(self.d, loss)

    def r1(self) -> None:
        x = self.real.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(self.d(x).sum(), x, create_graph=True)
        weight = self.config.r1_gamma / 2 * self.config.r1_every_steps
        self._descend(self.d, slope.square().sum(dim=(1, 2, 3)).mean() * weight)

    def path_length(self) -> None:
        w_NLD = self.g.styles(self.samples // 2)
        images = self.g(w_NLD)
        noise = torch.randn_like(images) / self.plan.resolution
        (slope,) = torch.autograd.grad((images * noise).sum(), w_NLD, create_graph=True)
        lengths = slope.square().sum(dim=2).mean(dim=1).sqrt()
        self.mean_length.lerp_(lengths.detach().mean(), 0.01)
        weight = self.config.path_length_weight * self.config.path_length_every_steps
        self._descend(self.g, (lengths - self.mean_length).square().mean() * weight)

    def _descend(self, network: nn.Module, loss: Tensor) -> None:
        self.adam[network].zero_grad()
        loss.backward()
        self.adam[network].step()
