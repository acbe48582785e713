"""From a dataset's name and folder to its listing: which layout reads it."""

from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

from medsweep.data.catalogue import CATALOGUE, DatasetSpec, canonical_name
from medsweep.data.layouts import brats, decathlon, folder, ibsr, kits
from medsweep.data.layouts.folder import FolderDescription
from medsweep.data.layouts.names import existing_folder
from medsweep.data.spec import Listing
from medsweep.errors import UserError, nearest


def list_cases(
    dataset: str, root: Path, *, description: FolderDescription | None = None, labels: str | None = None
) -> Listing:
    """The cases of ``dataset`` under ``root``, from the file names and small text files alone.

    A name of the catalogue is read by its layout. Any other name is read by ``description``, else by
    ``root/medsweep.yaml``, else by ``root/dataset.json`` as a Decathlon task.

    Args:
        dataset: a name of the catalogue, in whatever case, or the user's own.
        root: the data folder.
        description: the user's description of a folder, where it stands in the sweep.
        labels: which of two label files, for ``ibsr18``.

    Raises:
        UserError: the folder does not hold what the name promises, nothing tells how to read it, or an argument has
            no meaning for this dataset.
    """
    name = canonical_name(dataset)
    spec = CATALOGUE.get(name)
    if labels is not None and name != "ibsr18":
        raise UserError(f"labels {labels!r} has no meaning for dataset {dataset!r}; only ibsr18 has two label files")
    if spec is None or spec.layout == "folder":
        return replace(_own(name, root, description), name=name)
    if description is not None:
        raise UserError(f"dataset {dataset!r} has a known layout; remove the description or give it a name of its own")
    return _known(spec, root, labels)


def _known(spec: DatasetSpec, root: Path, labels: str | None) -> Listing:
    if spec.layout == "brats":
        return brats.cases(root)
    if spec.layout == "kits":
        return kits.cases(root)
    if spec.layout == "ibsr":
        if labels is not None and labels not in get_args(ibsr.Labels):
            known = get_args(ibsr.Labels)
            raise UserError(f"ibsr18 has no labels {labels!r}; {nearest(labels, known)}")
        return ibsr.cases(root, cast(ibsr.Labels | None, labels))
    return decathlon.cases(root, spec)


def _own(name: str, root: Path, description: FolderDescription | None) -> Listing:
    """A dataset that only its user knows."""
    described = root / folder.DESCRIPTION
    existing_folder(root, f"a folder with {folder.DESCRIPTION} or {decathlon.EXPECTED.removeprefix('a folder with ')}")
    if description is not None:
        return folder.cases(root, description)
    if described.is_file():
        return folder.cases(root, folder.read_description(root))
    if name in CATALOGUE:
        raise UserError(f"{name} is private, so nothing tells how to read it; write {described} with {folder.EXAMPLE}")
    if (root / "dataset.json").is_file():
        return decathlon.cases(root)
    raise UserError(
        f"nothing tells how to read dataset {name!r} in {root}: it is no name of the catalogue "
        f"({nearest(name.lower(), CATALOGUE)}); for data of your own write {described} with {folder.EXAMPLE}, "
        f"or arrange it as {decathlon.EXPECTED}"
    )
