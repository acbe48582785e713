"""Folders of image and mask files in any arrangement, described by the user in a few lines.

The description stands in ``medsweep.yaml`` beside the files or inside the sweep::

    modalities: {T2: "case_{id}/imaging.nii.gz"}
    mask: "case_{id}/segmentation.nii.gz"
    classes: {prostate: 1}
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from medsweep.data.dataset import Finding, Listing
from medsweep.data.itk_head import is_itk, require_package
from medsweep.data.layouts.attached import with_attached
from medsweep.data.layouts.case_files import (
    ENDINGS,
    CaseResult,
    complete,
    existing_folder,
    hidden_note,
    in_its_place,
    is_hidden,
    numeric,
    two_files,
    volume_at,
    without_ending,
)
from medsweep.data.layouts.description import (
    DESCRIPTION,
    ID,
    PATIENT,
    SITE,
    FolderDescription,
    pattern_and_channel,
    stored_values,
)
from medsweep.data.layouts.leftovers import asked_for, foreign_formats, is_ignored, volumes_below
from medsweep.errors import UserError

MASK = "mask"


class _Name(NamedTuple):
    """What the placeholders of a pattern stand for in the paths of one case; empty where they do not stand."""

    site: str
    patient: str
    own: str

    @property
    def id(self) -> str:
        """The id of the case, which holds all of them."""
        case = f"{self.patient}/{self.own}" if self.patient else self.own
        return f"{self.site}.{case}" if self.site else case

    def path(self, pattern: str) -> str:
        """The path of this case that ``pattern`` means."""
        return pattern.replace(SITE, self.site).replace(PATIENT, self.patient).replace(ID, self.own)


def cases(root: Path, description: FolderDescription) -> Listing:
    """Find every id that any of the patterns matches; an id without one of its files is an error finding.

    Raises:
        UserError: no such folder, or no file that matches any pattern.
    """
    existing_folder(root, f"the folder that {DESCRIPTION} describes")
    masks = description.structures or {MASK: str(description.mask)}
    roles = [*description.modalities.values(), *masks.values()]
    paths, channels = zip(*map(pattern_and_channel, roles), strict=True)
    patterns = tuple(dict.fromkeys(paths))
    matched, hidden = _matched(root, patterns, description.ignore)
    first_mask = len(description.modalities)
    masked = [name.id for name, by_pattern in matched.items() if by_pattern.keys() & set(paths[first_mask:])]
    results = {
        name.id: _derived(
            _case(root, name, paths[:first_mask], paths[first_mask:], matched[name], description=description),
            name.id,
            masked,
        )
        for name in sorted(matched, key=lambda name: numeric(name.id))
    }
    classes, values = _numbered(description)
    return Listing(
        name=root.name,
        modalities=tuple(description.modalities),
        classes=classes,
        values=values,
        other_values_are_background=description.other_labels == "background",
        ignored_value=description.ignored_label,
        regions=description.regions,
        slice_axis=description.slice_axis,
        intensity=description.intensity,
        cases=tuple(result.case for result in results.values() if result.case is not None),
        findings=(*hidden_note(hidden), *(finding for result in results.values() for finding in result.findings)),
        choices=_choices(description),
        unlabelled=tuple(id_ for id_, result in results.items() if result.unlabelled),
        recognised=tuple(file for result in results.values() for file in result.files),
        patterns=patterns,
        image_channels=channels[:first_mask] if any(c is not None for c in channels[:first_mask]) else (),
        structure_channels=channels[first_mask:] if description.structures else (),
        later_covers=description.overlap == "ordered",
    )


def _matched(
    root: Path, patterns: Sequence[str], ignore: Sequence[str]
) -> tuple[dict[_Name, dict[str, list[PurePosixPath]]], list[str]]:
    """The files by case and pattern, and the hidden files met on the way.

    Raises:
        UserError: no file matches, two cases would have one id, or a pattern is of a format that cannot be read here.
    """
    if asked := asked_for(patterns):
        require_package(f"{DESCRIPTION} names {' and '.join(asked)} files")
    endings = (*ENDINGS, *asked)
    depth = max(len(PurePosixPath(text).parts) for text in patterns)
    found, hidden = _files(root, depth, endings)
    matched = _match([file for file in found if not any(is_ignored(file, pattern) for pattern in ignore)], patterns)
    if not matched:
        anywhere = volumes_below(root, endings)
        advice = foreign_formats(root, endings) or "mend the patterns or data.root"
        kind = " and ".join(("NIfTI", *asked))
        first = f" (the first is {anywhere[0]})" if anywhere else ""
        raise UserError(
            f"none of {len(anywhere)} {kind} files in {root}{first} matches {', '.join(patterns)}; {advice}"
        )
    _refuse_equal_ids(matched)
    return matched, hidden


def _numbered(description: FolderDescription) -> tuple[tuple[str, ...], dict[int, int]]:
    """The classes by index, in the order of their lowest stored values, and the index of each stored value."""
    stored = {name: sorted(stored_values(values)) for name, values in description.stored_classes.items()}
    ranked = sorted(stored, key=lambda name: stored[name][0])
    values = {value: index for index, name in enumerate(ranked, 1) for value in stored[name]}
    return ("background", *ranked), {0: 0, **values}


def _choices(description: FolderDescription) -> dict[str, str]:
    choices = {} if description.units is None else {"units": description.units}
    return choices | ({"other labels": "background"} if description.other_labels == "background" else {})


def _case(
    root: Path,
    name: _Name,
    images: Sequence[str],
    masks: Sequence[str],
    found: Mapping[str, list[PurePosixPath]],
    *,
    description: FolderDescription,
) -> CaseResult:
    """What is made of the files of one case, ``found`` by the pattern that they match."""
    by_pattern = {text: _one(root, name, text, found.get(text, [])) for text in dict.fromkeys((*images, *masks))}
    unmasked = not any(found.get(text) for text in masks)
    if unmasked:
        for text in dict.fromkeys(masks):
            lost = by_pattern[text]
            if isinstance(lost, Finding):
                advice = f"{lost.what}; list the id under unlabelled if it has none by design"
                by_pattern[text] = replace(lost, what=advice)
    structures = [path for text in masks if isinstance(path := by_pattern[text], Path)]
    lost_masks = [path for text in dict.fromkeys(masks) if isinstance(path := by_pattern[text], Finding)]
    label = lost_masks[0] if lost_masks else structures[0]
    result = with_attached(complete(name.id, [by_pattern[text] for text in images], label, *lost_masks[1:]), structures)
    if unmasked and _is_unlabelled(name, description):
        result = CaseResult(unlabelled=True, files=result.files)
    elif result.case is not None and description.structures:
        result = replace(result, case=replace(result.case, structures=tuple(structures)))
    several = [file for paths in found.values() if len(paths) > 1 for file in paths]
    return replace(result, files=(*result.files, *structures, *(root / file for file in several)))


def _derived(result: CaseResult, id_: str, masked: Sequence[str]) -> CaseResult:
    """``result``, where an id without mask is that of a masked case and more, with one error that says so."""
    longer = [other for other in masked if re.match(re.escape(other) + r"[_.-]", id_)]
    if result.case is not None or result.unlabelled or id_ in masked or not longer:
        return result
    more = id_.removeprefix(max(longer, key=len))
    what = (
        f"there is no mask, and the name is that of another case and {more!r}; if it is a file made from that case, "
        f"write ignore: ['*{more}.nii*'] in {DESCRIPTION}; else list the id under unlabelled"
    )
    file = str(result.files[0]) if result.files else result.findings[0].file
    return replace(result, findings=(Finding("error", id_, file, what),))


def _is_unlabelled(name: _Name, description: FolderDescription) -> bool:
    texts = (name.id, name.id.partition("/")[0], name.patient or name.own, name.own)
    return any(fnmatchcase(text, pattern) for text in texts for pattern in description.unlabelled)


def _files(root: Path, depth: int, endings: Sequence[str]) -> tuple[list[PurePosixPath], list[str]]:
    """Files with ``endings`` at most ``depth`` levels below ``root``, relative to it, and the hidden files among them.

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
        shown += [here / name for name in files if not is_hidden(name) and without_ending(name, endings) is not None]
    return shown, hidden


def _match(files: list[PurePosixPath], patterns: Sequence[str]) -> dict[_Name, dict[str, list[PurePosixPath]]]:
    """Files by case and pattern. A file that several patterns match belongs to the one with the most text of its own.

    So with ``{id}.nii.gz`` and ``{id}_seg.nii.gz`` the file ``7_seg.nii.gz`` is the mask of 7, not an image of 7_seg.
    """
    ranked = sorted(patterns, key=lambda pattern: len(re.sub(r"\{\w+\}|\*", "", pattern)), reverse=True)
    compiled = {pattern: expression(pattern) for pattern in ranked}
    matched: dict[_Name, dict[str, list[PurePosixPath]]] = {}
    for file in files:
        text = str(file)
        for pattern, compiled_pattern in compiled.items():
            if (match := compiled_pattern.fullmatch(text)) is not None:
                matched.setdefault(_named(match), {}).setdefault(pattern, []).append(file)
                break
    return matched


def _refuse_equal_ids(names: Iterable[_Name]) -> None:
    first: dict[str, _Name] = {}
    for name in names:
        if (other := first.setdefault(name.id, name)) != name:
            told = " and ".join(f"{one.own!r} of site {one.site!r}" for one in (other, name))
            raise UserError(f"{told} would both have the id {name.id}; rename one of the folders")


def expression(pattern: str) -> re.Pattern[str]:
    """``pattern`` as a regular expression with a group for each placeholder."""
    ending = PurePosixPath(pattern).suffix if is_itk(Path(pattern)) else ""
    stem = str(PurePosixPath(pattern)).removesuffix(ending) if ending else without_ending(str(PurePosixPath(pattern)))
    seen = set[str]()
    text = ""
    for part in re.split(r"(\{id\}|\{patient\}|\{site\}|\*)", stem or pattern):
        name = part.strip("{}")
        if part == "*":
            text += "[^/]*"
        elif part in (ID, PATIENT, SITE):
            text += f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+)"
            seen.add(name)
        else:
            text += re.escape(part)
    return re.compile(text + (f"(?i:{re.escape(ending)})" if ending else r"(?i:\.nii(\.gz)?)"))


def _named(match: re.Match[str]) -> _Name:
    found = match.groupdict()
    return _Name(found.get("site", ""), found.get("patient", ""), found["id"])


def _one(root: Path, name: _Name, pattern: str, files: list[PurePosixPath]) -> Path | Finding:
    paths = [path for file in files if (path := volume_at(root / file)) is not None]
    if len(paths) == 1:
        return paths[0]
    if paths:
        twice = two_files(name.id, paths)
        apart = "*" in pattern and len({path.parent for path in paths}) == len(paths)
        sites = f"; if they are of two sites, write {SITE} in the place of * in all patterns"
        return replace(twice, what=twice.what + sites) if apart else twice
    missing = root / name.path(pattern)
    return Finding("error", name.id, str(missing), f"{missing.name} is missing{in_its_place(missing)}")
