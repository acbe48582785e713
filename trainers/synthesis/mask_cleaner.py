"""What is done to masks of a pool, and what is measured of them before."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medsweep.trainers.measures.mask_validity import change_counts, postprocess, summary, valid_share, validity


class MaskCleaner:
    """Applies the declared steps to generated masks, measures the masks before, and counts what the steps change."""

    def __init__(self, steps: Sequence[str], min_area_px: int, classes: int) -> None:
        self._steps, self._min_area_px, self._classes = steps, min_area_px, classes
        self._frames: list[pd.DataFrame] = []
        self._last_pixels: dict[str, NDArray[np.int64]] = {}
        self._pixels: dict[str, list[NDArray[np.int64]]] = {}

    @property
    def changes(self) -> dict[str, dict[str, int]]:
        """Samples and pixels that each step changed."""
        return {step: change_counts(np.concatenate(pixels)) for step, pixels in self._pixels.items()}

    def clean(self, labels_NRR: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Masks after the steps."""
        labels_NRR, self._last_pixels = postprocess(labels_NRR, self._steps, self._classes, self._min_area_px)
        return labels_NRR

    def record(self, first: int, raw_NRR: NDArray[np.uint8]) -> None:
        """Measure the masks last cleaned, from sample ``first`` on, as they were, and count what the steps changed."""
        frame = validity(raw_NRR, self._classes)
        self._frames.append(frame.assign(sample=frame["sample"] + first))
        for step, pixels_N in self._last_pixels.items():
            # a pool can end inside a batch, whose other samples are not recorded
            self._pixels.setdefault(step, []).append(pixels_N[: len(raw_NRR)])

    def write(self, folder: Path, real_NRR: NDArray[np.uint8]) -> dict[str, float]:
        """Write validity.parquet and validity.json; returns the latter, empty where masks are real."""
        if not self._frames:
            return {}
        frame = pd.concat(self._frames, ignore_index=True)
        frame.to_parquet(folder / "validity.parquet", index=False)
        metrics = {name: value for name, value in summary(frame, self._classes).items() if math.isfinite(value)}
        metrics["valid_share"] = valid_share(frame, validity(real_NRR, self._classes))
        (folder / "validity.json").write_text(json.dumps(metrics, indent=2, sort_keys=True) + "\n")
        return metrics
