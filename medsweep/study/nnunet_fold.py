"""A fold of a sweep as a raw data set of nnU-Net, version 2, for training it elsewhere.

Isensee et al. 2021, https://github.com/MIC-DKFZ/nnUNet, documentation/dataset_format.md.
"""

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from medsweep.data.dataset import Case, Listing
from medsweep.data.folds import split
from medsweep.data.ignored import IGNORED
from medsweep.data.nifti import write_volume
from medsweep.data.slices import SliceSet
from medsweep.data.source import open_listing
from medsweep.data.volumes import LoadedCase, load
from medsweep.errors import UserError
from medsweep.study.exported_fold import FOLD_FILE, FoldOfSweep

NUMBERS: Final = range(1, 1000)
"""That data sets of nnU-Net may have."""
ENDING: Final = ".nii.gz"


@dataclass(frozen=True)
class RawDataset:
    """What was written."""

    folder: Path
    train: tuple[str, ...]
    """Cases in imagesTr and labelsTr."""
    test: tuple[str, ...]
    """Cases in imagesTs."""


def file_stem(case: str) -> str:
    """The name that the files of a case begin with."""
    return case.replace("/", "__")


def require_number(number: int) -> None:
    """Refuse what is no number of a data set of nnU-Net. Raises UserError."""
    if number not in NUMBERS:
        raise UserError(f"--nnunet {number} is no number of a data set of nnU-Net; take one from 1 to {NUMBERS[-1]}")


def export_raw(prepared: Path, of: FoldOfSweep, out: Path, number: int) -> RawDataset:
    """Write DatasetNUMBER_NAME with dataset.json, imagesTr, labelsTr and imagesTs below ``out``, and fold.json there.

    Images hold the stored intensities on the grid of the label file, one file per modality. Labels are class indices,
    and ignored voxels the value after the last. Only training patients are in imagesTr, and only tested ones in
    imagesTs. Those who validate are left out, since nnU-Net would train on them. fold.json holds the training ids.

    Raises:
        UserError: the number is none that nnU-Net takes, or a file cannot be read.
    """
    require_number(number)
    slices = SliceSet.open(prepared)
    groups = split(slices.patients, of.fold)
    folder = out / f"Dataset{number:03}_{re.sub(r'[^A-Za-z0-9]', '', of.data.dataset)}Fold{of.fold.index}"
    for name in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / name).mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        listing = open_listing(of.data, Path(scratch))
        cases = {case.id: case for case in listing.cases}
        for case in groups.train:
            loaded = _write_images(cases[case], listing, slices, folder / "imagesTr")
            _write_labels(loaded, slices, folder / "labelsTr")
        for case in groups.test:
            _write_images(cases[case], listing, slices, folder / "imagesTs")
    _write_json(folder / "dataset.json", described(slices, len(groups.train)))
    about = {"dataset": of.data.dataset, "fold": of.fold.index, "classes": slices.classes, "train": groups.train}
    _write_json(out / FOLD_FILE, about)
    return RawDataset(folder, groups.train, groups.test)


def described(slices: SliceSet, training: int) -> dict[str, object]:
    """``dataset.json`` of a data set with so many training cases."""
    labels = {name: index for index, name in enumerate(slices.classes)}
    labels |= {"ignore": len(slices.classes)} if slices.ignores else {}
    channels = {str(place): name for place, name in enumerate(slices.modalities)}
    return {"channel_names": channels, "labels": labels, "numTraining": training, "file_ending": ENDING}


def _write_images(case: Case, listing: Listing, slices: SliceSet, folder: Path) -> LoadedCase:
    loaded = load(case, listing)
    for channel, volume in enumerate(loaded.image):
        path = folder / f"{file_stem(case.id)}_{channel:04}{ENDING}"
        _write(path, np.asarray(volume, np.float32), slices, case.id)
    return loaded


def _write_labels(loaded: LoadedCase, slices: SliceSet, folder: Path) -> None:
    labels_XYZ = (
        np.where(loaded.labels == IGNORED, len(slices.classes), loaded.labels) if slices.ignores else loaded.labels
    )
    _write(folder / f"{file_stem(loaded.case.id)}{ENDING}", labels_XYZ.astype(np.uint8), slices, loaded.case.id)


def _write(path: Path, canonical_XYZ: np.ndarray, slices: SliceSet, case: str) -> None:
    """On the grid of the label file, without trailing axes of length 1."""
    stored = slices.volumes[case].stored
    write_volume(path, canonical_XYZ, replace(stored, shape=tuple(stored.shape)[:3]))


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
