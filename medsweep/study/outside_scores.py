"""Predictions that were made elsewhere, scored like those of our own networks and put into the same table."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medsweep.data.folds import Fold, Split, patient_of, split
from medsweep.data.geometry import to_planes
from medsweep.data.header import SAME_GRID, voxels_apart
from medsweep.data.nifti import Scan, read_labels
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.store.store import Store
from medsweep.study.nnunet_fold import ENDING, file_stem
from medsweep.study.patients import of_patients
from medsweep.study.stages import Settings
from medsweep.study.tables import KEYS, MEASURED, cut_of, require_prepared
from medsweep.sweep.arms import Replicate
from medsweep.sweep.plan import Plan
from medsweep.trainers.scoring.score import rows_of


@dataclass(frozen=True)
class OutsideArm:
    """Predictions of a segmenter that was trained outside, by folder."""

    name: str
    """What tables call it."""
    folder: str
    """With a file per test case; ``{fold}`` and ``{seed}`` in it are filled in."""
    fitted_on: str
    """File with ``{"train": [ids]}``, likewise; ``fold.json`` of ``medsweep data export-fold`` is one."""
    stored_values: bool = False
    """Whether files hold the label values of the data set and not class indices."""


def score_outside(plan: Plan[Settings], store: Store, dataset: str, asked: OutsideArm) -> pd.DataFrame:
    """Rows of the tidy table for the predictions, one run per fold, or per fold and seed where ``{seed}`` is named.

    Raises:
        UserError: nothing is prepared yet, the name is that of an arm, a file is missing or does not fit its patient,
            or the segmenter was fitted on a patient of the fold's test or validation group, or on nobody of the
            training group.
    """
    if Path(asked.name).name != asked.name or asked.name.startswith("."):
        raise UserError(f"--name {asked.name!r} cannot be a file name; write it without /")
    names = [arm.name for arm in plan.arms]
    if asked.name in names:
        raise UserError(f"--name {asked.name!r} is an arm of {plan.sweep}; give the predictions a name of their own")
    control = next(arm.name for arm in plan.arms if arm.is_control)
    frames = []
    for replicate in _replicates(plan.replicates, asked):
        trial = plan.trials[plan.leaves[control, replicate]]
        prepared = require_prepared(plan, store, trial)
        store.verify("prepare", prepared)
        slices = SliceSet.open(store.output("prepare", prepared))
        groups = split(slices.patients, cut_of(trial))
        _require_unseen(Path(_filled(asked.fitted_on, replicate)), groups, cut_of(trial))
        folder = Path(_filled(asked.folder, replicate))
        rows = [
            row
            for case in sorted(groups.test)
            for row in rows_of(slices, case, read_prediction(folder, slices, case, stored_values=asked.stored_values))
        ]
        frames.append(pd.DataFrame(rows).assign(fold=replicate.fold, seed=replicate.seed))
    cases = pd.concat(frames, ignore_index=True).assign(dataset=dataset, arm=asked.name, digest="")
    return of_patients(cases[[*KEYS, "value", "status", *MEASURED, "digest"]].astype(MEASURED))


def read_prediction(folder: Path, slices: SliceSet, case: str, *, stored_values: bool = False) -> NDArray[np.uint8]:
    """The class indices of a case that ``folder/CASE.nii.gz`` holds, (Z, H, W), slices first.

    Raises:
        UserError: no such file, another grid than that of the case, or a value of no class.
    """
    path = folder / f"{file_stem(case)}{ENDING}"
    if not path.is_file():
        raise UserError(f"there is no prediction {path}; every test patient of the fold needs one, named by its id")
    values = slices.values if stored_values else {index: index for index in range(len(slices.classes))}
    scan = read_labels(path, values, slices.classes)
    _require_same_grid(scan, slices, case)
    return np.ascontiguousarray(to_planes(scan.array, slices.volumes[case].slice_axis))


def _require_same_grid(scan: Scan, slices: SliceSet, case: str) -> None:
    stored = slices.volumes[case].stored
    own = replace(scan.grid, shape=tuple(stored.shape), affine=np.asarray(stored.affine))
    if scan.grid.canonical_shape != own.canonical_shape:
        raise UserError(
            f"{scan.path} has {scan.grid.canonical_shape} voxels, and {case!r} has {own.canonical_shape}; predict on "
            "the images that medsweep exported, without cropping"
        )
    apart = voxels_apart(own.canonical_affine, scan.grid.canonical_affine, own.canonical_shape)
    if apart > SAME_GRID:
        raise UserError(f"{scan.path} lies {apart:.2f} voxels off the grid of {case!r}; keep the affine of its image")


def _require_unseen(path: Path, groups: Split, fold: Fold) -> None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f'--fitted-on {path} cannot be read ({error}); give a file with {{"train": [ids]}}, such as fold.json of '
            "medsweep data export-fold"
        ) from None
    train = content.get("train") if isinstance(content, dict) else None
    if not isinstance(train, list) or not train:
        raise UserError(f'--fitted-on {path} must hold {{"train": [ids]}} with the patients it was trained on')
    seen = {patient_of(str(one)) for one in train}
    held_out = sorted(seen & {patient_of(case) for case in (*groups.test, *groups.validation)})
    if held_out:
        raise UserError(
            f"{path}: fold {fold.index} tests or validates on {len(held_out)} patients that it was trained on, first "
            f"{held_out[0]!r}; train it on what medsweep data export-fold --fold {fold.index} writes"
        )
    if not seen & {patient_of(case) for case in groups.train}:
        raise UserError(
            f"{path}: none of its {len(seen)} patients, first {min(seen)!r}, is in the training group of fold "
            f"{fold.index}; write ids as the sweep has them, such as {patient_of(groups.train[0])!r}"
        )


def _filled(template: str, replicate: Replicate) -> str:
    return template.replace("{fold}", str(replicate.fold)).replace("{seed}", str(replicate.seed))


def _replicates(every: Sequence[Replicate], asked: OutsideArm) -> list[Replicate]:
    """One of each fold, unless seeds have folders of their own."""
    if len({one.fold for one in every}) > 1 and "{fold}" not in asked.folder:
        raise UserError("the sweep has several folds, and each has its own predictions; write {fold} into FOLDER")
    if "{seed}" in asked.folder:
        return list(every)
    firsts: dict[int, Replicate] = {}
    for one in every:
        firsts.setdefault(one.fold, one)
    return list(firsts.values())
