"""A made-up abdomen in portal-venous CT: tissues, their Hounsfield units, and the noise of a reconstruction."""

from enum import IntEnum

import numpy as np
from scipy.ndimage import gaussian_filter

from medsweep.data.phantom.shapes import Canvas, Floats, floats

LOWEST_HU, HIGHEST_HU = -1024, 3071
"""Range of a 12-bit scanner."""


class Tissue(IntEnum):
    """Tissue codes of an abdomen."""

    AIR = 0
    FAT = 1
    MUSCLE = 2
    VISCERAL_FAT = 3
    BONE = 4
    LUNG = 5
    LIVER = 6
    METASTASIS = 7
    STOMACH = 8
    SPLEEN = 9
    KIDNEY = 10
    CYST = 11
    TUMOUR = 12
    AORTA = 13
    BOWEL = 14
    GAS = 15


HU: dict[Tissue, tuple[float, float]] = {
    Tissue.AIR: (-1000, 0),
    Tissue.FAT: (-100, 5),
    Tissue.MUSCLE: (55, 5),
    Tissue.VISCERAL_FAT: (-95, 6),
    Tissue.BONE: (480, 70),
    Tissue.LUNG: (-820, 30),
    Tissue.LIVER: (105, 12),
    Tissue.METASTASIS: (70, 12),
    Tissue.STOMACH: (35, 20),
    Tissue.SPLEEN: (115, 12),
    Tissue.KIDNEY: (140, 20),
    Tissue.CYST: (10, 6),
    Tissue.TUMOUR: (85, 20),
    Tissue.AORTA: (145, 15),
    Tissue.BOWEL: (50, 25),
    Tissue.GAS: (-850, 40),
}
"""Mean over patients and SD between patients."""

TEXTURE_HU = {Tissue.AIR: 0.0, Tissue.BONE: 150.0, Tissue.LUNG: 40.0, Tissue.TUMOUR: 22.0, Tissue.BOWEL: 22.0}
"""SD of the texture within a tissue where it is not that of the others."""
SOFT_TEXTURE_HU = 8.0

BODY = tuple(code for code in Tissue if code is not Tissue.AIR)
"""Tissues that an organ may be painted over."""


def paint_abdomen(canvas: Canvas) -> None:
    """Paint a trunk: liver on the patient's right, stomach and spleen on the left, kidneys behind."""
    centre = canvas.rng.normal(0.0, 0.03, 3) * (1, 1, 0)

    def organ(code: Tissue, at: tuple[float, float, float], radii: tuple[float, float, float], rough: float) -> None:
        inside = canvas.blob(centre + np.asarray(at), radii, shift=0.035, stretch=0.1, rough=rough)
        canvas.paint(code, inside, over=None if code is Tissue.FAT else BODY)

    organ(Tissue.FAT, (0.0, 0.0, 0.0), (0.88, 0.76, 9.0), 0.0)
    organ(Tissue.MUSCLE, (0.0, 0.0, 0.0), (0.78, 0.66, 9.0), 0.0)
    organ(Tissue.VISCERAL_FAT, (0.0, 0.06, 0.0), (0.68, 0.54, 9.0), 0.0)
    organ(Tissue.MUSCLE, (0.0, -0.4, 0.0), (0.32, 0.2, 9.0), 0.1)
    organ(Tissue.BONE, (0.0, -0.42, 0.0), (0.13, 0.13, 9.0), 0.2)
    for side in (-1, 1):
        organ(Tissue.LUNG, (side * 0.4, -0.05, 1.1), (0.32, 0.45, 0.3), 0.1)
        for height in (-0.3, 0.3, 0.9):
            organ(Tissue.BONE, (side * 0.7, -0.15, height), (0.06, 0.22, 0.12), 0.1)
    for _ in range(7):
        at = canvas.rng.uniform((-0.4, -0.05, -1.0), (0.4, 0.4, 0.3), 3)
        loop = canvas.blob(at, (0.14, 0.13, 0.22), rough=0.3)
        canvas.paint(Tissue.BOWEL, loop, over=(Tissue.VISCERAL_FAT,))
        gas = canvas.blob(at + np.array([0.0, 0.06, 0.0]), (0.06, 0.05, 0.1))
        canvas.paint(Tissue.GAS, gas & loop, over=(Tissue.BOWEL,))
    organ(Tissue.STOMACH, (-0.28, 0.24, 0.5), (0.24, 0.2, 0.4), 0.2)
    organ(Tissue.LIVER, (0.34, 0.1, 0.45), (0.36, 0.42, 0.55), 0.15)
    organ(Tissue.AORTA, (-0.04, -0.2, 0.0), (0.07, 0.07, 9.0), 0.0)
    spleen = float(np.exp(canvas.rng.normal(0.0, 0.2)))
    organ(Tissue.SPLEEN, (-0.5, -0.12, 0.45), (0.15 * spleen, 0.26 * spleen, 0.36 * spleen), 0.25)
    for side in (-1, 1):
        organ(Tissue.KIDNEY, (side * 0.32, -0.2, -0.1 - 0.08 * side), (0.15, 0.17, 0.42), 0.15)


def acquire(canvas: Canvas) -> Floats:
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
