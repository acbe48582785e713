"""Generators that a training may begin from: published ones, which must have seen nobody who is held out here."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from medsweep.config import Config
from medsweep.data.copies import voxel_hash
from medsweep.data.fitted_on import read_fitted_on
from medsweep.data.folds import patients_of, split
from medsweep.data.ignored import IGNORED
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.files import sha256_of
from medsweep.trainers.generators import GeneratorConfig, Misfits

START: Final = "start"
"""The input of a training that begins from another of the same sweep."""
BEGAN_FROM: Final = "began_from.json"
"""What a training that began from another leaves: the cases that those before it learned from."""

FOLLOWING: Final = frozenset({"architecture", "channels", "mask_channels", "condition_channels", "generator"})
"""Fields of the records of generators that follow from others, and are not told beside them."""


def cases_seen_by(folder: Path) -> frozenset[str]:
    """Cases that a published generator and those that it began from learned from."""
    earlier = folder / BEGAN_FROM
    return read_fitted_on(folder) | frozenset(json.loads(earlier.read_text()) if earlier.exists() else ())


def write_began_from(folder: Path, cases: frozenset[str]) -> None:
    """Record whom the generators before this one learned from."""
    (folder / BEGAN_FROM).write_text(json.dumps(sorted(cases), indent=1) + "\n")


def folder_to_begin_from(config: GeneratorConfig, inputs: Mapping[str, Path], misfits: Misfits) -> Path | None:
    """The folder of the generator that a training begins from; None where it begins afresh.

    Raises:
        UserError: the generator is not there, is not the one that was planned, does not fit the slices, or learned from
            a patient who is tested or validated here.
    """
    data = SliceSet.open(inputs["prepare"])
    groups = split(data.patients, config.fold)
    held_out = (*groups.test, *groups.validation)
    if START in inputs:
        _require_unseen(inputs[START], held_out)
        return inputs[START]
    start = config.start
    if start is None:
        return None
    folder = Path(start.path)
    for name, expected in start.files.items():
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}, which this training begins from, is not on this machine; copy it there")
        if sha256_of(folder / name) != expected:
            raise UserError(f"{folder / name} changed since the sweep was planned; run the command again")
    if differences := misfits(folder, config, len(data.modalities), len(data.classes)):
        raise UserError(f"the generator in {folder} does not fit: {'; '.join(differences)}")
    if not start.strangers:
        _require_unseen(folder, held_out)
    if start.slices is not None and Path(start.slices).is_dir():
        require_no_copy(SliceSet.open(Path(start.slices)), sorted(read_fitted_on(folder)), data, held_out)
    return folder


def _require_unseen(folder: Path, held_out: Sequence[str]) -> None:
    if seen := set(patients_of(cases_seen_by(folder))) & set(patients_of(held_out)):
        raise UserError(
            f"the generator in {folder}, which this training begins from, learned from {len(seen)} patients whom this "
            f"fold holds out, first {min(seen)!r}; begin from one that never saw them"
        )


def require_no_copy(learned: SliceSet, cases: Sequence[str], data: SliceSet, held_out: Sequence[str]) -> None:
    """Refuse a held-out case whose mask on the original grid is that of a case that was learned from.

    Names, resolution and intensities have no part in it, nor which way the axes run.

    Raises:
        UserError: naming the first such pair.
    """
    known = {found: case for case in cases if (found := _foreground_hash(learned, case))}
    for case in sorted(held_out):
        if (twin := known.get(_foreground_hash(data, case))) is not None:
            raise UserError(
                f"the generator that this training begins from learned from {twin!r}, whose mask is that of {case!r}, "
                "and this fold holds that patient out; begin from one that never saw this patient"
            )


def differences(card: Config, wanted: Config) -> list[str]:
    """In what a published generator differs from the wanted one, field by field with those of its architecture.

    Of another variant nothing else is told.
    """
    mine, theirs = (dict(each) | dict(each.architecture) for each in (wanted, card))  # type: ignore[attr-defined]
    told = {name: value for name, value in mine.items() if name not in FOLLOWING}
    found = [f"{name} {theirs[name]}, here {value}" for name, value in told.items() if theirs[name] != value]
    return found[:1] if mine["variant"] != theirs["variant"] else found


def _foreground_hash(data: SliceSet, case: str) -> str:
    """Empty where the mask tells nothing."""
    labels_ZHW = data.reference(case)
    return voxel_hash(((labels_ZHW > 0) & (labels_ZHW != IGNORED)).astype("uint8"))
