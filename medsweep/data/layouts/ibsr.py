"""The folder layouts of IBSR18: the skull-stripped NIfTI release and the teaching copy made from it.

The release has two tissue label files. In ``segTRI_fill`` zeros inside the brain mask became 1, so sulcal CSF is CSF;
in ``segTRI`` it is background and CSF means the ventricles. The older Analyze copy is refused, because it opens
mirrored against the NIfTI copy.
"""

from functools import partial
from pathlib import Path

from medsweep.data.dataset import DatasetFormat, Finding, Listing
from medsweep.data.layouts import case_files as files
from medsweep.data.layouts.case_files import CaseFolders, CaseResult
from medsweep.errors import UserError

EXPECTED = (
    "the NIfTI release, IBSR_nifti_stripped/IBSR_XX/IBSR_XX_{ana_strip,segTRI_fill_ana,segTRI_ana}.nii.gz, "
    "or the teaching copy, IBSR_XX/{IBSR_XX,IBSR_XX_seg}.nii.gz"
)
LABEL_FILES = ("segTRI", "segTRI_fill")
DEFAULT_LABELS = "segTRI_fill"
TEACHING = "seg (teaching copy)"
ANALYZE = (
    "Analyze copy, which opens mirrored against the NIfTI copy; use the NIfTI release and remove the Analyze files"
)


def cases(root: Path, spec: DatasetFormat, labels: str | None = None) -> Listing:
    """Find the subjects in ``root`` or one folder below; ``choices["labels"]`` records which labels were taken.

    ``labels`` is one of ``LABEL_FILES`` of the release, ``segTRI_fill`` if None; the teaching copy has one kind only.

    Raises:
        UserError: no such folder, no subject in it, both copies at once, or ``labels`` for the teaching copy.
    """
    folders = files.case_folders(files.existing_folder(root, EXPECTED), r"IBSR_\d+", (".*",))
    if not folders.by_id:
        raise UserError(f"no folder IBSR_XX in {root}; data.root must be {EXPECTED}")
    teaching = _is_teaching_copy(folders, root)
    if teaching and labels is not None:
        raise UserError(f"{root} is the teaching copy of IBSR18, which has one label file; remove labels {labels!r}")
    chosen = labels or DEFAULT_LABELS
    read = partial(_read, labels=None if teaching else chosen)
    parts = ("", "_seg") if teaching else ("_ana_strip", f"_{chosen}_ana")
    patterns = [f"IBSR_XX/IBSR_XX{part}.nii.gz" for part in parts]
    return files.list_folders(spec, folders, read, {"labels": TEACHING if teaching else chosen}, patterns)


def _is_teaching_copy(folders: CaseFolders, root: Path) -> bool:
    places = [(id_, folder) for id_, folders_of_id in folders.by_id.items() for folder in folders_of_id]
    release = [folder for id_, folder in places if files.candidates(folder, f"{id_}_ana_strip")]
    teaching = [folder for id_, folder in places if files.candidates(folder, id_)]
    if release and teaching:
        raise UserError(
            f"{root} holds the NIfTI release ({release[0]}) and the teaching copy ({teaching[0]}) of IBSR18; "
            "set data.root to the folder of one of them"
        )
    return bool(teaching)


def _read(id_: str, folder: Path, labels: str | None) -> CaseResult:
    """The files of one subject, of the teaching copy where ``labels`` is None; Analyze files anywhere are refused."""
    inside = sorted(path for path in folder.rglob("*") if not files.is_hidden(path.name))
    if analyze := [path for path in inside if path.name.endswith((".hdr", ".img", ".hdr.gz", ".img.gz"))]:
        return CaseResult(findings=(Finding("error", id_, str(analyze[0]), ANALYZE),))
    if labels is not None:
        return files.complete(
            id_, [files.pick(folder, id_, f"{id_}_ana_strip")], files.pick(folder, id_, f"{id_}_{labels}_ana")
        )
    image, label = files.pick(folder, id_, id_), files.pick(folder, id_, f"{id_}_seg")
    if isinstance(image, Path) and not files.candidates(folder, f"{id_}_seg"):
        return CaseResult(unlabelled=True)
    return files.complete(id_, [image], label)
