"""Writing a prediction back where its patient's labels came from: same axes, same affine, same label values."""

from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, io_orientation, ornt_transform
from numpy.typing import NDArray

from medsweep.data.planes import from_planes
from medsweep.data.slices import SliceSet

CANONICAL = np.array([[0, 1], [1, 1], [2, 1]])


def write_prediction(path: Path, labels_ZHW: NDArray[np.uint8], data: SliceSet, patient: str) -> None:
    """Write class indices on the original grid, (Z, H, W), as a NIfTI file that overlays the patient's own files.

    Axes, shape (trailing axes of length 1 included), affine and codes are those of the label file; class indices become
    its stored label values, the lowest where several count as one class.
    """
    volume = data.volumes[patient]
    table = np.zeros(len(data.classes), np.min_scalar_type(max(data.values)))
    for value in sorted(data.values, reverse=True):
        table[data.values[value]] = value
    canonical = from_planes(table[labels_ZHW], volume.slice_axis)
    affine = np.asarray(volume.stored.affine)
    turned = apply_orientation(canonical, ornt_transform(CANONICAL, io_orientation(affine)))
    image = nib.Nifti1Image(np.asarray(turned).reshape(volume.stored.shape), affine)
    image.set_qform(affine, volume.stored.qform_code)
    image.set_sform(affine, volume.stored.sform_code)
    image.header.set_xyzt_units("mm")
    image.to_filename(path)
