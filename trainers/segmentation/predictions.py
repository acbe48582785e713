"""What a published segmenter sees in whole patients, as files that overlay the patients' own."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from medsweep.data.nifti import write_prediction
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError, nearest
from medsweep.trainers.segmentation.network import ARCHITECTURE, SegmenterArchitecture, load_segmenter, predict


def segment_volume(model: nn.Module, data: SliceSet, patient: str) -> NDArray[np.uint8]:
    """Most probable class on the original grid, uint8 (Z, H, W); probabilities are resized, never labels."""
    volume = data.volumes[patient]
    images_ZCRR = torch.from_numpy(data.image_rows(slice(volume.rows.start, volume.rows.stop)))
    probabilities_ZKHW = volume.resize.undo(predict(model, images_ZCRR).numpy())
    labels_ZHW: NDArray[np.uint8] = probabilities_ZKHW.argmax(axis=1).astype(np.uint8)
    return labels_ZHW


def write_predictions(
    network: Path, prepared: Path, patients: Sequence[str], folder: Path, device: str = "cpu"
) -> Iterator[Path]:
    """Write ``PATIENT.nii.gz`` into ``folder`` for each patient, yielding each path once its file is whole.

    Labels are those that the test metrics are computed from, as stored values on the grid of the patient's label file.
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
        if "/" in patient or "\\" in patient:
            raise UserError(
                f"patient {patient!r} in {prepared} cannot be a file name; rename it in the source without / and \\"
            )
    model = _segmenter(network, data, prepared, device)
    folder.mkdir(parents=True, exist_ok=True)
    for patient in patients:
        path = folder / f"{patient}.nii.gz"
        # nibabel tells the format by the ending
        unfinished = folder / f".{patient}.part.nii.gz"
        write_prediction(unfinished, segment_volume(model, data, patient), data, patient)
        yield unfinished.replace(path)


def _segmenter(network: Path, data: SliceSet, prepared: Path, device: str) -> nn.Module:
    shape = SegmenterArchitecture.model_validate_json((network / ARCHITECTURE).read_text())
    if (shape.modalities, shape.classes) != (len(data.modalities), len(data.classes)):
        raise UserError(
            f"the network in {network} reads {shape.modalities} modalities and knows {shape.classes} classes, the data "
            f"in {prepared} have {len(data.modalities)} and {len(data.classes)}; give the data that it was trained on"
        )
    return load_segmenter(network, device)
