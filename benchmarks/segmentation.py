"""Training a segmenter: our loop against a plain MONAI loop, on the same slices with the same network.

The peer is written as MONAI's tutorials have it: CacheDataset of 2D slices, RandFlipd and RandAffined per sample,
DataLoader(num_workers=0), DiceCELoss, AdamW. Flip, rotation and shift have the same probabilities and bounds on both
sides. One thread, 64 px, batch 16; the sides take turns in one process and times are its CPU seconds, since others may
use the machine.

    python benchmarks/segmentation.py [--rounds N]

Prints the time per step of both sides, their ratio (median over rounds), and the share of our step that each
augmentation preset takes.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from segmentation_peer import monai_steps
from slices_made_up import made_up

from medsweep.data.folds import Fold
from medsweep.trainers.segmentation.augment import augment
from medsweep.trainers.segmentation.config import SegmentSettings, resolve
from medsweep.trainers.segmentation.network import SegmenterArchitecture, build
from medsweep.trainers.segmentation.samples import SliceRows, TrainingSamples
from medsweep.trainers.segmentation.train import UNetLearner

SLICES, SIDE, BATCH, STEPS_PER_ROUND = 256, 64, 16, 16
CONFIG = resolve(
    SegmentSettings(steps=1000, batch_size=BATCH),
    fold=Fold(index=0, of=2),
    seed=0,
    count=0,
    candidates=0,
    unit="slices",
    resolution=SIDE,
)
PLAN = SegmenterArchitecture.of(CONFIG, modalities=1, classes=3)


def our_steps(images: np.ndarray, masks: np.ndarray) -> Iterator[None]:
    """Steps of a segment trial."""
    learner = UNetLearner(CONFIG, TrainingSamples(SliceRows(images, masks, np.arange(SLICES)), None, "cpu"), PLAN)
    for number in range(1, CONFIG.steps + 1):
        learner.step(number)
        yield


def plain_steps(images: np.ndarray, masks: np.ndarray) -> Iterator[None]:
    """Steps of the tutorials' loop."""
    rates = {"learning_rate": CONFIG.learning_rate, "weight_decay": CONFIG.weight_decay}
    return monai_steps(build(PLAN, 0), images, masks, batch=BATCH, **rates)


def seconds(work: Callable[[], object], times: int) -> float:
    """Mean CPU seconds of ``work``."""
    begun = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - begun) / times


def augmentation_seconds(images: np.ndarray, masks: np.ndarray, preset: str) -> float:
    """CPU seconds of one batch under a preset, the median of 30."""
    batch = torch.from_numpy(images[:BATCH]), torch.from_numpy(masks[:BATCH])
    draws = torch.Generator().manual_seed(0)
    return statistics.median(seconds(lambda: augment(*batch, draws, preset), 1) for _ in range(30))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    images, masks = made_up(SLICES, SIDE)
    sides = {"medsweep": our_steps(images, masks), "MONAI": plain_steps(images, masks)}
    for side in sides.values():
        seconds(lambda side=side: next(side), 4)
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            taken[name].append(seconds(lambda side=side: next(side), STEPS_PER_ROUND))
    for name, times in taken.items():
        print(f"{name:9} {1000 * statistics.median(times):7.1f} ms of CPU per step, {BATCH} slices of {SIDE} px")
    ratios = [peer / ours for ours, peer in zip(taken["medsweep"], taken["MONAI"], strict=True)]
    print(f"ratio     {statistics.median(ratios):7.2f} (from {min(ratios):.2f} to {max(ratios):.2f}; target 2)")
    step = statistics.median(taken["medsweep"])
    base = step - augmentation_seconds(images, masks, CONFIG.augment)
    for preset in ("rigid", "spatial", "full"):
        own = augmentation_seconds(images, masks, preset)
        print(f"augment   {preset:8} {1000 * own:5.2f} ms, {own / (base + own):6.1%} of our step (target below 10 %)")


if __name__ == "__main__":
    main()
