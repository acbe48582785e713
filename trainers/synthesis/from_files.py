"""The import stage: a pool of pairs that were made elsewhere, in the order of their files.

Sample i is the i-th of the folder, so a pool of 50 is the head of a pool of 500, as of any generator.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.lib.format import open_memmap
from pydantic import Field

from medsweep.config import EXTENT, NOT_IDENTITY
from medsweep.data.fitted_on import require_within, write_fitted_on
from medsweep.data.folds import Fold
from medsweep.data.slices import SliceSet
from medsweep.data.stage_config import StageConfig
from medsweep.errors import UserError
from medsweep.trainers.generators import training_rows
from medsweep.trainers.synthesis.config import COMPARED, SHOWN, SLICE_RANGE, SLICES_PER_PATIENT
from medsweep.trainers.synthesis.mask_cleaner import MaskCleaner
from medsweep.trainers.synthesis.pool_folder import BATCH, PoolFolder, RequiredPairs
from medsweep.trainers.training.pictures import grid_png
from medsweep.trial import Progress, Trial

SECONDS_PER_SLICE = 0.02
"""Reading, checking and writing one at 256 px."""


class ImportConfig(StageConfig):
    """One pool from a folder. It has no seed, since the folder decides every sample."""

    fold: Fold
    """Whose training patients the generator may have learned from."""
    count: Annotated[int, Field(ge=1), EXTENT]
    unit: Literal["slices", "patients"]
    """What ``count`` counts; a synthetic patient has as many slices as a training patient on average."""
    resolution: int = Field(ge=8)
    """Side of a slice in pixels."""
    path: Annotated[str, NOT_IDENTITY]
    """The folder. It is not in the digest; the content of its files is."""
    name: Annotated[str, NOT_IDENTITY]
    """The folder as the sweep names it, for people."""
    content: str = Field(pattern=r"^[0-9a-f]{64}$")
    """``PoolFolder.content`` when the sweep was planned."""
    fitted_on: tuple[str, ...] | None
    """The cases that the generator learned from; None where that is not known and the sweep allows it."""

    @property
    def cut(self) -> Fold:
        """The fold."""
        return self.fold

    @property
    def known_patients(self) -> tuple[str, ...]:
        """``fitted_on``."""
        return self.fitted_on or ()

    @property
    def label(self) -> str:
        """The folder as the sweep names it, so that those of all folds are of one kind."""
        return f"from files: {self.name}"

    @property
    def side_px(self) -> int:
        return self.resolution


def hours(config: ImportConfig) -> float:
    """Hours of one CPU core."""
    slices = config.count * (SLICES_PER_PATIENT if config.unit == "patients" else 1)
    return slices * SECONDS_PER_SLICE * (config.resolution / 256) ** 2 / 3600


def run(config: ImportConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Write a ``medsweep.trainers.pool.Pool`` and a grid of its first pairs to ``trial.output``.

    Input: ``prepare``.

    Raises:
        UserError: the files changed since the sweep was planned, they do not fit the prepared slices, there are too
            few, or the generator learned from a patient outside the fold's training group.
    """
    slices = SliceSet.open(inputs["prepare"])
    patients, rows = training_rows(slices, config.fold)
    write_fitted_on(trial.output, config.known_patients)
    require_within("generator outside", trial.output, patients)
    if config.fitted_on is None:
        trial.note(f"nobody said which patients the generator of {config.path} learned from")
    folder = PoolFolder.open(Path(config.path), RequiredPairs(slices.resolution, slices.modalities, slices.classes))
    if folder.content() != config.content:
        raise UserError(f"{config.path} changed since the sweep was planned; run the command again")
    per_patient = slices.slices_per_patient(patients)
    total = config.count * (per_patient if config.unit == "patients" else 1)
    if total > folder.pairs.samples:
        raise UserError(
            f"{config.path} holds {folder.pairs.samples} samples and {total} are asked for; make more, or lower "
            "synthesise.count or synthesise.headroom"
        )
    shape = (total, len(slices.modalities), slices.resolution, slices.resolution)
    images = open_memmap(trial.output / "images.npy", mode="w+", dtype=np.float32, shape=shape)
    masks = open_memmap(trial.output / "masks.npy", mode="w+", dtype=np.uint8, shape=(total, *shape[2:]))
    measured = MaskCleaner((), 1, len(slices.classes))
    for number, (some_images, some_masks) in enumerate(folder.batches(total)):
        first, last = number * BATCH, number * BATCH + len(some_masks)
        images[first:last] = np.clip(some_images, -SLICE_RANGE, SLICE_RANGE)
        masks[first:last] = some_masks
        measured.record(first, some_masks)
        if last < total:
            yield Progress(step=last, total=total)
    images.flush()
    masks.flush()
    spread = rows[np.linspace(0, len(rows) - 1, min(len(rows), COMPARED)).astype(np.int64)]
    metrics = measured.write(trial.output, np.asarray(slices.masks[spread]))
    about = {"samples": total, "slices_per_patient": per_patient}
    (trial.output / "pool.json").write_text(json.dumps(about, indent=2, sort_keys=True) + "\n")
    grid = grid_png(trial.output / "grid.png", images[:SHOWN], masks[:SHOWN], columns=4)
    yield Progress(step=total, total=total, metrics=metrics, pictures={"grid": grid})
