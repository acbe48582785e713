"""The table of networks that ``segment.network`` may name: ours, and those that installed packages bring along.

A package names its ``SegmenterNetwork`` by an entry point of the group ``medsweep.networks``. The entry point's name is
what ``segment.network`` takes. Shapes: N images, C modalities, K classes, R resolution in pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from pydantic import Field

from medsweep.config import Config
from medsweep.errors import UserError
from medsweep.plugins import brought_along

if TYPE_CHECKING:
    from torch import nn

GROUP: Final = "medsweep.networks"

SWIN_LEVELS: Final = 5
SWIN_WIDTH: Final = 12
"""The first width of a Swin transformer is a multiple of this, since it is divided among its heads."""

Channels = tuple[int, ...]


class NetworkShape(Config):
    """What a network is built for."""

    modalities: int
    """Channels of an image."""
    classes: int
    """Background included."""
    channels: Channels
    """``segment.channels``."""
    residual_units: int
    """``segment.residual_units``."""
    resolution: int | None = None
    """Side of a slice in pixels; None of a network that was published before this was kept."""
    options: dict[str, Any] = Field(default={})
    """Settings of the network's own, as ``SegmenterNetwork.settings`` has them."""


@dataclass(frozen=True, kw_only=True)
class SegmenterNetwork:
    """One architecture, and what the sweep has to know of it."""

    build: "Callable[[NetworkShape], nn.Module]"
    """From images (N, C, R, R) to logits (N, K, R, R).

    Random numbers are torch's global ones, which are seeded before. While it trains, a network may return a sequence of
    logits instead, the finest at R and each one after it smaller (deep supervision, Lee et al. 2015).
    """
    layers: "Callable[[nn.Module], Sequence[str]] | None" = None
    """Dotted names of the deepest layer of a built network, then of the stages on the way up from it, in the order in
    which they run. Each gives (N, D, h, w). None where it has no such layers: pools can then not be assessed by it, and
    nothing looks inside."""
    settings: type[Config] | None = None
    """Settings of its own, all with defaults. Sweeps set them in a section named like the network."""
    version: int = 1
    """Raise it when the same shape gives another network, so that trials run again."""
    halvings: Callable[[Channels], int] = lambda channels: len(channels) - 1
    """How often it halves an image; R must be a multiple of 2 to that power."""
    misfit: Callable[[Channels], str | None] = lambda channels: None
    """Why it cannot have these widths, as the end of a sentence that begins with its name; None where it can."""
    reads_residual_units: bool = False
    """Whether ``segment.residual_units`` changes it."""
    batch_normalised: bool = True
    """Whether it has batch normalisation, which ``segment.normalise`` takes apart by source."""
    relative_cost: float = 1.0
    """Time of a step over that of the U-Net with the same channels, for the forecast of a plan."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ``segment`` that it sets, with their values; a sweep that sets one to another value is refused."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Defaults of fields of ``segment`` that stand in place of the usual ones."""
    smallest_px: int = 1
    """Side of the smallest map that it can work on."""
    fewest_steps: int = 1
    """Steps below which its training was seen to end at background alone; plans tell of arms with fewer."""
    faster_channels_last: bool = False
    """Whether it trains faster on a CPU when its weights are laid out channels-last."""


def _shared(shape: NetworkShape) -> dict[str, Any]:
    return {"spatial_dims": 2, "in_channels": shape.modalities, "out_channels": shape.classes}


def _strides(shape: NetworkShape) -> tuple[int, ...]:
    return (2,) * (len(shape.channels) - 1)


def _unet(shape: NetworkShape) -> "nn.Module":
    """U-Net (Ronneberger 2015) with residual units (Kerfoot 2018)."""
    from monai.networks.nets.unet import UNet

    units, strides = shape.residual_units, _strides(shape)
    model: nn.Module = UNet(
        **_shared(shape), channels=shape.channels, strides=strides, num_res_units=units, norm="batch"
    )
    return model


def _levels_above(model: "nn.Module") -> range:
    """Levels of either U-Net from the last but one up; each holds the one below, behind its own way down."""
    return range(len(cast(Channels, model.channels)) - 2, -1, -1)


def _unet_layers(model: "nn.Module") -> Sequence[str]:
    """The last stage gives the logits."""
    names = ["model." + "1.submodule." * level for level in _levels_above(model)]
    return f"{names[0]}1.submodule", *(f"{name}2" for name in names)


def _attention_unet(shape: NetworkShape) -> "nn.Module":
    """Attention U-Net (Oktay 2018); what merges a gate with the level below keeps MONAI's instance normalisation."""
    from monai.networks.nets.attentionunet import AttentionUnet

    model: nn.Module = AttentionUnet(**_shared(shape), channels=shape.channels, strides=_strides(shape))
    return model


def _attention_layers(model: "nn.Module") -> Sequence[str]:
    names = ["model.1" + ".submodule.1" * level for level in _levels_above(model)]
    return f"{names[0]}.submodule", *names


def _attention_misfit(channels: Channels) -> str | None:
    return "needs at least 2 channels at every level but the last" if min(channels[:-1]) < 2 else None


def _segresnet(shape: NetworkShape) -> "nn.Module":
    """Residual network with one block on each way up (Myronenko 2018)."""
    from monai.networks.nets.segresnet import SegResNet

    levels = len(shape.channels)
    down, up = (1, *(2,) * (levels - 2), 4), (1,) * (levels - 1)
    model: nn.Module = SegResNet(
        **_shared(shape), init_filters=shape.channels[0], norm="batch", blocks_down=down, blocks_up=up
    )
    return model


def _segresnet_layers(model: "nn.Module") -> Sequence[str]:
    last = len(cast("nn.ModuleList", model.down_layers)) - 1
    return f"down_layers.{last}", *(f"up_layers.{number}" for number in range(last))


def _doubling(channels: Channels) -> bool:
    return all(wide == 2 * narrow for narrow, wide in pairwise(channels))


def _segresnet_misfit(channels: Channels) -> str | None:
    nearest = [channels[0] * 2**level for level in range(len(channels))]
    return None if _doubling(channels) else f"doubles its width at every level, as {nearest}"


def _swin_unetr(shape: NetworkShape) -> "nn.Module":
    """Swin transformer with a convolutional decoder (Hatamizadeh 2022)."""
    if find_spec("einops") is None:
        raise UserError("segment.network swin-unetr needs the package einops; pip install einops")
    from monai.networks.nets.swin_unetr import SwinUNETR

    model: nn.Module = SwinUNETR(**_shared(shape), feature_size=shape.channels[0], norm_name="batch")
    return model


def _swin_misfit(channels: Channels) -> str | None:
    if _doubling(channels) and len(channels) == SWIN_LEVELS and channels[0] % SWIN_WIDTH == 0:
        return None
    first = SWIN_WIDTH * max(1, round(channels[0] / SWIN_WIDTH))
    nearest = [first * 2**level for level in range(SWIN_LEVELS)]
    return f"has {SWIN_LEVELS} levels that double a multiple of {SWIN_WIDTH}, as {nearest}"


def _residual_encoder(shape: NetworkShape) -> "nn.Module":
    """U-Net with a residual encoder (Isensee et al. 2024)."""
    from medsweep.trainers.segmentation.residual_encoder import ResidualEncoderUNet

    return ResidualEncoderUNet(shape.modalities, shape.classes, shape.channels)


RESIDUAL_ENCODER: Final = SegmenterNetwork(
    build=_residual_encoder,
    layers=lambda model: cast(tuple[str, ...], model.layers),
    batch_normalised=False,
    defaults={"channels": (32, 64, 128, 256, 512)},
    smallest_px=4,
    relative_cost=6.0,
)

NNUNET_RECIPE: Final[Mapping[str, Any]] = {
    "optimizer": "sgd", "learning_rate": 0.01, "schedule": "poly", "warmup_steps": 0, "weight_decay": 3e-5,
    "clip_norm": 12.0, "ema_half_life_steps": 0, "loss": "dice-ce", "class_weights": "none", "augment": "nnunet",
    "foreground_share": 0.33,
}  # fmt: skip
"""Training of nnU-Net (Isensee et al. 2021): SGD with Nesterov momentum, poly decay, Dice and cross-entropy,
and a third of each batch with foreground."""

NNUNET_FEWEST_STEPS: Final = 1000
"""Measured at 32 px with batches of 8, see docs/reference/segmenters.md."""

OURS: Final[dict[str, SegmenterNetwork]] = {
    "unet": SegmenterNetwork(build=_unet, layers=_unet_layers, reads_residual_units=True, faster_channels_last=True),
    "attention-unet": SegmenterNetwork(
        build=_attention_unet, layers=_attention_layers, misfit=_attention_misfit, relative_cost=2.3
    ),
    "segresnet": SegmenterNetwork(
        build=_segresnet,
        layers=_segresnet_layers,
        misfit=_segresnet_misfit,
        relative_cost=4.2,
        faster_channels_last=True,
    ),
    "swin-unetr": SegmenterNetwork(
        build=_swin_unetr,
        layers=lambda model: ("encoder10", *(f"decoder{number}" for number in (5, 4, 3, 2, 1))),
        misfit=_swin_misfit,
        halvings=lambda channels: SWIN_LEVELS,
        relative_cost=3.6,
    ),
    "resenc-unet": RESIDUAL_ENCODER,
    "nnunet-2d": replace(RESIDUAL_ENCODER, recipe=NNUNET_RECIPE, fewest_steps=NNUNET_FEWEST_STEPS),
}
"""Relative costs and the faster layout were measured on one CPU core at 64 px."""

NETWORKS: Final[dict[str, SegmenterNetwork]] = OURS | brought_along(GROUP, SegmenterNetwork, "network", OURS)
"""Every network by the name that ``segment.network`` takes."""

if TYPE_CHECKING:
    NetworkName: TypeAlias = str
else:
    NetworkName = Literal[tuple(NETWORKS)]


def no_layers(network: str) -> str:
    """Why nobody can look inside a network."""
    return (
        f"segment.network {network} names no layers whose features could be read (SegmenterNetwork.layers); name them, "
        "or set assess.enabled to false, segment.min_iou to 0 and segment.snapshots to 0, without pools of diffusion "
        "models, which are always assessed"
    )
