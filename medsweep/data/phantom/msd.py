"""Made-up cohorts in the Medical Segmentation Decathlon's layout: D-HEART (Task02) and D-SPLEEN (Task09).

``dataset.json`` lists ``imagesTr`` and ``labelsTr`` in no order; a ``._`` file such as macOS leaves behind lies beside
the first image and is not in the list. The numbers of the spleen's patients are not padded.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsweep.data.phantom import ct
from medsweep.data.phantom.cohort import Cohort, Patient
from medsweep.data.phantom.config import PhantomConfig, Spacing
from medsweep.data.phantom.files import Header, about, write_volume
from medsweep.data.phantom.heart import draw_heart
from medsweep.identity import derive_seed

APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "
"""How an AppleDouble file begins (RFC 1740)."""

HEART_LABELLED = (3, 4, 5, 7, 9, 10, 11, 14, 16, 17, 18, 19, 20, 21, 22, 23, 24, 26, 29, 30)
"""Numbers of the labelled cases of Task02."""


@dataclass(frozen=True)
class _Task:
    """What dataset.json says of a task."""

    dataset: str
    name: str
    modality: str
    label: str


def write_heart(patient: Patient, root: Path) -> None:
    """Write image (int16, arbitrary units) and mask of one heart."""
    image, atrium = draw_heart(patient)
    _write_pair(patient, root, image, atrium)


def write_spleen(patient: Patient, root: Path) -> None:
    """Write image (int16, HU) and mask of one spleen; the liver has up to six metastases."""
    canvas = patient.canvas()
    ct.paint_abdomen(canvas)
    liver = canvas.tissue == ct.Tissue.LIVER
    for _ in range(min(6, canvas.rng.poisson(2))):
        metastasis = canvas.blob(canvas.somewhere(liver), canvas.round(canvas.rng.uniform(0.08, 0.25)))
        canvas.paint(ct.Tissue.METASTASIS, metastasis, over=(ct.Tissue.LIVER,))
    _write_pair(patient, root, ct.acquire(canvas), canvas.tissue == ct.Tissue.SPLEEN)


def _write_pair(patient: Patient, root: Path, image: NDArray[Any], mask: NDArray[np.bool_]) -> None:
    for part, array in (("imagesTr", np.rint(image).astype(np.int16)), ("labelsTr", mask.astype(np.uint8))):
        write_volume(root / part / f"{patient.id}.nii.gz", array, patient.spacing_mm, Header("RAS"))
    if patient.index == 0:
        (root / "imagesTr" / f"._{patient.id}.nii.gz").write_bytes(APPLE_DOUBLE)


def _describe(task: _Task, config: PhantomConfig, ids: tuple[str, ...], root: Path) -> None:
    """Write dataset.json, its list shuffled."""
    order = np.random.default_rng(derive_seed("phantom", task.dataset, "order", config.seed)).permutation(len(ids))
    described: Mapping[str, Any] = {
        "name": task.name,
        "description": about(task.dataset, config),
        "licence": "none needed: made up",
        "tensorImageSize": "3D",
        "modality": {"0": task.modality},
        "labels": {"0": "background", "1": task.label},
        "numTraining": len(ids),
        "numTest": 0,
        "training": [
            {"image": f"./imagesTr/{ids[place]}.nii.gz", "label": f"./labelsTr/{ids[place]}.nii.gz"} for place in order
        ],
        "test": [],
    }
    (root / "dataset.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


def _heart_spacing(rng: np.random.Generator) -> Spacing:
    """The true field of view on the small grid; the same for all patients."""
    return 8.33, 8.33, 6.85


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
    spacing_mm=_heart_spacing,
    fewest_slices=90 / 130,
    write=write_heart,
    describe=partial(_describe, _Task("d-heart", "LeftAtrium", "MRI", "left atrium")),
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
    describe=partial(_describe, _Task("d-spleen", "Spleen", "CT", "spleen")),
)
