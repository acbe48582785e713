"""Whether the images of a patient are like those of a prepared cohort, as far as size and intensities tell."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from medsweep.data.geometry import Resize, plane_axes
from medsweep.data.slices import SliceSet

LEVELS: Final = np.linspace(0.05, 0.95, 19)
"""Quantiles by which the scaled intensities of a patient are compared."""
CASES: Final = 50
SLICES: Final = 16
"""Evenly spread cases of a cohort, and slices of a case, that are looked at."""
SIDE: Final = 64
"""Pixels along a row or column that are looked at."""
FAR: Final = 3.0
"""Intensities this many times as far from the cohort's middle as those of its farthest case are named."""
LEAST: Final = 0.15
"""Distance, on the networks' scale, that the farthest case has at least, since some cohorts are all alike."""
LARGER: Final = 2.0
"""Sizes beyond all of the cohort by more than this factor are named."""
WAYS: Final = ("from left to right", "from back to front", "from feet to head")
"""The canonical axes, for people."""


@dataclass(frozen=True, eq=False)
class Likeness:
    """What the cases of a cohort measure, P of them at most ``CASES``."""

    modalities: tuple[str, ...]
    sizes_P3: NDArray[np.float64]  # noqa: N815
    """Extent in mm along X, Y and Z of all cases."""
    levels_PCQ: NDArray[np.float64]  # noqa: N815
    """Quantiles of the scaled intensities, by case and modality."""

    @classmethod
    def of(cls, data: SliceSet) -> "Likeness":
        """Look at a prepared cohort."""
        volumes = list(data.volumes.values())
        chosen = [volumes[number] for number in _spread(len(volumes), CASES)]
        levels = [
            levels_of(
                data.image_rows(volume.rows.start + _spread(len(volume.rows), SLICES)), volume.resize
            )
            for volume in chosen
        ]  # fmt: skip
        sizes = [
            size_mm((len(volume.rows), volume.resize.height, volume.resize.width), volume.spacing_mm, volume.slice_axis)
            for volume in volumes
        ]
        return cls(data.modalities, np.array(sizes), np.array(levels))

    def remarks(self, size: NDArray[np.float64], levels_CQ: NDArray[np.float64]) -> Iterator[str]:
        """In what a patient of this size in mm and these quantiles is far from all of the cohort."""
        for way, own, low, high in zip(WAYS, size, self.sizes_P3.min(0), self.sizes_P3.max(0), strict=True):
            if own > high * LARGER or own < low / LARGER:
                yield f"{own:.0f} mm {way}, where the patients of the sweep have {low:.0f} to {high:.0f} mm"
        middle_CQ = np.median(self.levels_PCQ, axis=0)
        apart_PC = np.abs(self.levels_PCQ - middle_CQ).mean(axis=2)
        ratio_C = np.abs(levels_CQ - middle_CQ).mean(axis=1) / np.maximum(apart_PC.max(axis=0), LEAST)
        for name, ratio in zip(self.modalities, ratio_C, strict=True):
            if ratio > FAR:
                yield (
                    f"intensities of {name} {ratio:.0f} times as far from the middle of the sweep's patients as those "
                    "of the farthest of them"
                )


def levels_of(images_ZCRR: NDArray[np.float32], resize: Resize) -> NDArray[np.float64]:
    """``LEVELS`` of the scaled intensities of some slices without their padding, (C, Q)."""
    top, left = resize.top_left
    inner = images_ZCRR[..., top : top + resize.scaled_height, left : left + resize.scaled_width]
    step = -(-max(inner.shape[-2:]) // SIDE)
    by_modality = np.moveaxis(inner[_spread(len(inner), SLICES), :, ::step, ::step], 1, 0)
    flat = by_modality.reshape(len(by_modality), -1).astype(np.float64)
    found: NDArray[np.float64] = np.quantile(flat, LEVELS, axis=1).T
    return found


def size_mm(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], slice_axis: int
) -> NDArray[np.float64]:
    """Extent in mm along X, Y and Z of planes of ``shape`` (slices, rows, columns)."""
    size = np.empty(3)
    size[list(plane_axes(slice_axis))] = np.multiply(shape, spacing_mm)
    return size


def _spread(total: int, most: int) -> NDArray[np.int64]:
    """Up to ``most`` of ``total`` numbers, evenly spread."""
    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(np.int64))
