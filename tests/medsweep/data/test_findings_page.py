"""The page of findings has a row for every message that the code can tell, and no other row."""

import re
from pathlib import Path

from helpers.finding_messages import messages

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "data-findings.md"
ROW = re.compile(r"^\| (error|warning|note|any) \| `([^`]+)` \| (.+) \|$", re.MULTILINE)


def rows() -> list[tuple[str, str]]:
    return [(level, phrase) for level, phrase, _ in ROW.findall(PAGE.read_text(encoding="utf-8"))]


def test_every_message_has_a_row_of_its_level() -> None:
    lacking = [
        f"{file}: {level}: {text}"
        for (level, text), file in messages().items()
        if not any(text.find(phrase) >= 0 and level == own for own, phrase in rows())
    ]
    assert not lacking, "write a row for each:\n" + "\n".join(lacking)


def test_every_row_has_a_message() -> None:
    told = list(messages())
    idle = [row for row in rows() if not any(row[0] == level and row[1] in text for level, text in told)]
    assert not idle, f"no code tells these: {idle}"


def test_no_row_stands_twice_and_each_says_what_to_do() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert len(set(rows())) == len(rows()) > 80
    tables = [line for line in page.splitlines() if line.startswith(("| error", "| warning", "| note", "| any"))]
    assert len(tables) == len(rows()) + 3  # the table of levels has no messages
