"""Folders of image and mask files in any arrangement, described by the user in a few lines.

The description stands in ``medsweep.yaml`` beside the files or inside the sweep::

    modalities: {T2: "case_{id}/imaging.nii.gz"}
    mask: "case_{id}/segmentation.nii.gz"
    classes: {prostate: 1}
"""

import os
import re
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from medsweep.data.dataset import Finding, Listing
from medsweep.data.layouts.case_files import (
    CaseResult,
    complete,
    existing_folder,
    hidden_note,
    is_hidden,
    numeric,
    other_format,
    two_files,
    volume_at,
    without_ending,
)
from medsweep.data.layouts.description import DESCRIPTION, ID, PATIENT, FolderDescription, stored_values
from medsweep.data.layouts.leftovers import foreign_formats, is_ignored
from medsweep.errors import UserError

MASK = "mask"


def cases(root: Path, description: FolderDescription) -> Listing:
    """Find every id that any of the patterns matches; an id without one of its files is an error finding.

    Raises:
        UserError: no such folder, or no file that matches any pattern.
    """
    existing_folder(root, f"the folder that {DESCRIPTION} describes")
    patterns = {**{f"modality {name}": text for name, text in description.modalities.items()}, MASK: description.mask}
    found, hidden = _files(root, max(len(PurePosixPath(text).parts) for text in patterns.values()))
    files = [file for file in found if not any(is_ignored(file, pattern) for pattern in description.ignore)]
    matched = _match(files, patterns)
    if not matched:
        texts = ", ".join(patterns.values())
        advice = foreign_formats(root) or "mend the patterns or data.root"
        raise UserError(f"none of {len(files)} NIfTI files in {root} matches {texts}; {advice}")
    results = dict[str, CaseResult]()
    for id_ in sorted(matched, key=numeric):
        of_case = {role: matched[id_].get(role, []) for role in patterns}
        *images, label = (_one(root, id_, text, of_case[role]) for role, text in patterns.items())
        several = [file for paths in of_case.values() if len(paths) > 1 for file in paths]
        if not of_case[MASK] and isinstance(label, Finding):
            label = replace(label, what=f"{label.what}; list the id under unlabelled if it has none by design")
        result = complete(id_, images, label)
        if not of_case[MASK] and _is_unlabelled(id_, description):
            result = CaseResult(unlabelled=True, files=result.files)
        results[id_] = replace(result, files=(*result.files, *(root / file for file in several)))
    stored = {name: sorted(stored_values(values)) for name, values in description.classes.items()}
    ranked = sorted(stored, key=lambda name: stored[name][0])
    choices = {} if description.units is None else {"units": description.units}
    if description.other_labels == "background":
        choices["other labels"] = "background"
    return Listing(
        name=root.name,
        modalities=tuple(description.modalities),
        classes=("background", *ranked),
        values={0: 0, **{value: index for index, name in enumerate(ranked, 1) for value in stored[name]}},
        other_values_are_background=description.other_labels == "background",
        regions=description.regions,
        slice_axis=description.slice_axis,
        intensity=description.intensity,
        cases=tuple(result.case for result in results.values() if result.case is not None),
        findings=(*hidden_note(hidden), *(finding for result in results.values() for finding in result.findings)),
        choices=choices,
        unlabelled=tuple(id_ for id_, result in results.items() if result.unlabelled),
        recognised=tuple(file for result in results.values() for file in result.files),
        patterns=tuple(patterns.values()),
    )


def _is_unlabelled(id_: str, description: FolderDescription) -> bool:
    names = (id_, id_.partition("/")[0], id_.rpartition("/")[2])
    return any(fnmatchcase(name, pattern) for name in names for pattern in description.unlabelled)


def _files(root: Path, depth: int) -> tuple[list[PurePosixPath], list[str]]:
    """NIfTI files at most ``depth`` levels below ``root``, relative to it, and the hidden files among them.

    A folder that has the name of a file, and one volume in it, counts as that file.
    """
    shown, hidden = list[PurePosixPath](), list[str]()
    for place, folders, names in os.walk(root, followlinks=True):
        here = PurePosixPath(Path(place).relative_to(root).as_posix())
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        hidden += sorted(str(root / here / name) for name in names if is_hidden(name))
        wrapped = [name for name in folders if without_ending(name) and volume_at(root / here / name)]
        folders[:] = [name for name in folders if name not in wrapped] if len(here.parts) < depth - 1 else []
        files = sorted([*names, *wrapped])
        shown += [here / name for name in files if not is_hidden(name) and without_ending(name) is not None]
    return shown, hidden


def _match(files: list[PurePosixPath], patterns: dict[str, str]) -> dict[str, dict[str, list[PurePosixPath]]]:
    """Files by id and role. A file that several patterns match belongs to the one with the most text of its own.

    So with ``{id}.nii.gz`` and ``{id}_seg.nii.gz`` the file ``7_seg.nii.gz`` is the mask of 7, not an image of 7_seg.
    """
    ranked = sorted(patterns, key=lambda role: len(re.sub(r"\{\w+\}|\*", "", patterns[role])), reverse=True)
    compiled = {role: _expression(patterns[role]) for role in ranked}
    matched: dict[str, dict[str, list[PurePosixPath]]] = {}
    for file in files:
        text = str(file)
        for role, expression in compiled.items():
            if (match := expression.fullmatch(text)) is not None:
                matched.setdefault(_case_id(match), {}).setdefault(role, []).append(file)
                break
    return matched


def _expression(pattern: str) -> re.Pattern[str]:
    """``pattern`` as a regular expression with the groups ``id`` and, where it stands there, ``patient``."""
    stem = without_ending(str(PurePosixPath(pattern))) or pattern
    seen = set[str]()
    text = ""
    for part in re.split(r"(\{id\}|\{patient\}|\*)", stem):
        name = part.strip("{}")
        if part == "*":
            text += "[^/]*"
        elif part in (ID, PATIENT):
            text += f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+)"
            seen.add(name)
        else:
            text += re.escape(part)
    return re.compile(text + r"(?i:\.nii(\.gz)?)")


def _case_id(match: re.Match[str]) -> str:
    return "/".join(match[name] for name in ("patient", "id") if name in match.re.groupindex)


def _one(root: Path, id_: str, pattern: str, files: list[PurePosixPath]) -> Path | Finding:
    paths = [path for file in files if (path := volume_at(root / file)) is not None]
    if len(paths) == 1:
        return paths[0]
    if paths:
        return two_files(id_, paths)
    patient, _, own = id_.rpartition("/")
    missing = root / pattern.replace(PATIENT, patient).replace(ID, own)
    return Finding("error", id_, str(missing), f"{missing.name} is missing{other_format(missing)}")
