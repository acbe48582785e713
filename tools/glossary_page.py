"""Writes the docs page of words from what the report's hovers say of them: ``python -m tools.glossary_page``.

``tests/analysis/report/test_glossary.py`` fails where the page and the hovers differ.
"""

from pathlib import Path

from medsweep.analysis.report.glossary import TERMS

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "glossary.md"
HEAD = """\
# Glossary

The report explains these words in captions and table heads, where the pointer rests on them. The words of the code are
in [ARCHITECTURE.md](../../ARCHITECTURE.md).

| word | meaning |
|---|---|
"""


def written() -> str:
    """The page."""
    return HEAD + "".join(f"| {term} | {meaning} |\n" for term, meaning in TERMS.items())


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
