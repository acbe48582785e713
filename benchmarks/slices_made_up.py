"""Slices that the benchmarks make up: noise and discs."""

import numpy as np


def made_up(slices: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise with one disc in another on every slice: images (slices, 1, side, side) and masks (slices, side, side)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    centres = rng.uniform(side / 4, 3 * side / 4, (slices, 2, 1, 1))
    distance = np.hypot(y - centres[:, 0], x - centres[:, 1])
    masks = ((distance < side / 5).astype(np.uint8) + (distance < side / 12)).astype(np.uint8)
    images = (masks[:, None] + rng.normal(0, 0.5, (slices, 1, side, side))).astype(np.float32)
    return images, masks
