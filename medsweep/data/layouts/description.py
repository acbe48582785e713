"""``medsweep.yaml``: what a user says of a folder, beside the files or inside the sweep as ``data.description``."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from medsweep.config import LATER, NOT_IDENTITY, Config
from medsweep.data.dataset import Intensity, Mirrored, SliceAxis
from medsweep.data.ignored import MOST_CLASSES
from medsweep.data.itk_head import ITK_ENDINGS
from medsweep.data.layouts.case_files import ENDINGS, without_ending
from medsweep.errors import Mistakes, nearest
from medsweep.validation import parse
from medsweep.yamlfile import YamlFile, read_yaml

DESCRIPTION = "medsweep.yaml"
EXAMPLE = (
    'modalities: {T2: "case_{id}/imaging.nii.gz"}, mask: "case_{id}/segmentation.nii.gz" and classes: {prostate: 1}'
)
NAMED = {"modalities": '{T2: "{id}/t2.nii.gz"}', "classes": "{prostate: 1, lesion: 2}"}
"""An example of each mapping from names."""

OTHER_NAMES = {
    **dict.fromkeys(("label", "labels", "masks", "seg", "segmentation"), "mask"),
    **dict.fromkeys(("image", "images", "modality", "channels"), "modalities"),
}
"""What other tools call the keys."""

ID = "{id}"
PATIENT = "{patient}"
SITE = "{site}"


class PatientColumn(Config):
    """A table that says whose each case is."""

    file: str
    """Name of a .csv or .tsv file below the data folder."""
    case: str
    """Its column with the ids of cases."""
    patient: str
    """Its column with the patients."""


class Remarks(Config):
    """What may be said of a folder in any layout."""

    ignore: Annotated[tuple[str, ...], LATER] = ()
    """Shell patterns of files and folders below the root that are not part of the data, such as ``derivatives`` or
    ``*_4d.nii.gz``; without a slash they match a name in any folder."""
    patient: Annotated[str | PatientColumn | None, LATER] = None
    """Whose a case is, where a patient has several: a pattern of the case's id with ``{patient}`` where the patient's
    name stands and ``*`` for any text, or a table. None takes each case for a patient of its own."""

    mirrored: Annotated[Mirrored | None, NOT_IDENTITY] = None
    """``left-right``: a slice that is mirrored left to right might as well be of the dataset, since neither the anatomy
    nor a class tells the sides apart. Generators may then learn from mirrored slices too (``flip``)."""

    @field_validator("patient")
    @classmethod
    def _holds_the_name(cls, rule: str | PatientColumn | None) -> str | PatientColumn | None:
        if isinstance(rule, str) and (rule.count(PATIENT) != 1 or re.search(r"[{}]", rule.replace(PATIENT, ""))):
            raise ValueError(f"a pattern of the case's id holds {PATIENT} once and no other braces, as '{PATIENT}_*'")
        if isinstance(rule, str) and (f"*{PATIENT}" in rule or f"{PATIENT}*" in rule):
            raise ValueError(f"text must stand between {PATIENT} and *, as in '{PATIENT}_*'")
        return rule


class FolderDescription(Remarks):
    """Which files are the modalities and the mask of a case, and what the mask's values mean."""

    modalities: dict[str, str] = Field(min_length=1)
    """File pattern by modality, in channel order: a path below the data folder with ``{id}`` where the case's id
    stands; where it stands more than once it is the same text. ``{patient}`` may stand for the patient beside it, and
    ``{site}`` for a folder whose ids other sites have too; each stands in all patterns or in none. ``*`` stands for any
    text of one name. ``.nii`` and ``.nii.gz`` are both found; ``.nrrd``, ``.nhdr``, ``.mha`` and ``.mhd`` where a
    pattern ends so and ``medsweep[sitk]`` is installed."""
    mask: str | dict[str, str]
    """File pattern of the label file, or one for each structure by class name, where each has a file or, with a number
    in brackets behind the pattern, a channel of its own."""
    classes: dict[str, int | tuple[int, ...]] = Field(default_factory=dict, max_length=255)
    """Stored label value, or several that count as one class, by class name; class indices follow the lowest values.
    The background is 0 and goes without saying. Where each structure has a mask, the masks name the classes."""
    unlabelled: Annotated[tuple[str, ...], LATER] = ()
    """Shell patterns of the ids of cases, or of patients, whose images come without labels by design, such as
    ``test_*``."""
    overlap: Annotated[Literal["refuse", "ordered"], LATER] = "refuse"
    """Where masks of structures overlap: an error, or ``ordered``, a structure covers those listed before it."""
    other_labels: Literal["refuse", "background"] = "refuse"
    """What a stored value that no class names is: an error, or background, as for one organ of many."""
    ignored_label: Annotated[int | None, LATER] = None
    """A stored value of voxels that nobody labelled; losses and scores leave them out."""
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
            _check_pattern(pattern_and_channel(pattern)[0])
        if not value or (isinstance(value, dict) and len(value) > 255):
            raise ValueError("name 1 to 255 of them")
        return value

    @field_validator("classes")
    @classmethod
    def _values(cls, classes: dict[str, int | tuple[int, ...]]) -> dict[str, int | tuple[int, ...]]:
        stored = [value for values in classes.values() for value in stored_values(values)]
        if "background" in classes or 0 in stored:
            raise ValueError("the background is 0 and is not listed")
        if len(set(stored)) < len(stored) or not all(map(stored_values, classes.values())):
            raise ValueError("each class needs stored values of its own")
        return classes

    @property
    def structures(self) -> dict[str, str]:
        """File pattern by class where each structure has a mask; else empty."""
        return {} if isinstance(self.mask, str) else self.mask

    @property
    def stored_classes(self) -> dict[str, int | tuple[int, ...]]:
        """Stored values by class; the masks of structures are numbered from 1."""
        return self.classes or {name: value for value, name in enumerate(self.structures, 1)}

    @model_validator(mode="after")
    def _classes_are_named_once(self) -> "FolderDescription":
        if bool(self.classes) == bool(self.structures):
            raise ValueError("classes are named by 'classes', or by 'mask' with a file for each, and not by both")
        if self.overlap == "ordered" and not self.structures:
            raise ValueError("overlap is for masks of one structure each; remove it")
        if isinstance(self.mask, str) and pattern_and_channel(self.mask)[1] is not None:
            raise ValueError('a channel is one structure: give each a name, as {tumour: "{id}/seg.nii.gz[1]"}')
        stored = [0, *(value for values in self.classes.values() for value in stored_values(values))]
        if self.ignored_label is not None and self.structures:
            raise ValueError(
                "ignored_label is a value of a mask with all classes; remove it beside masks of structures"
            )
        if self.ignored_label in stored:
            raise ValueError(f"ignored_label {self.ignored_label} must be a value of the mask that no class has")
        if self.ignored_label is not None and len(self.classes) >= MOST_CLASSES:
            raise ValueError(f"beside an ignored_label there is room for {MOST_CLASSES - 1} classes")
        if "background" in self.structures:
            raise ValueError("the background is what no structure covers and is not listed")
        return self

    @model_validator(mode="after")
    def _names_fit(self) -> "FolderDescription":
        patterns = [*self.modalities.values(), *(self.structures.values() or [str(self.mask)])]
        classes = self.stored_classes
        for mark in (PATIENT, SITE):
            if len({mark in pattern for pattern in patterns}) > 1:
                raise ValueError(f"{mark} stands in all file patterns or in none")
        if twice := next((pattern for pattern in patterns if patterns.count(pattern) > 1), None):
            raise ValueError(f"the pattern {twice!r} stands twice; every modality and the mask need files of their own")
        for region, members in self.regions.items():
            if region in classes or not members:
                raise ValueError(f"region {region!r} needs classes and a name that no class has, got {list(members)}")
            unknown = next((member for member in members if member not in classes), None)
            if unknown is not None:
                raise ValueError(f"region {region!r} names no class {unknown!r}; {nearest(unknown, classes)}")
        return self


def pattern_and_channel(pattern: str) -> tuple[str, int | None]:
    """A file pattern and the channel in brackets behind it, counted from 0; None where there is none.

    >>> pattern_and_channel("{id}/seg.nii.gz[2]")
    ('{id}/seg.nii.gz', 2)
    """
    match = re.fullmatch(r"(.*)\[(\d+)\]", pattern)
    return (match[1], int(match[2])) if match else (pattern, None)


def stored_values(values: int | tuple[int, ...]) -> tuple[int, ...]:
    """The stored values of one class."""
    return (values,) if isinstance(values, int) else values


def _check_pattern(pattern: str) -> None:
    path = PurePosixPath(pattern)
    if ID not in pattern or re.search(r"[{}]", re.sub(r"\{(id|patient|site)\}", "", pattern)):
        raise ValueError(
            f"a file pattern holds {ID}, {PATIENT} and {SITE} if need be, and no other braces, as "
            f"'case_{ID}/imaging.nii.gz'"
        )
    if path.is_absolute() or ".." in path.parts or without_ending(path.name, (*ENDINGS, *ITK_ENDINGS)) is None:
        raise ValueError(
            "a file pattern is a path below the data folder that ends in .nii or .nii.gz, or, with medsweep[sitk], in "
            f"{', '.join(ITK_ENDINGS)}"
        )


def read_description(root: Path) -> FolderDescription:
    """The description in ``root/medsweep.yaml``.

    Raises:
        UserError: it cannot be read; the message begins with file and line.
    """
    yaml = read_yaml(root / DESCRIPTION, kind="description")
    usual = Mistakes()
    for place, message in _usual_mistakes(yaml):
        usual.add(yaml.error(place, message))
    usual.raise_any()
    return parse(FolderDescription, yaml.data, yaml)


def _usual_mistakes(yaml: YamlFile) -> Iterator[tuple[tuple[str, ...], str]]:
    """Place and explanation of what people who write their first description get wrong."""
    for wrong, right in OTHER_NAMES.items():
        if wrong in yaml.data and right not in yaml.data:
            yield (wrong,), f"unknown key {wrong!r}; here it is called {right!r}"
    for key, example in NAMED.items():
        value = yaml.data.get(key, {})
        if not isinstance(value, dict):
            yield (key,), f"{key}: each needs a name, as {example}, got {value!r}"
            continue
        for name, item in value.items():
            if name.isdigit() and isinstance(item, str):
                yield (key, name), f"{key}: the name comes first, as {example}, got {name}: {item}"
            elif key == "classes" and isinstance(item, str | float):
                what = f"a stored value is a whole number without quotes, as {example}"
                yield (key, name), f"{key}.{name}: {what}, got {item!r}"


def read_remarks(root: Path) -> Remarks:
    """The remarks in ``root/medsweep.yaml`` on a folder whose layout is known; none where there is no such file.

    Raises:
        UserError: as ``read_description``.
    """
    if not (root / DESCRIPTION).is_file():
        return Remarks()
    yaml = read_yaml(root / DESCRIPTION, kind="description")
    return parse(Remarks, yaml.data, yaml)


def describes_files(root: Path) -> bool:
    """Whether ``root/medsweep.yaml`` says more than remarks."""
    path = root / DESCRIPTION
    return path.is_file() and not set(read_yaml(path, kind="description").data) <= set(Remarks.model_fields)
