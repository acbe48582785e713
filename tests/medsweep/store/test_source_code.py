"""Which files a function depends on, and which of them read differently later."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

from helpers import toy
from medsweep.store import source_code
from medsweep.store.source_code import changed_files, source_hashes

FILES = {
    "__init__": "",
    "stage": "import json\nfrom madeup import direct\nfrom madeup.inner import Thing\ndef run(): import madeup.late",
    "direct": "from .inner import relative\nfrom medsweep.errors import UserError",
    "late": "",
    "unread": "",
    "inner/__init__": "class Thing: pass",
    "inner/relative": "from ..circle import x",
    "circle": "from madeup import stage\nx = 1",
}


@pytest.fixture
def madeup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The ``stage`` of a package whose files lie in ``tmp_path / "madeup"``."""
    for name, text in FILES.items():
        path = tmp_path / "madeup" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    forget()
    module = importlib.import_module("madeup.stage")
    yield module
    for name in [name for name in sys.modules if name.partition(".")[0] == "madeup"]:
        del sys.modules[name]
    forget()


def forget() -> None:
    """As in a new process."""
    for cached in (source_code._hashes_from, source_code._hash, source_code._imported_by):
        cached.cache_clear()


def test_imports_are_followed_inside_the_project_alone(madeup: ModuleType) -> None:
    names = {"stage", "direct", "late", "inner/__init__", "inner/relative", "circle", "__init__"}
    hashes = source_hashes(madeup.run)
    assert {name for name in hashes if name.startswith("madeup/")} == {f"madeup/{name}.py" for name in names}
    assert "medsweep/errors.py" in hashes
    assert not any(name.startswith("json") for name in hashes)
    assert {len(value) for value in hashes.values()} == {16}


def test_files_that_changed_or_went_are_named(madeup: ModuleType, tmp_path: Path) -> None:
    recorded = source_hashes(madeup.run)
    assert changed_files(recorded) == []
    (tmp_path / "madeup" / "direct.py").write_text("from medsweep.errors import UserError")
    (tmp_path / "madeup" / "late.py").unlink()
    forget()
    assert changed_files(recorded) == ["madeup/direct.py", "madeup/late.py"]
    assert source_hashes(madeup.run).keys() == recorded.keys() - {
        "madeup/late.py",
        "madeup/inner/relative.py",
        "madeup/circle.py",
    }


def test_a_toy_stage_depends_on_itself_and_on_what_it_imports() -> None:
    hashes = source_hashes(toy.grow)
    assert {"helpers/toy.py", "medsweep/trial.py", "medsweep/config.py"} <= hashes.keys()


def test_what_has_no_file_has_no_source() -> None:
    assert source_hashes(len) == {}
