"""Whatever is done to a file, ``data check`` ends with 0 or 1, a line per finding, no traceback and little memory."""

import gzip
import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from medsweep.cli import app
from medsweep.data.check import Report, check, grouped
from medsweep.data.source import list_cases

AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])
SHAPE = (12, 10, 6)
YAML = 'modalities: {T1: "{id}/img.nii.gz", T2: "{id}/t2.nii"}\nmask: "{id}/seg.nii.gz"\nclasses: {ball: 1, core: 2}\n'
FILES = ("img.nii.gz", "t2.nii", "seg.nii.gz")
LIMIT_BYTES = 2 * 2**30
HEADER = 352
EXTREMES = (b"\xff\xff\xff\x7f", b"\x00\x00\x80\x7f", bytes(4), b"\xff" * 4)


def folder(root: Path) -> Path:
    """Two patients, one of whom stays as he is."""
    for number in (1, 2):
        rng = np.random.default_rng(number)
        for name, array in (
            ("img.nii.gz", rng.normal(100, 20, SHAPE).astype(np.float32)),
            ("t2.nii", rng.integers(-300, 900, SHAPE).astype(np.int16)),
            ("seg.nii.gz", rng.integers(0, 3, SHAPE).astype(np.uint8)),
        ):
            path = root / f"p{number}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.Nifti1Image(array, AFFINE).to_filename(path)
    (root / "medsweep.yaml").write_text(YAML)
    return root


def mutations(content: bytes, packed: bool, rng: np.random.Generator) -> Iterator[bytes]:
    """The file with a damage drawn at random: in the header, in the voxels, in the packing, or in its length."""
    while True:
        inner = bytearray(gzip.decompress(content) if packed else content)
        kind = int(rng.integers(6))
        if kind == 0:  # a field of the header
            place = int(rng.integers(HEADER))
            inner[place] = int(rng.integers(256))
        elif kind == 1:  # a number of the header, to an extreme
            place, width = int(rng.integers(HEADER // 4)) * 4, int(rng.integers(2, 5))
            inner[place : place + width] = EXTREMES[int(rng.integers(4))][:width]
        elif kind == 2:  # sizes
            inner[40:56] = rng.integers(-5, 32767, 8).astype("<i2").tobytes()
        elif kind == 3:  # many bytes anywhere
            for place in rng.integers(len(inner), size=int(rng.integers(1, 60))):
                inner[place] = int(rng.integers(256))
        written = bytearray(gzip.compress(bytes(inner), mtime=0) if packed else inner)
        if kind == 4:  # bytes of the file itself
            for place in rng.integers(len(written), size=int(rng.integers(1, 4))):
                written[place] ^= 1 << int(rng.integers(8))
        elif kind == 5:  # its length
            written = written[: int(rng.integers(len(written)))] if rng.random() < 0.7 else written + rng.bytes(50)
        yield bytes(written)


def reports(root: Path, count: int, seed: int) -> Iterator[Report]:
    """What ``check`` finds in two patients, each time with another file of the second damaged."""
    folder(root)
    rng = np.random.default_rng(seed)
    originals = {name: (root / "p2" / name).read_bytes() for name in FILES}
    damaged = {name: mutations(content, name.endswith(".gz"), rng) for name, content in originals.items()}
    for number in range(count):
        name = FILES[number % len(FILES)]
        (root / "p2" / name).write_bytes(next(damaged[name]))
        yield check(list_cases("mine", root), threads=1)
        (root / "p2" / name).write_bytes(originals[name])


@pytest.mark.parametrize(("count", "seed"), [(60, 0), pytest.param(1000, 1, marks=pytest.mark.slow)])
def test_damaged_files_are_findings(tmp_path: Path, count: int, seed: int) -> None:
    refused = []
    tracemalloc.start()
    for number, report in enumerate(reports(tmp_path, count, seed)):
        told = [finding.what for finding in report.findings]
        assert report.cases[0].id == "p1", f"damage {number} of one case keeps the other from being used: {told}"
        refusing = {finding.case for finding in report.findings if finding.severity == "error"}
        assert refusing <= {"p2", "-"}, f"damage {number}: {told}"
        assert not [what for what in told if "\n" in what], f"damage {number} gives a finding of several lines"
        assert not [what for what in told if "cannot be used (" in what], f"damage {number} was not foreseen: {told}"
        refused.append(not report.ok)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(refused) == count
    assert 0.3 < np.mean(refused) < 1, "damages that are all found, or hardly ever, test nothing"
    assert peak < LIMIT_BYTES, f"{peak / 2**20:.0f} MiB for files of a few KiB"


def test_the_command_ends_with_a_line_per_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(tmp_path / "data")
    rng = np.random.default_rng(3)
    for number in range(3, 9):
        shutil.copytree(root / "p2", root / f"p{number}")
        for name in FILES:
            path = root / f"p{number}" / name
            path.write_bytes(next(mutations(path.read_bytes(), name.endswith(".gz"), rng)))
    monkeypatch.setenv("COLUMNS", "200")
    for command in (("check",), ("preview", "--out", str(tmp_path / "p.png"), "--resolution", "16")):
        told = CliRunner().invoke(app, ["data", command[0], "mine", "--root", str(root), *command[1:]])
        assert told.exit_code == 1, told.output
        assert "Traceback" not in told.output
        assert told.exception is None or isinstance(told.exception, SystemExit)
        lines = [line for line in told.output.splitlines() if line.split(" ")[0] in ("error", "warning", "note")]
        if command[0] == "check":
            groups = grouped(check(list_cases("mine", root)).findings)
            assert len(lines) == len(groups) > 3
            # A long finding goes on in the next line of the table.
            assert [one.what for one, line in zip(groups, lines, strict=True) if one.what[:60] not in line] == []
        else:
            assert len(lines) == len({line.split()[1] for line in lines}) > 1, "a preview tells one line per case"
