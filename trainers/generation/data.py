"""What a generator is fitted on: the foreground slices of one fold's training patients."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.trainers.generation.intensity import IntensityRange
from medsweep.trainers.generation.masks import encode
from medsweep.trainers.generators import MaskForm, training_rows


class TrainingSlicesConfig(Protocol):
    """What the config of a generator says of its training slices."""

    @property
    def fold(self) -> Fold: ...
    @property
    def resolution(self) -> int: ...
    @property
    def mask_form(self) -> MaskForm: ...
    @property
    def mask_clip_px(self) -> float: ...
    @property
    def flip(self) -> bool: ...
    @property
    def left_out(self) -> bool: ...


@dataclass(frozen=True)
class TrainingSet:
    """Slices of the training patients in memory; n slices, C modalities, K classes, R pixels."""

    patients: tuple[str, ...]
    images: Tensor
    """float32 (n, C, R, R), on the device, scaled by ``intensity``."""
    channels: Tensor
    """Encoded masks, float16 (n, K, R, R), on the device."""
    labels: NDArray[np.uint8]
    """(n, R, R)."""
    intensity: IntensityRange = field(default_factory=IntensityRange)
    """What was measured on the training slices, and used for held-out ones too."""
    held_out: "TrainingSet | None" = None
    """Foreground slices of the fold's validation patients, which are looked at and never fitted on."""

    @classmethod
    def load(cls, config: TrainingSlicesConfig, folder: Path, device: str) -> "TrainingSet":
        """Read the slices of the fold's training patients, and apart from them those of its validation patients.

        With ``flip`` the training slices are followed by their mirror images, in the same order; held-out ones are not.

        Raises:
            UserError: the slices have another resolution, none of them shows a class, or they are to be flipped and
                have no left and right.
        """
        slices = SliceSet.open(folder)
        if slices.resolution != config.resolution:
            raise UserError(
                f"the generator is configured for {config.resolution} px, the prepared slices have "
                f"{slices.resolution} px; set both from data.resolution"
            )
        patients, rows = training_rows(slices, config.fold, left_out=config.left_out)
        watched = split(slices.patients, config.fold).validation
        others = slices.rows(watched, foreground_only=True)
        images = slices.image_rows(rows)
        intensity = IntensityRange.of(images)

        def part(patients: tuple[str, ...], rows: NDArray[np.int64], images: NDArray[np.float32]) -> "TrainingSet":
            labels = np.asarray(slices.masks[rows])
            channels = encode(labels, len(slices.classes), config.mask_form, config.mask_clip_px)
            return cls(
                patients=patients,
                images=intensity.from_slices(torch.from_numpy(images)).to(device),
                channels=torch.from_numpy(channels.astype(np.float16)).to(device),
                labels=labels,
                intensity=intensity,
            )

        held_out = part(watched, others, slices.image_rows(others)) if len(others) else None
        training = part(patients, rows, images)
        if config.flip:
            require_left_and_right(slices)
            training = training.with_mirrored()
        return replace(training, held_out=held_out)

    def with_mirrored(self) -> "TrainingSet":
        """These slices, then each of them mirrored left to right, which is along their rows."""
        images, channels = (torch.cat([part, part.flip(-1)]) for part in (self.images, self.channels))
        labels = np.concatenate([self.labels, self.labels[..., ::-1]])
        return replace(self, images=images, channels=channels, labels=labels)

    def __len__(self) -> int:
        return len(self.labels)

    def surroundings(self) -> Tensor:
        """What lies around a slice in each modality, (C,) on the CPU: the median of the corner pixels."""
        corners_NC4 = self.images[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
        return corners_NC4.transpose(0, 1).flatten(1).median(dim=1).values.cpu()

    def spread(self, count: int) -> NDArray[np.int64]:
        """``count`` evenly spaced slices, repeated where there are fewer."""
        return np.linspace(0, len(self) - 1, count).round().astype(np.int64)


def require_left_and_right(slices: SliceSet) -> None:
    """Refuse slices that show one side of the body, whose rows do not run from left to right.

    Raises:
        UserError: a patient has such slices.
    """
    if sagittal := [patient for patient, volume in slices.volumes.items() if volume.slice_axis == 0]:
        raise UserError(
            f"flip mirrors slices left to right, and those of {len(sagittal)} cases are sagittal, first "
            f"{min(sagittal)!r}; leave flip out, or cut slices along another axis by data.slice_axis"
        )
