"""A primary metric of regions is refused before anything is trained where the data set has none."""

from pathlib import Path

import pytest

from helpers.commanding import Medsweep
from helpers.micro import write_micro
from medsweep.data.catalogue import CATALOGUE
from medsweep.errors import UserError
from medsweep.store.store import Store
from medsweep.study.plan import plan_sweep

PRIMARY = ("primary: dice", "primary: region_hd95_mm")
PHANTOM = "phantom: {patients: 6, seed: 3, shape: [20, 18, 8], spacing_mm: [2.0, 2.0, 4.0]}"


@pytest.mark.parametrize("dataset", CATALOGUE)
def test_regions_are_scored_where_there_are_any(tmp_path: Path, dataset: str) -> None:
    made = (PHANTOM, "phantom: {patients: 4, seed: 1}"), ("dataset: phantom", f"dataset: {dataset}")
    path, store = write_micro(tmp_path, PRIMARY, *made), Store.create(tmp_path / "store")
    if CATALOGUE[dataset].regions:
        assert plan_sweep(path, store).sweep.analysis.primary == "region_hd95_mm"
        return
    said = rf"micro\.yaml:\d+: primary: region_hd95_mm is of regions, and {dataset} has none; did you mean 'hd95_mm'\?"
    with pytest.raises(UserError, match=said):
        plan_sweep(path, store)


def test_the_command_says_it_in_one_line(tmp_path: Path, medsweep: Medsweep) -> None:
    path = write_micro(tmp_path, PRIMARY)
    result = medsweep("plan", path, "--store", tmp_path / "store")
    (line,) = [line for line in result.output.splitlines() if "region_hd95_mm" in line]
    assert line.endswith("primary: region_hd95_mm is of regions, and phantom has none; did you mean 'hd95_mm'?")
    assert (result.exit_code, "Traceback" in result.output) == (2, False)
