"""From clean signal to a magnitude MR image: partial volume, texture, bias field, gain and Rician noise.

Rician noise is the magnitude of a complex signal with Gaussian noise (Gudbjartsson and Patz 1995, DOI
10.1002/mrm.1910340618).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from medsweep.data.phantom.shapes import Floats, Triple, floats, smooth


@dataclass(frozen=True)
class Scanner:
    """How a clean signal of some hundreds is degraded."""

    blur: Triple = (0.6, 0.6, 0.3)
    """SD of the partial volume blur along X, Y and Z, in voxels."""
    texture: float = 0.15
    """Amplitude of the tissue's texture; 1 gives about 15 % of the signal (SD)."""
    bias: float = 0.12
    """SD of the logarithm of the bias field."""
    noise: float = 28.0
    """SD of the noise in each part of the complex signal."""
    gain: float = 1.0
    """The logarithm of the gain is uniform within plus and minus this."""


def signals(intensity: Mapping[int, Sequence[float]], tissue: NDArray[np.uint8]) -> Floats:
    """Clean signal (C, X, Y, Z) from tissue codes (X, Y, Z) and, per code, the intensity in each modality."""
    table = np.zeros((256, len(next(iter(intensity.values())))), np.float32)
    for code, values in intensity.items():
        table[code] = values
    return np.moveaxis(table[tissue], 3, 0)


def acquire(rng: np.random.Generator, grid: Floats, clean: Floats, scanner: Scanner) -> Floats:
    """Images (C, X, Y, Z) of a clean signal of that shape, one modality after the other."""
    acquired = np.empty_like(clean)
    for number, signal in enumerate(clean):
        blurred = gaussian_filter(signal, scanner.blur)
        texture = gaussian_filter(rng.standard_normal(signal.shape, np.float32), 1.0)
        biased = blurred * (1 + scanner.texture * texture) * np.exp(smooth(rng, grid, scanner.bias))
        real, imaginary = rng.standard_normal((2, *signal.shape), np.float32) * floats(scanner.noise)
        gain = np.float32(np.exp(rng.uniform(-scanner.gain, scanner.gain)))
        acquired[number] = gain * np.hypot(biased + real, imaginary)
    return acquired
