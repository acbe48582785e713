"""Prepared slices: what the prepare stage leaves and every other stage reads.

Files of a slice set (R = resolution in pixels, N = all slices of all patients, C = modalities)::

    images.npy      float32 or float16 (N, C, R, R)   normalised, channels in the order of cohort.json
    masks.npy       uint8   (N, R, R)      class index, 0 = background, 255 = ignored where the dataset ignores voxels
    index.parquet   one row per slice: patient, slice, foreground and area_CLASS in pixels, ignored likewise where the
                    dataset ignores voxels, z_mm, y_mm, x_mm, affine
    cohort.json     modalities, classes, regions, how intensities were scaled, and per patient the geometry
    reference/ID.npz  uint8 (Z, H, W)      the masks on the original grid, slices first
    fitted_on.json  patients that cohort intensities were fitted on, where there are any
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medsweep.data.dataset import Intensity
from medsweep.data.fitted_on import COHORT_FILE
from medsweep.data.folds import patient_of, patients_of
from medsweep.data.geometry import Resize
from medsweep.data.intensity import Constants


@dataclass(frozen=True)
class StoredGeometry:
    """Geometry of a label file as it lies on disk, with axes in any order; what writing a prediction back needs."""

    shape: Sequence[int]
    affine: Sequence[Sequence[float]]
    """4x4 matrix from stored voxel to world coordinates in mm."""
    sform_code: int
    qform_code: int


@dataclass(frozen=True)
class Volume:
    """Where the slices of one patient come from; arrays on the original grid are (Z, H, W), slices first."""

    rows: range
    """Rows of the slice set that hold this patient, in slice order."""
    spacing_mm: tuple[float, float, float]
    """Distance between slices, rows and columns of the original grid (z, y, x)."""
    resize: Resize
    """How a (H, W) plane of the original grid became (R, R)."""
    slice_axis: int
    """Axis of the canonical volume along which the slices were cut."""
    stored: StoredGeometry
    """The file that the labels came from."""


@dataclass(frozen=True)
class SliceSet:
    """Read-only view of prepared slices; arrays are memory maps, so many trials share one copy in memory."""

    folder: Path
    images: NDArray[np.floating[Any]]
    masks: NDArray[np.uint8]
    index: pd.DataFrame
    modalities: tuple[str, ...]
    classes: tuple[str, ...]
    """Names by class index; ``classes[0]`` is the background."""
    values: dict[int, int]
    """Class index by stored label value."""
    regions: dict[str, tuple[int, ...]]
    """Class indices of the unions that are scored beside the classes."""
    made_up: bool
    volumes: dict[str, Volume]
    recipes: tuple[Intensity, ...]
    """How each modality was scaled."""
    constants: tuple[Constants, ...] | None
    """By modality, where they were fitted on the cohort."""
    ignores: bool = False
    """Whether ``medsweep.data.ignored.IGNORED`` in masks and references is a voxel that nobody labelled."""

    @classmethod
    def open(cls, folder: Path) -> "SliceSet":
        """Open what prepare published under ``folder``."""
        cohort = json.loads((folder / COHORT_FILE).read_text())
        number = {name: index for index, name in enumerate(cohort["classes"])}
        fitted = cohort["constants"]
        return cls(
            folder=folder,
            images=np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False),
            masks=np.load(folder / "masks.npy", mmap_mode="r", allow_pickle=False),
            index=pd.read_parquet(folder / "index.parquet"),
            modalities=tuple(cohort["modalities"]),
            classes=tuple(cohort["classes"]),
            values={int(value): index for value, index in cohort["values"].items()},
            regions={name: tuple(number[member] for member in members) for name, members in cohort["regions"].items()},
            made_up=cohort["made_up"],
            volumes={patient: _volume(entry) for patient, entry in cohort["volumes"].items()},
            recipes=tuple(
                Intensity.model_validate_json(json.dumps(cohort["intensity"] | {"inside": inside}))
                for inside in cohort["inside"].values()
            ),
            constants=fitted and tuple(Constants(**scale) for scale in fitted.values()),
            ignores="ignored_value" in cohort,
        )

    @cached_property
    def patients(self) -> tuple[str, ...]:
        """Ids of all cases, sorted; ``medsweep.data.folds.patient_of`` tells whose they are."""
        return tuple(sorted(self.volumes))

    @property
    def resolution(self) -> int:
        """Side of a slice in pixels."""
        return int(self.masks.shape[-1])

    def rows(
        self, patients: Sequence[str], *, foreground_only: bool = False, partly_labelled: bool = False
    ) -> NDArray[np.int64]:
        """Row numbers of the slices of ``patients``, ascending.

        Slices with ignored pixels are left out; with ``partly_labelled`` only those that have none but ignored pixels
        and padding.
        """
        keep = self.index["patient"].isin(list(patients))
        if foreground_only:
            keep &= self.index["foreground"] > 0
        if self.ignores:
            # Padding is background in the mask, and nobody labelled it either.
            covered = self.index["patient"].map(lambda case: self.volumes[case].resize.covered)
            keep &= self.index["ignored"] < (covered if partly_labelled else 1)
        return np.flatnonzero(keep.to_numpy())

    def image_rows(self, rows: NDArray[np.int64] | slice) -> NDArray[np.float32]:
        """Images of some rows, float32 (n, C, R, R), copied out of the memory map whatever its type."""
        return np.array(self.images[rows], dtype=np.float32)

    def beside(self, rows_n: NDArray[np.int64], neighbours: int) -> NDArray[np.int64]:
        """Rows of the slices around each of ``rows_n`` in its volume, in their order, (n, 1 + 2 ``neighbours``).

        Beyond the ends of a volume its last slice is repeated.
        """
        spans = self.index["patient"].iloc[rows_n].map(lambda case: self.volumes[case].rows)
        start_n = np.array([span.start for span in spans], np.int64)
        last_n = np.array([span.stop - 1 for span in spans], np.int64)
        around = rows_n[:, None] + np.arange(-neighbours, neighbours + 1)
        rows_nS: NDArray[np.int64] = np.clip(around, start_n[:, None], last_n[:, None])
        return rows_nS

    def slices_per_patient(self, patients: Sequence[str]) -> int:
        """Rounded mean number of foreground slices of ``patients``: the size of a synthetic patient.

        Slices with ignored pixels do not count.
        """
        return max(1, round(len(self.rows(patients, foreground_only=True)) / max(1, len(patients_of(patients)))))

    @property
    def owners(self) -> NDArray[np.object_]:
        """The patient whom each slice shows, (N,); several cases may be of one patient."""
        owners_N: NDArray[np.object_] = self.index["patient"].map(patient_of).to_numpy(dtype=object)
        return owners_N

    def reference(self, patient: str) -> NDArray[np.uint8]:
        """Labels of ``patient`` on the original grid, uint8 (Z, H, W), ``IGNORED`` where the dataset ignores voxels."""
        with np.load(self.folder / "reference" / f"{patient}.npz", allow_pickle=False) as file:
            array: NDArray[np.uint8] = file["labels"]
        return array


def _volume(entry: dict[str, Any]) -> Volume:
    return Volume(
        rows=range(entry["first"], entry["first"] + entry["count"]),
        spacing_mm=tuple(entry["spacing_mm"]),
        resize=Resize(**entry["fit"]),
        slice_axis=entry["slice_axis"],
        stored=StoredGeometry(**entry["stored"]),
    )
