"""The folder layout of the Medical Segmentation Decathlon (Antonelli et al. 2022, DOI 10.1038/s41467-022-30695-9).

``dataset.json`` is the list of cases; the folders are never searched, so stray files (``._*``) cannot become patients.
Several modalities are one 4D file with the modality as its last axis.
"""

import json
import re
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Any

from medsweep.data.dataset import Case, DatasetFormat, Finding, Intensity, Listing
from medsweep.data.layouts.case_files import (
    CaseResult,
    candidates,
    complete,
    existing_folder,
    hidden_note,
    is_hidden,
    numeric,
    pick,
    without_ending,
)
from medsweep.errors import UserError, nearest

EXPECTED = "a folder with dataset.json, imagesTr and labelsTr"
CT_WINDOW = (-160.0, 240.0)
"""Soft tissue, in HU: for CT tasks that the catalogue does not know."""


def cases(root: Path, spec: DatasetFormat | None = None) -> Listing:
    """Read the layout under ``root`` and check that every listed pair is there and that it agrees with ``spec``.

    Raises:
        UserError: ``root`` or ``dataset.json`` missing or broken, labels without 0, no cases, or other modalities or
            classes than ``spec`` has. What is wrong with single cases is found, not raised.
    """
    path = root / "dataset.json"
    described = _read(root, path)
    modalities, labels = _modalities(described, path), _labels(described, path)
    entries = [_pair(entry, path) for entry in _list(described, "training", path)]
    tests = [_test_file(entry, path) for entry in (_list(described, "test", path) if "test" in described else ())]
    pairs = [pair for pair in entries if not is_hidden(_name(pair[0]))]
    if not pairs:
        raise UserError(f"{path} lists no labelled case under 'training'")
    labelled, errors = _partners(root, path, pairs)
    unlabelled, in_both = _unlabelled(tests, {_id(image) for image, _ in pairs}, path)
    hidden = [file for file in (*(image for image, _ in entries), *tests) if is_hidden(_name(file))]
    if spec is None:
        remarks, choices, intensity = _intensity(modalities, path)
        spec = DatasetFormat(
            name=str(described.get("name", root.name)),
            modalities=modalities,
            classes=tuple(labels.values()),
            values={value: index for index, value in enumerate(labels)},
            intensity=intensity,
        )
    else:
        _check_agreement(spec, modalities, labels, path)
        remarks, choices = (), {}
    return Listing(
        **spec.format_fields(),
        cases=labelled,
        stacked=len(modalities) > 1,
        unlabelled=unlabelled,
        findings=(*hidden_note(hidden), *remarks, *errors, *in_both),
        choices=choices,
    )


def _read(root: Path, path: Path) -> dict[str, Any]:
    existing_folder(root, EXPECTED)
    if not path.is_file():
        inside = sorted(child.parent.name for child in root.glob("*/dataset.json"))
        hint = f"; {nearest(root.name, inside)}" if inside else ""
        raise UserError(f"no dataset.json in {root}; data.root must be {EXPECTED}{hint}")
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON ({error}); fetch it again") from error
    if isinstance(described, dict):
        return described
    raise UserError(f"{path} must hold an object with modality, labels and training, got {type(described).__name__}")


def _numbered(described: dict[str, Any], key: str, path: Path) -> dict[int, str]:
    """The names of ``{"0": name, "1": name, ...}`` in rising order of their numbers."""
    entry = described.get(key)
    if not isinstance(entry, dict) or not entry:
        raise UserError(f"{path} needs {key!r} like {{'0': 'name'}}, got {entry!r}")
    if word := next((number for number in entry if not re.fullmatch(r"0|[1-9]\d*", number)), None):
        raise UserError(f"{key!r} in {path} must be like {{'0': 'name'}}, numbers first, got the key {word!r}")
    return {int(number): str(entry[number]).strip() for number in sorted(entry, key=int)}


def _modalities(described: dict[str, Any], path: Path) -> tuple[str, ...]:
    named = _numbered(described, "modality", path)
    if list(named) != list(range(len(named))):
        listed = ", ".join(map(str, named))
        raise UserError(f"'modality' in {path} must be numbered from 0 without gap, got {listed}")
    return tuple(named.values())


def _labels(described: dict[str, Any], path: Path) -> dict[int, str]:
    """Lower-case class names by stored value, 0 first; gaps between the values are allowed."""
    named = {value: name.lower() for value, name in _numbered(described, "labels", path).items()}
    if 0 not in named:
        raise UserError(f"'labels' in {path} must give 0 to the background, got {', '.join(map(str, named))}")
    if len(set(named.values())) != len(named) or not 2 <= len(named) <= 256:
        raise UserError(f"'labels' in {path} must be 2 to 256 different names, got {list(named.values())}")
    return named


def _list(described: dict[str, Any], key: str, path: Path) -> list[Any]:
    entries = described.get(key)
    if not isinstance(entries, list):
        raise UserError(f"{path} needs a list {key!r} of cases, got {type(entries).__name__}")
    return entries


def _pair(entry: object, path: Path) -> tuple[str, str]:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("image", "label")):
        raise UserError(f"{path}: each entry of 'training' needs the paths 'image' and 'label', got {entry!r}")
    return entry["image"], entry["label"]


def _test_file(entry: object, path: Path) -> str:
    file = entry.get("image") if isinstance(entry, dict) else entry
    if not isinstance(file, str):
        raise UserError(f"{path}: each entry of 'test' is the path of an image, got {entry!r}")
    return file


def _name(file: str) -> str:
    return PurePosixPath(file).name


def _id(file: str) -> str:
    return without_ending(_name(file)) or _name(file)


def _partners(root: Path, path: Path, pairs: list[tuple[str, str]]) -> tuple[tuple[Case, ...], list[Finding]]:
    """The cases whose files are there, once each, and an error for every other one, in numeric order."""
    by_id: dict[str, list[tuple[Path, Path]]] = defaultdict(list)
    for image, label in pairs:
        by_id[_id(image)].append((root / image, root / label))
    results = [_case(id_, by_id[id_], path) for id_ in sorted(by_id, key=numeric)]
    labelled = tuple(result.case for result in results if result.case is not None)
    return labelled, [finding for result in results for finding in result.findings]


def _case(id_: str, files: list[tuple[Path, Path]], path: Path) -> CaseResult:
    if len(files) > 1:
        twice = f"listed {len(files)} times under 'training'"
        return CaseResult(findings=(Finding("error", id_, str(path), twice),))
    image, label = files[0]
    has_image, has_label = (bool(candidates(file.parent, _id(file.name))) for file in (image, label))
    if has_image and has_label:
        return complete(id_, [pick(image.parent, id_, _id(image.name))], pick(label.parent, id_, _id(label.name)))
    what = "image without label" if has_image else "label without image" if has_label else "neither image nor label"
    missing = label if has_image else image
    return CaseResult(findings=(Finding("error", id_, str(missing), f"{what}; dataset.json lists {missing.name}"),))


def _unlabelled(tests: list[str], labelled: set[str], path: Path) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    """Ids under 'test' in numeric order; one that is listed under 'training' too is told and counts as labelled."""
    ids = sorted({_id(file) for file in tests if not is_hidden(_name(file))}, key=numeric)
    what = "listed under 'training' and under 'test'; taken as labelled"
    in_both = tuple(Finding("warning", id_, str(path), what) for id_ in ids if id_ in labelled)
    return tuple(id_ for id_ in ids if id_ not in labelled), in_both


def _is_ct(modality: str) -> bool:
    return modality.strip().upper() == "CT"


def _intensity(modalities: tuple[str, ...], path: Path) -> tuple[tuple[Finding, ...], dict[str, str], Intensity]:
    """How a task that the catalogue does not know is scaled: CT by a window in HU, all else by z-score."""
    ct = [_is_ct(modality) for modality in modalities]
    if all(ct):
        low, high = CT_WINDOW
        choice = f"window {low:g} to {high:g} HU, because the modality is CT"
        return (), {"intensity": choice}, Intensity(scale="window", window=CT_WINDOW)
    if any(ct):
        what = f"CT among other modalities ({', '.join(modalities)}): all are scaled by z-score, none by a window in HU"
        return (Finding("warning", "-", str(path), what),), {}, Intensity()
    return (), {}, Intensity()


def _check_agreement(spec: DatasetFormat, modalities: tuple[str, ...], labels: dict[int, str], path: Path) -> None:
    """That dataset.json is of the task that ``spec`` means: its labels, and CT where CT is expected."""
    named = {value: re.sub(r"[\s_-]+", "-", name) for value, name in labels.items()}
    expected = {value: spec.classes[index] for value, index in spec.values.items()}
    if named != expected:
        raise UserError(f"{path} has the labels {labels}, but {spec.name} has {expected}; data.root is another dataset")
    if len(modalities) != len(spec.modalities) or list(map(_is_ct, modalities)) != list(map(_is_ct, spec.modalities)):
        own, theirs = ", ".join(modalities), ", ".join(spec.modalities)
        raise UserError(f"{path} has the modality {own}, but {spec.name} is {theirs}; data.root is another dataset")
