"""The contract of generators: ours keep it, and each way of breaking it is found."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medsweep.config import Config
from medsweep.data.fitted_on import write_fitted_on
from medsweep.data.slices import SliceSet
from medsweep.data.stage_config import FittedConfig
from medsweep.errors import UserError
from medsweep.trainers.generators import GeneratedPairs, GeneratorFamily, training_rows
from medsweep.trainers.synthesis.contract import GeneratorContract
from medsweep.trainers.synthesis.pipelines import PIPELINES
from medsweep.trainers.synthesis.recipe import Pipeline, pairs
from medsweep.trainers.training.pictures import grid_png
from medsweep.trial import DivergedError, Progress, Stage

TINY = {
    "kimg": 0.032, "batch_size": 8, "channel_base": 128, "channel_max": 8, "latent_dim": 8, "path_length_weight": 0.0,
    "report_every_steps": 2,
}  # fmt: skip

HUGE = {"learning_rate": 1e30}
DIFFUSION = {"kimg": 0.032, "batch_size": 8, "width": 8, "report_every_steps": 2}


class TestMcSg(GeneratorContract):
    pipeline = "mc-sg"
    sections = {"gan": TINY}  # noqa: RUF012
    diverging = {"gan": HUGE}  # noqa: RUF012


class TestCSpade(GeneratorContract):
    pipeline = "c-spade"
    sections = {"gan": TINY}  # noqa: RUF012
    diverging = {"gan": HUGE}  # noqa: RUF012


class TestBDm(GeneratorContract):
    pipeline = "b-dm"
    sections = {"diffusion": DIFFUSION}  # noqa: RUF012
    diverging = {"diffusion": HUGE}  # noqa: RUF012


@pytest.mark.slow
class TestCDm(GeneratorContract):
    pipeline = "c-dm"
    sections = {"diffusion": DIFFUSION}  # noqa: RUF012
    diverging = {"diffusion": HUGE}  # noqa: RUF012


class MeanSettings(Config):
    diverges: bool = False


class MeanConfig(MeanSettings, FittedConfig):
    flaw: str = ""


CALLS = itertools.count()


def run(config, inputs, trial):
    """The mean pair of the training slices, in three steps; each flaw breaks one promise."""
    slices = SliceSet.open(inputs["prepare"])
    patients, rows = training_rows(slices, config.fold)
    if config.flaw == "sees all":
        rows = slices.rows(slices.patients, foreground_only=True)
    kept = trial.restore()
    step, state = (kept[0], np.load(kept[1] / "state.npy")) if kept else (0, np.zeros(()))
    if config.diverges and config.flaw != "says nothing":
        raise DivergedError("the mean is no number")
    hoard = []
    while step < 3:
        hoard += [torch.zeros(1000)] if config.flaw == "hoards" else []
        step, state = step + 1, state + slices.images[rows].mean()
        if config.flaw != "forgets" or kept is None:
            saved = np.zeros(()) if config.flaw == "forgets" else state
            trial.checkpoint(step, lambda folder, saved=saved: np.save(folder / "state.npy", saved))
        yield Progress(step=step, total=3)
    odd = next(CALLS) if config.flaw == "drifts" else 0
    fitted_to = [slices.resolution, len(slices.modalities), len(slices.classes)]
    np.savez(trial.output / "mean.npz", level=state + odd, fitted_to=fitted_to)
    if config.flaw != "no picture":
        grid_png(trial.output / "real.png", slices.images[rows[:4]], slices.masks[rows[:4]], columns=2)
    if config.flaw != "silent":
        write_fitted_on(trial.output, patients[1:] if config.flaw == "hides" else patients)


class Mean:
    numbers_per_sample = 4

    def __init__(self, folder, flaw):
        with np.load(folder / "mean.npz") as saved:
            self.level, self.fitted_to, self.flaw = float(saved["level"]), tuple(map(int, saved["fitted_to"])), flaw

    def sample(self, numbers_NS, labels_NRR=None, *, truncation=1.0):
        side, modalities, classes = self.fitted_to
        numbers = numbers_NS.numpy()
        if self.flaw == "no seed":
            numbers = np.zeros_like(numbers)
        level = self.level + (next(CALLS) if self.flaw == "counts calls" else 0)
        ramp = np.linspace(0, 1, side, dtype=np.float32)[:, None] * np.ones(side, np.float32)
        images = level + numbers[:, :1, None, None] * np.stack([ramp] * modalities)[None]
        labels = (np.abs(numbers[:, 1, None, None]) * ramp > 0.5).astype(np.uint8)
        if self.flaw == "no class":
            labels[0] = classes
        if self.flaw == "nan":
            images[0, 0, 0, 0] = np.nan
        return GeneratedPairs(images.astype(np.float32), labels)


def contract_of(flaw: str, monkeypatch: pytest.MonkeyPatch) -> GeneratorContract:
    family = GeneratorFamily(
        stage=Stage(name="mean", version=1, config=MeanConfig, run=run, hours=lambda config: 0.1),
        settings=MeanSettings,
        resolve=lambda settings, variant, fold, seed, resolution: MeanConfig(
            **dict(settings), fold=fold, seed=seed, flaw=flaw
        ),
        needs_reference=lambda config: False,
        emits_images=lambda config: True,
        load=lambda folder, device: Mean(folder, flaw),
    )
    # under a name that configs take
    monkeypatch.setitem(PIPELINES, "b-sg", Pipeline({"joint": (family, "mean")}, pairs))

    class Contract(GeneratorContract):
        pipeline = "b-sg"
        diverging = {"mean": {"diverges": True}}  # noqa: RUF012

    return Contract()


TESTS = [name for name in vars(GeneratorContract) if name.startswith("test_")]


def test_a_generator_that_keeps_all_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contract: Any = contract_of("", monkeypatch)
    for number, name in enumerate(TESTS):
        getattr(contract, name)(tmp_path / str(number))


@pytest.mark.parametrize(
    ("flaw", "test"),
    [
        ("drifts", "same_seed"),
        ("no seed", "another_seed"),
        ("counts calls", "small_pool"),
        ("no class", "pairs_fit"),
        ("nan", "pairs_fit"),
        ("forgets", "killed"),
        ("sees all", "training_patients"),
        ("hides", "training_patients"),
        ("silent", "training_patients"),
        ("no picture", "picture"),
        ("says nothing", "leaves_the_numbers"),
        ("hoards", "memory"),
    ],
)
def test_each_broken_promise_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flaw: str, test: str) -> None:
    contract: Any = contract_of(flaw, monkeypatch)
    (name,) = [name for name in TESTS if test in name]
    with pytest.raises(DivergedError if flaw == "nan" else (AssertionError, UserError, pytest.fail.Exception)):
        getattr(contract, name)(tmp_path)
