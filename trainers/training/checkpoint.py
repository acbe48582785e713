"""Checkpoints without pickle: tensors go to safetensors, everything else to JSON.

A state is any nest of dicts, lists, tensors and JSON values; keys may be strings or integers (optimisers use them).
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

TENSORS = "tensors.safetensors"
TREE = "tree.json"


def save_state(folder: Path, state: Any) -> None:
    """Write ``state`` into ``folder``.

    Raises:
        TypeError: the state holds something that is neither a tensor nor a JSON value.
    """
    tensors: dict[str, Tensor] = {}
    tree = _pack(state, tensors)
    save_file(tensors, folder / TENSORS)
    (folder / TREE).write_text(json.dumps(tree, allow_nan=True))


def load_state(folder: Path, device: str = "cpu") -> Any:
    """What ``save_state`` wrote, with tensors on ``device`` (random-generator states always on the CPU)."""
    tensors = load_file(folder / TENSORS, device="cpu")
    tree = json.loads((folder / TREE).read_text())
    return _unpack(tree, tensors, device)


def has_form_of(state: Any, template: Any) -> bool:
    """Whether ``state`` has the keys of ``template``, at every depth.

    What is empty in the template says nothing: an optimiser has no moments before its first step.
    """
    if not isinstance(template, dict) or not template:
        return True
    return (
        isinstance(state, dict)
        and state.keys() == template.keys()
        and all(has_form_of(state[key], template[key]) for key in template)
    )


def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = f"t{len(tensors):05d}"
        tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[key, _pack(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_pack(item, tensors) for item in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise TypeError(f"a checkpoint cannot hold {type(value).__name__}: {value!r}")


def _unpack(node: Any, tensors: dict[str, Tensor], device: str) -> Any:
    if "tensor" in node:
        tensor = tensors[node["tensor"]]
        return tensor if tensor.dtype == torch.uint8 else tensor.to(device)
    if "dict" in node:
        return {key: _unpack(item, tensors, device) for key, item in node["dict"]}
    if "list" in node:
        return [_unpack(item, tensors, device) for item in node["list"]]
    return node["value"]
