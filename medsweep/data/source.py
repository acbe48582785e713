"""Where patients come from: the cases that a dataset's name and folder stand for, and a hash of all that they hold."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medsweep.data.catalogue import CATALOGUE, canonical_name
from medsweep.data.check import check
from medsweep.data.config import DataConfig
from medsweep.data.dataset import DatasetSpec, Inside, Intensity, Listing, Mirrored
from medsweep.data.folds import patient_of
from medsweep.data.layouts import decathlon, folder, nnunet
from medsweep.data.layouts.case_files import existing_folder
from medsweep.data.layouts.description import (
    DESCRIPTION,
    EXAMPLE,
    FolderDescription,
    Remarks,
    describes_files,
    read_description,
    read_remarks,
)
from medsweep.data.layouts.groups import with_patients
from medsweep.data.layouts.leftovers import OWN, leftovers
from medsweep.data.layouts.names import legible
from medsweep.data.phantom import patient_ids, slices_of, write_cohort
from medsweep.data.phantom.cohort import PHANTOM_VERSION
from medsweep.data.remembered import Remembered
from medsweep.errors import UserError, nearest
from medsweep.identity import canonical


@dataclass(frozen=True)
class DataSource:
    """What a dataset holds, known before anything is prepared."""

    fingerprint: str
    """sha256 over everything that decides the slices: channels, classes, ids and content of all files."""
    patients: tuple[str, ...]
    intensity: Intensity = field(default_factory=Intensity)
    """The recipe that applies."""
    regions: tuple[str, ...] = ()
    """Unions of classes that are scored beside the classes."""
    inside: tuple[Inside, ...] = ()
    """Which voxels the z-score of each modality looks at, where ``auto`` left that to the data."""
    warnings: tuple[str, ...] = ()
    """What ``medsweep data check`` warns of, a line each."""
    mirrored: Mirrored | None = None
    """How slices may be mirrored; None where that is not declared, or slices are sagittal and show one side."""
    slices: int = 0
    """Slices that show a class, of made-up patients all slices; 0 where it was not counted."""


def list_cases(
    dataset: str, root: Path, *, description: FolderDescription | None = None, labels: str | None = None
) -> Listing:
    """The cases of ``dataset`` under ``root``, from the file names and small text files alone.

    A name of the catalogue, in whatever case, is read by its layout. Any other name is read by ``description``, else by
    ``root/medsweep.yaml``, else by ``root/dataset.json`` as a task of the Decathlon or a raw folder of
    nnU-Net. ``labels`` is for ``ibsr18``. What lies under ``root`` and is not read is among the findings.

    Raises:
        UserError: the folder does not hold what the name promises, nothing tells how to read it, or an argument has
            no meaning for this dataset.
    """
    name = canonical_name(dataset)
    spec = CATALOGUE.get(name)
    if labels is not None and (spec is None or not spec.label_files):
        raise UserError(f"labels {labels!r} has no meaning for dataset {dataset!r}; only ibsr18 has two label files")
    try:
        listing, remarks = _found(name, root, description, labels)
    except UserError as error:
        raise UserError(f"{error}{_hint_below(root, spec, str(error))}") from None
    except PermissionError as error:
        raise UserError(f"{error.filename} may not be read; mend its permissions") from None
    listing = with_patients(listing, remarks.patient, root)
    listing = replace(listing, mirrored=remarks.mirrored or listing.mirrored)
    return legible(replace(listing, findings=(*listing.findings, *leftovers(root, listing, remarks.ignore))))


def _found(name: str, root: Path, description: FolderDescription | None, labels: str | None) -> tuple[Listing, Remarks]:
    """The cases of a dataset, and what is said of its folder."""
    spec = CATALOGUE.get(name)
    if spec is None or spec.list_cases is None:
        existing_folder(root, f"a folder with {DESCRIPTION} or {decathlon.EXPECTED.removeprefix('a folder with ')}")
        remarks = description or _written(name, root)
        return replace(_list_described(name, root, remarks), name=name), remarks
    if description is not None:
        raise UserError(f"dataset {name!r} has a known layout; remove the description or give it a name of its own")
    remarks = read_remarks(root)
    return _list_known(spec, root, labels), remarks


def _hint_below(root: Path, spec: DatasetSpec | None, said: str) -> str:
    """That a folder inside ``root`` can be read, where ``root`` itself is one too high; empty where none can."""
    if not root.is_dir() or any((root / name).is_file() for name in OWN):
        return ""
    for child in sorted(path for path in root.iterdir() if path.is_dir()):
        if str(child) not in said and _holds_cases(child, spec):
            return f"; {child} inside it can be read: is data.root one folder too high?"
    return ""


def _holds_cases(folder: Path, spec: DatasetSpec | None) -> bool:
    if spec is None or spec.list_cases is None:
        return any((folder / name).is_file() for name in OWN)
    try:
        spec.list_cases(folder, spec)
    except UserError:
        return False
    return True


def _list_known(spec: DatasetSpec, root: Path, labels: str | None) -> Listing:
    """The cases of a dataset of the catalogue."""
    assert spec.list_cases is not None
    if labels is None:
        return spec.list_cases(root, spec)
    if labels not in spec.label_files:
        raise UserError(f"{spec.name} has no labels {labels!r}; {nearest(labels, spec.label_files)}")
    return spec.list_cases(root, spec, labels)


def _written(name: str, root: Path) -> Remarks:
    """What medsweep.yaml says of a dataset that only its user knows: a description, or remarks on a Decathlon task."""
    if name not in CATALOGUE and (root / "dataset.json").is_file() and not describes_files(root):
        return read_remarks(root)
    return read_description(root) if (root / DESCRIPTION).is_file() else Remarks()


def _list_described(name: str, root: Path, remarks: Remarks) -> Listing:
    """The cases of a dataset that only its user knows."""
    if isinstance(remarks, FolderDescription):
        return folder.cases(root, remarks)
    path = root / DESCRIPTION
    if name in CATALOGUE:
        raise UserError(f"{name} is private, so nothing tells how to read it; write {path} with {EXAMPLE}")
    if (root / "dataset.json").is_file():
        return nnunet.cases(root) if nnunet.is_nnunet(root) else decathlon.cases(root)
    raise UserError(
        f"nothing tells how to read dataset {name!r} in {root}: it is no name of the catalogue "
        f"({nearest(name.lower(), CATALOGUE)}); for data of your own write {path} with {EXAMPLE}, "
        f"or arrange it as {decathlon.EXPECTED}"
    )


def open_listing(config: DataConfig, scratch: Path) -> Listing:
    """The cases to be prepared. A made-up cohort is written to ``scratch/phantom`` first.

    Raises:
        UserError: as ``inspect_source``.
    """
    if config.phantom is not None:
        root = scratch / "phantom"
        write_cohort(config.dataset, config.phantom, root)
    else:
        root = Path(str(config.root))
    listing = list_cases(config.dataset, root, description=config.description, labels=config.labels)
    listing = replace(
        without(listing, config.leave_out),
        slice_axis=config.slice_axis or listing.slice_axis,
        intensity=config.intensity or listing.intensity,
        mirrored=config.mirrored or listing.mirrored,
    )
    return listing.require()


def inspect_source(
    config: DataConfig,
    cache_folder: Path,
    *,
    rehash: bool = False,
    on_read: Callable[[str, int], None] = lambda case, cases: None,
) -> DataSource:
    """Look through the dataset as ``medsweep data check`` does, refuse its errors, and hash it.

    What was found is remembered in ``cache_folder`` (see ``medsweep.data.remembered``). ``rehash`` reads all
    files anew. ``on_read`` is as in ``check``.

    Raises:
        UserError: the folder or a file is missing, the layout cannot be used, or a case has an error.
    """
    if config.phantom is not None:
        ids = patient_ids(config.phantom, config.dataset)
        _require_known(config.leave_out, ids)
        spec = CATALOGUE.get(config.dataset)
        return DataSource(
            _sha256({"phantom": config.phantom, "version": PHANTOM_VERSION, "dataset": config.dataset}),
            tuple(id_ for id_ in ids if id_ not in config.leave_out),
            config.intensity or (spec.intensity if spec else Intensity()),
            tuple(spec.regions) if spec else (),
            mirrored=config.mirrored or (spec.mirrored if spec else None),
            slices=slices_of(config.phantom, config.dataset),
        )
    # Nothing is made up here, so no scratch folder is needed.
    listing = open_listing(config, Path())
    remembered = Remembered(cache_folder, rehash=rehash)
    report = check(listing, remembered=remembered, on_read=on_read)
    remembered.save()
    replace(listing, findings=report.findings).require()
    return DataSource(
        fingerprint(listing, {case.id: remembered.hashes(case) for case in listing.cases}),
        tuple(case.id for case in listing.cases),
        listing.intensity,
        tuple(listing.regions),
        report.inside,
        report.warnings(),
        None if listing.slice_axis == "sagittal" else listing.mirrored,
        sum(case.foreground_slices for case in report.cases),
    )


def fingerprint(listing: Listing, hashes: Mapping[str, Sequence[str]]) -> str:
    """sha256 over what the listing says and what its files hold, wherever they lie and whatever they are called."""
    return _sha256(
        {
            "modalities": listing.modalities,
            "classes": listing.classes,
            "values": {str(value): index for value, index in sorted(listing.values.items())},
            "others": listing.other_values_are_background,
            "regions": listing.regions,
            "slice_axis": listing.slice_axis,
            "intensity": listing.intensity,
            **_channels(listing),
            **({} if listing.ignored_value is None else {"ignored": listing.ignored_value}),
            "cases": [[case.id, *hashes[case.id]] for case in listing.cases],
        }
    )


def _channels(listing: Listing) -> dict[str, Any]:
    """What a fingerprint holds beside the files where masks are one per structure or channels are chosen."""
    chosen = {"images": listing.image_channels, "structures": listing.structure_channels}
    return {"channels": {**chosen, "later_covers": listing.later_covers}} if any(chosen.values()) else {}


def is_made_up(config: DataConfig) -> bool:
    """Whether the patients are made up, here or before, into the folder that is read."""
    return config.phantom is not None or holds_made_up(Path(str(config.root)))


def dataset_name(config: DataConfig) -> str:
    """The dataset's name, from which a made-up cohort can never be taken for the real one."""
    return f"{config.dataset} (made up)" if is_made_up(config) else config.dataset


def holds_made_up(root: Path) -> bool:
    """Whether the folder's README.txt says that its cohort is made up."""
    readme = root / "README.txt"
    return readme.is_file() and readme.read_text(encoding="utf-8", errors="replace").startswith("Made-up cohort")


def without(listing: Listing, leave_out: Sequence[str]) -> Listing:
    """``listing`` without the cases, and all cases of the patients, that ``leave_out`` names.

    Raises:
        UserError: a name is none of a case or patient.
    """
    found = {case.id for case in listing.cases} | {finding.case for finding in listing.findings} - {"-"}
    _require_known(leave_out, sorted(found | {patient_of(id_) for id_ in found}))
    named = {id_ for id_ in found if id_ in leave_out or patient_of(id_) in leave_out}
    return replace(
        listing,
        cases=tuple(case for case in listing.cases if case.id not in named),
        findings=tuple(finding for finding in listing.findings if finding.case not in named),
    )


def _require_known(leave_out: Sequence[str], ids: Sequence[str]) -> None:
    for name in leave_out:
        if name not in ids:
            raise UserError(f"data.leave_out names {name!r}, which is no case; {nearest(name, ids)}")


def _sha256(content: dict[str, Any]) -> str:
    return hashlib.sha256(canonical(content).encode()).hexdigest()
