"""Pool: the synthetic image-mask pairs that one synthesise or treat trial leaves behind.

Files (n = samples, C = modalities, R = pixels): ``images.npy`` float32 (n, C, R, R) on the scale of the prepared
slices, ``masks.npy`` uint8 (n, R, R) class indices, ``pool.json``; where a treatment spoiled some samples on purpose,
``spoiled.npy`` bool (n,) says which; where samples have a source, ``rows.npy`` int64 (n,) says which. Sample i depends
on the seed and i alone, so every smaller pool is a prefix of a larger one.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsweep.errors import UserError

SCORES = "scores.parquet"
"""What an assessment leaves of each sample: columns sample and iou, then those of ``agreement`` and ``abnormality``."""
ASSESSMENT = "pool_metrics.json"
"""What an assessment leaves of the pool as a whole: metrics by name."""
LEFT_OUT = "left_out.json"
"""What an assessment does not tell of the agreement of masks with their images, and why."""
LOOK_MAP = "look_map.safetensors"
"""What an assessment leaves of how real slices would look like the pool, as ``LookMap`` writes it."""
SPECTRA = "spectra.parquet"
"""What an assessment leaves of the power of real and generated images by frequency."""
PROFILE = "profile.json"
"""What a profile leaves of the pool: metrics by name."""
EDGES, VARIETY = "edges.parquet", "variety.parquet"
"""What a profile leaves for pictures: intensities along edges, and the curve from few patients to many."""
FEATURES = "features.safetensors"
"""What an assessment leaves of where samples and real slices lie in the reference segmenter."""


@dataclass(frozen=True)
class Pool:
    """Images and masks as memory maps, and how many slices make one synthetic patient."""

    images: NDArray[np.float32]
    masks: NDArray[np.uint8]
    slices_per_patient: int
    spoiled: NDArray[np.bool_] | None = None
    """Samples whose mask no longer fits the image on purpose, (n,); None where nothing was spoiled."""
    rows: NDArray[np.int64] | None = None
    """Row, in the prepared slices, of the real slice that each sample was made from, (n,): the one whose mask was
    painted, or the one that was taken. None where masks are generated."""

    @classmethod
    def open(cls, folder: Path, shape: tuple[int, ...] | None = None) -> "Pool":
        """Open the pool published under ``folder``.

        Raises:
            UserError: its images are not of the ``shape`` (C, R, R) of the prepared slices.
        """
        about = json.loads((folder / "pool.json").read_text())
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        if shape not in (None, images.shape[1:]):
            raise UserError(
                f"the pool in {folder} holds images of shape {images.shape[1:]}, the prepared slices are {shape}; "
                "build the pool from the same prepared data"
            )
        return cls(
            images=images,
            masks=np.load(folder / "masks.npy", mmap_mode="r", allow_pickle=False),
            slices_per_patient=about["slices_per_patient"],
            spoiled=_loaded(folder / "spoiled.npy"),
            rows=_loaded(folder / "rows.npy"),
        )

    def __len__(self) -> int:
        return len(self.images)

    def groups(self, owners_N: NDArray[Any]) -> NDArray[np.int64]:
        """Whose each sample is, as a number, (n,): the owner of its real slice, or else so many samples in a row.

        ``owners_N`` are those of all prepared slices.
        """
        if self.rows is None:
            return np.arange(len(self)) // self.slices_per_patient
        return numbered(owners_N)[self.rows]

    def save(self, folder: Path) -> None:
        """Write the pool into ``folder`` (created where it is missing)."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "images.npy", np.asarray(self.images, np.float32), allow_pickle=False)
        np.save(folder / "masks.npy", np.asarray(self.masks, np.uint8), allow_pickle=False)
        if self.spoiled is not None:
            np.save(folder / "spoiled.npy", np.asarray(self.spoiled, np.bool_), allow_pickle=False)
        if self.rows is not None:
            np.save(folder / "rows.npy", np.asarray(self.rows, np.int64), allow_pickle=False)
        about = {"samples": len(self), "slices_per_patient": self.slices_per_patient}
        (folder / "pool.json").write_text(json.dumps(about, indent=2, sort_keys=True) + "\n")


def numbered(owners_N: NDArray[Any]) -> NDArray[np.int64]:
    """The place of each owner among all of them in the order of their names, (N,)."""
    numbers_N: NDArray[np.int64] = np.unique(owners_N.astype(str), return_inverse=True)[1]
    return numbers_N


def _loaded(path: Path) -> NDArray[Any] | None:
    """What a pool holds of its samples in a file that not every pool has."""
    return np.load(path, allow_pickle=False) if path.is_file() else None
