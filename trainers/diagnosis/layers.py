"""Names of the parts of a segmenter, as tables show them."""

import re
from typing import Final

from torch import nn

from medsweep.trainers.segmentation.network import feature_layers, name_of

ALL: Final = "all"
UNET: Final = "unet"


def group_of(model: nn.Module, name: str) -> str:
    """The part of ``model`` that a weight or layer of this dotted ``name`` belongs to.

    A U-Net has ``encoder 1`` (the first level), ``encoder 2``, ..., ``bottleneck``, ..., ``decoder 2``, ``head``, which
    is the last level on the way up and gives the logits. Other networks keep the names of their modules.
    """
    if name_of(model) != UNET:
        found = re.match(r"\w+(\.\d+)?", name)
        return found[0] if found else name
    depth, place = name.count("submodule"), name.rpartition("submodule.")[2].removeprefix("model.").split(".")[0]
    if place == "0":
        return f"encoder {depth + 1}"
    if place == "2":
        return f"decoder {depth + 1}" if depth else "head"
    return "bottleneck"


def observed_layers(model: nn.Module) -> dict[str, str]:
    """Dotted name of the layer whose output is looked at, by the name of its level.

    A U-Net shows all levels, other networks those from the deepest up.
    """
    deep = feature_layers(model)
    if name_of(model) != UNET:
        return {name: name for name in deep}
    levels = range(len(deep) - 1)
    down = ["model." + "1.submodule." * level + "0" for level in levels]
    return {group_of(model, f"{name}."): name for name in (*down, *deep)}
