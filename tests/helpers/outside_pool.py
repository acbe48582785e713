"""Pools that were made outside, in every form that a folder may have."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

MODALITIES = ("T1", "FLAIR")
CLASSES = ("background", "organ", "lesion")
VALUES = {"background": 0, "organ": 1, "lesion": 2}


def pairs(samples: int, side: int, seed: int = 0, modalities: int = 2) -> tuple[Any, Any]:
    """Images (n, C, R, R) that follow their masks (n, R, R), which have an organ with a lesion."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((samples, side, side), np.uint8)
    for mask in masks:
        row, column = rng.integers(side // 4, side // 2, 2)
        mask[row : row + side // 3, column : column + side // 3] = 1
        mask[row + 1 : row + 3, column + 1 : column + 3] = 2
    images = rng.normal(0, 0.3, (samples, modalities, side, side)) + masks[:, None]
    return images.astype(np.float32), masks


def describe(folder: Path, fitted_on: Any, **changes: Any) -> Path:
    """Write pool.yaml; a value of None leaves the key out. JSON is YAML."""
    folder.mkdir(parents=True, exist_ok=True)
    said = {"modalities": MODALITIES, "classes": VALUES, "scale": "prepared", "fitted_on": fitted_on} | changes
    (folder / "pool.yaml").write_text(json.dumps({key: value for key, value in said.items() if value is not None}))
    return folder


def write(folder: Path, form: str, images: Any, masks: Any) -> None:
    """Write pairs as ``npz``, ``zarr``, ``npy``, ``png`` (8 bits, 0 to 255 for -2 to 5) or ``nifti`` (one volume)."""
    folder.mkdir(parents=True, exist_ok=True)
    if form == "npz":
        np.savez(folder / "pairs.npz", images=images, masks=masks)
    elif form == "zarr":
        import zarr

        group = zarr.open_group(folder / "pairs.zarr", mode="w")
        for name, array in (("images", images), ("masks", masks)):
            group.create_array(name, shape=array.shape, chunks=(3, *array.shape[1:]), dtype=array.dtype)[:] = array
    elif form == "npy":
        np.save(folder / "images.npy", images)
        np.save(folder / "masks.npy", masks)
    else:
        (folder / "images").mkdir(exist_ok=True)
        (folder / "masks").mkdir(exist_ok=True)
        (_png if form == "png" else _nifti)(folder, images, masks)


def _png(folder: Path, images: Any, masks: Any) -> None:
    grey = np.rint((np.clip(images, -2, 5) + 2) / 7 * 255).astype(np.uint8)
    for sample, mask in enumerate(masks):
        Image.fromarray(mask).save(folder / "masks" / f"{sample:04}.png")
        for channel, image in enumerate(grey[sample]):
            Image.fromarray(image).save(folder / "images" / f"{sample:04}_{channel:04}.png")


def _nifti(folder: Path, images: Any, masks: Any) -> None:
    """The second axis stored downwards, as its affine tells."""
    affine = np.diag([1.0, -1.0, 1.0, 1.0])
    volumes = {f"images/all_{channel:04}": images[:, channel] for channel in range(images.shape[1])}
    for name, planes in (volumes | {"masks/all": masks}).items():
        nib.Nifti1Image(planes.transpose(2, 1, 0)[:, ::-1], affine).to_filename(folder / f"{name}.nii.gz")
