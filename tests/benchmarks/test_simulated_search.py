"""The search that ``benchmarks/scheduling.py`` simulates fills its places, and batches leave them empty."""

import importlib
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from medsweep.study import search_loop

ROOT = Path(__file__).parents[2]


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, with a sixth of its suggestions."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setenv("MEDSWEEP_DATA", "/data")
    module = importlib.import_module("simulated_search")
    monkeypatch.setattr(module, "SUGGESTIONS", 8)
    return module


def test_as_many_trials_run_as_there_are_places(simulated: Any) -> None:
    with patch.object(search_loop, "ending_of", simulated.scored):
        planned = simulated.planned_search()
        free = simulated.search_on(planned, {"at_once": 4, "batch": None}, 0)
        batches = simulated.search_on(planned, {"batch": 4}, 0)
    assert free.busy == pytest.approx(batches.busy, rel=0.5), "about the same work"
    for each in (free, batches):
        assert 0.1 < each.busy / each.ended / simulated.PLACES <= 1.0
