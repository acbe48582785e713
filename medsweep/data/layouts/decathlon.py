"""The folder layout of the Medical Segmentation Decathlon (Antonelli et al. 2022, DOI 10.1038/s41467-022-30695-9).

``dataset.json`` is the list of cases; the folders are never searched, so stray files (``._*``) cannot become patients.
Several modalities are one 4D file with the modality as its last axis.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsweep.errors import UserError, nearest

EXPECTED = "a folder with dataset.json, imagesTr and labelsTr"


@dataclass(frozen=True)
class Case:
    """One labelled patient."""

    id: str
    image: Path
    label: Path


@dataclass(frozen=True)
class Layout:
    """What ``dataset.json`` says, checked against the files."""

    name: str
    modalities: tuple[str, ...]
    classes: tuple[str, ...]
    """Lower-case names by label value; 0 is the background."""
    cases: tuple[Case, ...]
    """In numeric order of the ids, so that ``spleen_2`` comes before ``spleen_10``."""


def cases(root: Path) -> Layout:
    """Read the layout under ``root`` and check that every listed pair is there.

    Raises:
        UserError: ``root`` or ``dataset.json`` missing or broken, labels not numbered from 0, no cases, two cases of
            one id, an image without label or a label without image.
    """
    path = root / "dataset.json"
    described = _read(root, path)
    found = [_case(root, entry, path) for entry in _training(described, path)]
    listed = sorted(
        (case for case in found if not case.image.name.startswith("._")), key=lambda case: _numeric(case.id)
    )
    if not listed:
        raise UserError(f"{path} lists no labelled case under 'training'")
    twice = [id_ for id_, count in Counter(case.id for case in listed).items() if count > 1]
    if twice:
        raise UserError(f"{path} lists {twice[0]!r} {Counter(case.id for case in listed)[twice[0]]} times")
    _check_partners(listed, path)
    classes = tuple(name.strip().lower() for name in _names(described, "labels", path))
    if len(set(classes)) != len(classes) or not 2 <= len(classes) <= 256:
        raise UserError(f"'labels' in {path} must be 2 to 256 different names, got {list(classes)}")
    name = str(described.get("name", root.name))
    return Layout(name, _names(described, "modality", path), classes, tuple(listed))


def _read(root: Path, path: Path) -> dict[str, Any]:
    if not root.is_dir():
        unset = " (its environment variable is not set)" if "$" in str(root) else ""
        raise UserError(
            f"no data folder {root}{unset}; data.root must be {EXPECTED}, "
            "for example ${MEDSWEEP_DATA}/Task04_Hippocampus"
        )
    if not path.is_file():
        inside = sorted(child.parent.name for child in root.glob("*/dataset.json"))
        hint = f"; {nearest(root.name, inside)}" if inside else ""
        raise UserError(f"no dataset.json in {root}; data.root must be {EXPECTED}{hint}")
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON ({error}); fetch it again") from error
    if not isinstance(described, dict):
        raise UserError(
            f"{path} must hold an object with modality, labels and training, got {type(described).__name__}"
        )
    return described


def _names(described: dict[str, Any], key: str, path: Path) -> tuple[str, ...]:
    """The names of ``{"0": name, "1": name, ...}`` in order of their numbers, which must have no gap."""
    entry = described.get(key)
    if not isinstance(entry, dict) or not entry:
        raise UserError(f"{path} needs {key!r} like {{'0': 'name'}}, got {entry!r}")
    wanted = [str(index) for index in range(len(entry))]
    if set(entry) != set(wanted):
        raise UserError(f"{key!r} in {path} must be numbered {', '.join(wanted)} without gap, got {', '.join(entry)}")
    return tuple(str(entry[index]) for index in wanted)


def _training(described: dict[str, Any], path: Path) -> list[Any]:
    training = described.get("training")
    if not isinstance(training, list):
        raise UserError(f"{path} needs a list 'training' of image and label pairs, got {type(training).__name__}")
    return training


def _case(root: Path, entry: object, path: Path) -> Case:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("image", "label")):
        raise UserError(f"{path}: each entry of 'training' needs the paths 'image' and 'label', got {entry!r}")
    image, label = root / entry["image"], root / entry["label"]
    return Case(id=re.sub(r"\.nii(\.gz)?$", "", image.name), image=image, label=label)


def _check_partners(listed: list[Case], path: Path) -> None:
    for case in listed:
        image, label = case.image.is_file(), case.label.is_file()
        if image and label:
            continue
        what = "image without label" if image else "label without image" if label else "neither image nor label"
        missing = case.label if image else case.image
        raise UserError(f"{case.id}: {what}; {path} lists {missing}, which is not there")


def _numeric(id_: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key that compares runs of digits as numbers."""
    parts = re.split(r"(\d+)", id_)
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts)
