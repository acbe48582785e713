"""The faults that other programs are compared on: check finds each, at its level."""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from data_faults import FAULTS, NAMES, ODD, folder, make, outcome, table

from medsweep.data.check import check
from medsweep.data.source import list_cases
from medsweep.errors import UserError

READ_AS_THEY_ARE = {"sound", "ending .NII.GZ"}
OF_THE_WHOLE = {"key twice in dataset.json"}
WARNED_OF = {
    "sform against qform, both files",
    "qform of the mask elsewhere",
    "pixdim against sform",
    "copy on another scale",
    "two visits of one patient as two cases",
    "mask empty",
    "CT scaled to [-1, 1]",
    "CT with 1024 added",
}
NOTED = {"units of micrometres", "file that no pattern matches"}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faults")
    make(root)
    return root


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_found(faulty: Path, fault: str) -> None:
    place = folder(faulty, fault)
    if fault in OF_THE_WHOLE:
        with pytest.raises(UserError, match=re.escape(NAMES[fault][0])):
            list_cases("toy", place)
        return
    found = {(f.severity, f"{f.case} {f.file} {f.what}") for f in check(list_cases("toy", place), threads=1).findings}
    level = "warning" if fault in WARNED_OF else "note" if fault in NOTED else "error"
    if fault in READ_AS_THEY_ARE:
        assert found == set()
    else:
        assert any(severity == level and NAMES.get(fault, (ODD,))[0] in text for severity, text in found), found


def test_what_was_said_becomes_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for side, text in {"medsweep": f"{ODD} is damaged\nexit code 1\n", "nnunet": "boom\nexit code 1\n"}.items():
        (tmp_path / f"{folder(tmp_path, 'mask empty').name}.{side}.txt").write_text(text)
    (tmp_path / f"{folder(tmp_path, 'mask empty').name}.monai.txt").write_text("fine\nexit code 0\n")
    assert [outcome(tmp_path, "mask empty", side) for side in ("medsweep", "nnunet", "monai")] == [
        "found",
        "stops",
        "-",
    ]
    table(tmp_path)
    assert "| mask empty | found | stops | - |" in capsys.readouterr().out
