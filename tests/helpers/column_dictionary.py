"""What docs/reference/columns.md says of columns, for the tests that compare it with what is written."""

import re
from collections.abc import Iterable
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "columns.md"
PATTERNS = {
    "FACTOR": r"[a-z_]+\.[a-z_.]+",
    "FIELD": r"[a-z_]+\.[a-z_.]+",
    "MEASURE": r".+",
    "QUESTION": r"fidelity|variety|texture|misfit",
    "DATASET": r".+",
    "METRIC": r"[a-z0-9_]+",
    "NUMBER": r"\d+",
    "METHOD": r"shaffer|conover",
}
"""What stands for names that a sweep chooses."""


def sections() -> dict[str, list[list[str]]]:
    """Heading without backticks -> the cells of its table's rows."""
    found = {}
    for part in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        head, _, text = part.partition("\n")
        rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("| `")]
        found[head.replace("`", "")] = [[cell.strip() for cell in row] for row in rows]
    return found


def named(cell: str) -> list[str]:
    """The names in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def fits(name: str, documented: str) -> bool:
    """Whether a column, or a table, is what the page calls so."""
    pattern = re.escape(documented)
    for word, expression in PATTERNS.items():
        pattern = re.sub(rf"(?<![A-Z]){word}(?![A-Z])", lambda _, found=expression: f"(?:{found})", pattern)
    return re.fullmatch(pattern, name.strip()) is not None


def compare(written: Iterable[str], documented: Iterable[str]) -> tuple[list[str], list[str]]:
    """Columns that the page lacks, and those that it has and nothing writes."""
    written, documented = list(written), list(documented)
    lacking = [name for name in written if not any(fits(name, entry) for entry in documented)]
    unwritten = [entry for entry in documented if not any(fits(name, entry) for name in written)]
    return lacking, unwritten
