"""A published segmenter with all that it takes to see new patients: what its slices were made like, and its classes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medsweep.data.geometry import from_planes
from medsweep.data.new_patients import NewPatient, PatientFiles, Preparation, read_patient
from medsweep.data.nifti import as_stored, stored_labels, write_volume
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.files import file_name
from medsweep.trainers.measures.structures import volume_ml
from medsweep.trainers.segmentation.network import most_likely, neighbours_of, predict
from medsweep.trainers.segmentation.predictions import open_network, volume_probabilities, whole_nifti

T = TypeVar("T", bound=np.generic)
Images = str | Path | Sequence[str | Path] | NDArray[np.floating[Any]] | Tensor
"""A patient's files, or slices."""


class Segmenter(nn.Module):
    """A trained network in evaluation mode. C modalities, K classes, R pixels."""

    def __init__(self, model: nn.Module, data: SliceSet) -> None:
        super().__init__()
        self.model = model
        self.data = data
        """The slices that it was trained and tested on."""
        self.preparation = Preparation(data)

    @classmethod
    def open(cls, network: Path, prepared: Path, device: str = "cpu") -> "Segmenter":
        """The network of a segment trial's output, and of the prepare trial that it read.

        Raises:
            UserError: the network is of other data.
        """
        data = SliceSet.open(prepared)
        return cls(open_network(network, data, prepared, device), data).eval()

    @property
    def modalities(self) -> tuple[str, ...]:
        """What it reads, in channel order."""
        return self.data.modalities

    @property
    def classes(self) -> tuple[str, ...]:
        """What it tells apart; the first is the background."""
        return self.data.classes

    def forward(self, images_NCRR: Tensor) -> Tensor:
        """Logits (N, K, R, R) of prepared slices, each with its neighbours before and behind it where it reads any."""
        logits_NKRR: Tensor = self.model(images_NCRR)
        return logits_NKRR

    def predict(self, images: Images) -> NDArray[np.uint8]:
        """The most likely class of each voxel of a patient, or of each pixel of prepared slices, as its index.

        Args:
            images: a NIfTI file, or one per modality in the order of ``modalities``, of a patient in any orientation
                and spacing; else slices (N, C, R, R) scaled like those of the sweep.

        Returns:
            Of a patient voxel by voxel as its first file is stored; of slices (N, R, R).

        Raises:
            UserError: a file cannot be read, or the number of files, channels or pixels is not that of the network.
        """
        if isinstance(images, np.ndarray | Tensor):
            labels_NRR: NDArray[np.uint8] = most_likely(self._of_slices(images)).numpy()
            return labels_NRR
        return SeenPatient.of([self], self._read(images)).labels()

    def probabilities(self, images: Images) -> NDArray[np.float32]:
        """The probability of each class. Of a patient (K, ...) on the grid of its first file; of slices (N, K, R, R).

        Arguments and errors are as of ``predict``.
        """
        if isinstance(images, np.ndarray | Tensor):
            found_NKRR: NDArray[np.float32] = self._of_slices(images).numpy()
            return found_NKRR
        return SeenPatient.of([self], self._read(images), probabilities=True).probabilities()

    def _read(self, images: str | Path | Sequence[str | Path]) -> NewPatient:
        files = tuple(map(Path, (images,) if isinstance(images, str | Path) else images))
        if len(files) not in (1, len(self.modalities)):
            raise UserError(
                f"{len(files)} files are given, and the network reads {', '.join(self.modalities)}; give one file for "
                "each, or one with all of them as its fourth axis"
            )
        return read_patient(PatientFiles(files[0].name, files, self.modalities))

    def _of_slices(self, images_NCRR: NDArray[np.floating[Any]] | Tensor) -> Tensor:
        """Probabilities (N, K, R, R) on the CPU."""
        channels = len(self.modalities) * (1 + 2 * neighbours_of(self.model))
        wanted = (channels, self.data.resolution, self.data.resolution)
        if images_NCRR.shape[1:] != wanted:
            raise UserError(
                f"slices of shape {tuple(images_NCRR.shape)} are given, and the network reads "
                f"(N, {', '.join(map(str, wanted))})"
            )
        return predict(self.model, torch.as_tensor(images_NCRR, dtype=torch.float32))


@dataclass(frozen=True, eq=False)
class SeenPatient:
    """What one or several networks see in a patient."""

    patient: NewPatient
    data: SliceSet
    """The slices that the first network was trained and tested on."""
    slice_axis: int
    planes: NDArray[np.uint8]
    """The most likely class, slices first, (Z, H, W)."""
    maps: NDArray[np.float32] | None
    """Mean probabilities over the networks, (K, Z, H, W), where they were asked for."""
    remarks: tuple[str, ...]
    """In what the patient is unlike those of training."""

    @classmethod
    def of(cls, segmenters: Sequence[Segmenter], patient: NewPatient, *, probabilities: bool = False) -> "SeenPatient":
        """The class of the highest mean probability over ``segmenters``, on the patient's own grid."""
        images: dict[Path, NDArray[np.float32]] = {}
        for one in segmenters:
            if one.data.folder not in images:
                images[one.data.folder] = one.preparation.images(patient)
        seen = [
            volume_probabilities(one.model, images[one.data.folder], one.preparation.resize(patient))
            for one in segmenters
        ]
        labels, kept = [], []
        for planes in zip(*seen, strict=True):
            mean_NKHW = planes[0] if len(planes) == 1 else torch.stack(planes).mean(dim=0)
            labels.append(most_likely(mean_NKHW).cpu())
            kept += [mean_NKHW.cpu().movedim(1, 0)] if probabilities else []
        first = segmenters[0]
        return cls(
            patient,
            first.data,
            first.preparation.slice_axis,
            torch.cat(labels).numpy(),
            torch.cat(kept, dim=1).numpy() if probabilities else None,
            tuple(first.preparation.remarks(patient, images[first.data.folder])),
        )

    def labels(self) -> NDArray[np.uint8]:
        """Class indices, voxel by voxel as the patient's first file is stored."""
        return self.as_stored(self.planes)

    def probabilities(self) -> NDArray[np.float32]:
        """Probability of each class on the same grid, (K, ...)."""
        assert self.maps is not None, "probabilities were not asked for"
        return np.stack([self.as_stored(planes) for planes in self.maps])

    def as_stored(self, planes_ZHW: NDArray[T]) -> NDArray[T]:
        """Planes of the patient with their axes as the first file has them."""
        return as_stored(from_planes(planes_ZHW, self.slice_axis), self.patient.stored)

    def volumes(self) -> Iterator[tuple[str, int, float]]:
        """Name, voxels and volume in ml of each foreground class and region."""
        counts = np.bincount(self.planes.ravel(), minlength=len(self.data.classes))
        spacing = self.patient.planes_mm(self.slice_axis)
        classes = [(name, (label,)) for label, name in enumerate(self.data.classes) if label > 0]
        for name, labels in (*classes, *self.data.regions.items()):
            voxels = int(counts[list(labels)].sum())
            yield name, voxels, volume_ml(voxels, spacing)

    def write(self, path: Path, probabilities: Path | None = None) -> Iterator[Path]:
        """Write the labels as stored values to ``path``, and the map of each foreground class below a folder.

        A map is ``PROBABILITIES/CLASS/NAME`` with the name of ``path``, float32 in [0, 1]. Each path is yielded once
        its file is whole.
        """
        named: dict[Path, NDArray[Any]] = {path: stored_labels(self.planes, self.data)}
        if probabilities is not None:
            assert self.maps is not None, "probabilities were not asked for"
            for name, planes in zip(self.data.classes[1:], self.maps[1:], strict=True):
                named[probabilities / file_name(name) / path.name] = planes
        for target, planes in named.items():
            with whole_nifti(target) as unfinished:
                write_volume(unfinished, from_planes(planes, self.slice_axis), self.patient.stored)
            yield target
