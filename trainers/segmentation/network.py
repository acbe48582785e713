"""The U-Net: built from a small record, saved without pickle, opened again for prediction and for features.

Shapes: N images, C modalities, K classes, R resolution in pixels.
"""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from medsweep.config import Config

if TYPE_CHECKING:
    from monai.networks.nets.unet import UNet

WEIGHTS = "network.safetensors"
ARCHITECTURE = "network.json"


class Architecture(Config):
    """All that is needed to build the network again."""

    modalities: int
    classes: int
    """Background included."""
    channels: tuple[int, ...]
    residual_units: int


def build(architecture: Architecture, seed: int) -> nn.Module:
    """A U-Net (Ronneberger 2015, with the residual units of Kerfoot 2018) with batch normalisation.

    Initial weights depend on the seed alone; the global random state is left as it was.
    """
    from monai.networks.nets.unet import UNet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet(
            spatial_dims=2,
            in_channels=architecture.modalities,
            out_channels=architecture.classes,
            channels=architecture.channels,
            strides=(2,) * (len(architecture.channels) - 1),
            num_res_units=architecture.residual_units,
            norm="batch",
        )


def save_segmenter(model: nn.Module, architecture: Architecture, folder: Path) -> None:
    """Write weights, normalisation statistics and architecture into ``folder``."""
    save_file({name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}, folder / WEIGHTS)
    (folder / ARCHITECTURE).write_text(architecture.model_dump_json(indent=2) + "\n")


def load_segmenter(folder: Path, device: str) -> nn.Module:
    """The trained network of a segment trial's output ``folder``, in evaluation mode on ``device``."""
    architecture = Architecture.model_validate_json((folder / ARCHITECTURE).read_text())
    model = build(architecture, seed=0)
    model.load_state_dict(load_file(folder / WEIGHTS))
    return model.to(device).eval()


@torch.no_grad()
def predict(model: nn.Module, images_NCRR: Tensor, batch: int = 64, *, whole_batches: bool = False) -> Tensor:
    """Class probabilities (N, K, R, R) on the CPU, computed ``batch`` images at a time on the model's device.

    With ``whole_batches`` the last batch is filled up with zeros, so that what a sample gets does not depend, not even
    in its last bit, on how many samples follow it.
    """
    device = next(model.parameters()).device
    count = len(images_NCRR)
    if whole_batches and count % batch:
        filling = images_NCRR.new_zeros(batch - count % batch, *images_NCRR.shape[1:])
        images_NCRR = torch.cat([images_NCRR, filling])
    parts = [model(part.to(device)).softmax(dim=1).cpu() for part in images_NCRR.split(batch)]
    return torch.cat(parts)[:count]


@torch.no_grad()
def features(model: nn.Module, images_NCRR: Tensor, batch: int = 64) -> Tensor:
    """Bottleneck features (N, 2D) on the CPU: mean and standard deviation over space of each of the D channels."""
    device = next(model.parameters()).device
    pooled: list[Tensor] = []

    def pool(_module: nn.Module, _inputs: tuple[Tensor, ...], output_NDhw: Tensor) -> None:
        flat = output_NDhw.flatten(start_dim=2)
        pooled.append(torch.cat([flat.mean(dim=2), flat.std(dim=2, correction=0)], dim=1).cpu())

    hook = _bottleneck(model).register_forward_hook(pool)
    try:
        for part in images_NCRR.split(batch):
            model(part.to(device))
    finally:
        hook.remove()
    return torch.cat(pooled)


def _bottleneck(model: nn.Module) -> nn.Module:
    """The deepest layer: each level is a sequence (down, skip connection around the level below, up)."""
    unet = cast("UNet", model)
    level = unet.model
    for _ in range(len(unet.channels) - 1):
        level = level[1].submodule
    return level
