"""What published networks see: in the test patients of their folds, and in patients without labels."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import pandas as pd
import torch

from medsweep.data.folds import split
from medsweep.data.layouts.leftovers import foreign_formats
from medsweep.data.new_patients import find_patients, read_patient
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError, nearest
from medsweep.files import write_atomic
from medsweep.store.store import Store
from medsweep.study.arm_names import find_arms
from medsweep.study.chains import network_of
from medsweep.study.stages import Settings
from medsweep.study.tables import cut_of
from medsweep.sweep.arms import Replicate
from medsweep.sweep.plan import Decision, Plan, PlannedTrial
from medsweep.trainers.segmentation.predictions import write_predictions
from medsweep.trainers.segmentation.segmenter import SeenPatient, Segmenter
from medsweep.trial import COMPLETE

Ensemble = Literal["none", "folds", "all"]
"""Whose probabilities are averaged: nobody's, those of all folds of one seed, or those of all folds and seeds."""
VOLUMES = "volumes.csv"


def predict_tested(
    plan: Plan[Settings], decisions: Mapping[str, Decision], store: Store, arms: Sequence[str], out: Path
) -> Iterator[Path]:
    """Write what the published networks of ``arms`` (none: of all) see in their test patients, as NIfTI files.

    Files are ``OUT/ARM/fold-F-seed-S/PATIENT.nii.gz``, on the grids of the label files.

    Raises:
        UserError: no such arm, or none of these networks is published.
    """
    chosen = find_arms(plan, arms)
    networks = {key: network_of(plan, leaf) for key, leaf in plan.leaves.items() if key[0] in chosen}
    published = {key: trial for key, trial in networks.items() if decisions[trial.digest].outcome == COMPLETE}
    if not published:
        raise UserError(f"no network of {', '.join(arms) or plan.sweep} is published yet; medsweep run first")
    for (arm, replicate), trial in published.items():
        store.verify(trial.stage, trial.digest)
        folder = out / arm.replace("/", "-") / f"fold-{replicate.fold}-seed-{replicate.seed}"
        prepared = store.output("prepare", trial.inputs["prepare"])
        tested = split(SliceSet.open(prepared).patients, cut_of(trial)).test
        yield from write_predictions(store.output(trial.stage, trial.digest), prepared, tested, folder)


@dataclass(frozen=True)
class NewPrediction:
    """How patients without labels are predicted, and where to."""

    patients: Path
    """Folder of their NIfTI files."""
    out: Path
    ensemble: Ensemble = "none"
    probabilities: bool = False
    """Whether a map per class is written too."""
    device: str = "cpu"


def predict_new(
    plan: Plan[Settings], store: Store, arms: Sequence[str], asked: NewPrediction, tell: Callable[[str], None]
) -> Iterator[Path]:
    """Write what the networks of ``arms`` (none: of all) see in patients without labels, and their volumes.

    Labels are ``OUT/ARM/WHICH/PATIENT.nii.gz`` on the patient's own grid, with the stored values of the sweep's label
    files. WHICH is ``fold-F-seed-S``, ``seed-S`` or ``all-folds-and-seeds``. Maps are below ``probabilities/CLASS``
    beside them. ``OUT/volumes.csv`` has a row per arm, network, patient and structure. ``tell`` hears of each patient
    who is unlike those of the sweep, and of files of other formats, which are not read.

    Raises:
        UserError: no such arm, none of its networks is published or one that a mean needs is not, or a patient's files
            lack a modality or cannot be read.
    """
    _require_device(asked.device)
    groups = list(_groups(plan, store, find_arms(plan, arms), asked.ensemble))
    modalities = SliceSet.open(store.output("prepare", groups[0].networks[0].inputs["prepare"])).modalities
    patients = find_patients(asked.patients, modalities)
    if others := foreign_formats(asked.patients, by_patterns=False):
        tell(f"warning, {asked.patients}: {others}")
    rows, told = list[dict[str, object]](), set[str]()
    for group in groups:
        segmenters = [_segmenter(store, network, asked.device) for network in group.networks]
        folder = asked.out / group.arm.replace("/", "-") / group.which
        for files in patients:
            seen = SeenPatient.of(segmenters, read_patient(files), probabilities=asked.probabilities)
            maps = folder / "probabilities" if asked.probabilities else None
            yield from seen.write(folder / f"{files.id}.nii.gz", maps)
            if seen.remarks and files.id not in told:
                tell(f"warning, {files.id}: {'; '.join(seen.remarks)}")
                told.add(files.id)
            where = {"arm": group.arm, "fold": group.fold, "seed": group.seed, "patient": files.id}
            rows += [
                where | {"class": name, "voxels": voxels, "volume_ml": volume, "remarks": "; ".join(seen.remarks)}
                for name, voxels, volume in seen.volumes()
            ]
    table = pd.DataFrame(rows).astype({"fold": "Int64", "seed": "Int64"})
    write_atomic(asked.out / VOLUMES, table.to_csv(index=False, lineterminator="\n"))
    yield asked.out / VOLUMES


def _require_device(device: str) -> None:
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise UserError(f"--device {device!r} is none; write cpu or cuda")
    gpus = torch.cuda.device_count()
    if device != "cpu" and int(device.partition(":")[2] or 0) >= gpus:
        found = f"{gpus} GPUs" if gpus else "no GPU"
        raise UserError(f"--device {device}: torch finds {found} on this machine; leave --device out")


@dataclass(frozen=True)
class _Group:
    """Networks of an arm whose probabilities are averaged."""

    arm: str
    fold: int | None
    """None where it is of all folds."""
    seed: int | None
    networks: tuple[PlannedTrial, ...]

    @property
    def which(self) -> str:
        """Name of its folder."""
        if self.seed is None:
            return "all-folds-and-seeds"
        return f"seed-{self.seed}" if self.fold is None else f"fold-{self.fold}-seed-{self.seed}"


def _groups(plan: Plan[Settings], store: Store, arms: Sequence[str], ensemble: Ensemble) -> Iterator[_Group]:
    """The networks that are averaged, in the order of arms and replicates. Raises UserError: one is not published."""
    if ensemble not in get_args(Ensemble):
        raise UserError(f"--ensemble {ensemble!r} is none; {nearest(ensemble, get_args(Ensemble))}")
    for arm in arms:
        members: dict[tuple[int | None, int | None], list[PlannedTrial]] = defaultdict(list)
        for replicate in plan.replicates:
            trial = network_of(plan, plan.leaves[arm, replicate])
            if store.outcome(trial.stage, trial.digest) == COMPLETE:
                members[_key(replicate, ensemble)].append(trial)
            elif ensemble != "none":
                where = f"fold {replicate.fold}, seed {replicate.seed}"
                raise UserError(
                    f"the network of arm {arm!r}, {where} is not published, so no mean over {ensemble} can be taken; "
                    "medsweep run first, or leave --ensemble out"
                )
        if not members:
            raise UserError(f"no network of arm {arm!r} of {plan.sweep} is published yet; medsweep run first")
        yield from (_Group(arm, fold, seed, tuple(trials)) for (fold, seed), trials in members.items())


def _key(replicate: Replicate, ensemble: Ensemble) -> tuple[int | None, int | None]:
    fold = replicate.fold if ensemble == "none" else None
    return fold, None if ensemble == "all" else replicate.seed


def _segmenter(store: Store, network: PlannedTrial, device: str) -> Segmenter:
    prepared = network.inputs["prepare"]
    for stage, digest in ((network.stage, network.digest), ("prepare", prepared)):
        store.verify(stage, digest)
    return Segmenter.open(store.output(network.stage, network.digest), store.output("prepare", prepared), device)
