"""A made-up cohort: a trunk with an organ, some with lesions, in two modalities, for trying a study without data.

Each patient is drawn from its own seeded generator, so the first 20 of 50 patients are the 20. Ellipsoids are bent by
one smooth random displacement, painted over each other, blurred a little, multiplied by a smooth bias field and given
Rician noise (Gudbjartsson and Patz 1995, DOI 10.1002/mrm.1910340618).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from scipy.ndimage import gaussian_filter

from medsweep.config import Config
from medsweep.identity import derive_seed

PHANTOM_VERSION = 1
"""Raised whenever the same config would give other voxels."""

MODALITIES = ("T1", "FLAIR")
CLASSES = ("background", "organ", "lesion")

Floats = NDArray[np.float32]
Size = Annotated[int, Field(ge=8, le=512)]
Millimetres = Annotated[float, Field(gt=0)]


class PhantomConfig(Config):
    """How many patients, on which grid, from which seed."""

    patients: int = Field(default=20, ge=2, le=10000)
    seed: int = Field(default=0, ge=0)
    shape: Annotated[tuple[Size, Size, Size], Field(strict=False)] = (44, 40, 20)
    """Voxels along X, Y and Z, at least 8 each; slices are cut along Z."""
    spacing_mm: Annotated[tuple[Millimetres, Millimetres, Millimetres], Field(strict=False)] = (1.5, 1.5, 3.0)


@dataclass(frozen=True)
class _Tissue:
    """An ellipsoid in units of half the field of view, with its intensity in each modality."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    intensity: tuple[float, float]


FAT = _Tissue((0.0, 0.0, 0.0), (0.88, 0.84, 2.0), (900.0, 560.0))
MUSCLE = _Tissue((0.0, 0.0, 0.0), (0.78, 0.72, 1.8), (440.0, 330.0))
BONE = _Tissue((0.0, -0.48, 0.0), (0.17, 0.15, 3.0), (230.0, 150.0))
NEIGHBOUR = _Tissue((-0.36, 0.1, 0.1), (0.26, 0.32, 0.5), (570.0, 410.0))
ORGAN = _Tissue((0.3, 0.1, 0.0), (0.36, 0.42, 0.66), (660.0, 450.0))


def patient_ids(config: PhantomConfig) -> tuple[str, ...]:
    """Ids of the cohort's patients, in the order they are made."""
    return tuple(f"phantom_{number:04d}" for number in range(1, config.patients + 1))


def make_patient(config: PhantomConfig, index: int) -> tuple[Floats, NDArray[np.uint8]]:
    """Image, float32 (2, X, Y, Z) in arbitrary units, and labels, uint8 (X, Y, Z), of patient ``index`` from 0.

    One patient in seven, from the fourth on, has no lesion; the others have one to five.
    """
    rng = np.random.default_rng(derive_seed("phantom", PHANTOM_VERSION, config.seed, index))
    grid = _grid(config.shape)
    bent = grid + np.stack([_smooth(rng, grid, 0.06) for _ in range(3)])
    labels = np.zeros(config.shape, np.uint8)
    clean = np.zeros((len(MODALITIES), *config.shape), np.float32)
    for tissue in (FAT, MUSCLE, BONE, NEIGHBOUR, ORGAN):
        inside = _ellipsoid(rng, bent, tissue)
        clean[:, inside] = _floats(tissue.intensity)[:, None]
        labels[inside] = CLASSES.index("organ") if tissue is ORGAN else 0
    if index % 7 != 3:
        for _ in range(1 + min(4, rng.poisson(1.0))):
            _add_lesion(rng, config, bent, clean, labels)
    return _acquire(rng, grid, clean), labels


def write_phantom(config: PhantomConfig, root: Path) -> None:
    """Write the cohort under ``root`` in Decathlon layout; the same config gives the same bytes."""
    for part in ("imagesTr", "labelsTr"):
        (root / part).mkdir(parents=True, exist_ok=True)
    affine = np.diag([*config.spacing_mm, 1.0])
    training = []
    for index, patient in enumerate(patient_ids(config)):
        image, labels = make_patient(config, index)
        pair = {part: f"{part}sTr/{patient}.nii.gz" for part in ("image", "label")}
        voxels = np.moveaxis(np.rint(image).astype(np.int16), 0, 3)
        nib.Nifti1Image(voxels, affine).to_filename(root / pair["image"])
        nib.Nifti1Image(labels, affine).to_filename(root / pair["label"])
        training.append(pair)
    described = {
        "name": "phantom",
        "modality": {str(number): name for number, name in enumerate(MODALITIES)},
        "labels": {str(number): name for number, name in enumerate(CLASSES)},
        "numTraining": config.patients,
        "training": training,
    }
    (root / "dataset.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


def _floats(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float32)


def _grid(shape: tuple[int, int, int]) -> Floats:
    """Voxel centres in units of half the field of view, float32 (3, X, Y, Z) within (-1, 1)."""
    axes = [(2 * np.arange(size, dtype=np.float32) + 1) / size - 1 for size in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def _smooth(rng: np.random.Generator, grid: Floats, amplitude: float) -> Floats:
    """A smooth random field (X, Y, Z) of SD ``amplitude``: six plane waves of about one period or less per axis."""
    field = np.zeros(grid.shape[1:], np.float32)
    for wave in rng.normal(0.0, 2.0, (6, 3)).astype(np.float32):
        field += np.cos(np.tensordot(wave, grid, 1) + np.float32(rng.uniform(0, 2 * np.pi)))
    return field * np.float32(amplitude / np.sqrt(3))


def _ellipsoid(rng: np.random.Generator, grid: Floats, tissue: _Tissue) -> NDArray[np.bool_]:
    centre = _floats(tissue.centre + rng.normal(0.0, 0.025, 3))
    radii = _floats(tissue.radii * np.exp(rng.normal(0.0, 0.08, 3)))
    inside: NDArray[np.bool_] = (((grid - centre[:, None, None, None]) / radii[:, None, None, None]) ** 2).sum(0) < 1
    return inside


def _add_lesion(
    rng: np.random.Generator, config: PhantomConfig, grid: Floats, clean: Floats, labels: NDArray[np.uint8]
) -> None:
    """Paint one lesion of 3.5 to 9 mm radius around a voxel of the organ: dark in T1, bright in FLAIR, in place."""
    organ = np.argwhere(labels > 0)
    centre = grid[:, *organ[rng.integers(len(organ))]]
    half_mm = np.asarray(config.shape) * np.asarray(config.spacing_mm) / 2
    radius_mm = np.exp(rng.uniform(np.log(3.5), np.log(9.0))) * np.exp(rng.normal(0.0, 0.15, 3))
    offset = (grid - centre[:, None, None, None]) / _floats(radius_mm / half_mm)[:, None, None, None]
    inside = ((offset**2).sum(0) * (1 + _smooth(rng, grid, 0.2)) < 1) & (labels > 0)
    labels[inside] = CLASSES.index("lesion")
    change = _floats([-rng.uniform(80, 240), rng.uniform(80, 260)])
    clean[:, inside] = _floats(ORGAN.intensity)[:, None] + change[:, None]


def _acquire(rng: np.random.Generator, grid: Floats, clean: Floats) -> Floats:
    """Partial volume, texture, bias field, gain of the scanner and Rician noise, one modality after the other."""
    acquired = np.empty_like(clean)
    for number, signal in enumerate(clean):
        blurred = gaussian_filter(signal, (0.6, 0.6, 0.3))
        texture = gaussian_filter(rng.standard_normal(signal.shape, np.float32), 1.0)
        biased = blurred * (1 + 0.15 * texture) * np.exp(_smooth(rng, grid, 0.12))
        real, imaginary = rng.standard_normal((2, *signal.shape), np.float32) * 28
        acquired[number] = np.float32(np.exp(rng.uniform(-1.0, 1.0))) * np.hypot(biased + real, imaginary)
    return acquired
