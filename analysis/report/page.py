"""The report's files: one HTML page that holds all it shows, its numbers beside it, the same as Markdown or LaTeX."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, get_args

import jinja2

from medsweep.analysis.report.document import Document
from medsweep.analysis.report.glossary import Hovers
from medsweep.analysis.report.latex import latex_text, table_text
from medsweep.analysis.report.markdown import markdown_text
from medsweep.analysis.report.sections import document_of
from medsweep.analysis.report.table import csv_text
from medsweep.analysis.report.topic import ReportContext, context_of
from medsweep.analysis.study.analyse import Analysis
from medsweep.errors import UserError, nearest

Format = Literal["html", "markdown", "latex"]
NAMES: Final = {"html": "report.html", "markdown": "report.md", "latex": "report.tex"}
HERE: Final = Path(__file__).parent


def write_report(
    folder: Path, analysis: Analysis, context: ReportContext | None = None, *, formats: Sequence[Format] = ("html",)
) -> Path:
    """Write the report, ``analysis.json``, ``figures/`` and ``tables/`` into ``folder``; returns the first format's.

    ``context`` tells of the sweep around the analysis; without one the report is that of a table.

    Raises:
        UserError: a format is unknown, or none is given.
    """
    checked(formats)
    folder.mkdir(parents=True, exist_ok=True)
    document = document_of(analysis, context or context_of(analysis), folder)
    (folder / "analysis.json").write_text(analysis.to_json() + "\n", encoding="utf-8")
    return write_document(folder, document, formats)


def checked(formats: Sequence[str]) -> None:
    """Refuse an unknown format, or none, with a UserError."""
    for name in formats or ("",):
        if name not in get_args(Format):
            raise UserError(f"the report has no format {name!r}; {nearest(name, get_args(Format))}")


def write_document(folder: Path, document: Document, formats: Sequence[Format], stem: str = "report") -> Path:
    """Write a document in each format, and its tables as CSV."""
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    for table in document.tables:
        (folder / "tables" / f"{table.name}.csv").write_text(csv_text(table), encoding="utf-8", newline="")
    writers = {"html": page_text, "markdown": markdown_text, "latex": latex_text}
    paths = []
    for name in formats:
        path = folder / NAMES[name].replace("report", stem)
        path.write_text(writers[name](document), encoding="utf-8")
        paths.append(path)
    return paths[0]


def page_text(document: Document) -> str:
    """The page; the one script in it is known to its policy by hash, and nothing may be fetched."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    hovers = Hovers()
    environment.filters |= {"unbroken": unbroken, "explained": hovers.explained}
    script = (HERE / "script.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return environment.get_template("page.html.j2").render(
        document=document,
        begin=hovers.begin,
        kind=lambda block: type(block).__name__,
        embedded=_embedded,
        csv=lambda table: _uri("text/csv", csv_text(table).encode()),
        latex=lambda table: _uri("application/x-tex", table_text(table).encode()),
        script=script,
        script_hash=f"sha256-{digest}",
        style=(HERE / "page.css").read_text(encoding="utf-8"),
    )


def _embedded(path: Path) -> str:
    kind = {".svg": "image/svg+xml", ".png": "image/png", ".csv": "text/csv"}[path.suffix]
    return _uri(kind, path.read_bytes())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def unbroken(text: str) -> str:
    """No line break beside a relation sign or before a unit of the text: ``n = 16``, ``p < .001``."""
    hard = "\N{NO-BREAK SPACE}"
    for sign in ("=", "<", ">"):
        text = text.replace(f" {sign} ", f"{hard}{sign}{hard}")
    return text.replace("% CI ", f"%{hard}CI{hard}")
