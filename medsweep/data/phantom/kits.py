"""A made-up cohort in the layout of KiTS19: abdominal CT with kidneys and kidney tumours.

``case_XXXXX/{imaging,segmentation}.nii.gz``, stored as (slices, height, width) with axes IPL. Some patients have their
place in the world in the qform only and a uint16 mask; 00160 is not square in the plane. Cysts count as kidney.
"""

from pathlib import Path

import numpy as np

from medsweep.data.phantom.anatomy import paint_abdomen
from medsweep.data.phantom.canvas import Canvas, Spacing, Tissue
from medsweep.data.phantom.cohort import Cohort, Patient, write_volume
from medsweep.data.phantom.scanner import ct_image

LABELS = {Tissue.KIDNEY: 1, Tissue.CYST: 1, Tissue.TUMOUR: 2}
QFORM_ONLY = (15, 23, 37, 39, 116, 125, 144, 157, 176)
"""Numbers of the patients whose files have no sform."""
NOT_SQUARE = {160: 796 / 512}
"""Width over height, by number, of the patients whose slices are not square."""


def write(patient: Patient, root: Path) -> None:
    """Write image (float32, HU) and mask of one patient."""
    canvas = patient.canvas()
    paint_abdomen(canvas)
    _paint_cysts_and_tumours(canvas)
    qform_only = patient.number in QFORM_ONLY
    codes = {"qform_code": 1, "sform_code": 0} if qform_only else {"qform_code": 0, "sform_code": 2}
    labels = canvas.labels(LABELS).astype(np.uint16 if qform_only else np.uint8)
    for name, array in (("imaging", ct_image(canvas)), ("segmentation", labels)):
        write_volume(root / patient.id / f"{name}.nii.gz", array, patient.spacing_mm, "IPL", **codes)


def _paint_cysts_and_tumours(canvas: Canvas) -> None:
    """Cysts in both kidneys, and one to three tumours of very different size that grow out of one of them."""
    rng = canvas.rng
    kidneys = canvas.tissue == Tissue.KIDNEY
    for _ in range(rng.poisson(1.2)):
        cyst = canvas.blob(canvas.somewhere(kidneys), canvas.round(rng.uniform(0.08, 0.22)))
        canvas.paint(Tissue.CYST, cyst, over=(Tissue.KIDNEY,))
    affected = kidneys & (canvas.bent[0] * rng.choice((-1.0, 1.0)) > 0)
    for _ in range(1 + min(2, rng.poisson(0.4))):
        centre = canvas.somewhere(affected if affected.any() else kidneys)
        radii = canvas.round(float(np.exp(rng.uniform(np.log(0.12), np.log(0.42)))))
        tumour = canvas.blob(centre, radii, shift=0, stretch=0.15, rough=0.25)
        canvas.paint(Tissue.TUMOUR, tumour, over=(Tissue.KIDNEY, Tissue.CYST, Tissue.VISCERAL_FAT, Tissue.MUSCLE))


def _spacing(rng: np.random.Generator) -> Spacing:
    """True thicknesses, and true fields of view on the small grid."""
    pixel = round(float(rng.uniform(0.66, 0.98)) * 8, 4)
    return pixel, pixel, float(rng.choice((2.5, 3.0, 5.0)))


COHORT = Cohort(
    dataset="kits19",
    id_format="case_{:05d}",
    first=(15, 160),
    start=0,
    shape=(64, 64, 40),
    spacing_mm=_spacing,
    fewest_slices=0.4,
    wider=NOT_SQUARE,
    write=write,
)
