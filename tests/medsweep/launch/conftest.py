"""The folder that the tests of launching start in."""

import pytest

from helpers.launching import ROOT


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
