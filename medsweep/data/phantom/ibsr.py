"""A made-up cohort in the layout of IBSR18: stripped T1 brains with masks of CSF, grey and white matter.

``IBSR_XX/IBSR_XX_{ana_strip,segTRI_ana,segTRI_fill_ana}.nii.gz``, stored as (X, coarse, Z, 1): the second axis is
coarse and coronal. Zeros inside the brain of ``segTRI`` (the sulci) are CSF in ``segTRI_fill``. Handedness is a choice
of ours.
"""

from pathlib import Path

import numpy as np

from medsweep.data.phantom.anatomy import paint_brain
from medsweep.data.phantom.canvas import Spacing, Tissue
from medsweep.data.phantom.cohort import Cohort, Patient, write_volume
from medsweep.data.phantom.scanner import Scanner, mr_images

CSF = 1
LABELS = {Tissue.VENTRICLE: CSF, Tissue.GREY: 2, Tissue.WHITE: 3}
INTENSITY = {Tissue.SULCUS: 390.0, Tissue.VENTRICLE: 270.0, Tissue.GREY: 500.0, Tissue.WHITE: 620.0}

DARK = {11: 0.2, 12: 0.25}
"""Gain of the dark cases, by number."""
FLAT = {5: 0.3, 15: 0.4}
"""Contrast of the cases that lack it, by number, as a share of the others' contrast."""

SCANNER = Scanner(blur=(0.6, 0.4, 0.6), texture=0.8, bias=0.18, noise=65.0, gain=0.5)


def write(patient: Patient, root: Path) -> None:
    """Write the image and both masks of one patient."""
    canvas = patient.canvas()
    paint_brain(canvas)
    contrast = FLAT.get(patient.number, 1.0)
    intensity = {tissue: 500 + contrast * (value - 500) for tissue, value in INTENSITY.items()}
    gained = mr_images(canvas, intensity, SCANNER)[0]
    brain = canvas.tissue != Tissue.OUTSIDE
    image = np.where(brain, gained * DARK.get(patient.number, 1.0), 0)
    plain = canvas.labels(LABELS)
    filled = np.where((plain == 0) & brain, np.uint8(CSF), plain)
    named = (("ana_strip", np.rint(image).astype(np.int16)), ("segTRI_ana", plain), ("segTRI_fill_ana", filled))
    for name, array in named:
        path = root / patient.id / f"{patient.id}_{name}.nii.gz"
        write_volume(path, array[..., np.newaxis], patient.spacing_mm, "LAS")


def _spacing(rng: np.random.Generator) -> Spacing:
    """The true pixel sizes and 1.5 mm slices, as much coarser as the small grid is."""
    pixel = round(float(rng.choice((0.837, 0.9375, 1.0))) * 16 / 3, 4)
    return pixel, 8.0, pixel


COHORT = Cohort(
    dataset="ibsr18",
    id_format="IBSR_{:02d}",
    first=(5, 11),
    start=1,
    shape=(48, 24, 48),
    spacing_mm=_spacing,
    write=write,
)
