"""What the Fréchet distance that is watched costs a StyleGAN2 training, on one thread of a CPU.

A learner with it and one without take turns step by step in one process, over report intervals of ``--steps`` GAN
steps (the default of ``gan.report_every_steps`` is 100). Times are CPU seconds. ``with / without`` is the ratio of the
sums of an interval, the median over the rounds. ``share`` is the time of the distance alone over that of the interval
without it.

    python benchmarks/watched_distance.py [--rounds N] [--steps N]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from slices_made_up import made_up

from medsweep.data.folds import Fold
from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.generation.masks import encode
from medsweep.trainers.stylegan2.config import GanSettings, Variant
from medsweep.trainers.stylegan2.learner import GanLearner
from medsweep.trainers.stylegan2.resolve import resolve
from medsweep.trainers.training.host_memory import kept_memory

CASES: list[tuple[Variant, int]] = [("b-sg", 32), ("c-sg", 32), ("b-sg", 64)]
"""Variant and resolution, with ``preset: tiny``, the smallest networks and so the largest share."""


def learner(variant: Variant, side: int, steps: int) -> GanLearner:
    config = resolve(GanSettings(preset="tiny", report_every_steps=steps), variant, Fold(index=0, of=2), 0, side)
    images, labels = made_up(128, side)
    channels = encode(labels, 3, config.mask_form, config.mask_clip_px)
    data = TrainingSet(("p",), torch.from_numpy(images), torch.from_numpy(channels.astype("float16")), labels)
    return GanLearner(config, data, "cpu")


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def interval(pair: tuple[GanLearner, GanLearner], first: int, steps: int) -> tuple[float, float]:
    """CPU seconds that each of two learners needs for some steps and the one report among them, in turn."""
    took = [0.0, 0.0]
    for number in range(first, first + steps):
        for side in (0, 1) if number % 2 else (1, 0):
            took[side] += seconds(lambda number=number, side=side: pair[side].step(number))
    return took[0], took[1]


def compare(variant: Variant, side: int, steps: int, rounds: int) -> None:
    looking, blind = (learner(variant, side, steps) for _ in range(2))
    watched = looking._diagnostics._distance
    blind._diagnostics._distance.value = lambda step: 0.0  # type: ignore[method-assign]
    watched.value(0)  # what is made once, at the first report
    ratios, shares, without = [], [], 0.0
    for number in range(rounds):
        with_it, without = interval((looking, blind), number * steps + 1, steps)
        ratios.append(with_it / without)
        shares.append(seconds(lambda: watched.value(0)) / without)
    print(
        f"{variant} {side} px, batch {looking.config.batch_size}, {steps} steps of {without / steps:.3f} s: "
        f"with / without {statistics.median(ratios):.3f}, share {statistics.median(shares):.2%}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with kept_memory():
        for variant, side in CASES:
            compare(variant, side, options.steps, options.rounds)


if __name__ == "__main__":
    main()
