"""What a dataset holds, known before anything is prepared: its patients, and a hash of all that decides the slices."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medsweep.data.catalogue import CATALOGUE
from medsweep.data.config import DataConfig
from medsweep.data.hashes import HashCache
from medsweep.data.phantom import PHANTOM_VERSION, patient_ids
from medsweep.data.phantom.write import write_cohort
from medsweep.data.sources import list_cases
from medsweep.data.spec import Case, Intensity, Listing
from medsweep.errors import UserError, nearest
from medsweep.identity import canonical


@dataclass(frozen=True)
class Source:
    """What a dataset consists of."""

    fingerprint: str
    """sha256 over everything that decides the slices: channels, classes, ids and content of all files."""
    patients: tuple[str, ...]
    intensity: Intensity = field(default_factory=Intensity)
    """The recipe that applies."""


def inspect_source(config: DataConfig, cache_folder: Path) -> Source:
    """Check that the dataset is whole and hash it; hashes are cached in ``cache_folder/source-hashes.json``.

    Raises:
        UserError: the folder or a file is missing, or the layout cannot be used.
    """
    if config.phantom is not None:
        made = {"phantom": config.phantom, "version": PHANTOM_VERSION, "dataset": config.dataset}
        spec = CATALOGUE.get(config.dataset)
        everyone = patient_ids(config.phantom, config.dataset)
        _require_known(config, everyone)
        patients = tuple(id_ for id_ in everyone if id_ not in config.leave_out)
        return Source(_sha256(made), patients, config.intensity or (spec.intensity if spec else Intensity()))
    listing = open_listing(config, Path())
    cache = HashCache(cache_folder)
    hashes = {case.id: [cache.sha256(path) for path in files_of(case)] for case in listing.cases}
    cache.save()
    return Source(fingerprint(listing, hashes), tuple(case.id for case in listing.cases), listing.intensity)


def open_listing(config: DataConfig, scratch: Path) -> Listing:
    """The cases to be prepared; a made-up cohort is written to ``scratch/phantom`` first.

    Raises:
        UserError: as ``inspect_source``.
    """
    if config.phantom is not None:
        root = scratch / "phantom"
        write_cohort(config.dataset, config.phantom, root)
    else:
        root = Path(str(config.root))
    listing = list_cases(config.dataset, root, description=config.description, labels=config.labels)
    known = {case.id for case in listing.cases} | {finding.case for finding in listing.findings}
    _require_known(config, sorted(known))
    listing = replace(
        listing,
        cases=tuple(case for case in listing.cases if case.id not in config.leave_out),
        findings=tuple(finding for finding in listing.findings if finding.case not in config.leave_out),
        slice_axis=config.slice_axis or listing.slice_axis,
        intensity=config.intensity or listing.intensity,
    )
    return listing.require()


def made_up(config: DataConfig) -> bool:
    """Whether the patients are made up, here or before, into the folder that is read."""
    return config.phantom is not None or holds_made_up(Path(str(config.root)))


def holds_made_up(root: Path) -> bool:
    """Whether the folder's README.txt says that its cohort is made up."""
    readme = root / "README.txt"
    return readme.is_file() and readme.read_text(encoding="utf-8", errors="replace").startswith("Made-up cohort")


def files_of(case: Case) -> tuple[Path, ...]:
    """All files of a case, images in channel order, then the labels."""
    return (*case.images, case.label)


def fingerprint(listing: Listing, hashes: Mapping[str, Sequence[str]]) -> str:
    """sha256 over what the listing says and what its files hold, wherever they lie and whatever they are called."""
    content: dict[str, Any] = {
        "modalities": listing.modalities,
        "classes": listing.classes,
        "values": {str(value): index for value, index in sorted(listing.values.items())},
        "others": listing.other_values_are_background,
        "regions": listing.regions,
        "slice_axis": listing.slice_axis,
        "intensity": listing.intensity,
        "cases": [[case.id, *hashes[case.id]] for case in listing.cases],
    }
    return _sha256(content)


def _require_known(config: DataConfig, ids: Sequence[str]) -> None:
    for name in config.leave_out:
        if name not in ids:
            raise UserError(f"data.leave_out names {name!r}, which is no case; {nearest(name, ids)}")


def _sha256(content: object) -> str:
    return hashlib.sha256(canonical(content).encode()).hexdigest()
