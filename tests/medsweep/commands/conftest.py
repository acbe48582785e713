"""How commands are tested: their reports are sketched."""

import pytest

from helpers.sketches import sketch_pictures


@pytest.fixture(autouse=True)
def _sketched(monkeypatch: pytest.MonkeyPatch) -> None:
    sketch_pictures(monkeypatch)
