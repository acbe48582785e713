"""Made-up cohorts in the Medical Segmentation Decathlon's layout: D-HEART (Task02) and D-SPLEEN (Task09).

``dataset.json`` lists ``imagesTr`` and ``labelsTr`` in no order; a ``._`` file such as macOS leaves behind lies beside
the first image and is not in the list. The numbers of the spleen's patients are not padded.
"""

import json
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medsweep.data.phantom.anatomy import paint_abdomen, paint_chest
from medsweep.data.phantom.canvas import Floats, Spacing, Tissue
from medsweep.data.phantom.cohort import Cohort, Patient, PhantomConfig, about, write_volume
from medsweep.data.phantom.scanner import Scanner, ct_image, mr_images
from medsweep.identity import derive_seed

APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "
"""How an AppleDouble file begins (RFC 1740)."""

HEART_LABELLED = (3, 4, 5, 7, 9, 10, 11, 14, 16, 17, 18, 19, 20, 21, 22, 23, 24, 26, 29, 30)
"""Numbers of the labelled cases of Task02."""


HEART_INTENSITY = {
    Tissue.OUTSIDE: 0.0, Tissue.FAT: 760.0, Tissue.MUSCLE: 300.0, Tissue.LUNG: 60.0, Tissue.SPINE: 420.0,
    Tissue.MYOCARDIUM: 360.0, Tissue.BLOOD: 650.0, Tissue.ATRIUM: 640.0, Tissue.LIVER: 430.0,
}  # fmt: skip
HEART_SCANNER = Scanner(texture=0.5, bias=0.2, noise=36.0, gain=1.0)


def write_heart(patient: Patient, root: Path) -> None:
    """Write image (int16, arbitrary units) and mask of one heart."""
    canvas = patient.canvas()
    paint_chest(canvas)
    image = mr_images(canvas, HEART_INTENSITY, HEART_SCANNER)[0]
    _write_pair(patient, root, image, canvas.labels({Tissue.ATRIUM: 1}))


def write_spleen(patient: Patient, root: Path) -> None:
    """Write image (int16, HU) and mask of one spleen; the liver has up to six metastases."""
    canvas = patient.canvas()
    paint_abdomen(canvas)
    liver = canvas.tissue == Tissue.LIVER
    for _ in range(min(6, canvas.rng.poisson(2))):
        metastasis = canvas.blob(canvas.somewhere(liver), canvas.round(canvas.rng.uniform(0.08, 0.25)))
        canvas.paint(Tissue.METASTASIS, metastasis, over=(Tissue.LIVER,))
    _write_pair(patient, root, ct_image(canvas), canvas.labels({Tissue.SPLEEN: 1}))


def _write_pair(patient: Patient, root: Path, image: Floats, mask: NDArray[np.uint8]) -> None:
    for folder, array in (("imagesTr", np.rint(image).astype(np.int16)), ("labelsTr", mask)):
        write_volume(root / folder / f"{patient.id}.nii.gz", array, patient.spacing_mm, "RAS")
    if patient.index == 0:
        (root / "imagesTr" / f"._{patient.id}.nii.gz").write_bytes(APPLE_DOUBLE)


def _describe(
    config: PhantomConfig, ids: tuple[str, ...], root: Path, *, dataset: str, name: str, modality: str, label: str
) -> None:
    """Write dataset.json, its list shuffled."""
    order = np.random.default_rng(derive_seed("phantom", dataset, "order", config.seed)).permutation(len(ids))
    described = {
        "name": name,
        "description": about(dataset, config),
        "licence": "none needed: made up",
        "tensorImageSize": "3D",
        "modality": {"0": modality},
        "labels": {"0": "background", "1": label},
        "numTraining": len(ids),
        "numTest": 0,
        "training": [
            {"image": f"./imagesTr/{ids[place]}.nii.gz", "label": f"./labelsTr/{ids[place]}.nii.gz"} for place in order
        ],
        "test": [],
    }
    (root / "dataset.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


def _spleen_spacing(rng: np.random.Generator) -> Spacing:
    """True thicknesses, and true fields of view on the small grid."""
    pixel = round(float(rng.uniform(0.61, 0.98)) * 8, 4)
    return pixel, pixel, float(rng.choice((1.5, 2.5, 5.0, 5.0, 8.0)))


HEART = Cohort(
    dataset="d-heart",
    id_format="la_{:03d}",
    first=HEART_LABELLED,
    start=31,
    shape=(48, 48, 26),
    # The true field of view on the small grid, the same for all patients.
    spacing_mm=lambda rng: (8.33, 8.33, 6.85),
    fewest_slices=90 / 130,
    write=write_heart,
    describe=partial(_describe, dataset="d-heart", name="LeftAtrium", modality="MRI", label="left atrium"),
)
SPLEEN = Cohort(
    dataset="d-spleen",
    id_format="spleen_{}",
    first=(2, 10),
    start=3,
    shape=(64, 64, 36),
    spacing_mm=_spleen_spacing,
    fewest_slices=0.3,
    write=write_spleen,
    describe=partial(_describe, dataset="d-spleen", name="Spleen", modality="CT", label="spleen"),
)
