"""Segmenters: built from a small record, saved without pickle, opened again for prediction and for features.

Shapes: N images, C modalities, K classes, R resolution in pixels.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from medsweep.errors import UserError
from medsweep.trainers.precision import exact
from medsweep.trainers.segmentation.config import SegmentConfig
from medsweep.trainers.segmentation.networks import NETWORKS, NetworkName, NetworkShape, no_layers

WEIGHTS = "network.safetensors"
ARCHITECTURE = "network.json"
BEST_WEIGHTS = "best.safetensors"
BEST = "best.json"
"""Step and validation Dice of the best weights, where training looked for them."""


_NAME, _NEIGHBOURS = "segmenter_network", "segmenter_neighbours"
"""Attributes of a built network that keep what it was built as."""


class SegmenterArchitecture(NetworkShape):
    """All that is needed to build the network again."""

    network: NetworkName = "unet"
    neighbours: int = 0
    """``segment.neighbours``."""

    @property
    def inputs(self) -> int:
        """Channels that the network reads: the modalities of a slice and of its neighbours."""
        return self.modalities * (1 + 2 * self.neighbours)

    @classmethod
    def of(cls, config: SegmentConfig, modalities: int, classes: int) -> "SegmenterArchitecture":
        """What a trial's config asks for, on C = ``modalities`` and K = ``classes``."""
        asked = config.model_dump(include=set(NetworkShape.model_fields) | {"network", "neighbours"})
        return cls(modalities=modalities, classes=classes, **asked)


def build(architecture: SegmenterArchitecture, seed: int) -> nn.Module:
    """A network from (N, C, R, R) to logits (N, K, R, R).

    Initial weights depend on the seed alone; the global random state is left as it was.

    Raises:
        UserError: the network needs a package that is not installed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = NETWORKS[architecture.network].build(
            architecture.model_copy(update={"modalities": architecture.inputs})
        )
    vars(model)[_NAME], vars(model)[_NEIGHBOURS] = architecture.network, architecture.neighbours
    return model


def name_of(model: nn.Module) -> str:
    """The name that ``segment.network`` takes for a network that ``build`` gave."""
    return str(vars(model)[_NAME])


def neighbours_of(model: nn.Module) -> int:
    """Slices on either side that a network sees beside each slice; 0 of one that ``build`` did not give."""
    return int(vars(model).get(_NEIGHBOURS, 0))


def save_segmenter(model: nn.Module, architecture: SegmenterArchitecture, folder: Path) -> None:
    """Write weights, normalisation statistics and architecture into ``folder``."""
    save_weights(model.state_dict(), folder / WEIGHTS)
    (folder / ARCHITECTURE).write_text(architecture.model_dump_json(indent=2) + "\n")


def save_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write weights and normalisation statistics to one file."""
    save_file({name: value.detach().cpu().contiguous() for name, value in weights.items()}, path)


def load_segmenter(folder: Path, device: str, weights: str = WEIGHTS) -> nn.Module:
    """The trained network of a segment trial's output ``folder``, in evaluation mode on ``device``.

    ``weights`` is the name of the file with the weights, ``BEST_WEIGHTS`` for those that validation liked best.
    """
    architecture = SegmenterArchitecture.model_validate_json((folder / ARCHITECTURE).read_text())
    model = build(architecture, seed=0)
    model.load_state_dict(load_file(folder / weights))
    return model.to(device).eval()


@torch.no_grad()
def predict(model: nn.Module, images_NCRR: Tensor, batch: int = 64, *, whole_batches: bool = False) -> Tensor:
    """Class probabilities (N, K, R, R) on the CPU, computed ``batch`` images at a time on the model's device.

    With ``whole_batches`` the last batch is filled up with zeros, so that what a sample gets does not depend, not even
    in its last bit, on how many samples follow it.
    """
    batches = _batches(model, images_NCRR, batch, whole_batches)
    return torch.cat([probabilities(model, x_BCRR).cpu() for x_BCRR in batches])[: len(images_NCRR)]


@exact()
@torch.no_grad()
def probabilities(model: nn.Module, x_BCRR: Tensor) -> Tensor:
    """Class probabilities (B, K, R, R) of one batch, on the device where it lies with the model."""
    scores_BKRR: Tensor = model(x_BCRR).softmax(dim=1)
    return scores_BKRR


@torch.no_grad()
def features(
    model: nn.Module,
    images_NCRR: Tensor,
    layers: Sequence[str] | None = None,
    batch: int = 64,
    *,
    whole_batches: bool = False,
) -> Tensor:
    """Mean, then standard deviation over space of each channel of the named layers, one layer after another.

    (N, 2D) on the CPU, with D channels in all; without ``layers``, of the bottleneck. ``whole_batches`` is as in
    ``predict``.

    Raises:
        AttributeError: the network has no layer of such a name.
    """
    names = feature_layers(model)[:1] if layers is None else tuple(layers)
    batches = _batches(model, images_NCRR, batch, whole_batches)
    return torch.cat([observe(model, x_BCRR, names)[1].cpu() for x_BCRR in batches])[: len(images_NCRR)]


@exact()
@torch.no_grad()
def observe(model: nn.Module, x_BCRR: Tensor, layers: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Logits (B, K, R, R) and ``features`` (B, 2D) of one batch in one pass, on the device where both lie.

    Raises:
        AttributeError: the network has no layer of such a name.
    """
    pooled: dict[str, Tensor] = {}

    def keep(name: str, output_BDhw: Tensor) -> None:
        pooled[name] = mean_and_sd(output_BDhw)

    modules = [(name, model.get_submodule(name)) for name in layers]
    hooks = [module.register_forward_hook(lambda _m, _i, out, name=name: keep(name, out)) for name, module in modules]
    try:
        logits_BKRR = model(x_BCRR)
    finally:
        for hook in hooks:
            hook.remove()
    return logits_BKRR, torch.cat([pooled[name] for name in layers], dim=1)


def mean_and_sd(maps_BDhw: Tensor) -> Tensor:
    """Mean, then standard deviation over space of each channel, (B, 2D)."""
    flat = maps_BDhw.flatten(start_dim=2)
    mean_BD1 = flat.mean(dim=2, keepdim=True)
    # as ``std``, which takes ten times as long on a CPU
    sd_BD = torch.linalg.vector_norm(flat - mean_BD1, dim=2) / flat.shape[2] ** 0.5
    return torch.cat([mean_BD1[:, :, 0], sd_BD], dim=1)


def most_likely(scores_NKRR: Tensor) -> Tensor:
    """Class of the highest score, the first of equal ones, uint8 (N, R, R); as ``argmax`` over classes but faster."""
    best_NRR, *others = scores_NKRR.unbind(dim=1)
    labels_NRR = torch.zeros(best_NRR.shape, dtype=torch.uint8, device=best_NRR.device)
    for label, score_NRR in enumerate(others, start=1):
        labels_NRR.masked_fill_(score_NRR > best_NRR, label)
        best_NRR = torch.maximum(best_NRR, score_NRR)
    return labels_NRR


def _batches(model: nn.Module, images_NCRR: Tensor, batch: int, whole: bool) -> Iterator[Tensor]:
    """``batch`` images at a time on the model's device; with ``whole``, zeros fill up the last batch."""
    device = next(model.parameters()).device
    for first in range(0, len(images_NCRR), batch):
        x_BCRR = images_NCRR[first : first + batch]
        if whole and (missing := batch - len(x_BCRR)):
            x_BCRR = torch.cat([x_BCRR, x_BCRR.new_zeros(missing, *x_BCRR.shape[1:])])
        yield x_BCRR.to(device)


def feature_layers(model: nn.Module) -> tuple[str, ...]:
    """Dotted names of the deepest layer of a network that ``build`` gave, then of the stages on the way up from it.

    The output of each is (N, D, h, w). The last stage of a ``unet`` gives its logits; our other networks have a layer
    for those behind the last stage.

    Raises:
        UserError: the network names none.
    """
    layers = NETWORKS[name_of(model)].layers
    if layers is None:
        raise UserError(no_layers(name_of(model)))
    return tuple(layers(model))
