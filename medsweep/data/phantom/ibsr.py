"""A made-up cohort in the layout of IBSR18: stripped T1 brains with masks of CSF, grey and white matter.

``IBSR_XX/IBSR_XX_{ana_strip,segTRI_ana,segTRI_fill_ana}.nii.gz``, stored as (X, coarse, Z, 1): the second axis is
coarse and coronal. Zeros inside the brain of ``segTRI`` (the sulci) are CSF in ``segTRI_fill``. Handedness is a choice
of ours.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsweep.data.phantom.brain import Tissue, paint_brain
from medsweep.data.phantom.cohort import Cohort, Patient
from medsweep.data.phantom.config import Spacing
from medsweep.data.phantom.files import Header, write_volume
from medsweep.data.phantom.mr import Scanner, acquire, signals
from medsweep.data.phantom.shapes import grid_of

CSF, GREY, WHITE = 1, 2, 3
INTENSITY: dict[int, float] = {Tissue.SULCUS: 390.0, Tissue.VENTRICLE: 270.0, Tissue.GREY: 500.0, Tissue.WHITE: 620.0}

DARK = {11: 0.2, 12: 0.25}
"""Gain of the dark cases, by number."""
FLAT = {5: 0.3, 15: 0.4}
"""Contrast of the cases that lack it, by number, as a share of the others' contrast."""

SCANNER = Scanner(blur=(0.6, 0.4, 0.6), texture=0.8, bias=0.18, noise=65.0, gain=0.5)


def write(patient: Patient, root: Path) -> None:
    """Write the image and both masks of one patient."""
    canvas = patient.canvas()
    paint_brain(canvas)
    tissue, contrast = canvas.tissue, FLAT.get(patient.number, 1.0)
    signal: dict[int, tuple[float, ...]] = {
        code: (500 + contrast * (value - 500),) for code, value in INTENSITY.items()
    }
    gained = acquire(patient.rng, grid_of(patient.shape), signals(signal, tissue), SCANNER)[0]
    image = np.where(tissue != Tissue.OUTSIDE, gained * DARK.get(patient.number, 1.0), 0)
    plain = np.zeros(patient.shape, np.uint8)
    for code, value in ((Tissue.VENTRICLE, CSF), (Tissue.GREY, GREY), (Tissue.WHITE, WHITE)):
        plain[tissue == code] = value
    filled = np.where((plain == 0) & (tissue != Tissue.OUTSIDE), np.uint8(CSF), plain)
    files: dict[str, NDArray[Any]] = {
        "ana_strip": np.rint(image).astype(np.int16),
        "segTRI_ana": plain,
        "segTRI_fill_ana": filled,
    }
    for name, array in files.items():
        path = root / patient.id / f"{patient.id}_{name}.nii.gz"
        write_volume(path, array[..., np.newaxis], patient.spacing_mm, Header("LAS"))


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
