"""Pictures of what a generator has learned: grids of its samples, and of real pairs beside them."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.generators import TrainedGenerator
from medsweep.trainers.training.pictures import grid_png

PAIRS = 16
COLUMNS = 4


class SampleGrids:
    """Grids of samples from random numbers and masks that never change, and of real pairs.

    ``paints`` says whether the generator is given masks, and ``makes_images`` whether it gives more than masks.
    """

    def __init__(
        self, generator: TrainedGenerator, data: TrainingSet, seed: int, *, paints: bool, makes_images: bool = True
    ):
        self._generator, self._paints, self._makes_images = generator, paints, makes_images
        random = torch.Generator().manual_seed(seed)
        self.numbers_NS = torch.randn(PAIRS, generator.numbers_per_sample, generator=random)
        rows = data.spread(PAIRS)
        self.labels_NRR = data.labels[rows]
        self._real_NCRR = data.intensity.to_slices(data.images[torch.from_numpy(rows)]).cpu().numpy()
        low, high = np.percentile(self._real_NCRR[:, 0], (0.5, 99.5))
        self._value_range = (float(low), float(high))

    @staticmethod
    def due(step: int, total: int, every: int, pictures: int) -> bool:
        """Whether a report at ``step`` is the first in its share of the run, of which there are ``pictures``.

        The last report always is.
        """
        share = pictures * step // total
        return share > pictures * max(0, step - every) // total

    def write_samples(self, path: Path) -> Path:
        """Write a grid of samples: image beside mask; masks alone stand beside their own grey levels."""
        samples = self._generator.sample(self.numbers_NS, self.labels_NRR if self._paints else None)
        return self._write(path, samples.images, samples.labels)

    def write_real(self, path: Path) -> Path:
        """Write a grid of real training pairs."""
        return self._write(path, self._real_NCRR if self._makes_images else None, self.labels_NRR)

    def _write(self, path: Path, images: NDArray[np.float32] | None, labels: NDArray[np.uint8]) -> Path:
        if images is not None:
            return grid_png(path, images, labels, COLUMNS, value_range=self._value_range)
        classes, levels = self._generator.fitted_to[2], labels[:, None].astype(np.float32)
        return grid_png(path, levels, labels, COLUMNS, value_range=(0, classes - 1))
