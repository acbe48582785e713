"""The generic made-up cohort: a trunk with an organ, some with lesions, in two modalities, in Decathlon layout.

Ellipsoids are bent by one smooth random displacement, painted over each other and put through an MR scanner.
"""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medsweep.data.phantom.canvas import Floats, bent_grid, floats, grid_of, smooth, squared_radius
from medsweep.data.phantom.cohort import PHANTOM_VERSION, PhantomConfig, about, write_readme
from medsweep.data.phantom.scanner import Scanner, degrade
from medsweep.identity import derive_seed

MODALITIES = ("T1", "FLAIR")
CLASSES = ("background", "organ", "lesion")

SHAPE = (44, 40, 20)
SPACING_MM = (1.5, 1.5, 3.0)


ORGAN = (660.0, 450.0)
"""Intensity of the organ in each modality."""
ELLIPSOIDS = (
    ((0.0, 0.0, 0.0), (0.88, 0.84, 2.0), (900.0, 560.0)),  # fat
    ((0.0, 0.0, 0.0), (0.78, 0.72, 1.8), (440.0, 330.0)),  # muscle
    ((0.0, -0.48, 0.0), (0.17, 0.15, 3.0), (230.0, 150.0)),  # bone
    ((-0.36, 0.1, 0.1), (0.26, 0.32, 0.5), (570.0, 410.0)),  # a neighbour of the organ
    ((0.3, 0.1, 0.0), (0.36, 0.42, 0.66), ORGAN),
)
"""Centre and radii in units of half the field of view, and intensity, in the order of painting."""


def made_ids(config: PhantomConfig) -> tuple[str, ...]:
    """Ids of the cohort's patients, in the order they are made."""
    return tuple(f"phantom_{number:04d}" for number in range(1, config.patients + 1))


def make_patient(config: PhantomConfig, index: int) -> tuple[Floats, NDArray[np.uint8]]:
    """Image, float32 (2, X, Y, Z) in arbitrary units, and labels, uint8 (X, Y, Z), of patient ``index`` from 0.

    One patient in seven, from the fourth on, has no lesion; the others have one to five.
    """
    rng = np.random.default_rng(derive_seed("phantom", PHANTOM_VERSION, config.seed, index))
    shape = config.shape or SHAPE
    half_mm = np.asarray(shape) * np.asarray(config.spacing_mm or SPACING_MM) / 2
    bent = bent_grid(rng, shape)
    labels = np.zeros(shape, np.uint8)
    clean = np.zeros((len(MODALITIES), *shape), np.float32)
    for centre, radii, intensity in ELLIPSOIDS:
        moved = centre + rng.normal(0.0, 0.025, 3)
        inside = squared_radius(bent, moved, radii * np.exp(rng.normal(0.0, 0.08, 3))) < 1
        clean[:, inside] = floats(intensity)[:, None]
        labels[inside] = CLASSES.index("organ") if intensity is ORGAN else 0
    if index % 7 != 3:
        for _ in range(1 + min(4, rng.poisson(1.0))):
            _add_lesion(rng, half_mm, bent, clean, labels)
    return degrade(rng, grid_of(shape), clean, Scanner()), labels


def write_phantom(config: PhantomConfig, root: Path) -> None:
    """Write the generic cohort under ``root`` in Decathlon layout; the same config gives the same bytes."""
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    affine = np.diag([*(config.spacing_mm or SPACING_MM), 1.0])
    training = []
    for index, patient in enumerate(made_ids(config)):
        image, labels = make_patient(config, index)
        pair = {role: f"{role}sTr/{patient}.nii.gz" for role in ("image", "label")}
        voxels = np.moveaxis(np.rint(image).astype(np.int16), 0, 3)
        nib.Nifti1Image(voxels, affine).to_filename(root / pair["image"])
        nib.Nifti1Image(labels, affine).to_filename(root / pair["label"])
        training.append(pair)
    described = {
        "name": "phantom",
        "description": about("phantom", config),
        "modality": {str(number): name for number, name in enumerate(MODALITIES)},
        "labels": {str(number): name for number, name in enumerate(CLASSES)},
        "numTraining": config.patients,
        "training": training,
    }
    (root / "dataset.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    write_readme("phantom", config, root)


def _add_lesion(
    rng: np.random.Generator, half_mm: NDArray[np.float64], grid: Floats, clean: Floats, labels: NDArray[np.uint8]
) -> None:
    """Paint one lesion of 3.5 to 9 mm radius around a voxel of the organ: dark in T1, bright in FLAIR, in place."""
    organ = np.argwhere(labels > 0)
    centre = grid[:, *organ[rng.integers(len(organ))]]
    radius_mm = np.exp(rng.uniform(np.log(3.5), np.log(9.0))) * np.exp(rng.normal(0.0, 0.15, 3))
    squared = squared_radius(grid, centre, radius_mm / half_mm)
    inside = (squared * (1 + smooth(rng, grid, 0.2)) < 1) & (labels > 0)
    labels[inside] = CLASSES.index("lesion")
    change = floats([-rng.uniform(80, 240), rng.uniform(80, 260)])
    clean[:, inside] = floats(ORGAN)[:, None] + change[:, None]
