"""A made-up cohort in the layout of BraTS20: four MR modalities and a tumour of three components.

``BraTS20_Training_XXX/BraTS20_Training_XXX_{t1,t1ce,t2,flair,seg}``, LPS, int16, background exactly 0; the mask of 355
has another name, every third patient is not compressed, one in five has no enhancing tumour.
"""

from pathlib import Path

import numpy as np

from medsweep.data.phantom.anatomy import paint_brain
from medsweep.data.phantom.canvas import Canvas, Tissue
from medsweep.data.phantom.cohort import Cohort, Patient, write_volume
from medsweep.data.phantom.scanner import Scanner, mr_images

MODALITIES = ("t1", "t1ce", "t2", "flair")
MISNAMED = {355: "W39_1998.09.19_Segm.nii"}
"""File name of the mask, by number, where it is not what the others are."""

LABELS = {Tissue.NECROSIS: 1, Tissue.OEDEMA: 2, Tissue.ENHANCING: 4}
"""Necrotic and non-enhancing core, oedema, enhancing tumour; 3 does not occur."""

INTENSITY = {
    Tissue.SULCUS: (260, 270, 900, 230),
    Tissue.VENTRICLE: (240, 250, 960, 180),
    Tissue.GREY: (480, 500, 560, 500),
    Tissue.WHITE: (620, 640, 430, 430),
    Tissue.GLIOSIS: (500, 520, 690, 690),
    Tissue.VESSEL: (460, 860, 480, 420),
    Tissue.NECROSIS: (360, 390, 740, 500),
    Tissue.OEDEMA: (450, 470, 700, 680),
    Tissue.ENHANCING: (480, 800, 620, 590),
}
SCANNER = Scanner(texture=0.7, bias=0.12, noise=36.0)


def write(patient: Patient, root: Path) -> None:
    """Write the four images and the mask of one patient."""
    canvas = patient.canvas()
    _paint(canvas, enhancing=patient.index % 5 != 3)
    images = mr_images(canvas, INTENSITY, SCANNER)
    brain = canvas.tissue != Tissue.OUTSIDE
    if patient.index % 2:
        # Bias correction and resampling leave a few negative voxels in the brain of some patients.
        images -= np.quantile(images[:, brain], 0.003, axis=1)[:, None, None, None].astype(np.float32)
    suffix = ".nii" if patient.index % 3 == 0 else ".nii.gz"
    folder = root / patient.id
    for modality, image in zip(MODALITIES, images, strict=True):
        voxels = np.rint(np.where(brain, image, 0)).astype(np.int16)
        write_volume(folder / f"{patient.id}_{modality}{suffix}", voxels, patient.spacing_mm, "LPS")
    mask = folder / MISNAMED.get(patient.number, f"{patient.id}_seg{suffix}")
    write_volume(mask, canvas.labels(LABELS), patient.spacing_mm, "LPS")


def _paint(canvas: Canvas, *, enhancing: bool) -> None:
    """A brain with spots of gliosis, vessels and one or two tumours."""
    rng = canvas.rng
    paint_brain(canvas)
    white = canvas.tissue == Tissue.WHITE
    for _ in range(rng.poisson(4)):
        canvas.paint(Tissue.GLIOSIS, canvas.blob(canvas.somewhere(white), canvas.round(0.09)), over=(Tissue.WHITE,))
    grey = canvas.tissue == Tissue.GREY
    for _ in range(3 + rng.poisson(3)):
        canvas.paint(Tissue.VESSEL, canvas.blob(canvas.somewhere(grey), (0.04, 0.05, 0.25)), over=(Tissue.GREY,))
    for _ in range(1 + int(rng.random() < 0.25)):
        _paint_tumour(canvas, enhancing=enhancing)


def _paint_tumour(canvas: Canvas, *, enhancing: bool) -> None:
    """Oedema around a core, whose rim enhances or not; each component has its own ragged edge."""
    rng = canvas.rng
    healthy = canvas.tissue != Tissue.OUTSIDE
    centre = canvas.somewhere(np.isin(canvas.tissue, (Tissue.WHITE, Tissue.GREY)))
    size = float(rng.uniform(0.22, 0.55))
    oedema = canvas.blob(centre, canvas.round(size), shift=0, stretch=0.2, rough=0.35) & healthy
    core = canvas.blob(centre, canvas.round(size * rng.uniform(0.45, 0.75)), shift=0.02, stretch=0.15, rough=0.25)
    inner = canvas.blob(centre, canvas.round(size * rng.uniform(0.2, 0.45)), shift=0.02, stretch=0.15, rough=0.25)
    canvas.paint(Tissue.OEDEMA, oedema)
    canvas.paint(Tissue.ENHANCING if enhancing else Tissue.NECROSIS, core & healthy)
    canvas.paint(Tissue.NECROSIS, inner & core & healthy)


COHORT = Cohort(
    dataset="brats20",
    id_format="BraTS20_Training_{:03d}",
    first=(355,),
    start=1,
    shape=(48, 48, 31),
    spacing_mm=lambda rng: (5.0, 5.0, 5.0),
    write=write,
)
