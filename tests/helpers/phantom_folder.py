"""Made-up cohorts on disk and what is measured on them."""

import hashlib
from pathlib import Path

import nibabel as nib
import numpy as np

IMAGES = {
    "brats20": "*_flair.nii*",
    "kits19": "imaging.nii.gz",
    "ibsr18": "*_ana_strip.nii.gz",
    "d-heart": "imagesTr/la_*.nii.gz",
    "d-spleen": "imagesTr/spleen_*.nii.gz",
    "u-pro": "imaging.nii.gz",
}
"""The main modality of each dataset."""

LABELS = {
    "brats20": "*[sS]eg*.nii*",
    "kits19": "segmentation.nii.gz",
    "ibsr18": "*_segTRI_fill_ana.nii.gz",
    "d-heart": "labelsTr/*.nii.gz",
    "d-spleen": "labelsTr/*.nii.gz",
    "u-pro": "segmentation.nii.gz",
}


def hashes(root: Path) -> dict[str, str]:
    """sha256 of every file by its path below ``root``."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def stored(path: Path) -> np.ndarray:
    """Voxels as stored, on the stored axes."""
    return np.asanyarray(nib.load(path).dataobj)


def canonical(path: Path) -> np.ndarray:
    """Voxels (X, Y, Z) on the canonical axes."""
    array = np.asanyarray(nib.as_closest_canonical(nib.load(path)).dataobj)
    return array.reshape(array.shape[:3])


def pairs(root: Path, dataset: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Image of the main modality and labels of every patient, in the order of the paths."""
    images, labels = (sorted(root.rglob(names[dataset])) for names in (IMAGES, LABELS))
    return [(canonical(image), canonical(label)) for image, label in zip(images, labels, strict=True)]


def best_window_dice(image: np.ndarray, mask: np.ndarray, steps: int = 40) -> float:
    """The highest Dice with ``mask`` that any window of values, cut at quantiles of the mask's own, can reach."""
    cuts = np.quantile(image[mask], np.linspace(0, 1, steps))
    ordered, labelled = np.sort(image, axis=None), np.sort(image[mask])
    inside = np.searchsorted(ordered, cuts, "right")[None, :] - np.searchsorted(ordered, cuts, "left")[:, None]
    hits = np.searchsorted(labelled, cuts, "right")[None, :] - np.searchsorted(labelled, cuts, "left")[:, None]
    return float((2 * hits / np.maximum(inside + mask.sum(), 1)).max())
