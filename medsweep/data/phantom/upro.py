"""A made-up pelvis cohort in a plain folder layout with its own description, in the place of the private U-PRO.

``case_XXXXX/{imaging,segmentation}.nii.gz`` and ``medsweep.yaml``. Sequence, classes and axes are a choice of ours. One
patient in six, from the fourth on, has no prostate, as after its removal.
"""

from pathlib import Path

import numpy as np

from medsweep.data.phantom.anatomy import paint_pelvis
from medsweep.data.phantom.canvas import Tissue
from medsweep.data.phantom.cohort import Cohort, Patient, PhantomConfig, about, write_volume
from medsweep.data.phantom.scanner import Scanner, mr_images

CLASSES = {"prostate": 1, "bladder": 2, "rectum": 3}
LABELS = {
    Tissue.CENTRAL_GLAND: CLASSES["prostate"], Tissue.PERIPHERAL_ZONE: CLASSES["prostate"],
    Tissue.BLADDER: CLASSES["bladder"], Tissue.RECTUM: CLASSES["rectum"], Tissue.STOOL: CLASSES["rectum"],
}  # fmt: skip
INTENSITY = {
    Tissue.OUTSIDE: 0.0, Tissue.FAT: 780.0, Tissue.MUSCLE: 260.0, Tissue.PELVIC_FAT: 700.0, Tissue.BONE: 520.0,
    Tissue.BOWEL: 480.0, Tissue.BLADDER: 900.0, Tissue.CENTRAL_GLAND: 430.0, Tissue.PERIPHERAL_ZONE: 620.0,
    Tissue.RECTUM: 400.0, Tissue.STOOL: 250.0,
}  # fmt: skip
SCANNER = Scanner(texture=0.6, bias=0.2, noise=40.0, gain=1.0)


def write(patient: Patient, root: Path) -> None:
    """Write image (int16, arbitrary units) and mask of one patient."""
    canvas = patient.canvas()
    paint_pelvis(canvas, prostate=patient.index % 6 != 3)
    image = np.rint(mr_images(canvas, INTENSITY, SCANNER)[0]).astype(np.int16)
    for name, array in (("imaging", image), ("segmentation", canvas.labels(LABELS))):
        write_volume(root / patient.id / f"{name}.nii.gz", array, patient.spacing_mm, "LPS")


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


COHORT = Cohort(
    dataset="u-pro",
    id_format="case_{:05d}",
    first=(),
    start=1,
    shape=(48, 48, 22),
    spacing_mm=lambda rng: (6.0, 6.0, 7.0),
    fewest_slices=0.7,
    write=write,
    describe=_describe,
)
