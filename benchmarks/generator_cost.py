"""What each generator costs: slices per second of training and of sampling, and peak memory, beside those of C-SG.

One thread, made-up slices with one modality and three classes, the preset ``tiny`` for GANs and the default size for
diffusion. Each training of ``--steps`` steps, a whole interval of R1, and each batch of samples runs in a process of
its own. The families take turns, round by round. Times are CPU seconds, since others may use the machine; the best
round counts. Memory is VmHWM of the process (Linux), torch itself included.

    OMP_NUM_THREADS=1 python benchmarks/generator_cost.py [--sides 32 64] [--rounds N] [--steps N]
"""

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from slices_made_up import made_up

from medsweep.data.folds import Fold
from medsweep.trainers.diffusion import config as diffusion
from medsweep.trainers.diffusion.learner import DiffusionLearner
from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.generation.intensity import IntensityRange
from medsweep.trainers.generation.masks import encode
from medsweep.trainers.generators import Sampling
from medsweep.trainers.stylegan2.config import GanSettings
from medsweep.trainers.stylegan2.learner import GanLearner
from medsweep.trainers.stylegan2.resolve import resolve
from medsweep.trainers.training.host_memory import kept_memory

FOLD = Fold(index=0, of=2)
CLASSES = 3
SLICES = 64
DRAWN = 16
"""Samples in a batch, as in a pool."""
GAN: dict[str, Any] = {"preset": "tiny", "augment": "none", "report_every_steps": 10**6}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "C-SG": ("c-sg", {}),
    "C-SG, relativistic": ("c-sg", {"loss": "relativistic"}),
    "B-SG": ("b-sg", {}),
    "M-SG": ("m-sg", {}),
    "C-SPADE": ("c-spade", {}),
    "B-DM": ("b-dm", {}),
    "C-DM": ("c-dm", {}),
    "C-DM, guided": ("c-dm", {"guidance": 2.0}),
    "B-DM, width 16": ("b-dm", {"width": 16}),
    "C-DM, width 16": ("c-dm", {"width": 16}),
}
PEER = "C-SG"


def training_set(config: Any) -> TrainingSet:
    images, masks = made_up(SLICES, config.resolution)
    intensity = IntensityRange.of(images)
    channels = encode(masks, CLASSES, config.mask_form, config.mask_clip_px).astype(np.float16)
    return TrainingSet(
        ("made up",), intensity.from_slices(torch.from_numpy(images)), torch.from_numpy(channels), masks, intensity
    )


def learner_of(variant: str, settings: dict[str, Any], side: int) -> GanLearner | DiffusionLearner:
    if variant.endswith("dm"):
        asked = diffusion.DiffusionSettings(report_every_steps=10**6, **settings)
        config = diffusion.resolve(asked, "b-dm" if variant == "b-dm" else "c-dm", FOLD, 0, side)
        return DiffusionLearner(config, training_set(config), "cpu")
    gan = resolve(GanSettings(**(GAN | settings)), variant, FOLD, 0, side)  # type: ignore[arg-type]
    return GanLearner(gan, training_set(gan), "cpu")


def measured(name: str, side: int, steps: int) -> dict[str, float]:
    """Slices per CPU second of training and of sampling, and peak memory in MiB, in this very process."""
    torch.set_num_threads(1)
    variant, settings = FAMILIES[name]
    guidance = settings.get("guidance", 1.0)
    learner = learner_of(variant, {key: value for key, value in settings.items() if key != "guidance"}, side)
    with kept_memory():
        learner.step(1)
        begun = time.process_time()
        for number in range(2, steps + 2):
            learner.step(number)
        trained = steps * learner.config.batch_size / (time.process_time() - begun)
        sampler = learner.sampler
        if isinstance(learner, DiffusionLearner):
            sampler = learner.sampler.with_sampling(Sampling(guidance=guidance))
        numbers = torch.randn(DRAWN, sampler.numbers_per_sample, generator=torch.Generator().manual_seed(0))
        labels = made_up(DRAWN, side)[1] if variant.startswith("c-") else None
        begun = time.process_time()
        sampler.sample(numbers, labels)
        drawn = DRAWN / (time.process_time() - begun)
    peak = int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) / 1024
    return {"trained": trained, "drawn": drawn, "peak": peak}


def in_turn(side: int, rounds: int, steps: int) -> dict[str, dict[str, float]]:
    """The best of each family over the rounds."""
    best: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        for name in FAMILIES:
            command = [sys.executable, __file__, "--child", name, "--sides", str(side), "--steps", str(steps)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            known = best.setdefault(name, found)
            best[name] = {key: (min if key == "peak" else max)(known[key], found[key]) for key in found}
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--child", choices=FAMILIES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(measured(given.child, given.sides[0], given.steps)))
        return
    for side in given.sides:
        best = in_turn(side, given.rounds, given.steps)
        print(f"{side} px, one thread, {given.rounds} rounds of {given.steps} steps; ratios to {PEER}")
        print(f"{'':20}{'training, slices/s':>22}{'sampling, slices/s':>22}{'peak, MiB':>12}")
        for name, found in best.items():
            cells = [f"{found[key]:.1f} ({found[key] / best[PEER][key]:.2f})" for key in ("trained", "drawn")]
            print(f"{name:20}{cells[0]:>22}{cells[1]:>22}{found['peak']:>12.0f}", flush=True)


if __name__ == "__main__":
    main()
