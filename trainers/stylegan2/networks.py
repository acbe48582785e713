"""The networks of StyleGAN2 (Karras et al. 2020): mapping, skip generator, residual discriminator, mask conditioning.

N samples, D latent dimensions, L style layers, C output channels, K condition or mask channels, R output resolution, r
any resolution from 4 to R, P pixels of all noise maps of a sample. The condition m enters at up to three points:

* ``d-input``: [x ; m_R] is the input of D.
* ``d-blocks``: [h ; m_r] is the input of the blocks of D at r = R/2 ... 8.
* ``generator``: at every r, the output y of the first convolution of G is changed after the demodulation and before
  noise, bias and activation. After, since demodulation would rescale the mask per sample. ``add``: y + g E(m_r);
  ``affine``: y (1 + gamma(m_r)) + beta(m_r); ``concat``: the next modulated convolution reads [h ; m_r].

With the form ``projection`` D's features see no mask; if either of its points is on, <features, E(m_4)> is added to its
score.

Half precision: with ``half_from`` set, the blocks at r >= half_from compute in bfloat16; mapping, styles, demodulation,
conversions to images and their sum, batch standard deviation, D's last layers and all outputs stay float32.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from medsweep.trainers.stylegan2.architecture import LOWEST, Architecture
from medsweep.trainers.stylegan2.conditioning import MaskProjection, injection_of, pyramid
from medsweep.trainers.stylegan2.layers import (
    LRELU_GAIN,
    SLOPE,
    EqualisedConv,
    EqualisedLinear,
    ModulatedConv,
    SeededModule,
    ToImage,
    append_batch_std,
    constant,
    double,
    fir_filter,
)
from medsweep.trainers.training.accumulation import Random, normal

W_AVERAGE_DECAY = 0.995
MAPPING_MULTIPLIER = 0.01


class MappingNetwork(nn.Module):
    """z to w: normalised latent, then fully connected layers that learn 100 times more slowly than the others."""

    w_average: Tensor

    def __init__(self, latent_dim: int, layers: int):
        super().__init__()
        self.layers = nn.ModuleList(
            EqualisedLinear(latent_dim, latent_dim, multiplier=MAPPING_MULTIPLIER, gain=LRELU_GAIN)
            for _ in range(layers)
        )
        self.register_buffer("w_average", torch.zeros(latent_dim))

    def forward(self, z_ND: Tensor) -> Tensor:
        x_ND = z_ND * (z_ND.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.layers:
            x_ND = functional.leaky_relu(layer(x_ND), SLOPE)
        return x_ND

    def track(self, w_ND: Tensor) -> None:
        """Move the average w, which truncation pulls towards."""
        self.w_average.lerp_(w_ND.detach().mean(dim=0), 1 - W_AVERAGE_DECAY)


class StyledConv(nn.Module):
    """lrelu(inject(d conv(s [x ; m], W), m_r) + strength noise + bias) at one resolution.

    ``shown`` condition channels change the output, ``joined`` ones are read beside the input.
    """

    noise_strength: nn.Parameter | None
    gain: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        architecture: Architecture,
        *,
        up: bool = False,
        shown: int = 0,
        joined: int = 0,
    ):
        super().__init__()
        self.joined = joined
        self.conv = ModulatedConv(inputs, outputs, architecture.latent_dim, joined=joined, up=up)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_parameter("noise_strength", nn.Parameter(torch.zeros(())) if architecture.noise else None)
        constant(self, "gain", LRELU_GAIN)
        self.injection = injection_of(architecture.injection_form, shown, outputs)

    def forward(self, x: Tensor, w_ND: Tensor, levels: dict[int, Tensor], noise_N1rr: Tensor | None) -> Tensor:
        """Features (N, O, r, r); ``levels`` is the condition's pyramid."""
        if self.joined:
            x = torch.cat([x, levels[x.shape[-1]].to(x.dtype)], dim=1)
        y, d_NO = self.conv(x, w_ND)
        d_NO11, bias_O11 = d_NO.to(y.dtype)[:, :, None, None], (self.bias * self.gain).to(y.dtype)[:, None, None]
        if self.injection is None:
            y = torch.addcmul(bias_O11, y, d_NO11)
        else:
            y = self.injection(y * d_NO11, levels[y.shape[-1]]) + bias_O11
        if self.noise_strength is not None and noise_N1rr is not None:
            y.add_((noise_N1rr * (self.noise_strength * self.gain)).to(y.dtype))
        return functional.leaky_relu(y, SLOPE, inplace=True)


class LatentGenerator(nn.Module):
    """What every generator has: a mapping of latents to styles, and a synthesis of images from these.

    Noise is drawn by the caller, once for a whole batch, so that the networks hold no random state of their own.
    """

    half_from: int | None = None

    def __init__(self, architecture: Architecture, mapping: MappingNetwork):
        super().__init__()
        self.architecture, self.mapping = architecture, mapping

    def forward(self, z_ND: Tensor, condition: Tensor | None = None, noise_NP: Tensor | None = None) -> Tensor:
        """Images (N, C, R, R) from latents; without any noise where ``noise_NP`` is None."""
        return self.synthesise(self.broadcast(self.mapping(z_ND)), condition, noise_NP)

    def noise(self, samples: int, random: Random) -> Tensor | None:
        """Fresh noise maps for each sample in one draw, (N, P); None for an architecture without noise."""
        pixels = sum(self.architecture.noise_pixels)
        return normal((samples, pixels), random, self.mapping.w_average.device) if pixels else None

    def broadcast(self, w_ND: Tensor) -> Tensor:
        """The same w for every layer, (N, L, D)."""
        return w_ND[:, None].expand(-1, self.architecture.style_layers, -1)

    def synthesise(self, w_NLD: Tensor, condition: Tensor | None, noise_NP: Tensor | None) -> Tensor:
        """Images (N, C, R, R) from one w per layer, the condition (N, K, R, R) where it reads one, and noise maps."""
        raise NotImplementedError


class Generator(LatentGenerator):
    """Skip-type synthesis: the images of all resolutions are added up, each doubled through the low-pass."""

    fir: Tensor

    def __init__(self, architecture: Architecture):
        super().__init__(architecture, MappingNetwork(architecture.latent_dim, architecture.mapping_layers))
        width_of = architecture.width
        self.constant = Constant(width_of(LOWEST))
        self.ups, self.convs, self.images = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        shown, joined = architecture.condition_width("generator"), architecture.joined_width
        for r in architecture.resolutions:
            width = width_of(r)
            if r == LOWEST:
                self.convs.append(StyledConv(width, width, architecture, shown=shown))
            else:  # m_4 enters after the only convolution at 4 x 4, so the next to read is the one that doubles
                lowest = joined if r == 2 * LOWEST else 0
                inputs = width_of(r // 2)
                self.ups.append(StyledConv(inputs, width, architecture, up=True, shown=shown, joined=lowest))
                self.convs.append(StyledConv(width, width, architecture, joined=joined))
            self.images.append(ToImage(width, architecture.channels, architecture.latent_dim))
        constant(self, "fir", fir_filter(architecture.channels, gain=4.0))

    def synthesise(self, w_NLD: Tensor, condition: Tensor | None, noise_NP: Tensor | None) -> Tensor:
        """Images (N, C, R, R) from one w per layer, any condition (N, K, R, R), and the noise maps."""
        architecture = self.architecture
        levels = pyramid(condition, architecture.condition_resize) if architecture.condition_width("generator") else {}
        w, maps = w_NLD.unbind(1), iter(self._noise_maps(noise_NP))
        x: Tensor = self.constant(len(w_NLD))
        image: Tensor | None = None
        for number, r in enumerate(architecture.resolutions):
            half = self.half_from is not None and r >= self.half_from
            with torch.autocast(x.device.type, torch.bfloat16, enabled=half):
                if number:
                    x = self.ups[number - 1](x, w[2 * number - 1], levels, next(maps))
                x = self.convs[number](x, w[2 * number], levels, next(maps))
            finer: Tensor = self.images[number](x.float(), w[2 * number + 1])
            if image is not None:
                finer = finer + double(image, self.fir)
            image = finer
        assert image is not None
        return self._as_channels(image)

    def _noise_maps(self, noise_NP: Tensor | None) -> list[Tensor | None]:
        """One map (N, 1, r, r) per convolution."""
        pixels = self.architecture.noise_pixels
        if noise_NP is None or not pixels:
            return [None] * (len(self.ups) + len(self.convs))
        return [
            flat_NQ.unflatten(1, (1, math.isqrt(count), -1))
            for flat_NQ, count in zip(noise_NP.split(pixels, dim=1), pixels, strict=True)
        ]

    def _as_channels(self, image_NCRR: Tensor) -> Tensor:
        """Soft one-hot masks leave as class probabilities p, mapped to 2 p - 1; all else leaves as it is."""
        masks = self.architecture.mask_channels
        if not masks or self.architecture.mask_form != "soft-one-hot":
            return image_NCRR
        images_NCRR, logits_NKRR = image_NCRR.split([self.architecture.channels - masks, masks], dim=1)
        return torch.cat([images_NCRR, 2 * logits_NKRR.softmax(dim=1) - 1], dim=1)


class Constant(SeededModule):
    """The learned 4 x 4 input of G."""

    def __init__(self, channels: int):
        super().__init__()
        self.value = nn.Parameter(torch.empty(1, channels, LOWEST, LOWEST))

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> None:
        self.value.normal_(generator=generator)

    def forward(self, samples: int) -> Tensor:
        return self.value.expand(samples, -1, -1, -1)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a 1x1 skip, halving the resolution; both branches times sqrt(1/2).

    ``joined`` condition channels follow the ``inputs`` features.
    """

    def __init__(self, inputs: int, outputs: int, joined: int = 0):
        super().__init__()
        self.conv0 = EqualisedConv(inputs, inputs, 3, joined=joined, gain=LRELU_GAIN)
        self.conv1 = EqualisedConv(inputs, outputs, 3, gain=1.0, down=True)  # LRELU_GAIN sqrt(1/2)
        self.skip = EqualisedConv(inputs, outputs, 1, joined=joined, gain=math.sqrt(0.5), bias=False, down=True)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.leaky_relu(self.conv0(x), SLOPE, inplace=True)
        both: Tensor = self.skip(x).add_(functional.leaky_relu(self.conv1(y), SLOPE, inplace=True))
        return both


class Discriminator(nn.Module):
    """Residual D with the batch standard deviation before its last layers."""

    half_from: int | None = None

    def __init__(self, architecture: Architecture):
        super().__init__()
        self.architecture = architecture
        R, width_of = architecture.resolution, architecture.width
        shown = architecture.condition_width("d-input")
        self.from_image = EqualisedConv(architecture.channels, width_of(R), 1, joined=shown, gain=LRELU_GAIN)
        self.blocks = nn.ModuleList()
        for r in reversed(architecture.resolutions[1:]):
            joined = architecture.condition_width("d-blocks") if r < R else 0
            self.blocks.append(ResidualBlock(width_of(r), width_of(r // 2), joined))
        last = width_of(LOWEST)
        self.conv = EqualisedConv(last + 1, last, 3, gain=LRELU_GAIN)
        self.hidden = EqualisedLinear(last * LOWEST**2, last, gain=LRELU_GAIN)
        self.score = EqualisedLinear(last, 1)
        self.projection = MaskProjection(architecture.projected_width, last) if architecture.projected_width else None

    def forward(self, x_NCRR: Tensor, condition: Tensor | None = None) -> Tensor:
        """Scores (N,), high for real; N must be a multiple of the group of the batch standard deviation."""
        architecture = self.architecture
        sees = architecture.condition_width("d-blocks") or architecture.projected_width
        levels = pyramid(condition, architecture.condition_resize) if sees else {}
        h = x_NCRR
        if condition is not None and architecture.condition_width("d-input"):
            h = torch.cat([h, condition], dim=1)
        for r, block in zip(reversed(architecture.resolutions[1:]), self.blocks, strict=True):
            half = self.half_from is not None and r >= self.half_from
            with torch.autocast(h.device.type, torch.bfloat16, enabled=half):
                if r == architecture.resolution:
                    h = functional.leaky_relu(self.from_image(h), SLOPE, inplace=True)
                elif architecture.condition_width("d-blocks"):
                    h = torch.cat([h, levels[r].to(h.dtype)], dim=1)
                h = block(h if half else h.float())
        h = functional.leaky_relu(self.conv(append_batch_std(h.float(), architecture.minibatch_std_group)), SLOPE)
        h = functional.leaky_relu(self.hidden(h.flatten(1)), SLOPE)
        score_N: Tensor = self.score(h)[:, 0]
        return score_N if self.projection is None else score_N + self.projection(h, levels[LOWEST])
