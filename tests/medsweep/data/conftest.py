"""Real files for the data tests, where the environment names a folder of them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest


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
