"""What no pattern matches: every file and folder below the root is used, declared unused, or named in a finding."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from medsweep.data.dataset import Finding, Listing, Severity
from medsweep.data.itk_head import is_itk
from medsweep.data.layouts.case_files import (
    DICOM,
    ENDINGS,
    PACKED,
    foreign_suffix,
    how_to_convert,
    is_hidden,
    without_ending,
)

OWN = ("medsweep.yaml", "dataset.json")
"""Files that say how a folder is to be read."""

DOCUMENT = re.compile(r"(readme|licen[cs]e|citation|changes|changelog|dataset_description)\b.*", re.IGNORECASE)
"""Names of files that tell people about the data and hold none."""

NEAR = 0.5
"""Similarity from which a pattern counts as near."""

NAMED = 6
"""Paths that a finding names; the rest is counted."""

OR_IGNORE = "or write the name under ignore in medsweep.yaml"


@dataclass(frozen=True)
class _Unit:
    """A file that nothing uses, or a folder in which nothing is used."""

    path: PurePosixPath
    is_folder: bool
    files: tuple[PurePosixPath, ...]

    def volume(self, endings: Sequence[str]) -> PurePosixPath | None:
        """The first file with the ending of a volume that is read."""
        return next((file for file in self.files if without_ending(file.name, endings) is not None), None)


def leftovers(root: Path, listing: Listing, ignore: Sequence[str] = ()) -> tuple[Finding, ...]:
    """Findings that name all below ``root`` that neither ``listing`` nor ``ignore`` accounts for.

    A folder in which nothing is used counts as one. If it holds a volume, it is a warning, since a case may be lost.
    """
    closed, endings = list[PurePosixPath](), (*ENDINGS, *asked_for(listing.patterns))
    tree = _tree(root, closed)
    ignored = {path for path in tree if any(is_ignored(path, pattern) for pattern in ignore)}
    used = _accounted(root, listing, [path for path in tree if path not in ignored])
    units = _units([path for path in tree if path not in used and path not in ignored], {*used, *ignored})
    idle = [p for p in ignore if not any(is_ignored(path, p) for path in (*tree, *closed))]
    return (
        *_wrapped(root, used),
        *_unmatched(root, units, listing.patterns, endings),
        *_closed(root, [path for path in closed if not any(is_ignored(path, pattern) for pattern in ignore)]),
        *_dead_links(root, units),
        *_other_formats(root, units, endings),
        *_other_kinds(root, units, endings),
        *(Finding("note", "-", str(root), f"ignore names {pattern!r}, which nothing matches") for pattern in idle),
    )


def asked_for(patterns: Iterable[str]) -> tuple[str, ...]:
    """The endings of formats of ITK with which ``patterns`` end."""
    return tuple(dict.fromkeys(PurePosixPath(text).suffix.lower() for text in patterns if is_itk(Path(text))))


def volumes_below(root: Path, endings: Sequence[str] = ENDINGS) -> list[PurePosixPath]:
    """All files below ``root`` that are, by one of the ``endings``, volumes, relative to it."""
    return [path for path in _tree(root) if without_ending(path.name, endings) is not None]


def foreign_formats(root: Path, endings: Sequence[str] = ENDINGS, *, by_patterns: bool = True) -> str:
    """One clause about volumes below ``root`` in other formats than ``endings``; empty where there are none.

    ``by_patterns`` tells whether patterns could ask for them.
    """
    suffixes = Counter(suffix for path in _tree(root) if (suffix := foreign_suffix(path)) not in ("", *endings))
    return _converted(suffixes, by_patterns=by_patterns) if suffixes else ""


def _tree(root: Path, closed: list[PurePosixPath] | None = None) -> list[PurePosixPath]:
    """All files below ``root`` and all empty folders, hidden ones left out, each folder once; relative to it.

    Folders that may not be read are added to ``closed``.
    """
    found, visited = [], set[str]()

    def keep(error: OSError) -> None:
        if closed is not None:
            closed.append(_below(root, Path(error.filename)))

    for place, folders, names in os.walk(root, onerror=keep, followlinks=True):
        if (real := os.path.realpath(place)) in visited:
            folders.clear()
            continue
        visited.add(real)
        here = PurePosixPath(Path(place).relative_to(root).as_posix())
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        shown = sorted(name for name in names if not is_hidden(name))
        found += [here / name for name in shown]
        if not folders and not names and here.parts:
            found.append(here)
    return found


def is_ignored(path: PurePosixPath, pattern: str) -> bool:
    """Whether the shell pattern means ``path`` or a folder that it lies in; without a slash, by name in any folder."""
    pattern = pattern.removeprefix("./").rstrip("/")
    places = [path, *path.parents][:-1]
    if "/" not in pattern:
        return any(fnmatchcase(place.name, pattern) for place in places)
    return any(fnmatchcase(str(place), pattern) for place in places)


def _accounted(root: Path, listing: Listing, tree: Iterable[PurePosixPath]) -> set[PurePosixPath]:
    """The paths of ``tree`` that are read, belong to a finding, or tell about the data."""
    files = [file for case in listing.cases for file in case.files]
    known = {_below(root, path) for path in (*files, *listing.recognised)}
    # A finding about a missing or doubled file stands for all files of that name, whatever their ending.
    stems = {_stem(_below(root, Path(finding.file))) for finding in listing.findings}
    return {
        path
        for path in tree
        if path.name in OWN
        or DOCUMENT.fullmatch(path.name)
        or path in known
        or _stem(path) in stems
        or any(parent in known for parent in path.parents)
    }


def _below(root: Path, path: Path) -> PurePosixPath:
    return PurePosixPath(os.path.relpath(path, root).replace(os.sep, "/"))


def _stem(path: PurePosixPath) -> PurePosixPath:
    stem = without_ending(path.name)
    return path if stem is None else path.with_name(stem or path.name)


def _units(paths: Sequence[PurePosixPath], accounted: Iterable[PurePosixPath]) -> list[_Unit]:
    """``paths`` gathered by the topmost folder in which nothing is accounted for."""
    occupied = {parent for path in accounted for parent in path.parents}
    gathered: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    for path in paths:
        folders = [folder for folder in reversed(path.parents) if folder.parts and folder not in occupied]
        gathered[folders[0] if folders else path].append(path)
    return [_Unit(path, [path] != files, tuple(files)) for path, files in gathered.items()]


def _unmatched(root: Path, units: Iterable[_Unit], patterns: Sequence[str], endings: Sequence[str]) -> list[Finding]:
    """A finding for all folders with volumes, and one for all volumes, that are nearest to the same pattern."""
    groups: dict[tuple[bool, str], list[_Unit]] = defaultdict(list)
    for unit in units:
        if (volume := unit.volume(endings)) is not None:
            groups[unit.is_folder, _nearest(volume, patterns)].append(unit)
    findings = []
    for (is_folder, near), same in groups.items():
        kind = _counted(len(same), "folder" if is_folder else "file")
        verb, them = ("matches", "it") if len(same) == 1 else ("match", "them")
        what = f"{kind} {verb} no pattern: {_listed([unit.path for unit in same])}"
        what += f"; the nearest pattern is {near}" if near else ""
        lost = " (a case may be lost)" if is_folder else ""
        what += f"{lost}; rename {them}, or name {them} under ignore in medsweep.yaml"
        severity: Severity = "warning" if is_folder else "note"
        findings.append(Finding(severity, "-", str(root / same[0].path), what))
    return findings


def _is_dead_link(root: Path, path: PurePosixPath) -> bool:
    """Whether this is a link to nothing, by a name that is no volume's, as of a folder."""
    return without_ending(path.name) is None and (root / path).is_symlink() and not (root / path).exists()


def _closed(root: Path, folders: Sequence[PurePosixPath]) -> list[Finding]:
    what = (
        f"{_counted(len(folders), 'folder')} may not be read: {_listed(folders)} (a case may be lost); mend the "
        f"permissions, {OR_IGNORE}"
    )
    return [Finding("warning", "-", str(root / first), what) for first in folders[:1]]


def _dead_links(root: Path, units: Iterable[_Unit]) -> list[Finding]:
    links = [path for unit in units for path in unit.files if _is_dead_link(root, path)]
    what = (
        f"{_counted(len(links), 'link')} to what is not there: {_listed(links)} (a case may be lost); bring what is "
        f"meant, {OR_IGNORE}"
    )
    return [Finding("warning", "-", str(root / first), what) for first in links[:1]]


def _nearest(path: PurePosixPath, patterns: Sequence[str]) -> str:
    """The pattern whose own text is most like that of ``path``; empty where none is near."""

    def text(path: str) -> str:
        return re.sub(r"\{\w+\}|X+|\d+", "#", path.lower())

    def likeness(pattern: str) -> float:
        # The name tells more than the folders around it, whose names may be those of cases.
        name = SequenceMatcher(None, text(path.name), text(PurePosixPath(pattern).name), autojunk=False).ratio()
        whole = SequenceMatcher(None, text(str(path)), text(pattern), autojunk=False).ratio()
        return 0.7 * name + 0.3 * whole

    beside = [pattern for pattern in patterns if PurePosixPath(pattern).parent == path.parent]
    best = max(beside or patterns, key=likeness, default="")
    return best if best and likeness(best) >= NEAR else ""


def _wrapped(root: Path, used: Iterable[PurePosixPath]) -> list[Finding]:
    """A note where a volume lies in a folder that has the name of a volume."""
    inside = sorted(str(path) for path in used if without_ending(path.parent.name) is not None)
    if not inside:
        return []
    what = f"{_counted(len(inside), 'volume')} read from a folder that has the name of a file: {_listed(inside)}"
    return [Finding("note", "-", str(root / inside[0]), what)]


def _other_formats(root: Path, units: Iterable[_Unit], endings: Sequence[str]) -> list[Finding]:
    files = [file for unit in units for file in unit.files if foreign_suffix(file) not in ("", *endings)]
    if not files:
        return []
    what = _converted(Counter(map(foreign_suffix, files)))
    return [Finding("warning", "-", str(root / files[0]), what)]


def _converted(suffixes: Counter[str], *, by_patterns: bool = True) -> str:
    total = _counted(sum(suffixes.values()), "file")
    verb = "are" if sum(suffixes.values()) > 1 else "is"
    first = {(suffix in DICOM, suffix in PACKED): suffix for suffix, _ in reversed(suffixes.most_common())}
    ways = [how_to_convert(first[k], by_patterns=by_patterns).replace(" it ", " them ") for k in sorted(first)]
    there = f"{total} of other formats {verb} there ({_by_suffix(suffixes)}), which {verb} not read"
    return f"{there}; {', or '.join(ways)}"


def _other_kinds(root: Path, units: Iterable[_Unit], endings: Sequence[str]) -> list[Finding]:
    """One note that counts what is no volume of any format, by ending, and empty folders."""
    files = [
        file
        for unit in units
        for file in unit.files
        if without_ending(file.name, endings) is None and not foreign_suffix(file) and not _is_dead_link(root, file)
    ]
    if not files:
        return []
    suffixes = Counter("empty folders" if (root / file).is_dir() else file.suffix or "no ending" for file in files)
    places = sorted({file.parts[0] for file in files})
    total = _counted(len(files), "path")
    what = f"{total} of other kinds, not read: {_by_suffix(suffixes)}; in {_listed(places)}"
    return [Finding("note", "-", str(root / files[0]), what)]


def _by_suffix(suffixes: Counter[str]) -> str:
    return ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common())


def _listed(names: Sequence[object]) -> str:
    more = len(names) - NAMED
    return ", ".join(map(str, names[:NAMED])) + (f" and {more} more" if more > 0 else "")


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'s' if number != 1 else ''}"
