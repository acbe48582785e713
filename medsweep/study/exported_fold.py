"""What a generator of one fold may learn from, as files for a generator that is trained elsewhere."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import nibabel as nib
import numpy as np
from numpy.lib.format import open_memmap

from medsweep.data.config import DataConfig
from medsweep.data.folds import Fold, patients_of
from medsweep.data.ignored import IGNORED
from medsweep.data.intensity import CLIP
from medsweep.data.slices import SliceSet
from medsweep.data.source import DataSource
from medsweep.errors import UserError, nearest
from medsweep.identity import canonical
from medsweep.store.store import Store
from medsweep.study.chains import fold_of
from medsweep.study.recorded_source import current_source
from medsweep.study.refusals import refuse_data_factors
from medsweep.study.stages import SCHEMA
from medsweep.sweep.arms import arms, replicates
from medsweep.sweep.load import load_sweep
from medsweep.trainers.generators import training_rows

AT_ONCE: Final = 256
"""Slices that are held in memory."""
FOLD_FILE: Final = "fold.json"
POOL: Final = "pool"


@dataclass(frozen=True)
class FoldOfSweep:
    """A fold of a sweep, and the data that its slices are prepared from."""

    data: DataConfig
    source: DataSource
    fold: Fold


def fold_of_sweep(path: Path, store: Store, index: int, arm: str | None) -> FoldOfSweep:
    """The fold ``index`` of a sweep as ``arm`` has it; None is any arm, where all have the same.

    Chains are not planned, since the pools that arms read may still have to be made.

    Raises:
        UserError: no such fold or arm, or arms differ in their patients or slices and none is named.
    """
    sweep = load_sweep(path, SCHEMA)
    refuse_data_factors(sweep)
    settings = {one.name: one.settings for one in arms(sweep)}
    source = current_source(sweep.base.data, store)
    cuts = {cell.fold: cell for cell in replicates(sweep, source.patients)}
    if index not in cuts:
        raise UserError(f"--fold {index} is none of the folds of {sweep.name}, which are {', '.join(map(str, cuts))}")
    if arm is not None and arm not in settings:
        raise UserError(f"--arm {arm!r} is no arm of {sweep.name}; {nearest(arm, settings)}")
    kinds = {canonical(one.data): one for name, one in settings.items() if arm in (None, name)}
    if len(kinds) > 1:
        raise UserError(
            f"the arms of {sweep.name} differ in data.patients or in their slices; say with --arm for which one a "
            f"generator is to be trained: {', '.join(settings)}"
        )
    chosen = next(iter(kinds.values()))
    return FoldOfSweep(chosen.data, source, fold_of(chosen, cuts[index]))


def export(prepared: Path, of: FoldOfSweep, out: Path, *, volumes: bool) -> tuple[int, tuple[str, ...]]:
    """Write the training slices with foreground that ``prepared`` has of a fold; returns their number and the cases.

    Files (n slices, C modalities, R pixels): images.npy float32 (n, C, R, R), masks.npy uint8 (n, R, R), slices.csv,
    fold.json with the ids, and pool/pool.yaml, beside which the pairs of a generator are put. With ``volumes``, all
    slices of these cases as volumes/images/ID_0000.nii.gz and volumes/masks/ID.nii.gz too; fold.json says which value
    of them is ignored.

    Raises:
        UserError: nothing can be learned from the training patients.
    """
    slices = SliceSet.open(prepared)
    cases, rows = training_rows(slices, of.fold)
    out.mkdir(parents=True, exist_ok=True)
    side, channels = slices.resolution, len(slices.modalities)
    images = open_memmap(out / "images.npy", mode="w+", dtype=np.float32, shape=(len(rows), channels, side, side))
    for first in range(0, len(rows), AT_ONCE):
        images[first : first + AT_ONCE] = slices.image_rows(rows[first : first + AT_ONCE])
    images.flush()
    np.save(out / "masks.npy", np.asarray(slices.masks[rows]), allow_pickle=False)
    columns = ["patient", "slice", "z_mm", "y_mm", "x_mm"]
    slices.index.loc[rows, columns].rename(columns={"patient": "case"}).to_csv(out / "slices.csv", index=False)
    if volumes:
        _write_volumes(slices, cases, out / "volumes")
    limit = 1.0 if of.source.intensity.scale == "window" else CLIP
    about = {
        "dataset": of.data.dataset, "fold": of.fold.index, "resolution": side, "modalities": slices.modalities,
        "classes": slices.classes, "range": [-limit, limit], "train": cases,
    }  # fmt: skip
    about |= {"ignored": IGNORED} if slices.ignores else {}
    values = {name: index for index, name in enumerate(slices.classes)}
    said = {"modalities": slices.modalities, "classes": values, "scale": "prepared", "fitted_on": f"../{FOLD_FILE}"}
    (out / POOL).mkdir(exist_ok=True)
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in said.items()]
    (out / POOL / "pool.yaml").write_text("".join(lines), encoding="utf-8")
    (out / FOLD_FILE).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return len(rows), patients_of(cases)


def _write_volumes(slices: SliceSet, cases: Sequence[str], out: Path) -> None:
    """Each case as it is seen in slices: columns, rows, slices, with the size of a pixel in mm."""
    for kind in ("images", "masks"):
        (out / kind).mkdir(parents=True, exist_ok=True)
    for case in cases:
        volume, name = slices.volumes[case], case.replace("/", "__")
        own = slice(volume.rows.start, volume.rows.stop)
        z_mm, y_mm, x_mm = volume.spacing_mm
        fit = volume.resize
        affine = np.diag([x_mm * fit.width / fit.scaled_width, y_mm * fit.height / fit.scaled_height, z_mm, 1.0])
        images = slices.image_rows(own)
        arrays = {f"images/{name}_{channel:04}": images[:, channel] for channel in range(images.shape[1])}
        for path, planes in (arrays | {f"masks/{name}": np.asarray(slices.masks[own])}).items():
            nib.Nifti1Image(planes.transpose(2, 1, 0), affine).to_filename(out / f"{path}.nii.gz")
