"""Small folders for the tests: in Decathlon layout voxel by voxel, in any layout as empty files."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np


def save(path: Path, array: Any, affine: Any = None, **header: Any) -> Path:
    """Write ``array`` as NIfTI; ``header`` sets raw header fields."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.asarray(array)
    image = nib.Nifti1Image(array, np.eye(4) if affine is None else affine, dtype=array.dtype)
    for field, value in header.items():
        image.header[field] = value
    image.to_filename(path)
    return path


def describe(root: Path, pairs: list[tuple[str, str]], **changes: Any) -> Path:
    """Write dataset.json for ``pairs`` of file names."""
    root.mkdir(parents=True, exist_ok=True)
    described = {
        "name": "Toy",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
        "training": [{"image": f"./imagesTr/{image}", "label": f"./labelsTr/{label}"} for image, label in pairs],
    }
    (root / "dataset.json").write_text(json.dumps(described | changes))
    return root


def cohort(root: Path, volumes: dict[str, tuple[Any, Any]], affine: Any = None, **changes: Any) -> Path:
    """Write image and label of every id in ``volumes``, and their dataset.json."""
    for id_, (image, label) in volumes.items():
        save(root / "imagesTr" / f"{id_}.nii.gz", image, affine)
        save(root / "labelsTr" / f"{id_}.nii.gz", label, affine)
    return describe(root, [(f"{id_}.nii.gz", f"{id_}.nii.gz") for id_ in volumes], **changes)


def touch(root: Path, *names: str) -> Path:
    """Make empty files below ``root``: enough for layouts, which open no volume."""
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def task(root: Path, *ids: str, **changes: Any) -> Path:
    """Empty files of a Decathlon task with these cases, and their dataset.json."""
    touch(root, *(f"{part}/{id_}.nii.gz" for part in ("imagesTr", "labelsTr") for id_ in ids))
    return describe(root, [(f"{id_}.nii.gz", f"{id_}.nii.gz") for id_ in ids], **changes)
