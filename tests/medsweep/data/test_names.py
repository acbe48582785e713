"""Names in other encodings and Unicode forms."""

import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from helpers.decathlon_folder import cohort, save
from medsweep.cli import app
from medsweep.data.source import list_cases

AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])
SHAPE = (10, 8, 4)


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 20, SHAPE).astype(np.float32)


def mask(seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(SHAPE) < 0.3).astype(np.uint8)


def mine(root: Path) -> Path:
    for number in (1, 2):
        save(root / f"p{number}/img.nii.gz", image(number), AFFINE)
        save(root / f"p{number}/seg.nii.gz", mask(number), AFFINE)
    (root / "medsweep.yaml").write_text(
        'modalities: {T1: "{id}/img.nii.gz"}\nmask: "{id}/seg.nii.gz"\nclasses: {ball: 1}\n'
    )
    return root


def test_a_name_that_is_no_utf_8_is_told_and_keeps_no_command_from_its_work(tmp_path: Path) -> None:
    root = mine(tmp_path / "data")
    try:
        os.rename(root / "p2", os.fsencode(root) + b"/J\xfcrgen")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    for number in (3, 4):
        save(root / f"p{number}/img.nii.gz", image(number), AFFINE)
        save(root / f"p{number}/seg.nii.gz", mask(number), AFFINE)
    listing = list_cases("mine", root)
    assert [case.id for case in listing.cases] == ["p1", "p3", "p4"]
    words = {
        "check": (), "preview": ("--out", str(tmp_path / "p.png"), "--resolution", "16"),
        "prepare": ("--store", str(tmp_path / "store"), "--resolution", "16"),
    }  # fmt: skip
    for command, more in words.items():
        told = CliRunner().invoke(app, ["data", command, "mine", "--root", str(root), *more])
        assert told.exit_code in {1, 2}, told.output
        assert r"J\xfcrgen" in told.output
        assert "the name is not in UTF-8; rename the file or folder" in told.output
    assert not list((tmp_path / "store").rglob("*.part"))


def test_composed_and_decomposed_letters_are_one_name(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "Müller_é")
    root = cohort(tmp_path / "uni", {decomposed: (image(1), mask(1)), "plain": (image(2), mask(2))})
    path = root / "dataset.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    composed = unicodedata.normalize("NFC", json.dumps(described, ensure_ascii=False))
    path.write_text(composed, encoding="utf-8")
    listing = list_cases("uni", root)
    assert [finding for finding in listing.findings if finding.severity == "error"] == []
    assert len(listing.require().cases) == 2
