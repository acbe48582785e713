"""The networks of StyleGAN2 (Karras et al. 2020): mapping, skip generator, residual discriminator, mask conditioning.

N samples, D latent dimensions, L style layers, C output channels, K condition channels, R output resolution, r any
resolution from 4 to R. The condition enters at up to three points:

* ``d-input``: [x ; m_R] is the input of D.
* ``d-blocks``: [h ; m_r] is the input of the blocks of D at r = R/2 ... 8.
* ``generator``: g_r E_r(m_r) is added in G after the demodulation, before noise, bias and activation, with E_r a 1x1
  convolution and g_r a learned number that starts at 0. After, since demodulation would rescale it per sample.

m_r is the exact average of m over R/r x R/r pixels, so class fractions and thin structures survive.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from medsweep.config import Config
from trainers.stylegan2.config import GanConfig, Point
from trainers.stylegan2.layers import (
    LRELU_GAIN,
    SLOPE,
    Drawn,
    EqualisedConv,
    EqualisedLinear,
    ModulatedConv,
    ToImage,
    append_batch_std,
    constant,
)

W_AVERAGE_DECAY = 0.995
MAPPING_MULTIPLIER = 0.01
LOWEST = 4


class Architecture(Config):
    """All that the shapes of G and D depend on."""

    resolution: int
    channels: int
    """Channels that G emits and D sees: modalities, mask channels, or both."""
    condition_channels: int
    """Channels of the condition; 0 where there is none."""
    points: tuple[Point, ...]
    latent_dim: int
    mapping_layers: int
    channel_base: int
    channel_max: int
    minibatch_std_group: int

    @classmethod
    def of(cls, config: GanConfig, modalities: int, classes: int) -> "Architecture":
        """The networks of a GAN on slices with ``modalities`` images and ``classes`` classes, background included."""
        channels = {"b-sg": modalities + classes, "m-sg": classes, "c-sg": modalities}
        shared = ("resolution", "latent_dim", "mapping_layers", "channel_base", "channel_max")
        return cls(
            **{name: getattr(config, name) for name in shared},
            channels=channels[config.variant],
            condition_channels=classes if config.variant == "c-sg" else 0,
            points=config.injection,
            minibatch_std_group=min(config.minibatch_std_group, config.batch_size),
        )

    def width(self, r: int) -> int:
        """Feature maps at resolution r."""
        return max(4, min(self.channel_base // r, self.channel_max))

    @property
    def resolutions(self) -> tuple[int, ...]:
        """4, 8, ..., R."""
        return tuple(2**power for power in range(2, self.resolution.bit_length()))

    @property
    def style_layers(self) -> int:
        """L: one per convolution of G and one for the last conversion to an image."""
        return 2 * len(self.resolutions)

    def condition_width(self, point: Point) -> int:
        """Condition channels at a point; 0 where it is switched off."""
        return self.condition_channels if point in self.points else 0


def pyramid(condition_NKRR: Tensor | None) -> dict[int, Tensor]:
    """The condition at every resolution from R down to 4; empty where there is none."""
    levels: dict[int, Tensor] = {}
    level = condition_NKRR
    while level is not None:
        levels[level.shape[-1]] = level
        level = functional.avg_pool2d(level, 2) if level.shape[-1] > LOWEST else None
    return levels


class Mapping(nn.Module):
    """z to w: normalised latent, then fully connected layers that learn 100 times more slowly than the others."""

    def __init__(self, latent_dim: int, layers: int):
        super().__init__()
        layer = {"multiplier": MAPPING_MULTIPLIER, "gain": LRELU_GAIN}
        self.layers = nn.ModuleList(EqualisedLinear(latent_dim, latent_dim, **layer) for _ in range(layers))
        self.register_buffer("w_average", torch.zeros(latent_dim))

    def forward(self, z_ND: Tensor) -> Tensor:
        x_ND = z_ND * (z_ND.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.layers:
            x_ND = functional.leaky_relu(layer(x_ND), SLOPE)
        return x_ND

    def track(self, w_ND: Tensor) -> None:
        """Move the average w, which truncation pulls towards."""
        self.w_average.lerp_(w_ND.detach().mean(dim=0), 1 - W_AVERAGE_DECAY)


class MaskInjection(Drawn):
    """g E(m) times the gain of the activation: a 1x1 convolution without bias, g a learned number that starts at 0."""

    def __init__(self, condition_channels: int, outputs: int):
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(()))
        self.weight = nn.Parameter(torch.empty(outputs, condition_channels, 1, 1))
        constant(self, "weight_gain", LRELU_GAIN / math.sqrt(condition_channels))

    def draw(self, generator: torch.Generator) -> None:
        with torch.no_grad():
            self.weight.normal_(generator=generator)

    def forward(self, condition_NKrr: Tensor) -> Tensor:
        return functional.conv2d(condition_NKrr, self.weight * (self.gain * self.weight_gain))


class StyledConv(Drawn):
    """lrelu(d conv(s x, W) + g E(m_r) + strength noise + bias) at one resolution."""

    def __init__(
        self, inputs: int, outputs: int, plan: Architecture, r: int, *, up: bool = False, masked: bool = False
    ):
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, plan.latent_dim, up=up)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("fixed_noise", torch.empty(1, 1, r, r))
        constant(self, "gain", LRELU_GAIN)
        width = plan.condition_width("generator") if masked else 0
        self.injection = MaskInjection(width, outputs) if width else None

    def draw(self, generator: torch.Generator) -> None:
        self.fixed_noise.normal_(generator=generator)

    def forward(self, x: Tensor, w_ND: Tensor, condition: dict[int, Tensor], noise: torch.Generator | None) -> Tensor:
        y, d_NO = self.conv(x, w_ND)
        N, _, r, _ = y.shape
        noise_N1rr = self.fixed_noise
        if noise is not None:
            noise_N1rr = torch.randn(N, 1, r, r, generator=noise, device=y.device)
        shift = noise_N1rr * (self.noise_strength * self.gain) + (self.bias * self.gain)[:, None, None]
        if self.injection is not None:
            shift = shift + self.injection(condition[r])
        return functional.leaky_relu(y * d_NO[:, :, None, None] + shift, SLOPE)


class Generator(nn.Module):
    """Mapping and skip-type synthesis: the images of all resolutions are added up, each doubled bilinearly.

    Inside, bilinear doubling equals zero insertion and the filter [1, 3, 3, 1]; at the border it repeats the edge.
    """

    def __init__(self, plan: Architecture):
        super().__init__()
        self.plan = plan
        self.mapping = Mapping(plan.latent_dim, plan.mapping_layers)
        self.constant = Constant(plan.width(LOWEST))
        self.ups, self.convs, self.images = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for r in plan.resolutions:
            if r > LOWEST:
                self.ups.append(StyledConv(plan.width(r // 2), plan.width(r), plan, r, up=True))
            self.convs.append(StyledConv(plan.width(r), plan.width(r), plan, r, masked=True))
            self.images.append(ToImage(plan.width(r), plan.channels, plan.latent_dim))

    def forward(self, z_ND: Tensor, condition: Tensor | None = None, noise: torch.Generator | None = None) -> Tensor:
        """Images (N, C, R, R) from latents; fixed noise maps where ``noise`` is None."""
        return self.synthesise(self.broadcast(self.mapping(z_ND)), condition, noise)

    def broadcast(self, w_ND: Tensor) -> Tensor:
        """The same w for every layer, (N, L, D)."""
        return w_ND[:, None].expand(-1, self.plan.style_layers, -1)

    def synthesise(self, w_NLD: Tensor, condition: Tensor | None, noise: torch.Generator | None) -> Tensor:
        """Images (N, C, R, R) from one w per layer and, for C-SG, the condition (N, K, R, R)."""
        levels = pyramid(condition) if self.plan.condition_width("generator") else {}
        w = w_NLD.unbind(1)
        x = self.convs[0](self.constant(len(w_NLD)), w[0], levels, noise)
        image = self.images[0](x, w[1])
        for number, up in enumerate(self.ups, start=1):
            x = up(x, w[2 * number - 1], levels, noise)
            x = self.convs[number](x, w[2 * number], levels, noise)
            image = functional.interpolate(image, scale_factor=2, mode="bilinear", align_corners=False)
            image = image + self.images[number](x, w[2 * number + 1])
        return image


class Constant(Drawn):
    """The learned 4 x 4 input of G."""

    def __init__(self, channels: int):
        super().__init__()
        self.value = nn.Parameter(torch.empty(1, channels, LOWEST, LOWEST))

    def draw(self, generator: torch.Generator) -> None:
        with torch.no_grad():
            self.value.normal_(generator=generator)

    def forward(self, samples: int) -> Tensor:
        return self.value.expand(samples, -1, -1, -1)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a 1x1 skip, halving the resolution; both branches times sqrt(1/2)."""

    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__()
        self.conv0 = EqualisedConv(inputs, hidden, 3, gain=LRELU_GAIN)
        self.conv1 = EqualisedConv(hidden, outputs, 3, gain=1.0, down=True)  # LRELU_GAIN sqrt(1/2)
        self.skip = EqualisedConv(inputs, outputs, 1, gain=math.sqrt(0.5), bias=False, down=True)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.leaky_relu(self.conv0(x), SLOPE)
        return self.skip(x) + functional.leaky_relu(self.conv1(y), SLOPE)


class Discriminator(nn.Module):
    """Residual D with the batch standard deviation before its last layers."""

    def __init__(self, plan: Architecture):
        super().__init__()
        self.plan = plan
        top = plan.channels + plan.condition_width("d-input")
        self.from_image = EqualisedConv(top, plan.width(plan.resolution), 1, gain=LRELU_GAIN)
        self.blocks = nn.ModuleList()
        for r in reversed(plan.resolutions[1:]):
            more = plan.condition_width("d-blocks") if r < plan.resolution else 0
            self.blocks.append(ResidualBlock(plan.width(r) + more, plan.width(r), plan.width(r // 2)))
        last = plan.width(LOWEST)
        self.conv = EqualisedConv(last + 1, last, 3, gain=LRELU_GAIN)
        self.hidden = EqualisedLinear(last * LOWEST**2, last, gain=LRELU_GAIN)
        self.score = EqualisedLinear(last, 1)

    def forward(self, x_NCRR: Tensor, condition: Tensor | None = None) -> Tensor:
        """Scores (N,), high for real; N must be a multiple of the group of the batch standard deviation."""
        plan = self.plan
        levels = pyramid(condition) if plan.condition_width("d-blocks") else {}
        if condition is not None and plan.condition_width("d-input"):
            x_NCRR = torch.cat([x_NCRR, condition], dim=1)
        h = functional.leaky_relu(self.from_image(x_NCRR), SLOPE)
        for block in self.blocks:
            r = h.shape[-1]
            if levels and r < plan.resolution:
                h = torch.cat([h, levels[r]], dim=1)
            h = block(h)
        h = functional.leaky_relu(self.conv(append_batch_std(h, plan.minibatch_std_group)), SLOPE)
        h = functional.leaky_relu(self.hidden(h.flatten(1)), SLOPE)
        return self.score(h)[:, 0]
