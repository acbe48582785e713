"""The folder layout of KiTS19: ``case_XXXXX/{imaging,segmentation}.nii.gz``, images and labels fetched apart."""

from pathlib import Path

from medsweep.data.dataset import DatasetFormat, Finding, Listing
from medsweep.data.layouts import case_files as files
from medsweep.data.layouts.case_files import CaseResult
from medsweep.errors import UserError

EXPECTED = "a folder with case_XXXXX/{imaging,segmentation}.nii.gz, itself or in its folder data"
PATTERNS = ("case_XXXXX/imaging.nii.gz", "case_XXXXX/segmentation.nii.gz")
FIRST_UNLABELLED = 210
"""Cases from this number on are the challenge's test cases, whose labels are not public."""
FETCH = "python3 -m starter_code.get_imaging in a clone of github.com/neheller/kits19 fetches the images"


def cases(root: Path, spec: DatasetFormat) -> Listing:
    """Find the cases in ``root`` or ``root/data``; those from 210 on come without labels by design.

    Raises:
        UserError: no such folder, or no KiTS19 case in it.
    """
    folders = files.case_folders(files.existing_folder(root, EXPECTED), r"case_\d{5}", ("data",))
    if not folders.by_id:
        raise UserError(f"no folder case_XXXXX in {root}; data.root must be {EXPECTED}")
    return files.list_folders(spec, folders, _read, patterns=PATTERNS)


def _read(id_: str, folder: Path) -> CaseResult:
    image, label = (files.pick(folder, id_, stem) for stem in ("imaging", "segmentation"))
    if isinstance(image, Path) and not files.candidates(folder, "segmentation"):
        if int(id_.removeprefix("case_")) >= FIRST_UNLABELLED:
            return CaseResult(unlabelled=True)
        missing = folder / "segmentation.nii.gz"
        what = f"image without label {missing.name}{files.in_its_place(missing)}"
        label = Finding("error", id_, str(missing), what)
    elif isinstance(label, Path) and not files.candidates(folder, "imaging"):
        missing = folder / "imaging.nii.gz"
        what = f"label without image {missing.name}{files.in_its_place(missing) or f' ({FETCH})'}"
        image = Finding("error", id_, str(missing), what)
    return files.complete(id_, [image], label)
