"""The folder layouts of IBSR18: the skull-stripped NIfTI release and the teaching copy made from it.

The release has two tissue label files. In ``segTRI_fill`` zeros inside the brain mask became 1, so sulcal CSF is CSF;
in ``segTRI`` it is background and CSF means the ventricles. The older Analyze copy is refused, because it opens
mirrored against the NIfTI copy.
"""

from functools import partial
from pathlib import Path
from typing import Literal

from medsweep.data.catalogue import CATALOGUE
from medsweep.data.layouts.names import (
    Search,
    Verdict,
    candidates,
    case_folders,
    complete,
    existing_folder,
    gather,
    is_hidden,
    listing,
    pick,
)
from medsweep.data.spec import Finding, Listing
from medsweep.errors import UserError

EXPECTED = (
    "the NIfTI release, IBSR_nifti_stripped/IBSR_XX/IBSR_XX_{ana_strip,segTRI_fill_ana,segTRI_ana}.nii.gz, "
    "or the teaching copy, IBSR_XX/{IBSR_XX,IBSR_XX_seg}.nii.gz"
)
Labels = Literal["segTRI", "segTRI_fill"]
DEFAULT_LABELS: Labels = "segTRI_fill"
TEACHING = "seg (teaching copy)"


def cases(root: Path, labels: Labels | None = None) -> Listing:
    """Find the subjects in ``root`` or one folder below; ``choices["labels"]`` records which labels were taken.

    Args:
        root: the folder of either copy.
        labels: label file of the release, ``segTRI_fill`` if None; the teaching copy has one label file only.

    Raises:
        UserError: no such folder, no subject in it, both copies at once, or ``labels`` for the teaching copy.
    """
    search = case_folders(existing_folder(root, EXPECTED), r"IBSR_\d+", (".*",))
    if not search.folders:
        raise UserError(f"no folder IBSR_XX in {root}; data.root must be {EXPECTED}")
    teaching = _is_teaching_copy(search, root)
    if teaching and labels is not None:
        raise UserError(f"{root} is the teaching copy of IBSR18, which has one label file; remove labels {labels!r}")
    chosen = labels or DEFAULT_LABELS
    read = _read_teaching if teaching else partial(_read_release, labels=chosen)
    found = gather(search, lambda id_, folder: _analyze(id_, folder) or read(id_, folder))
    return listing(CATALOGUE["ibsr18"], found, {"labels": TEACHING if teaching else chosen})


def _is_teaching_copy(search: Search, root: Path) -> bool:
    folders = [(id_, folder) for id_, places in search.folders.items() for folder in places]
    release = [folder for id_, folder in folders if candidates(folder, f"{id_}_ana_strip")]
    teaching = [folder for id_, folder in folders if candidates(folder, id_)]
    if release and teaching:
        raise UserError(
            f"{root} holds the NIfTI release ({release[0]}) and the teaching copy ({teaching[0]}) of IBSR18; "
            "set data.root to the folder of one of them"
        )
    return bool(teaching)


def _analyze(id_: str, folder: Path) -> Verdict | None:
    """The refusal of a subject with Analyze files anywhere in its folder."""
    inside = sorted(path for path in folder.rglob("*") if not is_hidden(path.name))
    found = [path for path in inside if path.name.endswith((".hdr", ".img", ".hdr.gz", ".img.gz"))]
    if not found:
        return None
    what = (
        "Analyze copy, which opens mirrored against the NIfTI copy; use the NIfTI release and remove the Analyze files"
    )
    return Verdict(findings=(Finding("error", id_, str(found[0]), what),))


def _read_release(id_: str, folder: Path, labels: Labels) -> Verdict:
    return complete(id_, [pick(folder, id_, f"{id_}_ana_strip")], pick(folder, id_, f"{id_}_{labels}_ana"))


def _read_teaching(id_: str, folder: Path) -> Verdict:
    image, label = pick(folder, id_, id_), pick(folder, id_, f"{id_}_seg")
    if isinstance(image, Path) and not candidates(folder, f"{id_}_seg"):
        return Verdict(unlabelled=True)
    return complete(id_, [image], label)
