"""Writing made-up volumes with chosen axes and header codes, and saying in every folder that they are made up."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff
from numpy.typing import NDArray

from medsweep.data.phantom.config import PHANTOM_VERSION, PhantomConfig, Spacing


@dataclass(frozen=True)
class Header:
    """How a file stores its axes and its place in the world."""

    axes: str
    """Direction towards which each stored axis grows, as nibabel's axis codes: R or L, A or P, S or I."""
    qform_code: int = 1
    sform_code: int = 1


def write_volume(path: Path, canonical: NDArray[Any], spacing_mm: Spacing, header: Header) -> None:
    """Write a canonical array (X, Y, Z) or (X, Y, Z, ...) with the axes and codes of ``header``; units are mm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored_from_canonical = nib.orientations.ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(header.axes))
    stored = np.ascontiguousarray(apply_orientation(canonical, stored_from_canonical))
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = -np.asarray(spacing_mm) * (np.asarray(canonical.shape[:3]) - 1) / 2
    affine = affine @ inv_ornt_aff(stored_from_canonical, canonical.shape[:3])
    image = nib.Nifti1Image(stored, affine)
    image.set_sform(affine if header.sform_code else None, header.sform_code)
    image.set_qform(affine if header.qform_code else None, header.qform_code)
    image.header.set_xyzt_units("mm")
    image.to_filename(path)


def about(dataset: str, config: PhantomConfig) -> str:
    """One sentence that says what such a cohort is."""
    return (
        f"Made-up cohort by medsweep (phantom version {PHANTOM_VERSION}, seed {config.seed}); it imitates the layout "
        f"of {dataset} and shows no person"
    )


def write_readme(dataset: str, config: PhantomConfig, root: Path) -> None:
    """Write README.txt, which says that the folder is made up."""
    text = (
        f"{about(dataset, config)}.\n\n"
        "The images and masks are drawn from ellipsoids and random fields. They imitate file names, folders, headers,\n"
        "label values and rough contrasts only. No result on them is a result on the dataset whose name they borrow.\n"
    )
    (root / "README.txt").write_text(text, encoding="utf-8")
