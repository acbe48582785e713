"""What every pipeline must keep, as tests to inherit: ``class TestMine(GeneratorContract)``, which pytest runs.

They run on made-up patients at few pixels. What they do not look at is whether a generator learns well.
"""

import json
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import pytest
from numpy.lib.format import open_memmap

from medsweep.data.fitted_on import FITTED_ON
from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.folder_trial import FolderTrial, drain
from medsweep.trainers.generators import GeneratorFamily
from medsweep.trainers.pool import Pool
from medsweep.trainers.synthesis import synthesise
from medsweep.trainers.synthesis.config import SynthesiseConfig
from medsweep.trainers.synthesis.pipelines import PIPELINES
from medsweep.trainers.training.contract import counted_bytes, files_of, made_up_slices, require_same_bytes_after_kills
from medsweep.trial import DivergedError

FOLD: Final = Fold(index=0, of=2)
SAMPLES: Final = 20
"""More than a batch, and no multiple of it."""


class GeneratorContract:
    """Inherit it in a test file, and name the pipeline."""

    pipeline: ClassVar[str]
    """As ``gan.pipeline`` takes it."""
    sections: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Settings of a short training, by the section of each family."""
    diverging: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Settings with which a training leaves the finite numbers, by the section of each family, such as a huge step."""
    resolution: ClassVar[int] = 16
    """Side of a slice in pixels."""

    def test_the_same_seed_gives_the_same_pool(self, tmp_path: Path) -> None:
        prepared = self._prepared(tmp_path)
        pools = [self._pool(tmp_path / name, prepared) for name in ("first", "second")]
        assert _bytes(pools[0]) == _bytes(pools[1]), "two trials of one config and seed give two pools"

    def test_another_seed_gives_another_pool(self, tmp_path: Path) -> None:
        prepared = self._prepared(tmp_path)
        pools = [self._pool(tmp_path / str(seed), prepared, seed=seed) for seed in (0, 1)]
        assert _bytes(pools[0]) != _bytes(pools[1]), "the seed decides nothing"

    def test_a_small_pool_is_the_head_of_a_large_one(self, tmp_path: Path) -> None:
        prepared = self._prepared(tmp_path)
        fitted = self._fitted(tmp_path / "fitted", prepared)
        small = self._sampled(tmp_path / "small", prepared, fitted, SAMPLES // 4)
        large = self._sampled(tmp_path / "large", prepared, fitted, SAMPLES)
        heads = Pool(large.images[: len(small)], large.masks[: len(small)], large.slices_per_patient)
        assert _bytes(small) == _bytes(heads), "a sample depends on how many are made"

    def test_pairs_fit_the_prepared_slices(self, tmp_path: Path) -> None:
        prepared = self._prepared(tmp_path)
        slices, pool = SliceSet.open(prepared), self._pool(tmp_path / "pool", prepared)
        assert pool.images.shape == (SAMPLES, *slices.images.shape[1:])
        assert pool.masks.max() < len(slices.classes), "a mask has a value of no class"
        assert pool.images.std() > 0, "all pixels of all images are equal"

    def test_a_trial_that_is_killed_goes_on_and_ends_with_the_same_bytes(self, tmp_path: Path) -> None:
        prepared = self._prepared(tmp_path)
        for role, (family, variant) in PIPELINES[self.pipeline].generators.items():
            config, inputs = self._config(family, variant), {"prepare": prepared}
            start = partial(family.stage.run, config, inputs)
            require_same_bytes_after_kills(start, tmp_path / role, role)

    def test_nobody_but_the_training_patients_is_seen(self, tmp_path: Path) -> None:
        prepared = self._prepared(tmp_path)
        slices, fitted = SliceSet.open(prepared), self._fitted(tmp_path / "before", prepared)
        groups = split(slices.patients, FOLD)
        others = Path(shutil.copytree(prepared, tmp_path / "others"))
        rows = slices.rows(groups.test)
        for name in ("images.npy", "masks.npy"):
            array = open_memmap(others / name, mode="r+")
            array[rows] = array[rows][::-1, ..., ::-1]
            array.flush()
        after = self._fitted(tmp_path / "after", others)
        for role, folder in fitted.items():
            assert (folder / FITTED_ON).is_file(), f"{role}: no {FITTED_ON}; call write_fitted_on with the patients"
            assert json.loads((folder / FITTED_ON).read_text()) == sorted(groups.train), f"{role}: {FITTED_ON}"
            assert files_of(after[role]) == files_of(folder), f"{role}: a slice of a test patient changes the generator"

    def test_a_generator_of_images_leaves_a_picture_of_real_pairs(self, tmp_path: Path) -> None:
        fitted = self._fitted(tmp_path / "fitted", self._prepared(tmp_path))
        for role, (family, variant) in PIPELINES[self.pipeline].generators.items():
            if family.emits_images(self._config(family, variant)):
                assert (fitted[role] / "real.png").is_file(), f"{role}: no real.png"

    def test_a_training_that_leaves_the_numbers_ends_as_diverged(self, tmp_path: Path) -> None:
        if not self.diverging:
            pytest.skip("the contract names no settings with which a training diverges")
        prepared = self._prepared(tmp_path)
        for role, (family, variant) in PIPELINES[self.pipeline].generators.items():
            if more := self.diverging.get(family.stage.name):
                config = self._config(family, variant, more=more)
                with pytest.raises(DivergedError):
                    drain(family.stage.run(config, {"prepare": prepared}, FolderTrial(tmp_path / role)))

    def test_memory_does_not_grow_between_reports(self, tmp_path: Path) -> None:
        prepared, reports = self._prepared(tmp_path), 0
        for role, (family, variant) in PIPELINES[self.pipeline].generators.items():
            trial = FolderTrial(tmp_path / role)
            attempt = family.stage.run(self._config(family, variant), {"prepare": prepared}, trial)
            with counted_bytes() as held_bytes:
                held = [held_bytes() for report in attempt if not report.beat]
            assert held[-1] <= held[0], f"{role}: it holds {held[-1] - held[0]} bytes more at its last report"
            reports = max(reports, len(held))
        if reports < 2:
            pytest.skip("no training reports twice, so nothing can pile up between reports")

    def _prepared(self, folder: Path) -> Path:
        return made_up_slices(folder, self.resolution)

    def _config(
        self, family: GeneratorFamily, variant: str, seed: int = 0, more: Mapping[str, Any] | None = None
    ) -> Any:
        settings = family.settings(**{**self.sections.get(family.stage.name, {}), **(more or {})})
        return family.resolve(settings, variant, FOLD, seed, self.resolution)

    def _fitted(self, folder: Path, prepared: Path, seed: int = 0) -> dict[str, Path]:
        """Outputs of the generators by role."""
        outputs = {}
        for role, (family, variant) in PIPELINES[self.pipeline].generators.items():
            trial = FolderTrial(folder / role)
            drain(family.stage.run(self._config(family, variant, seed), {"prepare": prepared}, trial))
            outputs[role] = trial.output
        return outputs

    def _sampled(
        self, folder: Path, prepared: Path, fitted: Mapping[str, Path], count: int = SAMPLES, seed: int = 0
    ) -> Pool:
        config = SynthesiseConfig(
            count=count, unit="slices", pipeline=self.pipeline, fold=FOLD, seed=seed, resolution=self.resolution
        )
        trial = FolderTrial(folder)
        drain(synthesise.run(config, {"prepare": prepared, **fitted}, trial))
        return Pool.open(trial.output)

    def _pool(self, folder: Path, prepared: Path, seed: int = 0) -> Pool:
        return self._sampled(folder / "pool", prepared, self._fitted(folder, prepared, seed), seed=seed)


def _bytes(pool: Pool) -> tuple[bytes, bytes]:
    return np.asarray(pool.images).tobytes(), np.asarray(pool.masks).tobytes()
