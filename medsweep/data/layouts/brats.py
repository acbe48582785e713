"""The folder layout of BraTS20: one folder per patient with four modalities and the mask.

The widespread copy keeps the patients two folders deep, and the mask of its case 355 lies under another name.
"""

from pathlib import Path

from medsweep.data.catalogue import CATALOGUE
from medsweep.data.layouts.names import (
    Verdict,
    candidates,
    case_folders,
    complete,
    existing_folder,
    gather,
    is_hidden,
    listing,
    pick,
    without_ending,
)
from medsweep.data.spec import Finding, Listing
from medsweep.errors import UserError

EXPECTED = (
    "a folder with BraTS20_Training_XXX/BraTS20_Training_XXX_{t1,t1ce,t2,flair,seg}.nii.gz (or .nii), "
    "itself or up to two folders below"
)
TRAINING, VALIDATION = "BraTS20_Training_", "BraTS20_Validation_"


def cases(root: Path) -> Listing:
    """Find the patients in ``root`` or up to two folders below; validation patients come without labels by design.

    Raises:
        UserError: no such folder, or no BraTS20 patient in it.
    """
    search = case_folders(existing_folder(root, EXPECTED), rf"({TRAINING}|{VALIDATION})\d+", (".*", ".*"))
    if not search.folders:
        raise UserError(f"no folder BraTS20_Training_XXX in {root}; data.root must be {EXPECTED}")
    return listing(CATALOGUE["brats20"], gather(search, _read))


def _read(id_: str, folder: Path) -> Verdict:
    if id_.startswith(VALIDATION):
        return Verdict(unlabelled=True)
    images = [pick(folder, id_, f"{id_}_{modality}") for modality in CATALOGUE["brats20"].modalities]
    label, remarks = _mask(id_, folder)
    return complete(id_, images, label, *remarks)


def _mask(id_: str, folder: Path) -> tuple[Path | Finding, tuple[Finding, ...]]:
    """The file ``ID_seg``, or else the only file that is no modality, with a warning that names it."""
    label = pick(folder, id_, f"{id_}_seg")
    if isinstance(label, Path) or candidates(folder, f"{id_}_seg"):
        return label, ()
    # Whole names are compared: ID_t1 is the beginning of ID_t1ce.
    modalities = {f"{id_}_{modality}" for modality in CATALOGUE["brats20"].modalities}
    others = [path for path in _volumes(folder) if without_ending(path.name) not in modalities]
    if not others:
        return label, ()
    if len(others) > 1:
        listed = ", ".join(path.name for path in others)
        return Finding("error", id_, label.file, f"{id_}_seg is missing and {listed} could each be the mask"), ()
    what = f"{others[0].name} is taken as the mask, since it is the only file that is no modality"
    return others[0], (Finding("warning", id_, str(others[0]), what),)


def _volumes(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if not is_hidden(path.name) and path.is_file())
    return [path for path in found if without_ending(path.name) is not None]
