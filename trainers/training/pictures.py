"""Grids of image-mask pairs as PNG files: the grey image beside the same image under its coloured classes."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medsweep.data.colours import class_colours

PALETTE = np.concatenate([np.zeros((1, 3)), class_colours()]).astype(np.float32)
"""Colour by class index; index 0 is never painted."""

TILE_PX = 96
"""Tiles smaller than this are enlarged by a whole factor, without interpolation."""

GAP_PX = 4
OPACITY = 0.6


def grid_png(
    path: Path,
    images_NCHW: NDArray[np.floating],
    masks_NHW: NDArray[np.uint8],
    columns: int,
    *,
    value_range: tuple[float, float] | None = None,
) -> Path:
    """Write ``columns`` pairs per row to ``path`` and return it; equal arrays give equal bytes.

    Channel 0 is shown. Black and white are the 0.5 % lowest and highest of all its pixels, or ``value_range``
    where two grids are to be compared. Classes beyond the palette start it over.

    Raises:
        ValueError: no pairs, or images and masks that do not belong together.
    """
    grey_NHW = np.asarray(images_NCHW[:, 0], np.float32)
    masks_NHW = np.asarray(masks_NHW)
    if len(grey_NHW) == 0 or grey_NHW.shape != masks_NHW.shape:
        raise ValueError(f"a grid needs pairs of one size, got images {grey_NHW.shape} and masks {masks_NHW.shape}")
    low, high = value_range or np.percentile(grey_NHW, (0.5, 99.5))
    unit_NHW: NDArray[np.floating] = np.clip((grey_NHW - low) / max(high - low, 1e-6), 0, 1)
    pairs = _pairs(unit_NHW, masks_NHW)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(_tiled(pairs, columns)).save(path, format="PNG")
    return path


def _pairs(unit_NHW: NDArray[np.floating], masks_NHW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Enlarged pairs, uint8 (N, H, 2W, 3)."""
    grey = np.repeat(255 * unit_NHW[..., None], 3, axis=-1)
    classes = np.where(masks_NHW == 0, 0, (masks_NHW.astype(int) - 1) % (len(PALETTE) - 1) + 1)
    opacity = np.where(masks_NHW == 0, 0, OPACITY)[..., None]
    overlay = (1 - opacity) * grey + opacity * PALETTE[classes]
    both = np.concatenate([grey, overlay], axis=2).round().astype(np.uint8)
    factor = -(-TILE_PX // unit_NHW.shape[1])
    return both.repeat(factor, axis=1).repeat(factor, axis=2)


def _tiled(pairs: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    count, height, width, _ = pairs.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    canvas = np.full((rows * columns, height + GAP_PX, width + GAP_PX, 3), 255, np.uint8)
    canvas[:count, :height, :width] = pairs
    canvas = canvas.reshape(rows, columns, *canvas.shape[1:]).swapaxes(1, 2)
    return canvas.reshape(rows * (height + GAP_PX), -1, 3)[:-GAP_PX, :-GAP_PX]
