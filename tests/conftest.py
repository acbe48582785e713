"""What all rooms' tests share: one small prepared cohort per session."""

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

# Nothing may fail because the machine is slow: no time limit for an example, nor for drawing one.
settings.register_profile("patient", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
# Newer versions read all of our source for numbers to draw, ten seconds in each process of a fresh clone.
if hasattr(providers, "is_local_module_file"):
    providers.is_local_module_file = lambda path: False


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end, so that no collection of garbage need look through them."""
    gc.freeze()


@pytest.fixture(scope="session")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a slice set: 8 phantom patients of 12 slices, 2 modalities, 3 classes, at 32 pixels."""
    from helpers.fake_trial import FakeTrial, drain
    from medsweep.data.config import DataConfig, PrepareConfig
    from medsweep.data.phantom import PhantomConfig
    from medsweep.data.prepare import run
    from medsweep.data.source import inspect_source

    trial = FakeTrial(tmp_path_factory.mktemp("prepare"))
    phantom = PhantomConfig(patients=8, seed=7, shape=(36, 32, 12), spacing_mm=(1.8, 1.8, 5.0))
    data = DataConfig(dataset="phantom", phantom=phantom, resolution=32)
    source = inspect_source(data, trial.scratch)
    drain(run(PrepareConfig(**dict(data), source=source.fingerprint), {}, trial))
    return trial.output


@pytest.fixture(scope="session")
def real() -> Callable[[str], Path]:
    """Path of a folder under MEDSWEEP_TEST_DATA; skips, naming the folder, where it is absent."""

    def find(name: str) -> Path:
        root = os.environ.get("MEDSWEEP_TEST_DATA")
        if root is None:
            pytest.skip(f"MEDSWEEP_TEST_DATA is not set, so there is no {name}")
        folder = Path(root) / name
        if not folder.is_dir():
            pytest.skip(f"no folder {folder}")
        return folder

    return find
