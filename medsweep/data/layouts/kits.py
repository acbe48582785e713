"""The folder layout of KiTS19: ``case_XXXXX/{imaging,segmentation}.nii.gz``, images and labels fetched apart."""

from pathlib import Path

from medsweep.data.catalogue import CATALOGUE
from medsweep.data.layouts.names import (
    Verdict,
    candidates,
    case_folders,
    complete,
    existing_folder,
    gather,
    listing,
    pick,
)
from medsweep.data.spec import Finding, Listing
from medsweep.errors import UserError

EXPECTED = "a folder with case_XXXXX/{imaging,segmentation}.nii.gz, itself or in its folder data"
FIRST_UNLABELLED = 210
"""Cases from this number on are the challenge's test cases, whose labels are not public."""
FETCH = "python3 -m starter_code.get_imaging in a clone of github.com/neheller/kits19 fetches the images"


def cases(root: Path) -> Listing:
    """Find the cases in ``root`` or ``root/data``; those from 210 on come without labels by design.

    Raises:
        UserError: no such folder, or no KiTS19 case in it.
    """
    search = case_folders(existing_folder(root, EXPECTED), r"case_\d{5}", ("data",))
    if not search.folders:
        raise UserError(f"no folder case_XXXXX in {root}; data.root must be {EXPECTED}")
    return listing(CATALOGUE["kits19"], gather(search, _read))


def _read(id_: str, folder: Path) -> Verdict:
    image, label = (pick(folder, id_, stem) for stem in ("imaging", "segmentation"))
    if isinstance(image, Path) and not candidates(folder, "segmentation"):
        if int(id_.removeprefix("case_")) >= FIRST_UNLABELLED:
            return Verdict(unlabelled=True)
        label = Finding("error", id_, str(folder / "segmentation.nii.gz"), "image without label segmentation.nii.gz")
    elif isinstance(label, Path) and not candidates(folder, "imaging"):
        what = f"label without image imaging.nii.gz ({FETCH})"
        image = Finding("error", id_, str(folder / "imaging.nii.gz"), what)
    return complete(id_, [image], label)
