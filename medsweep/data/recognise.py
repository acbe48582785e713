"""What a folder would be read as, and a first description of one that nothing tells how to read."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from medsweep.data import bids, nifti
from medsweep.data.catalogue import CATALOGUE
from medsweep.data.dataset import Listing
from medsweep.data.layouts import nnunet
from medsweep.data.layouts.case_files import numeric, without_ending
from medsweep.data.layouts.dataset_json import NAME
from medsweep.data.layouts.description import DESCRIPTION, SITE, describes_files
from medsweep.data.layouts.folder import expression
from medsweep.data.layouts.leftovers import volumes_below
from medsweep.data.source import list_cases
from medsweep.data.volumes import Planes, planes_of
from medsweep.errors import UserError

MASK = re.compile(r"seg|mask|label|gt|roi|lesion|annot", re.IGNORECASE)
"""What names of masks hold, as a rule."""

HEADERS = 100
"""Cases whose headers are looked at."""

MANY = 3
"""So many times fewer patterns tell that the topmost folders are sites, not cases."""

LISTED_VALUES = 256
"""Different values above which a mask that is looked at is taken for an image."""


@dataclass(frozen=True)
class Reading:
    """One way to read a folder."""

    name: str
    """What a sweep writes as ``dataset``."""
    how: str
    """The layout, in words."""
    listing: Listing

    def planes(self) -> list[Planes]:
        """How the first ``HEADERS`` cases whose headers can be read will be cut."""
        found = []
        for case in self.listing.cases[:HEADERS]:
            try:
                found.append(planes_of(case, self.listing))
            except UserError:
                continue  # What is wrong with it is for ``check`` to say.
        return found


def readings(root: Path) -> list[Reading]:
    """All ways in which ``root`` can be read as it is, that of its own description first.

    Raises:
        UserError: no such folder, or its description or dataset.json is broken.
    """
    if not root.is_dir():
        raise UserError(f"no folder {root}")
    own = re.sub(r"\W+", "-", root.resolve().name).strip("-").lower() or "mine"
    own = f"my-{own}" if own in CATALOGUE else own
    found = []
    if (root / DESCRIPTION).is_file() and describes_files(root):
        found.append(Reading(own, f"a folder that {DESCRIPTION} describes", list_cases(own, root)))
    elif (root / NAME).is_file():
        kind = "a raw folder of nnU-Net" if nnunet.is_nnunet(root) else "a task of the Medical Segmentation Decathlon"
        found.append(Reading(own, kind, list_cases(own, root)))
    for name, spec in CATALOGUE.items():
        try:
            listing = list_cases(name, root) if spec.list_cases is not None else None
        except UserError:
            continue
        if listing is not None:
            found.append(Reading(name, f"{spec.title}, layout {spec.layout}", listing))
    return found


def draft(root: Path) -> str:
    """A first ``medsweep.yaml`` from the names of the files and the values of one mask; empty where names tell nothing.

    A user must look at it: which name is the mask is guessed, and classes are called after their values.
    """
    files = sorted(volumes_below(root))
    images, masks = bids.patterns(files)
    images, masks = (images, masks) if masks else _guessed(files)
    imaged = {id_ for pattern in images.values() for id_ in _ids(pattern, files)}
    if not masks or imaged.isdisjoint(_ids(next(iter(masks.values())), files)):
        return ""
    others = bids.other_kinds(files, [*images.values(), *masks.values()])
    lines = [f"ignore: [{', '.join(others)}]"] if others else []
    lines += ["modalities:", *(f'  {name}: "{pattern}"' for name, pattern in images.items())]
    if len(masks) > 1:
        return "\n".join([*lines, "mask:", *(f'  {name}: "{text}"' for name, text in masks.items())])
    (mask,) = masks.values()
    names = bids.class_names(root, mask)
    values = _values(root / next(iter(_ids(mask, files).values()))) or [1]
    classes = ", ".join(f"{_quoted(names.get(value, f'label-{value}'))}: {value}" for value in values)
    return "\n".join([*lines, f'mask: "{mask}"', f"classes: {{{classes}}}"])


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z][\w-]*", name) else json.dumps(name)


def _guessed(files: Sequence[PurePosixPath]) -> tuple[dict[str, str], dict[str, str]]:
    """File patterns of images and of masks by name, from what the names of files have in common."""
    plain, by_site = _patterns(files), _patterns_of_sites(files)
    # Of folders that are sites, the patterns with one id for each folder are as many as there are files in a folder.
    several = len(plain) >= MANY * len(by_site) and any(map(_is_mask, by_site)) and not all(map(_is_mask, by_site))
    patterns = by_site if several else plain
    masks = [pattern for pattern in patterns if _is_mask(pattern)]
    return _named(pattern for pattern in patterns if pattern not in masks), _named(masks)


def _is_mask(pattern: str) -> bool:
    return MASK.search(pattern.rpartition("{id}")[2] or pattern) is not None


def _patterns_of_sites(files: Sequence[PurePosixPath]) -> list[str]:
    """File patterns below the topmost folders, if these are sites; none where there are no such folders."""
    inside = [file for file in files if len(file.parts) > 1]
    # A few files above them, such as a template, are of no site.
    if len({file.parts[0] for file in inside}) < 2 or 2 * len(inside) <= len(files):
        return []
    return [f"{SITE}/{pattern}" for pattern in _patterns([PurePosixPath(*file.parts[1:]) for file in inside])]


def _patterns(files: Sequence[PurePosixPath]) -> list[str]:
    """File patterns that most cases have: the id is the first folder that varies, else the start of the name."""
    counts: Counter[str] = Counter()
    cases = set[str]()
    for file in files:
        id_ = _id(file, files)
        if not id_:
            continue
        cases.add(id_)
        counts[re.sub(rf"(?<![^\W_]){re.escape(id_)}(?![^\W_])", "{id}", str(file))] += 1
    return [pattern for pattern, count in counts.items() if "{id}" in pattern and 2 * count >= len(cases)]


def _id(file: PurePosixPath, files: Iterable[PurePosixPath]) -> str:
    alike = [other for other in files if len(other.parts) == len(file.parts)]
    for place, part in enumerate(file.parts[:-1]):
        names = {other.parts[place] for other in alike}
        if len(names) > 1 and not (names <= {"images", "labels", "masks", "imagesTr", "labelsTr", "img", "seg"}):
            return part
    stem = without_ending(file.name) or ""
    stems = sorted({without_ending(other.name) or "" for other in alike}, key=len)
    shorter = next((other for other in stems if other != stem and re.match(re.escape(other) + r"[_-]", stem)), None)
    has_longer = any(re.match(re.escape(stem) + r"[_-]", other) for other in stems)
    return shorter or (stem if has_longer or "_" not in stem else stem.rpartition("_")[0])


def _ids(pattern: str, files: Iterable[PurePosixPath]) -> dict[tuple[str, ...], PurePosixPath]:
    """The files that match a pattern, by what stands in the places of its placeholders."""
    compiled = expression(pattern)
    found = ((compiled.fullmatch(str(file)), file) for file in files)
    return {tuple(match[name] for name in sorted(match.groupdict())): file for match, file in found if match}


def _named(patterns: Iterable[str]) -> dict[str, str]:
    """Patterns by the text that tells them apart."""
    named: dict[str, str] = {}
    for pattern in sorted(patterns, key=numeric):
        stem = without_ending(PurePosixPath(pattern).name) or pattern
        name = re.sub(r"\W+", "-", re.sub(r"\{\w+\}", "", stem)).strip("-_") or "image"
        named[name if name not in named else f"{name}-{len(named)}"] = pattern
    return named


def _values(path: Path) -> list[int]:
    """Foreground values of a mask; none where it cannot be read or looks like an image."""
    try:
        array = nifti.read_image(path).array
    except UserError:
        return []
    values = np.unique(array)
    whole = values[values == np.rint(values)]
    return [int(v) for v in whole if v != 0] if len(whole) == len(values) <= LISTED_VALUES else []
