"""Fine texture of a pool beside that of real slices, which is worked out once, and what real patients differ by.

Shapes: N images, C modalities, D maps of a level, R resolution in pixels.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from medsweep.data.slices import SliceSet
from medsweep.trainers.assessment.masks import evenly_spread
from medsweep.trainers.diagnosis.layers import observed_layers
from medsweep.trainers.measures.patterns import Patterns, grey_window
from medsweep.trainers.precision import exact

MOST: Final = 512
"""Images of a side at most, evenly spread."""
BATCH: Final = 32
GRAM_LEVELS: Final = {"encoder 1": "1", "encoder 2": "2"}
"""Levels of a U-Net by the end of their metric's name."""
ARRAYS, FLOOR = "real_fine_texture.safetensors", "real_fine_texture.json"

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class FineTexture:
    """Patterns of a set of images, and ``grams`` of a judge that sees them."""

    patterns: Patterns
    grams: Mapping[str, Array]

    @classmethod
    def of(cls, judge: nn.Module, images_NCRR: NDArray[np.float32], window_C2: Array) -> "FineTexture":
        """Of a set of images, with the window of ``grey_window``, ``BATCH`` at a time, which bounds the memory."""
        batches = [images_NCRR[first : first + BATCH] for first in range(0, len(images_NCRR), BATCH)]
        patterns = [Patterns.of(batch, window_C2) for batch in batches]
        return cls(Patterns.mean(patterns, [len(batch) for batch in batches]), grams(judge, images_NCRR))

    @classmethod
    def mean(cls, sets: Sequence["FineTexture"], weights: Sequence[float]) -> "FineTexture":
        """Of several sets together, each with a weight."""
        levels = {
            level: np.average(np.stack([one.grams[level] for one in sets]), axis=0, weights=weights)
            for level in sets[0].grams
        }
        return cls(Patterns.mean([one.patterns for one in sets], weights), levels)

    def differences(self, synthetic: "FineTexture") -> dict[str, float]:
        """``Patterns.differences``, and ``gram_distance_LEVEL``, the mean squared difference of the entries."""
        distances = {
            f"gram_distance_{level}": float(np.square(synthetic.grams[level] - own).mean())
            for level, own in self.grams.items()
        }
        return self.patterns.differences(synthetic.patterns) | distances


@exact()
@torch.no_grad()
def grams(judge: nn.Module, images_NCRR: NDArray[np.float32]) -> dict[str, Array]:
    """Gram matrix (D, D) of the maps of each of ``GRAM_LEVELS`` (Gatys et al. 2015), mean over pixels and images.

    Empty for a network that is no plain U-Net.
    """
    layers = {GRAM_LEVELS[level]: layer for level, layer in observed_layers(judge).items() if level in GRAM_LEVELS}
    sums: dict[str, Array] = {}

    def keep(level: str, maps_BDhw: Tensor) -> None:
        flat = maps_BDhw.flatten(start_dim=2).double()
        gram_DD = torch.einsum("bdx,bex->de", flat, flat) / flat.shape[2]
        sums[level] = sums.get(level, 0.0) + gram_DD.cpu().numpy() / len(images_NCRR)

    if not layers:
        return {}
    device = next(judge.parameters()).device
    hooks = [
        judge.get_submodule(layer).register_forward_hook(lambda _m, _i, out, level=level: keep(level, out))
        for level, layer in layers.items()
    ]
    try:
        for first in range(0, len(images_NCRR), BATCH):
            judge(torch.from_numpy(images_NCRR[first : first + BATCH]).to(device))
    finally:
        for hook in hooks:
            hook.remove()
    return sums


@dataclass(frozen=True)
class RealTexture:
    """Fine texture of the real slices, and how far random halves of their patients lie apart."""

    window: Array
    """``grey_window``, (C, 2)."""
    texture: FineTexture
    floor: Mapping[str, float]
    """Mean size of each of ``differences`` between halves; empty with fewer than two patients."""

    @classmethod
    def of(
        cls, judge: nn.Module, data: SliceSet, rows: Indices, rng: np.random.Generator, halvings: int
    ) -> "RealTexture":
        """Of some slices, read one patient at a time."""
        rows = rows[evenly_spread(len(rows), MOST)]
        owners_N, window = data.owners[rows], grey_window(data.image_rows(rows))
        by_patient = [rows[owners_N == patient] for patient in sorted(set(owners_N))]
        textures = [FineTexture.of(judge, data.image_rows(own), window) for own in by_patient]
        slices = [float(len(own)) for own in by_patient]
        return cls(window, FineTexture.mean(textures, slices), _floor(textures, slices, rng, halvings))

    def differences(self, judge: nn.Module, pool_nCRR: NDArray[np.floating]) -> dict[str, float]:
        """Differences of a pool from the real slices, and each with its floor as ``NAME_floor``.

        ``gram_ratio_LEVEL`` is the distance of Gram matrices over that between halves of the patients.
        """
        images = np.array(pool_nCRR[evenly_spread(len(pool_nCRR), MOST)], np.float32)
        found = self.texture.differences(FineTexture.of(judge, images, self.window))
        told: dict[str, float] = {}
        for name, value in found.items():
            floor, gram = self.floor.get(name), name.startswith("gram_distance_")
            if gram and floor:
                told[name.replace("distance", "ratio")] = value / floor
            elif not gram:
                told |= {name: value} if floor is None else {name: value, f"{name}_floor": floor}
        return told

    def save(self, folder: Path) -> None:
        """Write it into ``folder``."""
        patterns, levels = self.texture.patterns, self.texture.grams
        arrays = {"window": self.window, **vars(patterns), **{f"gram_{level}": gram for level, gram in levels.items()}}
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / ARRAYS)
        (folder / FLOOR).write_text(json.dumps(dict(self.floor), indent=2, sort_keys=True, allow_nan=False) + "\n")

    @classmethod
    def open(cls, folder: Path) -> "RealTexture":
        """What ``save`` wrote into ``folder``."""
        arrays = load_file(folder / ARRAYS)
        window = arrays.pop("window")
        levels = {name.removeprefix("gram_"): arrays.pop(name) for name in sorted(arrays) if name.startswith("gram_")}
        return cls(window, FineTexture(Patterns(**arrays), levels), json.loads((folder / FLOOR).read_text()))


def _floor(
    textures: Sequence[FineTexture], slices: Sequence[float], rng: np.random.Generator, halvings: int
) -> dict[str, float]:
    if len(textures) < 2:
        return {}
    found = []
    for _ in range(halvings):
        shuffled = rng.permutation(len(textures))
        halves = shuffled[: len(shuffled) // 2], shuffled[len(shuffled) // 2 :]
        one, other = (FineTexture.mean([textures[i] for i in half], [slices[i] for i in half]) for half in halves)
        found.append(one.differences(other))
    names = dict.fromkeys(name for one in found for name in one)
    return {name: float(np.mean([abs(one[name]) for one in found if name in one])) for name in names}
