"""The folder layout of the Medical Segmentation Decathlon (Antonelli et al. 2022, DOI 10.1038/s41467-022-30695-9).

``dataset.json`` is the list of cases, so stray files (``._*``) cannot become patients. Labelled cases in the folders
that the list lacks are an error. Several modalities are one 4D file with the modality as its last axis.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from medsweep.data.dataset import DatasetFormat, Finding, Listing
from medsweep.data.layouts.case_files import (
    CaseResult,
    candidates,
    complete,
    hidden_note,
    in_its_place,
    is_hidden,
    numeric,
    pick,
    without_ending,
)
from medsweep.data.layouts.dataset_json import (
    NAME,
    Described,
    channels_of,
    contradictions,
    format_of,
    is_ct,
    labels_of,
    read_described,
)
from medsweep.errors import UserError

EXPECTED = "a folder with dataset.json, imagesTr and labelsTr"
LABELLED = ("training", "validation", "test")
"""Lists whose entries may be labelled cases; entries of the last two without a label are unlabelled by design."""


@dataclass(frozen=True)
class _Entry:
    """One case of a list."""

    image: str
    label: str
    patient: str | None

    @property
    def file(self) -> PurePosixPath:
        """The image, however its path is spelled."""
        return PurePosixPath(self.image.replace("\\", "/"))

    @property
    def id(self) -> str:
        """Name of the image, behind the patient where one is named."""
        own = _id(self.image)
        return own if self.patient is None else f"{self.patient}/{own}"


def cases(root: Path, spec: DatasetFormat | None = None) -> Listing:
    """Read the layout under ``root`` and check that every listed pair is there and that it agrees with ``spec``.

    Raises:
        UserError: ``root`` or ``dataset.json`` missing or broken, labels without 0, no cases, or other modalities or
            classes than ``spec`` has. What is wrong with single cases is found, not raised.
    """
    path = root / NAME
    described = read_described(root, EXPECTED)
    if spec is None:
        spec, remarks, choices = format_of(described, root)
    else:
        _check_agreement(spec, channels_of(described, path), labels_of(described, path).classes, path)
        remarks, choices = (), {}
    lists = {key: _list(described, key, path) for key in LABELLED if key == "training" or key in described}
    entries, tests, notes = _sorted_out(lists, path)
    shown = [entry for entry in entries if not is_hidden(_name(entry.image))]
    if not shown:
        raise UserError(f"{path} lists no labelled case under 'training'")
    hidden = [file for file in (*(entry.image for entry in entries), *tests) if is_hidden(_name(file))]
    results = _partners(root, path, shown)
    ids, names = {entry.id for entry in shown}, {_id(entry.image) for entry in shown}
    unlabelled, in_both = _unlabelled(tests, {entry.file for entry in shown}, path)
    dropped = sum(is_hidden(_name(entry.image)) for entry in entries)
    unlisted = _unlisted(root, shown, names)
    errors = contradictions(described, path, ids, unlisted, dropped)
    found = (finding for result in results for finding in result.findings)
    return Listing(
        **spec.format_fields(),
        cases=tuple(result.case for result in results if result.case is not None),
        stacked=len(spec.modalities) > 1,
        ignored_value=labels_of(described, path).ignored,
        unlabelled=unlabelled,
        findings=(*hidden_note(hidden), *remarks, *notes, *found, *errors, *in_both),
        choices=choices,
        recognised=(
            *(file for result in results for file in result.files),
            *(root / file for file in tests),
            *chain(*unlisted.values()),
        ),
        patterns=("imagesTr/{id}.nii.gz", "labelsTr/{id}.nii.gz"),
    )


def _list(described: Described, key: str, path: Path) -> list[Any]:
    entries = described.get(key)
    if not isinstance(entries, list):
        raise UserError(f"{path} needs a list {key!r} of cases, got {type(entries).__name__}")
    return entries


def _sorted_out(lists: dict[str, list[Any]], path: Path) -> tuple[list[_Entry], list[str], list[Finding]]:
    """The labelled cases of all lists, the unlabelled files, and notes on what was read beside 'training'."""
    labelled = [_labelled(entry, "training", path) for entry in lists["training"]]
    files, notes = list[str](), list[Finding]()
    known = {entry.file for entry in labelled}
    for key in LABELLED[1:]:
        own = lists.get(key, [])
        pairs = [_labelled(entry, key, path) for entry in own if isinstance(entry, dict) and "label" in entry]
        files += [_test_file(entry, key, path) for entry in own if not (isinstance(entry, dict) and "label" in entry)]
        if fresh := [entry for entry in pairs if entry.file not in known]:
            what = f"{len(fresh)} labelled cases under {key!r} are read with those under 'training'"
            notes.append(Finding("note", "-", str(path), what))
        labelled += fresh
        known |= {entry.file for entry in fresh}
    slashed = [file.replace("\\", "/") for file in files]
    if slashed != files or any("\\" in entry.image + entry.label for entry in labelled):
        notes.append(Finding("note", "-", str(path), "paths with backslashes are read as paths with slashes"))
    plain = [_Entry(e.image.replace("\\", "/"), e.label.replace("\\", "/"), e.patient) for e in labelled]
    return plain, slashed, notes


def _labelled(entry: object, key: str, path: Path) -> _Entry:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(role), str) for role in ("image", "label")):
        raise UserError(f"{path}: each entry of {key!r} needs the paths 'image' and 'label', got {entry!r}")
    patient = entry.get("patient")
    if patient is not None and (not isinstance(patient, str) or not patient or "/" in patient):
        raise UserError(f"{path}: 'patient' of an entry is a name without slash, in quotes, got {patient!r}")
    return _Entry(entry["image"], entry["label"], patient)


def _test_file(entry: object, key: str, path: Path) -> str:
    file = entry.get("image") if isinstance(entry, dict) else entry
    if not isinstance(file, str):
        raise UserError(f"{path}: each entry of {key!r} is the path of an image, got {entry!r}")
    return file


def _name(file: str) -> str:
    return PurePosixPath(file.replace("\\", "/")).name


def _id(file: str) -> str:
    return without_ending(_name(file)) or _name(file)


def _partners(root: Path, path: Path, entries: Sequence[_Entry]) -> list[CaseResult]:
    """The cases whose files are there, once each, and an error for every other one, in numeric order."""
    by_id: dict[str, list[_Entry]] = defaultdict(list)
    for entry in entries:
        by_id[entry.id].append(entry)
    return [_case(id_, root, by_id[id_], path) for id_ in sorted(by_id, key=numeric)]


def _case(id_: str, root: Path, entries: list[_Entry], path: Path) -> CaseResult:
    image, label = root / entries[0].image, root / entries[0].label
    if len(entries) > 1:
        twice = f"listed {len(entries)} times under 'training'"
        if files := sorted({entry.image for entry in entries} - {entries[0].image}):
            twice = (
                f"{entries[0].image} and {files[0]} have one name; two cases need two: rename the files, or give "
                "patterns with {site} in medsweep.yaml"
            )
        every = tuple(root / file for entry in entries for file in (entry.image, entry.label))
        return CaseResult(findings=(Finding("error", id_, str(path), twice),), files=every)
    own = _id(image.name)
    has_image, has_label = (bool(candidates(file.parent, _id(file.name))) for file in (image, label))
    if has_image and has_label:
        return complete(id_, [pick(image.parent, id_, own)], pick(label.parent, id_, _id(label.name)))
    what = "image without label" if has_image else "label without image" if has_label else "neither image nor label"
    missing = label if has_image else image
    there = image if has_image else label
    what = f"{what}; dataset.json lists {missing.name}{in_its_place(missing)}"
    return CaseResult(findings=(Finding("error", id_, str(missing), what),), files=(there,))


def _unlisted(root: Path, entries: Sequence[_Entry], listed: set[str]) -> dict[str, tuple[Path, ...]]:
    """Files by id of pairs in the folders of the listed cases that no list names."""
    images, labels = (
        {root / PurePosixPath(file).parent for file in files}
        for files in ([entry.image for entry in entries], [entry.label for entry in entries])
    )
    if images & labels:  # images and labels in one folder are told apart by the list alone
        return {}
    there = [
        {_id(child.name): child for folder in folders if folder.is_dir() for child in folder.iterdir()}
        for folders in (images, labels)
    ]
    shown = {id_ for id_ in there[0].keys() & there[1].keys() if all(_is_volume(side[id_]) for side in there)}
    return {id_: tuple(side[id_] for side in there) for id_ in shown - listed}


def _is_volume(path: Path) -> bool:
    return not is_hidden(path.name) and without_ending(path.name) is not None


def _unlabelled(
    tests: list[str], labelled: set[PurePosixPath], path: Path
) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    """Ids under 'test' in numeric order; one that is listed under 'training' too is told and counts as labelled."""
    shown = sorted(
        {PurePosixPath(file) for file in tests if not is_hidden(_name(file))}, key=lambda file: numeric(str(file))
    )
    what = "listed under 'training' and under 'test'; taken as labelled"
    in_both = tuple(Finding("warning", _id(file.name), str(path), what) for file in shown if file in labelled)
    return tuple(dict.fromkeys(_id(file.name) for file in shown if file not in labelled)), in_both


def _check_agreement(spec: DatasetFormat, modalities: tuple[str, ...], labels: dict[int, str], path: Path) -> None:
    """That dataset.json is of the task that ``spec`` means: its labels, and CT where CT is expected."""
    named = {value: re.sub(r"[\s_-]+", "-", name) for value, name in labels.items()}
    expected = {value: spec.classes[index] for value, index in spec.values.items()}
    if named != expected:
        raise UserError(f"{path} has the labels {labels}, but {spec.name} has {expected}; data.root is another dataset")
    if len(modalities) != len(spec.modalities) or list(map(is_ct, modalities)) != list(map(is_ct, spec.modalities)):
        own, theirs = ", ".join(modalities), ", ".join(spec.modalities)
        raise UserError(f"{path} has the modality {own}, but {spec.name} is {theirs}; data.root is another dataset")
