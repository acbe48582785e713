"""One mask file per structure, or one channel per structure, put together into one label volume."""

import numpy as np

from medsweep.data import nifti
from medsweep.data.dataset import Case, Listing
from medsweep.data.header import Grid
from medsweep.data.nifti import Scan
from medsweep.errors import UserError


def read_structures(case: Case, listing: Listing) -> tuple[Scan, tuple[Grid, ...]]:
    """Class indices from the structures of a case, and the grid of each file, of which the first is that of the labels.

    Later structures cover earlier ones if that is allowed.

    Raises:
        UserError: a file is refused (see ``nifti.read_structure``), grids differ, or structures overlap.
    """
    channels = listing.structure_channels or (None,) * len(case.structures)
    labels, first, grids = None, None, list[Grid]()
    for index, (path, channel) in enumerate(zip(case.structures, channels, strict=True), 1):
        inside, grid = nifti.read_structure(path, channel)
        scan = Scan(path, inside, grid)
        grids.append(grid)
        if labels is None or first is None:
            first, labels = scan, np.zeros(inside.shape, np.uint8)
        else:
            nifti.check_pair(first, scan)
        if not listing.later_covers and (shared := int(np.count_nonzero(labels[inside]))):
            other = listing.classes[int(labels[inside].max())]
            raise UserError(
                f"{listing.classes[index]} in {path} overlaps {other} in {shared} voxels; mend the masks, or set "
                "overlap: ordered, so that a structure covers those listed before it"
            )
        labels[inside] = index
    if labels is None or first is None:
        raise ValueError(f"case {case.id} has no structures")
    return Scan(first.path, labels, first.grid), tuple(grids)
