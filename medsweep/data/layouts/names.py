"""What file names tell: numeric order, hidden files, NIfTI endings, the folders of cases and one file per role."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medsweep.data.catalogue import DatasetSpec
from medsweep.data.spec import Case, Finding, Listing
from medsweep.errors import UserError

ENDINGS = (".nii.gz", ".nii")


def numeric(id_: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key that compares runs of digits as numbers: ``spleen_2`` comes before ``spleen_10``."""
    parts = re.split(r"(\d+)", id_)
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is a system's own: dot files, AppleDouble ``._*`` and the archive folder of macOS."""
    return name.startswith(".") or name == "__MACOSX"


def without_ending(name: str) -> str | None:
    """The name without ``.nii`` or ``.nii.gz``; None for a file that is no NIfTI file by name."""
    return next((name.removesuffix(ending) for ending in ENDINGS if name.endswith(ending)), None)


def existing_folder(root: Path, expected: str) -> Path:
    """``root``, if it is a folder.

    Raises:
        UserError: it is not; ``expected`` says what it should be.
    """
    if root.is_dir():
        return root
    unset = " (its environment variable is not set)" if "$" in str(root) else ""
    raise UserError(
        f"no data folder {root}{unset}; data.root must be {expected}, for example ${{MEDSWEEP_DATA}}/FOLDER"
    )


def candidates(folder: Path, stem: str) -> list[Path]:
    """Those of ``stem.nii.gz`` and ``stem.nii`` that are files in ``folder``."""
    return [folder / f"{stem}{ending}" for ending in ENDINGS if (folder / f"{stem}{ending}").is_file()]


def pick(folder: Path, case: str, stem: str) -> Path | Finding:
    """The one file ``stem.nii`` or ``stem.nii.gz`` in ``folder``, or the finding that none or both are there."""
    found = candidates(folder, stem)
    if len(found) == 1:
        return found[0]
    wanted = folder / f"{stem}{ENDINGS[0]}"
    if not found:
        return Finding("error", case, str(wanted), f"{wanted.name} (or .nii) is missing")
    return two_files(case, found)


def two_files(case: str, found: Sequence[Path]) -> Finding:
    """The finding that several files want to be one."""
    listed = " and ".join(path.name for path in found)
    return Finding("error", case, str(found[0]), f"{listed} are both there; keep one")


def hidden_note(hidden: Sequence[str]) -> tuple[Finding, ...]:
    """One note that counts the hidden files, or nothing."""
    if not hidden:
        return ()
    return (
        Finding("note", "-", hidden[0], f"{len(hidden)} hidden file{'s' * (len(hidden) > 1)} (._* and .*) ignored"),
    )


@dataclass(frozen=True)
class Search:
    """Folders of cases by id, and the hidden files met on the way."""

    folders: dict[str, list[Path]]
    hidden: list[str]


def case_folders(root: Path, pattern: str, levels: Iterable[str] = ()) -> Search:
    """Folders under ``root`` whose whole name matches the regular expression ``pattern``; they are not entered.

    Args:
        root: an existing folder.
        pattern: of a case folder's name, which is its id.
        levels: per level below ``root`` a regular expression of the folders that may hold cases, outermost first.
    """
    search = Search({}, [])
    places = [root]
    for inner in (*levels, None):
        below = []
        for place in places:
            for child in _shown(place, search.hidden):
                if not child.is_dir():
                    continue
                if re.fullmatch(pattern, child.name):
                    search.folders.setdefault(child.name, []).append(child)
                    _shown(child, search.hidden)
                elif inner is not None and re.fullmatch(inner, child.name):
                    below.append(child)
        places = below
    return search


def _shown(folder: Path, hidden: list[str]) -> list[Path]:
    children = sorted(folder.iterdir())
    hidden += [str(child) for child in children if is_hidden(child.name)]
    return [child for child in children if not is_hidden(child.name)]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one case folder."""

    case: Case | None = None
    unlabelled: bool = False
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Gathered:
    """The verdicts on all case folders, in numeric order of the ids."""

    cases: tuple[Case, ...]
    unlabelled: tuple[str, ...]
    findings: tuple[Finding, ...]


def gather(search: Search, read: Callable[[str, Path], Verdict]) -> Gathered:
    """Read every case folder; an id with two folders is an error, since nothing tells which one is meant."""
    verdicts = {}
    for id_ in sorted(search.folders, key=numeric):
        first, *others = search.folders[id_]
        twice = tuple(Finding("error", id_, str(first), f"the case is also in {other}; keep one") for other in others)
        verdicts[id_] = Verdict(findings=twice) if twice else read(id_, first)
    return Gathered(
        tuple(verdict.case for verdict in verdicts.values() if verdict.case is not None),
        tuple(id_ for id_, verdict in verdicts.items() if verdict.unlabelled),
        (*hidden_note(search.hidden), *(finding for verdict in verdicts.values() for finding in verdict.findings)),
    )


def complete(id_: str, images: Sequence[Path | Finding], label: Path | Finding, *remarks: Finding) -> Verdict:
    """The case of these files, or the findings that stand in their places; ``remarks`` are kept either way."""
    found = tuple(image for image in images if isinstance(image, Path))
    missing = tuple(part for part in (*images, label) if isinstance(part, Finding))
    if isinstance(label, Finding) or missing:
        return Verdict(findings=(*missing, *remarks))
    return Verdict(case=Case(id_, found, label), findings=remarks)


def listing(spec: DatasetSpec, found: Gathered, choices: Mapping[str, str] | None = None) -> Listing:
    """What was found, to be read as the catalogue says."""
    return Listing(
        name=spec.name,
        modalities=spec.modalities,
        classes=spec.classes,
        values=spec.values,
        regions=spec.regions,
        slice_axis=spec.slice_axis,
        intensity=spec.intensity,
        cases=found.cases,
        unlabelled=found.unlabelled,
        findings=found.findings,
        choices=choices or {},
    )
