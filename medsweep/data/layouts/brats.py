"""The folder layout of BraTS20: one folder per patient with four modalities and the mask.

The widespread copy keeps the patients two folders deep, and the mask of its case 355 lies under another name.
"""

from functools import partial
from pathlib import Path

from medsweep.data.dataset import DatasetFormat, Finding, Listing
from medsweep.data.layouts import case_files as files
from medsweep.data.layouts.case_files import CaseResult
from medsweep.errors import UserError

EXPECTED = (
    "a folder with BraTS20_Training_XXX/BraTS20_Training_XXX_{t1,t1ce,t2,flair,seg}.nii.gz (or .nii), "
    "itself or up to two folders below"
)
TRAINING, VALIDATION = "BraTS20_Training_", "BraTS20_Validation_"


def cases(root: Path, spec: DatasetFormat) -> Listing:
    """Find the patients in ``root`` or up to two folders below; validation patients come without labels by design.

    Raises:
        UserError: no such folder, or no BraTS20 patient in it.
    """
    folders = files.case_folders(files.existing_folder(root, EXPECTED), rf"({TRAINING}|{VALIDATION})\d+", (".*", ".*"))
    if not folders.by_id:
        raise UserError(f"no folder BraTS20_Training_XXX in {root}; data.root must be {EXPECTED}")
    patterns = [f"{TRAINING}XXX/{TRAINING}XXX_{part}.nii.gz" for part in (*spec.modalities, "seg")]
    return files.list_folders(spec, folders, partial(_read, spec.modalities), patterns=patterns)


def _read(modalities: tuple[str, ...], id_: str, folder: Path) -> CaseResult:
    if id_.startswith(VALIDATION):
        return CaseResult(unlabelled=True)
    stems = [f"{id_}_{modality}" for modality in modalities]
    label, remarks = _mask(id_, folder, stems)
    return files.complete(id_, [files.pick(folder, id_, stem) for stem in stems], label, *remarks)


def _mask(id_: str, folder: Path, images: list[str]) -> tuple[Path | Finding, tuple[Finding, ...]]:
    """The file ``ID_seg``, or else the only file that is none of ``images``, with a warning that names it."""
    label = files.pick(folder, id_, f"{id_}_seg")
    if isinstance(label, Path) or files.candidates(folder, f"{id_}_seg"):
        return label, ()
    volumes = [path for path in sorted(folder.iterdir()) if not files.is_hidden(path.name) and path.is_file()]
    # Whole names are compared: ID_t1 is the beginning of ID_t1ce.
    others = [path for path in volumes if files.without_ending(path.name) not in (None, *images)]
    if not others:
        return label, ()
    if len(others) > 1:
        names = ", ".join(path.name for path in others)
        return Finding("error", id_, label.file, f"{id_}_seg is missing and {names} could each be the mask"), ()
    what = f"{others[0].name} is taken as the mask, since it is the only file that is no modality"
    return others[0], (Finding("warning", id_, str(others[0]), what),)
