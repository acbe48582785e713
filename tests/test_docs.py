"""The pages lead somewhere: links resolve, and files that a page names are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "sweeps").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")
NAMED_PATH = re.compile(r"`((?:medsweep|trainers|analysis|tests|tools|benchmarks|docs|sweeps)/[\w./-]*)`")
ROOM_PATH = re.compile(r"`((?:data|store|sweep|search|execution|planning|launch|study|commands|tracking)/[\w./-]*)`")


def exists(path: Path) -> bool:
    return path.exists() or path.with_name(f"{path.name}.py").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page: Path) -> None:
    missing = [target for target in LINK.findall(page.read_text()) if not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "docs/tutorial/first-sweep.md"])
def test_every_file_that_a_page_names_is_there(name: str) -> None:
    text = (ROOT / name).read_text()
    missing = [path for path in NAMED_PATH.findall(text) if "NAME" not in path and not exists(ROOT / path)]
    missing += [path for path in ROOM_PATH.findall(text) if not exists(ROOT / "medsweep" / path)]
    assert missing == []


def test_every_fault_names_tests_that_are_there() -> None:
    rows = [line for line in (ROOT / "docs/explanation/faults.md").read_text().splitlines() if line.startswith("| ")]
    faults = [row for row in rows if not row.startswith("| fault")]
    source = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"^ *def (test_\w+)\(", source, re.MULTILINE))
    assert [row for row in faults if "`test_" not in row and "the same test" not in row] == []
    assert sorted({name for row in faults for name in re.findall(r"`(test_\w+)`", row)} - there) == []
