"""The shipped checks of the instrument: a planted cause is named, and nothing else is. Hours of training in all."""

from pathlib import Path

import pytest

from medsweep.analysis.study.mechanisms.causes import CauseVerdict
from medsweep.mechanism import Cause
from medsweep.study.session import RunOptions, open_sweep

PLANTED = Path(__file__).parents[3] / "sweeps" / "planted"


def verdict(name: str, folder: Path) -> CauseVerdict:
    opened = open_sweep(PLANTED / f"{name}.yaml", folder / "store", to="run")
    assert opened.run(RunOptions("local")).ok
    analysis, _ = opened.report(folder / "results", None, "pytest")
    assert analysis.mechanism is not None
    return analysis.mechanism.verdict


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "must", "may"),
    [
        ("labels", {"labels"}, {"labels"}),
        ("look", set(), {"look"}),
        ("variety", {"variety"}, {"variety"}),
        ("nothing", set(), set()),
    ],
)
def test_what_was_planted_is_named_and_nothing_else(
    name: str, must: set[Cause], may: set[Cause], tmp_path: Path
) -> None:
    found = verdict(name, tmp_path)
    named = {cause for finding in found.findings if finding.named for cause in finding.causes}
    assert must <= named <= may, found
