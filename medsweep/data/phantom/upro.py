"""A made-up pelvis cohort in a plain folder layout with its own description, in the place of the private U-PRO.

``case_XXXXX/{imaging,segmentation}.nii.gz`` and ``medsweep.yaml``. Sequence, classes and axes are a choice of ours. One
patient in six, from the fourth on, has no prostate, as after its removal.
"""

from enum import IntEnum
from pathlib import Path

import numpy as np

from medsweep.data.phantom.cohort import Cohort, Patient
from medsweep.data.phantom.config import PhantomConfig, Spacing
from medsweep.data.phantom.files import Header, about, write_volume
from medsweep.data.phantom.mr import Scanner, acquire, signals
from medsweep.data.phantom.shapes import Canvas, Floats, floats, grid_of


class Tissue(IntEnum):
    """Tissue codes of a pelvis."""

    AIR = 0
    FAT = 1
    MUSCLE = 2
    PELVIC_FAT = 3
    BONE = 4
    BOWEL = 5
    BLADDER = 6
    CENTRAL_GLAND = 7
    PERIPHERAL_ZONE = 8
    RECTUM = 9
    STOOL = 10


CLASSES = {"prostate": 1, "bladder": 2, "rectum": 3}
LABELS = {
    Tissue.CENTRAL_GLAND: CLASSES["prostate"],
    Tissue.PERIPHERAL_ZONE: CLASSES["prostate"],
    Tissue.BLADDER: CLASSES["bladder"],
    Tissue.RECTUM: CLASSES["rectum"],
    Tissue.STOOL: CLASSES["rectum"],
}
INTENSITY: dict[int, tuple[float, ...]] = {
    Tissue.AIR: (0.0,),
    Tissue.FAT: (780.0,),
    Tissue.MUSCLE: (260.0,),
    Tissue.PELVIC_FAT: (700.0,),
    Tissue.BONE: (520.0,),
    Tissue.BOWEL: (480.0,),
    Tissue.BLADDER: (900.0,),
    Tissue.CENTRAL_GLAND: (430.0,),
    Tissue.PERIPHERAL_ZONE: (620.0,),
    Tissue.RECTUM: (400.0,),
    Tissue.STOOL: (250.0,),
}
SCANNER = Scanner(texture=0.6, bias=0.2, noise=40.0, gain=1.0)


def write(patient: Patient, root: Path) -> None:
    """Write image (int16, arbitrary units) and mask of one patient."""
    canvas = patient.canvas()
    _paint_pelvis(canvas, prostate=patient.index % 6 != 3)
    image = acquire(patient.rng, grid_of(patient.shape), signals(INTENSITY, canvas.tissue), SCANNER)[0]
    labels = np.zeros(patient.shape, np.uint8)
    for tissue, value in LABELS.items():
        labels[canvas.tissue == tissue] = value
    folder, header = root / patient.id, Header("LPS")
    write_volume(folder / "imaging.nii.gz", np.rint(image).astype(np.int16), patient.spacing_mm, header)
    write_volume(folder / "segmentation.nii.gz", labels, patient.spacing_mm, header)


def _paint_pelvis(canvas: Canvas, *, prostate: bool) -> None:
    """Bladder above and in front of the prostate, rectum behind both, muscle and hips at the sides."""
    blob, paint, rng = canvas.blob, canvas.paint, canvas.rng
    paint(Tissue.FAT, blob((0, 0, 0), (0.92, 0.72, 9)))
    paint(Tissue.MUSCLE, blob((0, -0.02, 0), (0.8, 0.58, 9), rough=0.1))
    paint(Tissue.PELVIC_FAT, blob((0, 0, 0.1), (0.42, 0.46, 9), rough=0.1))
    for side in (-1, 1):
        paint(Tissue.BONE, blob((side * 0.62, 0.05, 0.1), (0.17, 0.19, 0.5), rough=0.1))
        paint(Tissue.MUSCLE, blob((side * 0.34, -0.02, -0.2), (0.1, 0.28, 0.8)))
    paint(Tissue.BONE, blob((0, -0.5, 0.5), (0.24, 0.1, 0.6), rough=0.1))
    for _ in range(5):
        loop = rng.uniform((-0.3, -0.05, 0.45), (0.3, 0.35, 1.0), 3)
        paint(Tissue.BOWEL, blob(loop, (0.12, 0.12, 0.2), rough=0.2), over=(Tissue.PELVIC_FAT,))
    centre = rng.normal(0.0, 0.03, 3)

    def at(right: float, front: float, up: float) -> Floats:
        return floats(centre + np.array([right, front, up]))

    filled = float(np.exp(rng.normal(0.0, 0.25)))
    bladder = blob(at(0, 0.16, 0.3), (0.24 * filled, 0.19 * filled, 0.3 * filled), rough=0.15)
    paint(Tissue.BLADDER, bladder)
    if prostate:
        size = float(np.exp(rng.normal(0.0, 0.15)))
        paint(Tissue.PERIPHERAL_ZONE, blob(at(0, 0, -0.25), (0.2 * size, 0.16 * size, 0.28 * size), rough=0.15))
        gland = blob(at(0, 0.05, -0.2), (0.14 * size, 0.11 * size, 0.22 * size), rough=0.15)
        paint(Tissue.CENTRAL_GLAND, gland, over=(Tissue.PERIPHERAL_ZONE,))
    rectum = blob(at(0, -0.27, 0), (0.12, 0.1, 9), stretch=0.15, rough=0.2)
    paint(Tissue.RECTUM, rectum)
    paint(Tissue.STOOL, blob(at(0, -0.27, rng.uniform(-0.5, 0.5)), (0.07, 0.06, 0.4)), over=(Tissue.RECTUM,))


def _describe(config: PhantomConfig, ids: tuple[str, ...], root: Path) -> None:
    lines = [
        f"# {about('u-pro', config)}.",
        'modalities: {T2: "{id}/imaging.nii.gz"}',
        'mask: "{id}/segmentation.nii.gz"',
        f"classes: {{{', '.join(f'{name}: {value}' for name, value in CLASSES.items())}}}",
        "units: arbitrary",
        "slice_axis: axial",
    ]
    (root / "medsweep.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _spacing(rng: np.random.Generator) -> Spacing:
    return 6.0, 6.0, 7.0


COHORT = Cohort(
    dataset="u-pro",
    id_format="case_{:05d}",
    first=(),
    start=1,
    shape=(48, 48, 22),
    spacing_mm=_spacing,
    fewest_slices=0.7,
    write=write,
    describe=_describe,
)
