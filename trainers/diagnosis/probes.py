"""The probe batches: real training, held-out and synthetic slices, in two disjoint halves each."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medsweep.data.folds import Split
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.trainers.diagnosis.config import HALF
from medsweep.trainers.diagnosis.gradients import AGAIN, HELD_OUT, POOL, TRAIN
from medsweep.trainers.pool import Pool, numbered


@dataclass(frozen=True)
class Slices:
    """Images float32 (N, C, R, R), masks uint8 (N, R, R), and which patient, as a number, each is of."""

    images: NDArray[np.float32]
    masks: NDArray[np.uint8]
    groups: NDArray[np.int64]
    real: NDArray[np.float32] | None = None
    """Of samples that all paint the mask of a real slice as it is: the images of these slices."""


@dataclass(frozen=True)
class Aligned:
    """Synthetic images beside the real ones of their very masks, float32 (N, C, R, R), masks uint8 (N, R, R)."""

    real: NDArray[np.float32]
    synthetic: NDArray[np.float32]
    masks: NDArray[np.uint8]
    groups: NDArray[np.int64]
    """Which patient, as a number, each real slice is of."""


class Sources:
    """Where probes are drawn from: foreground slices of training and validation patients, and the arm's samples."""

    def __init__(self, data: SliceSet, patients: Split, pool: Pool, chosen: NDArray[np.int64]) -> None:
        self._data, self._pool = data, pool
        self._patients, self._groups = numbered(data.owners), pool.groups(data.owners)
        self._rows = {
            TRAIN: data.rows(patients.train, foreground_only=True),
            HELD_OUT: data.rows(patients.validation, foreground_only=True),
            POOL: chosen,
        }

    def draw(self, rng: np.random.Generator, *, again: bool) -> dict[str, list[Slices]]:
        """Two halves per source, disjoint, of 32 samples or as many as there are; ``again`` draws from held-out twice.

        Raises:
            UserError: a source has too few slices for one in every half.
        """
        halves: dict[str, list[Slices]] = {}
        for source, rows in self._rows.items():
            parts = 4 if source == HELD_OUT and again else 2
            size = min(HALF, len(rows) // parts)
            if size < 1:
                raise UserError(
                    f"the diagnosis needs {parts} {source} slices with foreground, there are {len(rows)}; "
                    "raise replicates.validation or synthesise.count, or set segment.snapshots to 0"
                )
            order = rng.permutation(rows)
            found = [self._read(source, np.sort(order[part * size : (part + 1) * size])) for part in range(parts)]
            halves[source] = found[:2]
            if parts == 4:
                halves[AGAIN] = found[2:]
        return halves

    def aligned(self, rng: np.random.Generator) -> Aligned | None:
        """Up to two halves of samples that paint the mask of a real slice as it is; None where there are none.

        Real slices that were taken as they are have no second image, and are no such samples.
        """
        rows = np.sort(rng.permutation(self._rows[POOL])[: 2 * HALF])
        if self._pool.rows is None:
            return None
        real, fits = self._painted(rows)
        if not fits.any():
            return None
        rows = rows[fits]
        images = np.array(self._pool.images[rows], np.float32)
        return Aligned(real[fits], images, self._pool.masks[rows], self._patients[self._pool.rows[rows]])

    def _painted(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Real slices that samples were made from, and whether a sample paints the mask of its own."""
        pool = self._pool
        assert pool.rows is not None
        sources = pool.rows[rows]
        real = self._data.image_rows(sources)
        fits = (pool.masks[rows] == self._data.masks[sources]).all(axis=(1, 2))
        return real, fits & (pool.images[rows] != real).any(axis=(1, 2, 3))

    def _read(self, source: str, rows: NDArray[np.int64]) -> Slices:
        if source != POOL:
            return Slices(self._data.image_rows(rows), self._data.masks[rows], self._patients[rows])
        pool = self._pool
        own = np.array(pool.images[rows], np.float32), pool.masks[rows], self._groups[rows]
        if pool.rows is None:
            return Slices(*own)
        real, fits = self._painted(rows)
        return Slices(*own, real if fits.all() else None)


def joined(halves: Mapping[str, list[Slices]], source: str) -> Slices:
    """Both halves of a source in one."""
    parts = halves[source]
    return Slices(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.masks for part in parts]),
        np.concatenate([part.groups for part in parts]),
    )
