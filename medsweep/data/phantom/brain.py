"""A made-up brain without its skull: folded grey matter around white, deep nuclei, ventricles and sulci."""

from enum import IntEnum

import numpy as np

from medsweep.data.phantom.shapes import Canvas, smooth, squared_radius


class Tissue(IntEnum):
    """Tissue codes of a brain; lesions are painted by the cohorts that have them."""

    OUTSIDE = 0
    SULCUS = 1
    GREY = 2
    WHITE = 3
    VENTRICLE = 4
    GLIOSIS = 5
    VESSEL = 6
    NECROSIS = 7
    OEDEMA = 8
    ENHANCING = 9


def paint_brain(canvas: Canvas) -> None:
    """Paint a healthy brain of varying size, place and folding."""
    rng = canvas.rng
    centre = rng.normal(0.0, 0.04, 3)
    level = squared_radius(canvas.bent, centre, np.array([0.72, 0.86, 0.8]) * np.exp(rng.normal(0.0, 0.06, 3)))
    folds = smooth(rng, canvas.bent, 1.0, 11.0)
    canvas.paint(Tissue.SULCUS, level < 1)
    canvas.paint(Tissue.GREY, level * (1 + 0.16 * np.abs(folds)) < 0.92, over=(Tissue.SULCUS,))
    canvas.paint(Tissue.WHITE, level * (1 + 0.35 * folds) < 0.5, over=(Tissue.GREY,))
    fissure = (np.abs(canvas.bent[0] - centre[0]) < 0.035) & (canvas.bent[2] > centre[2] + 0.25)
    canvas.paint(Tissue.SULCUS, fissure, over=(Tissue.GREY, Tissue.WHITE))
    for side in (-1, 1):
        nucleus = canvas.blob(centre + np.array([side * 0.22, 0.02, -0.05]), (0.1, 0.2, 0.16), rough=0.1)
        canvas.paint(Tissue.GREY, nucleus)
        wide = float(np.exp(rng.normal(0.0, 0.25)))
        ventricle = canvas.blob(centre + np.array([side * 0.1, 0.0, 0.1]), (0.07 * wide, 0.3, 0.15 * wide), rough=0.2)
        canvas.paint(Tissue.VENTRICLE, ventricle, over=(Tissue.WHITE, Tissue.GREY))
