"""What the gate of the synthetic loss costs a U-Net's training, and what gate and edge profile say of planted masks.

A training with the gate and one without take turns step by step in one process on one thread of a CPU. ``with /
without`` is the ratio of their CPU seconds, the median over the rounds. Then pools of made-up slices with masks as they
are, grown, shrunk or displaced at random are trained on with the gate. ``offset`` is how far the edge lies inside the
masks, ``weight`` the mean weight of the synthetic loss over all steps and, behind it, over their second half.

    python benchmarks/planted_pools.py [--rounds N] [--steps N]
"""

import argparse
import statistics
import time

import numpy as np
import torch
from numpy.typing import NDArray
from slices_made_up import made_up

from medsweep.data.folds import Fold
from medsweep.trainers.assessment.edge_profile import edge_fit, edge_sums, profiles
from medsweep.trainers.segmentation.config import SegmentSettings, resolve
from medsweep.trainers.segmentation.gate import EVERY, CosineGate
from medsweep.trainers.segmentation.network import SegmenterArchitecture
from medsweep.trainers.segmentation.samples import SliceRows, TrainingSamples
from medsweep.trainers.segmentation.train import UNetLearner
from medsweep.trainers.treatments.boundaries import with_moved_boundaries

SIDE, SLICES = 32, 160
PLANTED = {"nothing": (0.0, 0.0), "grown 1 px": (1.0, 0.0), "shrunk 1 px": (-1.0, 0.0), "random 1 px": (0.0, 1.0)}
"""Bias and random displacement of the masks of a pool, in pixels."""

Masks = NDArray[np.uint8]


def planted(masks_nRR: Masks, bias_px: float, random_px: float) -> Masks:
    rng = np.random.default_rng(1)
    moved = [with_moved_boundaries(mask, [1, 2], bias_px, (random_px, 4.0), classes=3, rng=rng) for mask in masks_nRR]
    return np.stack(moved)


def learner(
    images: NDArray[np.float32], masks: Masks, pool_masks: Masks, steps: int, **settings: object
) -> UNetLearner:
    given = SegmentSettings.model_validate(
        {"steps": steps, "channels": (16, 32, 64), "augment": "none", "mixing": "fixed-exposure", **settings}
    )
    fold = Fold(index=0, of=2)
    config = resolve(given, fold=fold, seed=0, count=SLICES, candidates=0, unit="slices", resolution=SIDE)
    real, pool = (np.arange(first, first + SLICES) for first in (0, SLICES))
    both = np.concatenate([masks[:SLICES], pool_masks])
    samples = TrainingSamples(SliceRows(images, masks, real), SliceRows(images, both, pool), "cpu")
    return UNetLearner(config, samples, SegmenterArchitecture.of(config, modalities=1, classes=3))


def cost(images: NDArray[np.float32], masks: Masks, rounds: int) -> float:
    """CPU seconds with the gate over those without, per round of as many steps as lie between two looks."""
    pool = masks[SLICES:]
    pair = [
        learner(images, masks, pool, rounds * EVERY, **which)
        for which in ({"synthetic_gate": "cosine"}, {"synthetic_weight": 1.0})
    ]
    ratios = []
    for first in range(1, rounds * EVERY, EVERY):
        took = [0.0, 0.0]
        for number in range(first, first + EVERY):
            for side in (0, 1) if number % 2 else (1, 0):
                start = time.process_time()
                pair[side].step(number)
                took[side] += time.process_time() - start
        ratios.append(took[0] / took[1])
    return statistics.median(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=512)
    options = parser.parse_args()
    torch.set_num_threads(1)
    images, masks = made_up(2 * SLICES, SIDE)
    ratio = cost(images, masks, options.rounds)
    print(f"gate looked at every {EVERY} steps: with / without {ratio:.3f}", flush=True)
    real = profiles(edge_sums(images[:SLICES], masks[:SLICES]).sum(axis=0))[None]
    for name, amounts in PLANTED.items():
        pool_masks = planted(masks[SLICES:], *amounts)
        fit = edge_fit(profiles(edge_sums(images[SLICES:], pool_masks).sum(axis=0))[None], real)
        offset = "none" if fit is None else f"{fit.offset_px[0]:+.2f} px"
        training = learner(images, masks, pool_masks, options.steps, synthetic_gate="cosine")
        weights = [float(training.step(number)["synthetic_weight"]) for number in range(1, options.steps + 1)]
        assert isinstance(training.gate, CosineGate)
        late = statistics.mean(weights[options.steps // 2 :])
        print(f"{name}: offset {offset}, weight {statistics.mean(weights):.2f}, late {late:.2f}", flush=True)


if __name__ == "__main__":
    main()
