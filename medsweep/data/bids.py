"""A first description of a BIDS dataset: images by subject and session, masks among its derivatives.

Names are ``sub-LABEL[_ses-LABEL][_ENTITY-LABEL...]_SUFFIX`` (Gorgolewski et al. 2016, DOI 10.1038/sdata.2016.44). A
discrete segmentation has the suffix ``dseg``, a mask of one structure ``mask``.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from medsweep.data.layouts.case_files import without_ending

SUBJECT, SESSION = re.compile(r"sub-([0-9A-Za-z]+)"), re.compile(r"ses-([0-9A-Za-z]+)")
DERIVATIVES = "derivatives"
KINDS = ("anat", "func", "dwi", "fmap", "perf", "pet", "eeg", "meg", "ieeg", "beh")
"""Folders of a subject or session, by the kind of data."""

SEGMENTATION, MASK = re.compile(r"d?seg\b"), re.compile(r"(mask|roi|lesion)\b")
"""Suffixes of masks with all structures, and with one; ``seg`` and ``lesion`` are widespread, and no standard."""

NO_IMAGES = ("bold", "sbref", "dwi", "epi", "events", "magnitude1", "magnitude2", "phasediff")
"""Suffixes of series and field maps, which are no modalities of a segmentation."""


def patterns(files: Sequence[PurePosixPath]) -> tuple[dict[str, str], dict[str, str]]:
    """File patterns of images and of masks by name; both empty where the files are no BIDS dataset with masks.

    Masks are segmentations where there are some, else masks of structures, among the derivatives or beside the images.
    Patterns that fewer than half of the subjects and sessions have are left out.
    """
    placed = [(file, found) for file in files if (found := _pattern(file)) is not None]
    cases = {case for _, (case, _) in placed}
    counts = Counter(pattern for _, (_, pattern) in placed)
    usual = [pattern for pattern in dict.fromkeys(found[1] for _, found in placed) if 2 * counts[pattern] >= len(cases)]
    segmentations, structures = ([text for text in usual if kind.match(_suffix(text))] for kind in (SEGMENTATION, MASK))
    images = [text for text in usual if not text.startswith(DERIVATIVES) and text not in (*segmentations, *structures)]
    masks = segmentations[:1] or structures
    chosen = [text for text in images if _suffix(text) not in NO_IMAGES]
    return (_by_name(chosen), _by_name(masks, "label")) if chosen and masks else ({}, {})


def other_kinds(files: Iterable[PurePosixPath], used: Sequence[str]) -> list[str]:
    """Names of folders with data of a kind that no used pattern is of."""
    there = {part for file in files if SUBJECT.match(file.name) for part in file.parts[:-1]}
    return [kind for kind in KINDS if kind in there and not any(f"/{kind}/" in pattern for pattern in used)]


def class_names(root: Path, mask: str) -> dict[int, str]:
    """Names by stored value from the table of a segmentation, ``dseg.tsv`` above its files; empty where there is none.

    ``mask`` is the pattern of the segmentation.
    """
    wanted = _entity(mask, "desc"), _entity(mask, "atlas")
    for folder in [root / place for place in PurePosixPath(mask).parents if "{" not in str(place)]:
        for path in sorted(folder.glob("*dseg.tsv")):
            own = _entity(path.name, "desc"), _entity(path.name, "atlas")
            if all(one in ("", other) for one, other in zip(own, wanted, strict=True)):
                return _read_names(path)
    return {}


def _pattern(file: PurePosixPath) -> tuple[tuple[str, str], str] | None:
    """Subject and session of a file, and its path with placeholders for them; None where it has no BIDS name."""
    subject = SUBJECT.match(file.name)
    stem = without_ending(file.name)
    if subject is None or stem is None or not any(part == subject[0] for part in file.parts[:-1]):
        return None
    session = SESSION.search(file.name)
    text = re.sub(rf"\bsub-{subject[1]}(?![0-9A-Za-z])", "sub-{patient}" if session else "sub-{id}", str(file))
    if session is None:
        return (subject[1], ""), text
    return (subject[1], session[1]), re.sub(rf"(?<![0-9A-Za-z])ses-{session[1]}(?![0-9A-Za-z])", "ses-{id}", text)


def _suffix(pattern: str) -> str:
    return (without_ending(PurePosixPath(pattern).name) or pattern).rpartition("_")[2]


def _entity(name: str, key: str) -> str:
    match = re.search(rf"(?:^|[_/]){key}-([0-9A-Za-z]+)", name)
    return match[1] if match else ""


def _by_name(texts: Sequence[str], key: str = "") -> dict[str, str]:
    """Patterns by their entity ``key`` or their suffix; where several have one, by what follows subject and session."""
    names = [_entity(text, key) if key and _entity(text, key) else _suffix(text) for text in texts]
    counts = Counter(names)
    return {name if counts[name] == 1 else _entities(text): text for name, text in zip(names, texts, strict=True)}


def _entities(pattern: str) -> str:
    stem = without_ending(PurePosixPath(pattern).name) or pattern
    return re.sub(r"^sub-\{\w+\}_(ses-\{id\}_)?", "", stem)


def _read_names(path: Path) -> dict[int, str]:
    rows: list[Mapping[str, str]] = list(csv.DictReader(path.read_text("utf-8-sig").splitlines(), delimiter="\t"))
    named = {row.get("index") or "": row.get("name") or "" for row in rows}
    return {int(index): name.strip() for index, name in named.items() if index.isdecimal() and int(index) and name}
