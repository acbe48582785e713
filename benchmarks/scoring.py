"""Scoring a patient: ours against the plain way, with the same U-Net and volume, in one process.

The peer is as most evaluations have it: probabilities of the whole volume go to numpy, are enlarged axis by axis, and
an argmax gives labels; each structure has a distance transform per surface, over the box of both masks. One thread;
sides take turns; times are CPU seconds.

    OMP_NUM_THREADS=1 python benchmarks/scoring.py [--rounds N] [--slices N] [--side PX]

Prints seconds per patient, split in seeing and measuring, the ratio, and the largest relative difference of any score.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from medsweep.data.geometry import Resize
from medsweep.data.slices import SliceSet
from medsweep.trainers.measures.structures import METRICS, Counts, StructurePair, SurfaceDistances, score
from medsweep.trainers.segmentation.network import SegmenterArchitecture, build, predict
from medsweep.trainers.segmentation.predictions import segment_volume

R, CLASSES, SPACING_MM = 128, 3, (2.0, 1.0, 1.0)


@dataclass
class OneVolume:
    """As the volume of a slice set."""

    rows: range
    resize: Resize


class OnePatient:
    """As a slice set with one patient of noise."""

    def __init__(self, slices: int, side: int) -> None:
        self.images = np.random.default_rng(0).standard_normal((slices, 1, R, R)).astype(np.float32)
        self.volumes = {"one": OneVolume(range(slices), Resize.of(side, side, R))}

    def image_rows(self, rows: slice) -> NDArray[np.float32]:
        """Images of some rows."""
        return self.images[rows]


def plain_labels(model: torch.nn.Module, data: OnePatient) -> NDArray[np.uint8]:
    """Labels of the whole volume at once."""
    probabilities = predict(model, torch.from_numpy(data.images)).numpy()
    labels: NDArray[np.uint8] = data.volumes["one"].resize.undo(probabilities).argmax(axis=1).astype(np.uint8)
    return labels


def plain_score(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> dict[str, float]:
    """Scores of one structure by distance transforms."""
    box = ndimage.find_objects((a | b).view(np.uint8))[0]
    a_box, b_box = a[box], b[box]
    edges = [x & ~ndimage.binary_erosion(x) for x in (a_box, b_box)]
    to_a, to_b = (ndimage.distance_transform_edt(~edge, sampling=SPACING_MM) for edge in edges)
    distances = SurfaceDistances(to_b[edges[0]], to_a[edges[1]], ~a_box[edges[1]])
    pair = StructurePair(Counts.of(a, b), distances)
    return {name: metric(pair) for name, metric in METRICS.items()}


def discs(slices: int, side: int, shift: int) -> NDArray[np.uint8]:
    """An ellipsoid in another, moved by some voxels along each row."""
    z, y, x = np.ogrid[:slices, :side, :side]
    middle = np.array([slices, side, side]) / 2
    distance = np.sqrt(
        ((z - middle[0]) / slices) ** 2 + ((y - middle[1]) / side) ** 2 + ((x - shift - middle[2]) / side) ** 2
    )
    return (distance < 0.25).astype(np.uint8) + (distance < 0.12).astype(np.uint8)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds and result."""
    begun = time.process_time()
    result = work()
    return time.process_time() - begun, result


def main() -> None:
    """Time both sides in turn and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rounds", 3), ("slices", 100), ("side", 320)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    shape = SegmenterArchitecture(modalities=1, classes=CLASSES, channels=(16, 32, 64, 128), residual_units=2)
    model, data = build(shape, seed=0).eval(), OnePatient(options.slices, options.side)
    reference, prediction = (discs(options.slices, options.side, shift) for shift in (0, 3))
    pairs = [(reference == label, prediction == label) for label in range(1, CLASSES)]
    slice_set = cast(SliceSet, data)
    works: dict[str, Callable[[], Any]] = {
        "see": lambda: segment_volume(model, slice_set, "one"),
        "plain see": lambda: plain_labels(model, data),
        "network alone": lambda: predict(model, torch.from_numpy(data.images)),
        "measure": lambda: [dict(score(a, b, SPACING_MM).values) for a, b in pairs],
        "plain measure": lambda: [plain_score(a, b) for a, b in pairs],
    }
    rounds = [{name: timed(work) for name, work in works.items()} for _ in range(options.rounds)]
    seconds = {name: statistics.median(each[name][0] for each in rounds) for name in works}
    results = {name: rounds[0][name][1] for name in works}
    assert np.array_equal(results["see"], results["plain see"])
    scores = zip(results["measure"], results["plain measure"], strict=True)
    difference = max(abs(a[name] - b[name]) / abs(b[name]) for a, b in scores for name in a)
    print(f"{options.slices} slices of {options.side} x {options.side}, {len(pairs)} structures")
    for name, each in seconds.items():
        print(f"{name:14} {each:6.2f} s")
    network = seconds["network alone"]
    ours, plain = (seconds[f"{side}see"] + seconds[f"{side}measure"] for side in ("", "plain "))
    print(f"plain / ours {plain / ours:.2f}, without the network {(plain - network) / (ours - network):.2f}")
    print(f"labels are equal, scores differ by {difference:.0e} (relative)")


if __name__ == "__main__":
    main()
