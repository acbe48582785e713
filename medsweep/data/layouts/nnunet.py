"""Raw data folders of nnU-Net, versions 1 and 2: ``imagesTr/ID_0000.nii.gz`` per channel and ``labelsTr/ID.nii.gz``.

The folders hold the cases, as for nnU-Net itself; ``dataset.json`` says what channels and labels mean. Where it also
lists or counts the cases, it must agree with the folders.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from medsweep.data.dataset import Finding, Listing
from medsweep.data.itk_head import ITK_ENDINGS, require_package
from medsweep.data.layouts.attached import with_attached
from medsweep.data.layouts.case_files import (
    ENDINGS,
    CaseResult,
    candidates,
    complete,
    hidden_note,
    how_to_convert,
    is_hidden,
    numeric,
    pick,
    without_ending,
)
from medsweep.data.layouts.dataset_json import NAME, Described, contradictions, format_of, labels_of, read_described
from medsweep.errors import UserError

EXPECTED = "a raw data folder of nnU-Net with dataset.json, imagesTr and labelsTr"
CHANNEL = re.compile(r"(?P<id>.+)_(?P<channel>\d{4})")


def is_nnunet(root: Path) -> bool:
    """Whether ``root/dataset.json`` or the names of the images are nnU-Net's.

    Raises:
        UserError: as ``read_described``.
    """
    described = read_described(root, EXPECTED)
    if "channel_names" in described or "file_ending" in described:
        return True
    listed = described.get("training")
    first = listed[0] if isinstance(listed, list) and listed else None
    if not isinstance(first, dict) or not isinstance(first.get("image"), str):
        return False
    image = root / first["image"].replace("\\", "/")
    stem = without_ending(image.name) or image.name
    return not candidates(image.parent, stem) and bool(candidates(image.parent, f"{stem}_0000"))


def cases(root: Path) -> Listing:
    """Find the cases in ``imagesTr`` and ``labelsTr``; those in ``imagesTs`` are unlabelled by design.

    Raises:
        UserError: no dataset.json, a broken one, a format of files that is not read, or no case.
    """
    described, path = read_described(root, EXPECTED), root / NAME
    endings = _endings(described, path)
    spec, remarks, choices = format_of(described, root)
    channels = _channels(root / "imagesTr", endings)
    labels = {stem for stem in _stems(root / "labelsTr", endings) if not is_hidden(stem)}
    ids = sorted({*channels, *labels}, key=numeric)
    if not ids:
        raise UserError(f"no case in {root / 'imagesTr'} and {root / 'labelsTr'}; data.root must be {EXPECTED}")
    results = [_case(root, id_, len(spec.modalities), channels.get(id_, set()), endings) for id_ in ids]
    hidden = [str(file) for part in ("imagesTr", "labelsTr") for file in _hidden(root / part)]
    return Listing(
        **spec.format_fields(),
        cases=tuple(result.case for result in results if result.case is not None),
        unlabelled=tuple(sorted(_channels(root / "imagesTs", endings), key=numeric)),
        findings=(
            *hidden_note(hidden),
            *remarks,
            *(finding for result in results for finding in result.findings),
            *_against_list(described, path, ids, endings),
        ),
        choices=choices,
        ignored_value=labels_of(described, path).ignored,
        recognised=(*(file for result in results for file in result.files), root / "imagesTs"),
        patterns=(f"imagesTr/{{id}}_XXXX{endings[0]}", f"labelsTr/{{id}}{endings[0]}"),
    )


def _endings(described: Described, path: Path) -> tuple[str, ...]:
    """The endings of the files: those of NIfTI both, or the one that ``file_ending`` names."""
    ending = str(described.get("file_ending", ENDINGS[0])).lower()
    if ending in ENDINGS:
        return ENDINGS
    if ending not in ITK_ENDINGS:
        raise UserError(f"{path} has file_ending {ending!r}, which is not read; {how_to_convert(ending)}")
    require_package(f"{path} has file_ending {ending!r}")
    return (ending,)


def _case(root: Path, id_: str, channels: int, there: set[int], endings: Sequence[str]) -> CaseResult:
    images = [pick(root / "imagesTr", id_, f"{id_}_{channel:04d}", endings) for channel in range(channels)]
    result = with_attached(complete(id_, images, pick(root / "labelsTr", id_, id_, endings)))
    surplus = sorted(number for number in there if number >= channels)
    if not surplus:
        return result
    stems = (f"{id_}_{number:04d}" for number in surplus)
    paths = tuple(path for stem in stems for path in candidates(root / "imagesTr", stem, endings))
    what = f"{paths[0].name} is a channel beyond the {channels} that {NAME} names; mend one of them"
    error = Finding("error", id_, str(paths[0]), what)
    found = result.case.files if result.case else result.files
    return CaseResult(findings=(*result.findings, error), files=(*found, *paths))


def _against_list(described: Described, path: Path, ids: list[str], endings: Sequence[str]) -> list[Finding]:
    """What version 1 lists, or the count of either version, against the folders."""
    listed = described.get("training")
    if not isinstance(listed, list) or not listed:
        return contradictions(described, path, ids, ())
    files = [str(entry.get("image", "")) if isinstance(entry, dict) else str(entry) for entry in listed]
    names = [Path(file.replace("\\", "/")).name for file in files]
    own = {_id(name, endings) for name in names if not is_hidden(name)}
    gone = sorted(own - set(ids), key=numeric)
    lost = [Finding("error", id_, str(path), f"listed in {NAME} and in no folder") for id_ in gone]
    return [*lost, *contradictions(described, path, own, set(ids) - own, sum(map(is_hidden, names)))]


def _id(name: str, endings: Sequence[str]) -> str:
    stem = without_ending(name, endings) or name
    match = CHANNEL.fullmatch(stem)
    return match["id"] if match else stem


def _channels(folder: Path, endings: Sequence[str]) -> dict[str, set[int]]:
    """Channel numbers by case of the images in ``folder``."""
    found: dict[str, set[int]] = {}
    for match in filter(None, map(CHANNEL.fullmatch, _stems(folder, endings))):
        if not is_hidden(match["id"]):
            found.setdefault(match["id"], set()).add(int(match["channel"]))
    return found


def _stems(folder: Path, endings: Sequence[str]) -> list[str]:
    children = sorted(folder.iterdir()) if folder.is_dir() else []
    return [stem for child in children if (stem := without_ending(child.name, endings)) is not None]


def _hidden(folder: Path) -> list[Path]:
    return [child for child in sorted(folder.iterdir()) if is_hidden(child.name)] if folder.is_dir() else []
