"""The arrays and tables that prepare fills patient by patient, in any order, so that a killed run can go on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from medsweep.data.fit import Fit
from medsweep.data.volumes import Loaded
from medsweep.files import fsync_tree

Entry = dict[str, Any]
"""What is known of one prepared patient, as JSON: rows, geometry, areas and file hashes."""

ENTRIES = "entries.json"


@dataclass(frozen=True, eq=False)
class Fitted:
    """One case as networks see it."""

    images: NDArray[np.float32]
    """(Z, C, R, R)"""
    masks: NDArray[np.uint8]
    """(Z, R, R)"""
    planes: NDArray[np.uint8]
    """Labels on the original grid, (Z, H, W)."""
    fit: Fit


class SliceWriter:
    """images.npy, masks.npy and reference/ of a slice set; each patient has its own rows.

    Args:
        output: folder that is filled.
        counts: slices by patient, in the order of their rows.
        channels: number of modalities.
        side: pixels.
        dtype: of the images, float32 or float16.
        resume: whether ``output`` holds the arrays of an earlier attempt.
    """

    def __init__(
        self, output: Path, counts: Mapping[str, int], channels: int, side: int, dtype: str, *, resume: bool
    ) -> None:
        self._output = output
        self.first = dict(zip(counts, np.cumsum([0, *counts.values()])[:-1].tolist(), strict=True))
        total, mode = sum(counts.values()), "r+" if resume else "w+"
        shapes = {"images": (total, channels, side, side), "masks": (total, side, side)}
        self._images = open_memmap(output / "images.npy", mode, np.dtype(dtype), shapes["images"])
        self._masks = open_memmap(output / "masks.npy", mode, np.uint8, shapes["masks"])
        (output / "reference").mkdir(exist_ok=True)

    def put(self, loaded: Loaded, fitted: Fitted, classes: Sequence[str], hashes: Sequence[str]) -> Entry:
        """Write one patient and say what was written."""
        patient = loaded.case.id
        first = self.first[patient]
        here = slice(first, first + len(fitted.masks))
        self._images[here] = fitted.images
        self._masks[here] = fitted.masks
        np.savez_compressed(self._output / "reference" / f"{patient}.npz", labels=fitted.planes)
        areas = np.stack([np.count_nonzero(fitted.masks == label, axis=(1, 2)) for label in range(len(classes))], 1)
        shown = [name for label, name in enumerate(classes) if (fitted.planes == label).any()]
        return {
            "patient": patient,
            "areas": areas.tolist(),
            "hashes": list(hashes),
            "volume": {
                "first": first,
                "count": len(fitted.masks),
                "spacing_mm": list(loaded.spacing_mm),
                "fit": asdict(fitted.fit),
                "affine": loaded.grid.canonical_affine.tolist(),
                "slice_axis": loaded.slice_axis,
                "stored": {
                    "shape": list(loaded.grid.shape),
                    "affine": loaded.grid.affine.tolist(),
                    "sform_code": loaded.grid.sform_code,
                    "qform_code": loaded.grid.qform_code,
                },
                "vanished": [name for name in shown if not areas[:, classes.index(name)].any()],
            },
        }

    def keep(self, folder: Path, entries: Sequence[Entry]) -> None:
        """Write what ``entries`` name to the disk for good, and the entries into a checkpoint ``folder``."""
        self._images.flush()
        self._masks.flush()
        fsync_tree(self._output)
        (folder / ENTRIES).write_text(json.dumps(entries), encoding="utf-8")

    def finish(self, entries: Sequence[Entry], classes: Sequence[str], cohort: Mapping[str, Any]) -> None:
        """Write index.parquet and cohort.json."""
        self._images.flush()
        self._masks.flush()
        frames = [_index(entry, classes) for entry in entries]
        pd.concat(frames, ignore_index=True).to_parquet(self._output / "index.parquet", index=False)
        volumes = {entry["patient"]: entry["volume"] for entry in entries}
        text = json.dumps({**cohort, "volumes": volumes}, indent=1)
        (self._output / "cohort.json").write_text(text + "\n", encoding="utf-8")


def kept_entries(folder: Path) -> list[Entry]:
    """Entries of a checkpoint."""
    entries: list[Entry] = json.loads((folder / ENTRIES).read_text(encoding="utf-8"))
    return entries


def _index(entry: Entry, classes: Sequence[str]) -> pd.DataFrame:
    areas, volume = np.asarray(entry["areas"], np.int64), entry["volume"]
    count = len(areas)
    frame = pd.DataFrame({"patient": entry["patient"], "slice": np.arange(count), "foreground": areas[:, 1:].sum(1)})
    for label, name in enumerate(classes[1:], start=1):
        frame[f"area_{name}"] = areas[:, label]
    for name, size in zip(("z_mm", "y_mm", "x_mm"), volume["spacing_mm"], strict=True):
        frame[name] = size
    frame["affine"] = pd.Series([np.asarray(volume["affine"]).ravel()] * count, dtype=object)
    return frame
