"""From tissues to images: MR with partial volume, texture, bias field, gain and Rician noise, and portal-venous CT."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from medsweep.data.phantom.canvas import Canvas, Floats, Tissue, Triple, floats, grid_of, smooth

LOWEST_HU, HIGHEST_HU = -1024, 3071
"""Range of a 12-bit scanner."""

HU: dict[Tissue, tuple[float, float]] = {
    Tissue.OUTSIDE: (-1000, 0), Tissue.FAT: (-100, 5), Tissue.MUSCLE: (55, 5), Tissue.VISCERAL_FAT: (-95, 6),
    Tissue.BONE: (480, 70), Tissue.LUNG: (-820, 30), Tissue.LIVER: (105, 12), Tissue.METASTASIS: (70, 12),
    Tissue.STOMACH: (35, 20), Tissue.SPLEEN: (115, 12), Tissue.KIDNEY: (140, 20), Tissue.CYST: (10, 6),
    Tissue.TUMOUR: (85, 20), Tissue.AORTA: (145, 15), Tissue.BOWEL: (50, 25), Tissue.GAS: (-850, 40),
}  # fmt: skip
"""Mean over patients and SD between patients."""

TEXTURE_HU = {Tissue.OUTSIDE: 0.0, Tissue.BONE: 150.0, Tissue.LUNG: 40.0, Tissue.TUMOUR: 22.0, Tissue.BOWEL: 22.0}
"""SD of the texture within a tissue where it is not that of the others."""
SOFT_TEXTURE_HU = 8.0


@dataclass(frozen=True)
class Scanner:
    """How a clean MR signal of some hundreds is degraded."""

    blur: Triple = (0.6, 0.6, 0.3)
    """SD of the partial volume blur along X, Y and Z, in voxels."""
    texture: float = 0.15
    """Amplitude of the tissue's texture; 1 gives about 15 % of the signal (SD)."""
    bias: float = 0.12
    """SD of the logarithm of the bias field."""
    noise: float = 28.0
    """SD of the noise in the real and in the imaginary component of the signal."""
    gain: float = 1.0
    """The logarithm of the gain is uniform within plus and minus this."""


def mr_images(canvas: Canvas, intensity: Mapping[Tissue, float | Sequence[float]], scanner: Scanner) -> Floats:
    """Images (C, X, Y, Z) of painted tissues, given the clean intensity of each tissue in every modality."""
    values = np.array(list(intensity.values()), np.float32).reshape(len(intensity), -1)
    table = np.zeros((256, values.shape[1]), np.float32)
    table[list(intensity)] = values
    clean = np.moveaxis(table[canvas.tissue], 3, 0)
    return degrade(canvas.rng, grid_of(canvas.tissue.shape), clean, scanner)


def degrade(rng: np.random.Generator, grid: Floats, clean: Floats, scanner: Scanner) -> Floats:
    """Magnitude MR images (C, X, Y, Z) of a clean signal of that shape, one modality after the other.

    Rician noise is the magnitude of a complex signal with Gaussian noise (Gudbjartsson and Patz 1995, DOI
    10.1002/mrm.1910340618).
    """
    acquired = np.empty_like(clean)
    for number, signal in enumerate(clean):
        blurred = gaussian_filter(signal, scanner.blur)
        texture = gaussian_filter(rng.standard_normal(signal.shape, np.float32), 1.0)
        biased = blurred * (1 + scanner.texture * texture) * np.exp(smooth(rng, grid, scanner.bias))
        real, imaginary = rng.standard_normal((2, *signal.shape), np.float32) * floats(scanner.noise)
        gain = np.float32(np.exp(rng.uniform(-scanner.gain, scanner.gain)))
        acquired[number] = gain * np.hypot(biased + real, imaginary)
    return acquired


def ct_image(canvas: Canvas) -> Floats:
    """HU (X, Y, Z) of painted tissues: means of the patient, texture, partial volume and noise correlated in the plane.

    Values are whole and within ``LOWEST_HU`` and ``HIGHEST_HU``.
    """
    rng, shape = canvas.rng, canvas.tissue.shape
    means, textures = np.zeros(256, np.float32), np.zeros(256, np.float32)
    for tissue, (mean, between) in HU.items():
        means[tissue] = rng.normal(mean, between)
        textures[tissue] = TEXTURE_HU.get(tissue, SOFT_TEXTURE_HU)
    texture = _unit(gaussian_filter(rng.standard_normal(shape, np.float32), (1.2, 1.2, 0.8)))
    clean = means[canvas.tissue] + textures[canvas.tissue] * texture
    noise = _unit(gaussian_filter(rng.standard_normal(shape, np.float32), (0.6, 0.6, 0.0)))
    blurred = gaussian_filter(clean, (0.5, 0.5, 0.3)) + noise * np.float32(rng.uniform(12, 26))
    hu: Floats = np.rint(np.clip(blurred, LOWEST_HU, HIGHEST_HU))
    return hu


def _unit(field: Floats) -> Floats:
    return floats(field / field.std())
