"""The real side of all assessments of one fold and judge: worked out once, published, and read by each of them.

Shapes: N real slices, C modalities, D features, F frequency bins.
"""

import dataclasses
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import nn

from medsweep.data.folds import patients_of
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.identity import derive_seed
from medsweep.trainers.assessment.abnormality import abnormality
from medsweep.trainers.assessment.agreement import IN_USE, WATCHED, agreement
from medsweep.trainers.assessment.config import EmbedConfig
from medsweep.trainers.assessment.floors import halves_apart, neighbours_between
from medsweep.trainers.assessment.inception import Extractor, features_by_chunks, window
from medsweep.trainers.assessment.masks import describe, evenly_spread, mean_hd95_between
from medsweep.trainers.assessment.variety import curve
from medsweep.trainers.assessment.views import View, look
from medsweep.trainers.measures.look_map import LookMap
from medsweep.trainers.measures.neighbours import authenticity, between_owners, nearest_other
from medsweep.trainers.segmentation.network import features

TENSORS, NUMBERS = "real_features.safetensors", "real_numbers.json"
TABLES = {name: f"real_{name}.parquet" for name in ("shapes", "agreement", "abnormality", "left_out_owners")}

LOOKED_AT = 256
"""Images on either side that a map of looks is measured on, at most."""
LEFT_OUT_SLICES = 1000
"""Slices of patients left out that are looked at, evenly spread, at most."""

Array = NDArray[np.float64]
Features = NDArray[np.float32]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class RealSide:
    """The foreground slices of the training patients as networks see them, in the order of ``real_rows``."""

    layers: Features
    """(N, D) at the judge's bottleneck, then at each stage of its decoder."""
    bottleneck: int
    """How many of these features come first, at the bottleneck."""
    random: Features
    """(N, D) of the random network."""
    power: Array
    """``radial_psd``, (C, F)."""
    laplacian: Array
    """``laplacian_variance``, (C,)."""
    variety: Array
    """``variety.curve`` at the bottleneck, (K, 1 + S)."""
    local_sd: Array
    """``class_local_sd`` of the classes that the judge sees, (K, C)."""
    first: Features
    """(N + W, D) at the judge's first level, of these slices, then of the W of the validation patients."""
    watched: Features
    """(W, D) at the bottleneck, of the validation patients."""
    left_out: Features
    """(M, D) at the bottleneck, of training patients that the study leaves out, given the look of those in use; M is 0
    where they are not looked at."""
    left_out_owners: pd.DataFrame
    """``patient`` of each of these."""
    texture_floor: dict[str, float]
    """Mean size of each difference of texture between random halves of the patients; see ``halves_apart``."""
    neighbour_floor: dict[str, float]
    """``prdc`` from one half of the patients to the other, mean over the halvings; empty where halves are too small."""
    shapes: pd.DataFrame
    """``describe`` of the masks."""
    agreement: pd.DataFrame
    """``agreement`` of the masks with what the judge sees, of the slices in use, then of the validation patients.

    Before its columns: ``patient``, ``group`` (in use or watched) and ``unseen``, whether the judge was fitted on
    nothing of the patient.
    """
    abnormality: pd.DataFrame
    """``abnormality`` of these masks, beside those of other patients in use."""
    between_patients: float | None
    """Mean HD95 in pixels from a mask to the nearest of other patients; None where no other patient has one."""
    nearest: Array
    """Distance of each slice to the nearest other one at the bottleneck, (N,)."""
    authenticity: float
    """Mean ``authenticity`` of one half of the patients beside the other, over the halvings."""
    between_owners: float | None
    """``between_owners`` at the bottleneck: from a slice to the nearest of another patient."""
    inception: Features | None = None
    """(N, 2048 C) of Inception-v3, where it was asked for."""
    window: Array | None = None
    """Intensities that Inception-v3 sees as black and as white, (C, 2)."""

    @classmethod
    def of(
        cls,
        config: EmbedConfig,
        data: SliceSet,
        train: Sequence[str],
        judge: nn.Module,
        inception: Extractor | None = None,
        *,
        fitted_on: Collection[str],
        watched: Sequence[str] = (),
        left_out: Sequence[str] = (),
    ) -> "RealSide":
        """Look at the slices of the ``train`` patients, and at those of ``watched`` and ``left_out`` for the laws.

        ``fitted_on``: whom the judge was fitted on.

        Raises:
            UserError: fewer than two slices in a half of the patients.
        """
        rows, classes = real_rows(data, train), len(data.classes)
        masks, owners = np.array(data.masks[rows]), data.owners[rows]
        view = look(judge, data.images, rows)
        grey, seen = None, None
        if inception is not None:
            grey, device = window(data.image_rows(rows)), next(judge.parameters()).device
            seen = features_by_chunks(inception, grey, data.images, rows, device)
        width = features(judge, torch.from_numpy(data.image_rows(rows[:1]))).shape[1]
        deepest, halves = view.layers[:, :width], halvings(config, owners, train)
        in_use = data.image_rows(rows[evenly_spread(len(rows), LOOKED_AT)])
        beyond = _Beyond.of(data, judge, view, width, in_use, fitted_on=fitted_on, watched=watched, left_out=left_out)
        return cls(
            layers=view.layers,
            bottleneck=width,
            random=view.random,
            power=view.power,
            laplacian=view.laplacian,
            variety=curve(deepest, owners, generator(config, "variety")),
            texture_floor=halves_apart(
                (data.image_rows(rows[owners == one]) for one in sorted(set(owners))),
                generator(config, "texture"),
                config.halvings,
            ),
            neighbour_floor=neighbours_between(deepest, halves),
            shapes=describe(masks, classes),
            abnormality=_abnormality(data, rows, real_rows(data, watched)),
            between_patients=mean_hd95_between(masks, owners),
            nearest=nearest_other(deepest),
            authenticity=_between_halves(deepest, halves),
            between_owners=between_owners(deepest, owners),
            inception=seen,
            window=grey,
            local_sd=view.local_sd,
            agreement=pd.concat(
                [_agreement(data, rows, view, IN_USE, fitted_on), *beyond.agreement], ignore_index=True
            ),
            first=np.concatenate([view.first, beyond.first]),
            watched=beyond.watched,
            left_out=beyond.left_out,
            left_out_owners=beyond.left_out_owners,
        )

    def save(self, folder: Path) -> None:
        """Write it into ``folder``."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        arrays = {name: value for name, value in fields.items() if isinstance(value, np.ndarray)}
        numbers = {name: value for name, value in fields.items() if name not in arrays and name not in TABLES}
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / TENSORS)
        for name, file in TABLES.items():
            fields[name].to_parquet(folder / file, index=False)
        (folder / NUMBERS).write_text(json.dumps(numbers, indent=2, sort_keys=True, allow_nan=False) + "\n")

    @classmethod
    def open(cls, folder: Path) -> "RealSide":
        """What ``save`` wrote into ``folder``."""
        numbers = json.loads((folder / NUMBERS).read_text())
        tables = {name: pd.read_parquet(folder / file) for name, file in TABLES.items()}
        return cls(**{**numbers, **load_file(folder / TENSORS), **tables})


class _Beyond(NamedTuple):
    """What ``RealSide`` says of slices that are not in use."""

    agreement: list[pd.DataFrame]
    first: Features
    watched: Features
    left_out: Features
    left_out_owners: pd.DataFrame

    @classmethod
    def of(
        cls,
        data: SliceSet,
        judge: nn.Module,
        view: View,
        width: int,
        in_use: NDArray[np.float32],
        *,
        fitted_on: Collection[str],
        watched: Sequence[str],
        left_out: Sequence[str],
    ) -> "_Beyond":
        """``view`` is that of the slices in use, of which ``in_use`` are some; the others may have no foreground.

        ``width`` features are those of the bottleneck.

        Slices left out are given the look of those in use first. Pools are as well before their variety is measured,
        and that makes any set a little less varied.
        """
        rows, spare = real_rows(data, watched), real_rows(data, left_out)
        spare = spare[evenly_spread(len(spare), LEFT_OUT_SLICES)]
        nothing = dataclasses.replace(view, first=view.first[:0], layers=view.layers[:0])
        seen = look(judge, data.images, rows, 1) if len(rows) else nothing
        spare_seen = nothing
        if len(spare):
            some = data.image_rows(spare[evenly_spread(len(spare), LOOKED_AT)])
            evened = LookMap.between(some, in_use)(data.image_rows(spare))
            spare_seen = look(judge, evened, np.arange(len(evened)), 1)
        agreements = [_agreement(data, rows, seen, WATCHED, fitted_on)] if len(rows) else []
        owners = pd.DataFrame({"patient": data.owners[spare]})
        return cls(agreements, seen.first, seen.layers[:, :width], spare_seen.layers[:, :width], owners)


def _agreement(data: SliceSet, rows: Indices, view: View, group: str, fitted_on: Collection[str]) -> pd.DataFrame:
    owners, known = data.owners[rows], set(patients_of(fitted_on))
    about = pd.DataFrame({"patient": owners, "group": group, "unseen": [owner not in known for owner in owners]})
    return pd.concat([about, agreement(np.array(data.masks[rows]), view.predicted, len(data.classes))], axis=1)


def read_judged(folder: Path) -> pd.DataFrame:
    """Real slices as a judge sees them, from what ``RealSide.save`` wrote: patient, in_use, unseen, measures.

    The measures are those of ``agreement`` and of ``abnormality``.
    """
    agreement, abnormality = (pd.read_parquet(folder / TABLES[name]) for name in ("agreement", "abnormality"))
    told = agreement.assign(in_use=agreement["group"] == IN_USE).drop(columns="group")
    return pd.concat([told, abnormality], axis=1)


def _abnormality(data: SliceSet, rows: Indices, watched: Indices) -> pd.DataFrame:
    """Of the slices in use, then of the watched ones, in the order of the agreement."""
    both = np.concatenate([rows, watched])
    masks, owners = np.array(data.masks[both]), data.owners[both]
    return abnormality(masks, owners, masks[: len(rows)], owners[: len(rows)], len(data.classes))


def real_rows(data: SliceSet, train: Sequence[str]) -> Indices:
    """Foreground slices of some patients, by their row in the slice set, ascending."""
    return data.rows(train, foreground_only=True)


def generator(config: EmbedConfig, purpose: str, number: int = 0) -> np.random.Generator:
    """Random numbers for one purpose of assessment in one replicate."""
    return np.random.default_rng(derive_seed("assess", purpose, config.fold.index, config.seed, number))


def halvings(config: EmbedConfig, owners_N: NDArray[np.object_], train: Sequence[str]) -> list[tuple[Indices, Indices]]:
    """Shuffled positions of the slices of a random half of the patients, and of the other half, ``halvings`` times.

    Raises:
        UserError: fewer than two slices in a half.
    """
    halves = [_halve(owners_N, train, config, number) for number in range(config.halvings)]
    if min(len(half) for pair in halves for half in pair) < 2:
        raise UserError(
            f"an assessment needs 2 foreground slices in each half of the training patients, got {len(train)} patients "
            f"with {len(owners_N)} such slices; ask for more patients, or set assess.enabled to false"
        )
    return halves


def _halve(
    owners: NDArray[np.object_], patients: Sequence[str], config: EmbedConfig, number: int
) -> tuple[Indices, Indices]:
    """Shuffled positions of the slices of one random half of the patients, and of the other half."""
    rng = generator(config, "halves", number)
    shuffled = rng.permutation(np.array(patients_of(patients), dtype=object))
    first = np.isin(owners, shuffled[: len(shuffled) // 2])
    return rng.permutation(np.flatnonzero(first)), rng.permutation(np.flatnonzero(~first))


def _between_halves(x_ND: Features, halves: Sequence[tuple[Indices, Indices]]) -> float:
    return float(np.mean([authenticity(x_ND[a], nearest_other(x_ND[a]), x_ND[b]) for a, b in halves]))
