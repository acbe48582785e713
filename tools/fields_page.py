"""Writes the docs page on the fields of a sweep file from the docstrings of their classes.

``python tools/fields_page.py`` rewrites what stands between the page's markers; ``tests/test_options.py`` fails where
the page and the classes differ.
"""

from pathlib import Path

from medsweep.fields import FieldInFull
from medsweep.study.fields import read_by, sections

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "fields.md"
BEGIN, END = "<!-- fields -->\n", "<!-- end -->\n"


def tables() -> str:
    """A heading and a Markdown table for each section."""
    parts = []
    for name, fields in sections().items():
        rows = [("field", "default", "takes", "unit", "read by", "meaning"), ("---",) * 6, *map(_row, fields)]
        lines = [f"| {' | '.join(cells)} |" for cells in rows]
        parts.append("\n".join([f"## {f'`{name}`' if name else 'The file'}", "", *lines]))
    return "\n\n".join(parts)


def _row(field: FieldInFull) -> tuple[str, ...]:
    default = f"`{field.default}`" if field.default not in ("", "required") else field.default
    cells = (f"`{field.name}`", default, field.takes, field.unit, read_by(field), field.meaning.replace("``", "`"))
    return tuple(cell.replace("|", "\\|") for cell in cells)


def written(text: str) -> str:
    """The page's text with the tables as the classes have them."""
    return f"{text[: text.index(BEGIN)]}{BEGIN}\n{tables()}\n\n{END}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
