"""From file names to cases: numeric order, hidden files, NIfTI endings, case folders and one file per role."""

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from medsweep.data.dataset import Case, DatasetFormat, Finding, Listing
from medsweep.data.itk_head import ITK_ENDINGS
from medsweep.errors import UserError

ENDINGS = (".nii.gz", ".nii")
DICOM = (".dcm", ".ima")
FOREIGN = (*ITK_ENDINGS, ".mgz", ".mgh", ".hdr", ".img", ".mnc", *DICOM)
"""Endings of volumes that are not read unasked."""
VOLUMES = "nii|" + "|".join(ending[1:] for ending in ITK_ENDINGS)
"""Endings of volumes that can be read, as a regular expression."""
PACKED = (".bz2", ".xz", ".zst", ".zip", ".7z", ".rar")
"""Endings of files that are packed otherwise than with gzip."""


def numeric(id_: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key that compares runs of digits as numbers: ``spleen_2`` comes before ``spleen_10``."""
    return tuple((0, int(run)) if run.isdecimal() else (1, run) for run in re.split(r"(\d+)", id_))


def is_hidden(name: str) -> bool:
    """Whether a file or folder is a system's own: dot files, AppleDouble ``._*`` and the archive folder of macOS."""
    return name.startswith(".") or name == "__MACOSX"


def without_ending(name: str, endings: Sequence[str] = ENDINGS) -> str | None:
    """The name without one of the ``endings`` in any case; None for a file that has none of them.

    Letters are composed: macOS writes an umlaut as two characters, most others as one.
    """
    found = next((name[: -len(ending)] for ending in endings if name.lower().endswith(ending)), None)
    return None if found is None else unicodedata.normalize("NFC", found)


def existing_folder(root: Path, expected: str) -> Path:
    """``root``, if it is a folder; else a UserError with ``expected``, which says what it should be."""
    if root.is_dir():
        return root
    unset = " (its environment variable is not set)" if "$" in str(root) else ""
    raise UserError(
        f"no data folder {root}{unset}; data.root must be {expected}, for example ${{MEDSWEEP_DATA}}/FOLDER"
    )


def volume_at(path: Path) -> Path | None:
    """The file at ``path``, or the only volume in a folder of that name, as some archives unpack; else None."""
    if path.is_file():
        return path
    if not path.is_dir():
        return None
    inside = [child for child in sorted(path.iterdir()) if not is_hidden(child.name) and child.is_file()]
    volumes = [child for child in inside if without_ending(child.name) is not None]
    return volumes[0] if len(volumes) == 1 else None


def candidates(folder: Path, stem: str, endings: Sequence[str] = ENDINGS) -> list[Path]:
    """The files of ``stem`` with one of the ``endings`` in ``folder``.

    If none is exact, the ending counts in any case and letters in any Unicode form.
    """
    exact = [found for ending in endings if (found := volume_at(folder / f"{stem}{ending}")) is not None]
    if exact or not folder.is_dir():
        return exact
    composed = unicodedata.normalize("NFC", stem)
    alike = (child for child in sorted(folder.iterdir()) if without_ending(child.name, endings) == composed)
    return [found for child in alike if (found := volume_at(child)) is not None]


def pick(folder: Path, case: str, stem: str, endings: Sequence[str] = ENDINGS) -> Path | Finding:
    """The one file of ``stem`` with one of the ``endings`` in ``folder``, or the finding that none or two are there."""
    paths = candidates(folder, stem, endings)
    if len(paths) == 1:
        return paths[0]
    if paths:
        return two_files(case, paths)
    missing = folder / f"{stem}{endings[0]}"
    others = f" (or {', '.join(endings[1:])})" if len(endings) > 1 else ""
    return Finding("error", case, str(missing), f"{missing.name}{others} is missing{in_its_place(missing)}")


def in_its_place(missing: Path) -> str:
    """A clause on what has the name of ``missing`` and is no file that can be read; empty where nothing has."""
    endings = ENDINGS if without_ending(missing.name) else (missing.suffix.lower(),)
    stem = without_ending(missing.name, endings) or missing.stem
    children = sorted(missing.parent.iterdir()) if missing.parent.is_dir() else []
    for path in children:
        alike = without_ending(path.name, endings) == stem
        if alike and path.is_dir():
            return f"; {path.name} is a folder without one volume in it: put the file in its place"
        if alike and path.is_symlink() and not path.exists():
            annex = ": git annex get, or datalad get, brings it" if ".git/annex" in os.readlink(path) else ""
            return f"; {path.name} is a link, and the file that it points to is not there{annex}"
        if (suffix := foreign_suffix(path)) and stem in (path.stem, without_ending(path.stem)):
            return f"; {path.name} is there: {how_to_convert(suffix)}"
        if without_ending(path.name, endings) is None and re.match(rf"{re.escape(stem)}\.({VOLUMES})\b", path.name):
            return f"; {path.name} is there: is it a download that was not finished?"
    return ""


def foreign_suffix(path: PurePath) -> str:
    """The ending of a volume that is not read, of another format or packed otherwise; empty for any other file."""
    suffix = path.suffix.lower()
    packed = suffix in PACKED and without_ending(path.stem) is not None
    return suffix if packed or suffix in FOREIGN else ""


def how_to_convert(suffix: str, *, by_patterns: bool = True) -> str:
    """How a file of a format that is not read becomes one that is.

    ``by_patterns`` tells whether patterns could ask for the format itself.
    """
    if suffix.lower() in DICOM:
        return "convert each series with dcm2niix -z y -o OUT FOLDER"
    if suffix.lower() in PACKED:
        return "unpack it to .nii or .nii.gz"
    has_reader = by_patterns and suffix.lower() in ITK_ENDINGS
    read = f", or read it by patterns that end in {suffix} (medsweep[sitk])" if has_reader else ""
    convert = f"convert it with SimpleITK, sitk.WriteImage(sitk.ReadImage('a{suffix}'), 'a.nii.gz')"
    return f"{convert}, which keeps the geometry{read}"


def two_files(case: str, paths: Sequence[Path]) -> Finding:
    """The finding that several files are there where one is expected."""
    # The folder tells them apart where the name does not.
    alike = len({path.name for path in paths}) < len(paths)
    names = " and ".join(f"{path.parent.name}/{path.name}" if alike else path.name for path in paths)
    return Finding("error", case, str(paths[0]), f"{names} are both there; keep one")


def hidden_note(hidden: Sequence[str]) -> tuple[Finding, ...]:
    """One note that counts the hidden files, or nothing."""
    if not hidden:
        return ()
    what = f"{len(hidden)} hidden file{'s' * (len(hidden) > 1)} (._* and .*) ignored"
    return (Finding("note", "-", hidden[0], what),)


@dataclass(frozen=True)
class CaseFolders:
    """Folders of cases by id, and the hidden files met on the way."""

    by_id: dict[str, list[Path]]
    hidden: list[str]


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """What was made of the files of one case: a case, none by design, or findings that say why not."""

    case: Case | None = None
    unlabelled: bool = False
    findings: tuple[Finding, ...] = ()
    files: tuple[Path, ...] = ()
    """Files and folders that were recognised, whatever became of the case."""


def case_folders(root: Path, pattern: str, inner: Iterable[str] = ()) -> CaseFolders:
    """Folders under ``root`` whose whole name, the case's id, matches the regular expression ``pattern``.

    ``inner`` has an expression of the folders that may hold cases for each depth below ``root``, outermost first.
    """
    folders = CaseFolders({}, [])
    places = [root]
    for expression in (*inner, None):
        below = []
        for child in (child for place in places for child in _shown(place, folders.hidden) if child.is_dir()):
            if re.fullmatch(pattern, child.name):
                folders.by_id.setdefault(child.name, []).append(child)
                _shown(child, folders.hidden)
            elif expression is not None and re.fullmatch(expression, child.name):
                below.append(child)
        places = below
    return folders


def _shown(folder: Path, hidden: list[str]) -> list[Path]:
    """What is in ``folder``, sorted; hidden files are added to ``hidden`` instead."""
    children = sorted(folder.iterdir())
    hidden += [str(child) for child in children if is_hidden(child.name)]
    return [child for child in children if not is_hidden(child.name)]


def complete(id_: str, images: Sequence[Path | Finding], label: Path | Finding, *remarks: Finding) -> CaseResult:
    """The case of these files, or the findings that stand in their places; ``remarks`` are kept either way."""
    paths = tuple(image for image in images if isinstance(image, Path))
    # Two channels of one file that is missing are one finding.
    missing = tuple(dict.fromkeys(file for file in (*images, label) if isinstance(file, Finding)))
    if isinstance(label, Finding) or missing:
        found = paths if isinstance(label, Finding) else (*paths, label)
        return CaseResult(findings=(*missing, *remarks), files=found)
    return CaseResult(case=Case(id_, paths, label), findings=remarks)


def list_folders(
    spec: DatasetFormat,
    folders: CaseFolders,
    read: Callable[[str, Path], CaseResult],
    choices: Mapping[str, str] | None = None,
    patterns: Sequence[str] = (),
) -> Listing:
    """Read every case folder, in numeric order of the ids, for a dataset that is to be read as ``spec`` says.

    An id with two folders is an error, since nothing tells which one is meant. ``patterns`` are for people.
    """
    results = {}
    for id_ in sorted(folders.by_id, key=numeric):
        first, *others = folders.by_id[id_]
        twice = tuple(Finding("error", id_, str(first), f"the case is also in {other}; keep one") for other in others)
        results[id_] = CaseResult(findings=twice, files=(first, *others)) if twice else read(id_, first)
    without = [folders.by_id[id_][0] for id_, result in results.items() if result.unlabelled]
    return Listing(
        **spec.format_fields(),
        cases=tuple(result.case for result in results.values() if result.case is not None),
        unlabelled=tuple(id_ for id_, result in results.items() if result.unlabelled),
        findings=(*hidden_note(folders.hidden), *(note for result in results.values() for note in result.findings)),
        choices=choices or {},
        recognised=(*without, *(file for result in results.values() for file in result.files)),
        patterns=tuple(patterns),
    )
