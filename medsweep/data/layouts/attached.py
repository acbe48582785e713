"""Files that hold the voxels of others, which have a head alone (.mhd, .nhdr)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medsweep.data.dataset import Finding
from medsweep.data.itk_head import data_file, is_itk
from medsweep.data.layouts.case_files import CaseResult
from medsweep.errors import UserError


def with_attached(result: CaseResult, structures: Sequence[Path] = ()) -> CaseResult:
    """``result`` whose case names the files with the voxels of its own; an error finding where a head is damaged.

    ``structures`` are mask files of the case that ``result`` does not name yet.
    """
    if result.case is None:
        return result
    case = result.case
    lost, found = list[Finding](), list[Path]()
    for path in filter(is_itk, dict.fromkeys((*case.files, *structures))):
        try:
            data = data_file(path)
        except UserError as error:
            lost.append(Finding("error", case.id, str(path), str(error).replace(str(path), path.name)))
            continue
        if data is None:
            continue
        found.append(data)
        if not data.is_file():
            what = f"{path.name} names the file {data.name} with its voxels, which is not there; bring it"
            lost.append(Finding("error", case.id, str(path), what))
    if lost:
        return CaseResult(findings=(*result.findings, *lost), files=(*case.files, *found))
    return replace(result, case=replace(case, attached=tuple(found)))
