"""A made-up cohort at 32 pixels with a judge, and pools of new real slices with one planted change each."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.config import DataConfig, PrepareConfig
from medsweep.data.fitted_on import write_fitted_on
from medsweep.data.folds import Fold, unused_patients
from medsweep.data.phantom import PhantomConfig
from medsweep.data.prepare import run as prepare
from medsweep.data.slices import SliceSet
from medsweep.data.source import inspect_source
from medsweep.trainers.assessment import profile
from medsweep.trainers.assessment.assess import embed, run
from medsweep.trainers.assessment.config import AssessConfig, EmbedConfig
from medsweep.trainers.law import PoolLaw
from medsweep.trainers.pool import Pool
from medsweep.trainers.segmentation.config import SegmentSettings, resolve
from medsweep.trainers.segmentation.train import run as segment
from medsweep.trainers.treatments import TreatConfig
from medsweep.trainers.treatments.run import run as treat

FOLD = Fold(index=0, scheme="hold-out", test_share=0.1, patients=12, validation=0.32)
"""Of 50 patients five are tested, 14 watched, 12 in use and 19 left out."""


@dataclass(frozen=True)
class JudgedCohort:
    """Folders of the published trials that pools are judged by; the judge is the control's segmenter."""

    folder: Path
    prepare: Path
    judge: Path
    real: Path

    @classmethod
    def made(cls, folder: Path) -> "JudgedCohort":
        """Prepare the slices, train the judge, and look at the real side."""
        slices, judge, real = (FakeTrial(folder / name) for name in ("prepare", "judge", "real"))
        phantom = PhantomConfig(patients=50, seed=5, shape=(36, 32, 12), spacing_mm=(1.8, 1.8, 5.0))
        data = DataConfig(dataset="phantom", phantom=phantom, resolution=32)
        source = inspect_source(data, slices.scratch)
        drain(prepare(PrepareConfig(**dict(data), source=source.fingerprint), {}, slices))
        settings = SegmentSettings(
            steps=500, batch_size=16, channels=(8, 16, 32), residual_units=0, learning_rate=3e-3, augment="none"
        )
        config = resolve(settings, fold=FOLD, seed=0, count=0, candidates=0, unit="slices", resolution=32)
        drain(segment(config, {"prepare": slices.output}, judge))
        embedded = EmbedConfig(fold=FOLD, seed=0, halvings=4, left_out=True)
        drain(embed(embedded, {"prepare": slices.output, "judge": judge.output}, real))
        return cls(folder, slices.output, judge.output, real.output)

    def treated(self, name: str, treatments: list[dict[str, object]], count: int = 160, **inputs: Path) -> Path:
        """A published pool that a treat trial made."""
        trial = FakeTrial(self.folder / name)
        size = {} if "pool" in inputs else {"count": count}
        config = TreatConfig.model_validate({"treatments": treatments, "fold": FOLD, "seed": 0, **size})
        drain(treat(config, {"prepare": self.prepare, **inputs}, trial))
        return trial.output

    def assessed(self, pool: Path, **fields: bool) -> tuple[Path, PoolLaw]:
        """The assess trial of a pool, and its law."""
        trial = FakeTrial(pool.parent / "assessed")
        config = AssessConfig(fold=FOLD, seed=0, halvings=4, bootstraps=100, permutations=19, left_out=True, **fields)
        inputs = {"prepare": self.prepare, "judge": self.judge, "real": self.real, "pool": pool}
        drain(run(config, inputs, trial))
        return trial.output, PoolLaw.open(trial.output)

    def profiled(self, pool: Path, **fields: bool) -> Path:
        """The profile trial of a pool."""
        trial = FakeTrial(pool.parent / "profile")
        config = AssessConfig(fold=FOLD, seed=0, halvings=2, bootstraps=20, permutations=19, left_out=True, **fields)
        inputs = {"prepare": self.prepare, "judge": self.judge, "real": self.real, "pool": pool}
        drain(profile.run(config, inputs, trial))
        return trial.output

    def of_patients(self, name: str, count: int) -> Path:
        """A pool that repeats the slices of few patients left out."""
        data = SliceSet.open(self.prepare)
        rows = data.rows(unused_patients("test", data.patients, FOLD)[:count], foreground_only=True)
        rows = np.resize(rows, 160)
        pool = self.folder / name / "output"
        Pool(data.image_rows(rows), np.array(data.masks[rows]), 5, rows=rows).save(pool)
        write_fitted_on(pool, [])
        return pool
