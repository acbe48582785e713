"""Folders of image and mask files in any arrangement, described by the user in a few lines.

The description stands in ``medsweep.yaml`` beside the files or inside the sweep::

    modalities: {T2: "case_{id}/imaging.nii.gz"}
    mask: "case_{id}/segmentation.nii.gz"
    classes: {prostate: 1}
"""

import os
import re
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field, field_validator, model_validator

from medsweep.config import Config
from medsweep.data.dataset import Finding, Intensity, Listing, SliceAxis
from medsweep.data.layouts.case_files import (
    complete,
    existing_folder,
    hidden_note,
    is_hidden,
    numeric,
    two_files,
    without_ending,
)
from medsweep.errors import UserError, nearest
from medsweep.validation import parse
from medsweep.yamlfile import read_yaml

DESCRIPTION = "medsweep.yaml"
EXAMPLE = (
    'modalities: {T2: "case_{id}/imaging.nii.gz"}, mask: "case_{id}/segmentation.nii.gz" and classes: {prostate: 1}'
)
MASK = "mask"
ID = "{id}"


class FolderDescription(Config):
    """Which files are the modalities and the mask of a case, and what the mask's values mean."""

    modalities: dict[str, str] = Field(min_length=1)
    """File pattern by modality, in channel order: a path below the data folder with ``{id}`` where the case's id
    stands; where it stands more than once it is the same text. ``.nii`` and ``.nii.gz`` are both found."""
    mask: str
    """File pattern of the label file."""
    classes: dict[str, int | tuple[int, ...]] = Field(min_length=1, max_length=255)
    """Stored label value, or several that count as one class, by class name; class indices follow the lowest values.
    The background is 0 and goes without saying."""
    other_labels: Literal["refuse", "background"] = "refuse"
    """What a stored value that no class names is: an error, or background, as for one organ of many."""
    regions: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Unions of classes that are scored beside the classes, by name."""
    units: str | None = None
    """Unit of the stored intensities, such as HU; kept with the prepared data."""
    slice_axis: SliceAxis = "axial"
    """Axis along which slices are cut."""
    intensity: Intensity = Intensity()
    """How stored values become network inputs."""

    @field_validator("mask", "modalities")
    @classmethod
    def _patterns(cls, value: str | dict[str, str]) -> str | dict[str, str]:
        for pattern in [value] if isinstance(value, str) else value.values():
            _check_pattern(pattern)
        return value

    @field_validator("classes")
    @classmethod
    def _values(cls, classes: dict[str, int | tuple[int, ...]]) -> dict[str, int | tuple[int, ...]]:
        stored = [value for values in classes.values() for value in _stored(values)]
        if "background" in classes or 0 in stored:
            raise ValueError("the background is 0 and is not listed")
        if len(set(stored)) < len(stored) or not all(map(_stored, classes.values())):
            raise ValueError("each class needs stored values of its own")
        return classes

    @model_validator(mode="after")
    def _names_fit(self) -> "FolderDescription":
        patterns = [*self.modalities.values(), self.mask]
        if twice := next((pattern for pattern in patterns if patterns.count(pattern) > 1), None):
            raise ValueError(f"the pattern {twice!r} stands twice; every modality and the mask need files of their own")
        for region, members in self.regions.items():
            if region in self.classes or not members:
                raise ValueError(f"region {region!r} needs classes and a name that no class has, got {list(members)}")
            unknown = next((member for member in members if member not in self.classes), None)
            if unknown is not None:
                raise ValueError(f"region {region!r} names no class {unknown!r}; {nearest(unknown, self.classes)}")
        return self


def _stored(values: int | tuple[int, ...]) -> tuple[int, ...]:
    return (values,) if isinstance(values, int) else values


def _check_pattern(pattern: str) -> None:
    path = PurePosixPath(pattern)
    if ID not in pattern or re.search(r"[{}]", pattern.replace(ID, "")):
        raise ValueError(f"a file pattern holds {ID} and no other braces, for example 'case_{ID}/imaging.nii.gz'")
    if path.is_absolute() or ".." in path.parts or without_ending(path.name) is None:
        raise ValueError("a file pattern is a path below the data folder that ends in .nii or .nii.gz")


def read_description(root: Path) -> FolderDescription:
    """The description in ``root/medsweep.yaml``.

    Raises:
        UserError: it cannot be read; the message begins with file and line.
    """
    yaml = read_yaml(root / DESCRIPTION, kind="description")
    return parse(FolderDescription, yaml.data, yaml)


def cases(root: Path, description: FolderDescription) -> Listing:
    """Find every id that any of the patterns matches; an id without one of its files is an error finding.

    Raises:
        UserError: no such folder, or no file that matches any pattern.
    """
    existing_folder(root, f"the folder that {DESCRIPTION} describes")
    patterns = {**{f"modality {name}": text for name, text in description.modalities.items()}, MASK: description.mask}
    files, hidden = _files(root, max(len(PurePosixPath(text).parts) for text in patterns.values()))
    matched = _match(files, patterns)
    if not matched:
        texts = ", ".join(patterns.values())
        raise UserError(f"none of {len(files)} files in {root} matches {texts}; mend the patterns or data.root")
    results = []
    for id_ in sorted(matched, key=numeric):
        *images, label = (_one(root, id_, text, matched[id_].get(role, [])) for role, text in patterns.items())
        results.append(complete(id_, images, label))
    stored = {name: sorted(_stored(values)) for name, values in description.classes.items()}
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
        cases=tuple(result.case for result in results if result.case is not None),
        findings=(*hidden_note(hidden), *(finding for result in results for finding in result.findings)),
        choices=choices,
    )


def _files(root: Path, depth: int) -> tuple[list[Path], list[str]]:
    """NIfTI files at most ``depth`` levels below ``root``, relative to it, and the hidden files among them."""
    shown, hidden = [], []
    for place, folders, names in os.walk(root, followlinks=True):
        here = Path(place).relative_to(root)
        folders[:] = sorted(name for name in folders if not is_hidden(name)) if len(here.parts) < depth - 1 else []
        hidden += sorted(str(root / here / name) for name in names if is_hidden(name))
        shown += [here / name for name in sorted(names) if not is_hidden(name) and without_ending(name) is not None]
    return shown, hidden


def _match(files: list[Path], patterns: dict[str, str]) -> dict[str, dict[str, list[Path]]]:
    """Files by id and role. A file that several patterns match belongs to the one with the most text of its own.

    So with ``{id}.nii.gz`` and ``{id}_seg.nii.gz`` the file ``7_seg.nii.gz`` is the mask of 7, not an image of 7_seg.
    """
    ranked = sorted(patterns, key=lambda role: len(patterns[role].replace(ID, "")), reverse=True)
    compiled = {role: _expression(patterns[role]) for role in ranked}
    matched: dict[str, dict[str, list[Path]]] = {}
    for file in files:
        text = file.as_posix()
        for role, expression in compiled.items():
            if (match := expression.fullmatch(text)) is not None:
                matched.setdefault(match["id"], {}).setdefault(role, []).append(file)
                break
    return matched


def _expression(pattern: str) -> re.Pattern[str]:
    stem = without_ending(str(PurePosixPath(pattern))) or pattern
    before, *after = map(re.escape, stem.split(ID))
    return re.compile(before + r"(?P<id>[^/]+)" + "(?P=id)".join(after) + r"\.nii(\.gz)?")


def _one(root: Path, id_: str, pattern: str, files: list[Path]) -> Path | Finding:
    paths = [root / file for file in files]
    if len(paths) == 1:
        return paths[0]
    if paths:
        return two_files(id_, paths)
    missing = root / pattern.replace(ID, id_)
    return Finding("error", id_, str(missing), f"{missing.name} is missing")
