"""Voxels that nobody labelled: how they are marked in labels and masks, and what is left without them."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

IGNORED: Final = 255
"""Stands for such a voxel where a dataset has an ignored value; elsewhere it is a class index like any other."""

MOST_CLASSES: Final = 255
"""Classes, background included, that leave ``IGNORED`` free."""


def as_background(labels: NDArray[np.uint8], *, ignores: bool) -> NDArray[np.uint8]:
    """Labels of any shape with ignored voxels as background; the same labels where the dataset ignores nothing."""
    return np.where(labels == IGNORED, np.uint8(0), labels) if ignores else labels
