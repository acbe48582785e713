"""``dataset.json`` of the Medical Segmentation Decathlon and of nnU-Net: what it says, in either of their forms.

The Decathlon and nnU-Net v1 write ``modality`` and ``labels`` as ``{"0": name}``. nnU-Net v2 writes ``channel_names``
and labels as ``{name: value}``, where a list of values is a region (Isensee et al. 2021, DOI
10.1038/s41592-020-01008-z, and the documentation of its version 2).
"""

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from medsweep.data.dataset import DatasetFormat, Finding, Intensity
from medsweep.data.ignored import MOST_CLASSES
from medsweep.data.layouts.case_files import existing_folder, numeric
from medsweep.errors import UserError, nearest

NAME = "dataset.json"
CT_WINDOW = (-160.0, 240.0)
"""Soft tissue, in HU: for CT tasks that the catalogue does not know."""

IGNORE = "ignore"
"""nnU-Net's name for voxels that nobody labelled."""

Described = dict[str, Any]


@dataclass(frozen=True)
class LabelTable:
    """What stored label values mean."""

    classes: dict[int, str]
    """Lower-case names by stored value, 0 first; gaps between the values are allowed."""
    regions: dict[str, tuple[str, ...]]
    """Classes by the name of the region."""
    ignored: int | None = None
    """Stored value of voxels that nobody labelled."""


def read_described(root: Path, expected: str) -> Described:
    """The content of ``root/dataset.json``.

    Raises:
        UserError: no such folder or file, not JSON, a key twice in one object, or no object.
    """
    existing_folder(root, expected)
    path = root / NAME
    if not path.is_file():
        inside = sorted(child.parent.name for child in root.glob(f"*/{NAME}"))
        hint = f"; {nearest(root.name, inside)}" if inside else ""
        raise UserError(f"no {NAME} in {root}; data.root must be {expected}{hint}")

    try:
        described = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=partial(without_twins, path))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON ({error}); fetch it again") from error
    if isinstance(described, dict):
        return described
    raise UserError(f"{path} must hold an object with modality, labels and training, got {type(described).__name__}")


def without_twins(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of some pairs, for ``json``. Raises UserError: a key stands twice."""
    keys = [key for key, _ in pairs]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise UserError(f"{path} has the key {twice!r} twice in one object; keep one")
    return dict(pairs)


def channels_of(described: Described, path: Path) -> tuple[str, ...]:
    """Names of the channels in their order, from ``channel_names`` or ``modality``."""
    key = "channel_names" if "channel_names" in described else "modality"
    named = _numbered(described, key, path)
    if list(named) != list(range(len(named))):
        listed = ", ".join(map(str, named))
        raise UserError(f"{key!r} in {path} must be numbered from 0 without gap, got {listed}")
    return tuple(named.values())


def labels_of(described: Described, path: Path) -> LabelTable:
    """What the label values mean, from names by value or values by name."""
    entry = described.get("labels")
    if isinstance(entry, dict) and entry and not any(map(_is_number, entry)):
        return _by_name(entry, path)
    named = {value: name.lower() for value, name in _numbered(described, "labels", path).items()}
    return _table(named, {}, None, path)


def _by_name(entry: dict[str, Any], path: Path) -> LabelTable:
    """The table of ``{name: value}`` and ``{region: [values]}``."""
    single, several = dict[int, str](), dict[str, list[int]]()
    for name, stored in ((str(name).strip().lower(), stored) for name, stored in entry.items()):
        values = stored if isinstance(stored, list) else [stored]
        if not values or not all(isinstance(value, int) and not isinstance(value, bool) for value in values):
            raise UserError(f"'labels' in {path} must give {name!r} a whole number or a list of them, got {stored!r}")
        if name == IGNORE and len(values) > 1:
            raise UserError(f"'labels' in {path} gives {name!r} the values {values}; give it one, and mend the masks")
        if len(values) > 1:
            several[name] = values
        elif values[0] in single:
            raise UserError(f"'labels' in {path} gives {values[0]} to {single[values[0]]!r} and to {name!r}; keep one")
        else:
            single[values[0]] = name
    ignored = next((value for value, name in single.items() if name == IGNORE), None)
    named = {value: name for value, name in single.items() if value != ignored}
    # A value that only regions name is a class of its own.
    parts = {value for values in several.values() for value in values if value != 0}
    if ignored in parts:
        raise UserError(f"'labels' in {path} has a region with {ignored}, which is {IGNORE!r}; take it out there")
    named |= {value: f"label-{value}" for value in parts - set(named)}
    classes = {value: named[value] for value in sorted(named, key=lambda value: (value != 0, value))}
    regions = {name: tuple(classes[value] for value in sorted(set(values) - {0})) for name, values in several.items()}
    return _table(classes, regions, ignored, path)


def _table(classes: dict[int, str], regions: dict[str, tuple[str, ...]], ignored: int | None, path: Path) -> LabelTable:
    if 0 not in classes:
        raise UserError(f"'labels' in {path} must give 0 to the background, got {', '.join(map(str, classes))}")
    most = 256 if ignored is None else MOST_CLASSES
    if len(set(classes.values())) != len(classes) or not 2 <= len(classes) <= most:
        raise UserError(f"'labels' in {path} must be 2 to {most} different names, got {list(classes.values())}")
    if twice := set(regions) & set(classes.values()):
        raise UserError(f"'labels' in {path} names a region and a class {min(twice)!r}; rename one")
    return LabelTable(classes, regions, ignored)


def _is_number(key: str) -> bool:
    return re.fullmatch(r"\d+", str(key)) is not None


def _numbered(described: Described, key: str, path: Path) -> dict[int, str]:
    """The names of ``{"0": name, "1": name, ...}`` in rising order of their numbers."""
    entry = described.get(key)
    if not isinstance(entry, dict) or not entry:
        raise UserError(f"{path} needs {key!r} like {{'0': 'name'}}, got {entry!r}")
    if word := next((number for number in entry if not re.fullmatch(r"0|[1-9]\d*", number)), None):
        raise UserError(f"{key!r} in {path} must be like {{'0': 'name'}}, numbers first, got the key {word!r}")
    return {int(number): str(entry[number]).strip() for number in sorted(entry, key=int)}


def format_of(described: Described, root: Path) -> tuple[DatasetFormat, tuple[Finding, ...], dict[str, str]]:
    """How a task that the catalogue does not know is read, with remarks and the choices that are recorded."""
    path = root / NAME
    modalities, labels = channels_of(described, path), labels_of(described, path)
    remarks, choices, intensity = _intensity(modalities, path)
    if labels.ignored is not None:
        what = f"label {labels.ignored} is 'ignore': nobody labelled these voxels, and losses and scores leave them out"
        remarks = (*remarks, Finding("note", "-", str(path), what))
    return (
        DatasetFormat(
            name=str(described.get("name", root.name)),
            modalities=modalities,
            classes=tuple(labels.classes.values()),
            values={value: index for index, value in enumerate(labels.classes)},
            regions=labels.regions,
            intensity=intensity,
        ),
        remarks,
        choices,
    )


def is_ct(modality: str) -> bool:
    """Whether a channel's name says CT."""
    return modality.strip().upper() == "CT"


def _intensity(modalities: tuple[str, ...], path: Path) -> tuple[tuple[Finding, ...], dict[str, str], Intensity]:
    """CT is scaled by a window in HU, all else by z-score."""
    ct = [is_ct(modality) for modality in modalities]
    if all(ct):
        low, high = CT_WINDOW
        choice = f"window {low:g} to {high:g} HU, because the modality is CT"
        return (), {"intensity": choice}, Intensity(scale="window", window=CT_WINDOW)
    if any(ct):
        what = f"CT among other modalities ({', '.join(modalities)}): all are scaled by z-score, none by a window in HU"
        return (Finding("warning", "-", str(path), what),), {}, Intensity()
    return (), {}, Intensity()


def contradictions(
    described: Described, path: Path, listed: Collection[str], unlisted: Iterable[str], hidden: int = 0
) -> list[Finding]:
    """Errors where the list of cases, the number of cases and the folder say different things.

    ``unlisted`` are ids of labelled cases in the folder that ``listed`` lacks; ``hidden`` entries were dropped.
    """
    more = sorted(unlisted, key=numeric)
    what = f"labelled in the folder and not under 'training' in {path.name}; list it, or leave the case out"
    errors = [Finding("error", id_, str(path), what) for id_ in more]
    number = described.get("numTraining")
    if number is not None and number not in (len(listed), len(listed) + hidden, len(listed) + len(more)):
        what = f"numTraining is {number!r}, and there are {len(listed)} cases; mend the list or the number"
        errors.append(Finding("error", "-", str(path), what))
    return errors
