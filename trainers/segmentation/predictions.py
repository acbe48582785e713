"""What a published segmenter sees in whole patients, as files that overlay the patients' own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medsweep.data.geometry import Resize, interpolation
from medsweep.data.nifti import write_prediction
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError, nearest
from medsweep.trainers.segmentation.network import (
    ARCHITECTURE,
    SegmenterArchitecture,
    load_segmenter,
    most_likely,
    neighbours_of,
    probabilities,
)

BATCH = 64
"""Slices that the network sees at a time."""

ENLARGED = 4
"""Slices that are brought to their own size at a time."""


def segment_volume(model: nn.Module, data: SliceSet, patient: str) -> NDArray[np.uint8]:
    """Most probable class on the original grid, uint8 (Z, H, W); probabilities are resized, never labels."""
    volume = data.volumes[patient]
    images_ZCRR = data.image_rows(slice(volume.rows.start, volume.rows.stop))
    labels = [most_likely(planes) for planes in volume_probabilities(model, images_ZCRR, volume.resize)]
    labels_ZHW: NDArray[np.uint8] = torch.cat(labels).cpu().numpy()
    return labels_ZHW


def volume_probabilities(model: nn.Module, images_ZCRR: NDArray[np.float32], resize: Resize) -> Iterator[Tensor]:
    """Class probabilities of a patient's slices on the original grid, some (n, K, H, W) at a time, on the device."""
    device, slices, reach = next(model.parameters()).device, len(images_ZCRR), neighbours_of(model)
    around = np.arange(slices)[:, None] + np.arange(-reach, reach + 1)
    for rows_BS in np.split(around.clip(0, slices - 1), range(BATCH, slices, BATCH)):
        batch_BCRR = images_ZCRR[rows_BS].reshape(len(rows_BS), -1, *images_ZCRR.shape[2:])
        # a few at a time, which on a CPU stay in its cache
        for some_BKRR in probabilities(model, torch.from_numpy(batch_BCRR).to(device)).split(ENLARGED):
            yield enlarged(some_BKRR, resize)


def enlarged(planes_NKRR: Tensor, resize: Resize) -> Tensor:
    """``Resize.undo`` on the device of the planes, equal to the bit on a CPU, (N, K, H, W)."""
    top, left = resize.top_left
    planes = planes_NKRR[..., top : top + resize.scaled_height, left : left + resize.scaled_width]
    for axis, size in ((2, resize.height), (3, resize.width)):
        if planes.shape[axis] != size:
            below, above, share = interpolation(planes.shape[axis], size)
            sides = (torch.from_numpy(side).to(planes.device) for side in (below, above))
            lower, upper = (planes.index_select(axis, side) for side in sides)
            weight = torch.from_numpy(share.astype(np.float32)).to(planes.device)
            planes = lower.add_(upper.sub_(lower).mul_(weight[:, None] if axis == 2 else weight))
    return planes


def write_predictions(
    network: Path, prepared: Path, patients: Sequence[str], folder: Path, device: str = "cpu"
) -> Iterator[Path]:
    """Write ``PATIENT.nii.gz`` into ``folder`` for each patient, yielding each path once its file is whole.

    A patient with several cases has a folder with ``CASE.nii.gz`` for each. Labels are those that the test metrics
    are computed from, as stored values on the grid of the patient's label file.
    ``network`` is the output of a segment trial, ``prepared`` that of the prepare trial that it read. A file of that
    name is replaced.

    Raises:
        UserError: a patient is not in the prepared data, an id cannot be a file name, or the network is of other data.
            Nothing is written then.
    """
    data = SliceSet.open(prepared)
    for patient in patients:
        if patient not in data.volumes:
            raise UserError(f"no patient is called {patient!r} in {prepared}; {nearest(patient, data.patients)}")
        if "\\" in patient or patient.count("/") > 1 or {"", ".", ".."} & set(patient.split("/")):
            raise UserError(
                f"patient {patient!r} in {prepared} cannot be a file name; rename it in the source without / and \\"
            )
    model = open_network(network, data, prepared, device)
    for patient in patients:
        path = folder / f"{patient}.nii.gz"
        with whole_nifti(path) as unfinished:
            write_prediction(unfinished, segment_volume(model, data, patient), data, patient)
        yield path


@contextmanager
def whole_nifti(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes ``path`` once all is written; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # nibabel tells the format by the ending
    unfinished = path.with_name(f".{path.name.removesuffix('.nii.gz')}.part.nii.gz")
    yield unfinished
    unfinished.replace(path)


def open_network(network: Path, data: SliceSet, prepared: Path, device: str) -> nn.Module:
    """The network of a segment trial's output, in evaluation mode. Raises UserError: it is of other data."""
    shape = SegmenterArchitecture.model_validate_json((network / ARCHITECTURE).read_text())
    if (shape.modalities, shape.classes) != (len(data.modalities), len(data.classes)):
        raise UserError(
            f"the network in {network} reads {shape.modalities} modalities and knows {shape.classes} classes, the data "
            f"in {prepared} have {len(data.modalities)} and {len(data.classes)}; give the data that it was trained on"
        )
    return load_segmenter(network, device)
