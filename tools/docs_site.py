"""Builds the docs as a site: ``python -m tools.docs_site [--out site]``, or ``make docs``.

Pages are those of ``docs/`` in their four folders, in the order in which ``docs/README.md`` names them, with the pages
at the repository's top, the notebooks as pages, and the commands as their ``--help`` tells them. Any link to a page or
a heading that does not exist ends the build.

Zensical makes the pages. The authors of Material for MkDocs keep it as the successor of both: MkDocs has had no release
since 2024, and its theme is in maintenance. It reads the pages as they lie in the repository, needs no network, and
checks links and headings itself, which Sphinx does not for Markdown without a dialect of its own.
"""

import argparse
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
import typer.main

from medsweep.cli import VERBS, app

ROOT = Path(__file__).parents[1]
KINDS = {"tutorial": "Tutorial", "how-to": "How-to", "reference": "Reference", "explanation": "Explanation"}
AT_TOP = ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
COMMANDS = "reference/commands.md"
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")
CONFIG = """\
[project]
site_name = "medsweep"
site_description = "Sweeps of synthetic training images for medical segmentation"
use_directory_urls = false
extra_css = ["{style}"]
nav = {nav}

[project.theme]
features = ["navigation.tabs", "navigation.indexes", "navigation.top", "content.code.copy", "search.highlight"]
font = false

[[project.theme.palette]]
media = "(prefers-color-scheme: light)"
scheme = "default"
toggle.icon = "lucide/sun"
toggle.name = "Dark"

[[project.theme.palette]]
media = "(prefers-color-scheme: dark)"
scheme = "slate"
toggle.icon = "lucide/moon"
toggle.name = "Light"
"""

STYLE_PLACE = "assets/tables.css"
STYLE = """\
.md-grid { max-width: 75rem; }
.md-typeset table:not([class]) :is(th, td) { min-width: 0; padding: 0.5em 0.8em; }
.md-typeset table:not([class]) td:first-child code { white-space: nowrap; }
.md-typeset table:not([class]) td:last-child:nth-child(n + 4) { min-width: 16rem; }
"""
"""Names of a reference table stay whole, and its last column, which says the most, gets the room."""


def pages() -> dict[Path, str]:
    """The place in the site of each page of the repository; the first is its start."""
    docs = ROOT / "docs"
    found = {docs / "README.md": "index.md"}
    for path in _in_order(docs):
        found[path] = path.relative_to(docs).with_suffix(".md").as_posix()
    return found | {ROOT / name: f"project/{name}" for name in AT_TOP}


def _in_order(docs: Path) -> list[Path]:
    """Pages and notebooks in the order in which the first page names them."""
    text = (docs / "README.md").read_text(encoding="utf-8")
    named = [(docs / target).resolve() for _, target, _ in LINK.findall(text)]
    there = [path.resolve() for kind in KINDS for path in sorted((docs / kind).iterdir()) if path.suffix != ".png"]
    if lacking := [path.name for path in there if path not in named]:
        raise SystemExit(f"docs/README.md does not name {', '.join(lacking)}")
    return [path for path in dict.fromkeys(named) if path in there]


def assemble(folder: Path) -> None:
    """Write ``folder``/zensical.toml and ``folder``/docs with every page, links leading to where pages are now."""
    places = pages()
    for path, place in places.items():
        target = folder / "docs" / place
        target.parent.mkdir(parents=True, exist_ok=True)
        text = notebook_page(path) if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")
        text += f"| look up a command | [Commands]({COMMANDS}) |\n" if place == "index.md" else ""
        target.write_text(_relinked(text, path, place, places), encoding="utf-8")
    (folder / "docs" / COMMANDS).parent.mkdir(exist_ok=True)
    (folder / "docs" / COMMANDS).write_text(commands_page(), encoding="utf-8")
    (folder / "docs" / STYLE_PLACE).parent.mkdir(exist_ok=True)
    (folder / "docs" / STYLE_PLACE).write_text(STYLE, encoding="utf-8")
    config = CONFIG.replace("{nav}", _nav(list(places.values()))).replace("{style}", STYLE_PLACE)
    (folder / "zensical.toml").write_text(config, encoding="utf-8")


def _nav(places: list[str]) -> str:
    """The start, the four kinds, then the project, as TOML."""
    sections: dict[str, list[str]] = {title: [] for title in (*KINDS.values(), "Project")}
    for place in places[1:]:
        sections[KINDS.get(place.split("/")[0], "Project")].append(place)
    sections["Reference"].append(COMMANDS)
    parts = [
        '{"Start" = "index.md"}',
        *(f"{{{json.dumps(name)} = {json.dumps(own)}}}" for name, own in sections.items()),
    ]
    return f"[{', '.join(parts)}]"


def _relinked(text: str, path: Path, place: str, places: dict[Path, str]) -> str:
    """Links to pages as the site has them; what lies in the repository alone stays as text."""

    def relink(match: re.Match[str]) -> str:
        label, target, anchor = match[1], (path.parent / match[2]).resolve(), match[3] or ""
        if target in places:
            label = title_of(target) if label == match[2] else label
            return f"[{label}]({os.path.relpath(places[target], Path(place).parent)}{anchor})"
        return f"{label} (`{target.relative_to(ROOT)}`)" if target.is_relative_to(ROOT) else match[0]

    return LINK.sub(relink, text)


def title_of(path: Path) -> str:
    """The first heading of a page or notebook."""
    text = notebook_page(path) if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")
    return next(line.removeprefix("# ") for line in text.splitlines() if line.startswith("# "))


def notebook_page(path: Path) -> str:
    """A notebook's text and code."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(f"```python\n{source}\n```" if cell["cell_type"] == "code" else source)
    note = f"This page is the notebook `{path.relative_to(ROOT).as_posix()}`. Open it in Jupyter to run it."
    return "\n\n".join([parts[0], note, *parts[1:]]) + "\n"


def commands_page() -> str:
    """Every command with its arguments and options."""
    root = typer.main.get_command(app)
    by_name = dict(_commands(root, "medsweep"))
    order = [verb.__name__.removesuffix("_report") for verbs in VERBS.values() for verb in verbs]
    first = [f"medsweep {name}" for name in order]
    names = [*first, *(name for name in by_name if name not in first)]
    head = "# Commands\n\nAs `--help` tells them. Exit code 2 means a mistake that you can mend, in one line on stderr."
    return "\n\n".join([head, *(_command(name, by_name[name]) for name in names)]) + "\n"


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The commands below a group by what is typed."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _command(name: str, command: Any) -> str:
    context = typer.Context(command, info_name=name)
    told = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    rows = [
        f"| <code>{_cell(names)}</code> | {_cell(text)} |"
        for names, text in filter(None, told)
        if not names.startswith("--help")
    ]
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    text = (command.help or "").strip()
    return "\n".join([f"## {name}", "", text, "", f"```\n{usage}\n```", "", "| name | meaning |", "|---|---|", *rows])


def _cell(text: str) -> str:
    """Text of a cell, whose bars and brackets are no signs of Markdown or HTML."""
    return html.escape(" ".join(text.split()).replace("\\[", "["), quote=False).replace("|", "&#124;")


def build(out: Path) -> None:
    """Write the site into ``out``, which is replaced. SystemExit: a link leads nowhere."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        assemble(folder)
        ran = subprocess.run([sys.executable, "-m", "zensical", "build", "--strict"], cwd=folder, check=False)
        if ran.returncode:
            raise SystemExit("the docs were not built; mend what is named above")
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(folder / "site", out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=Path("site"), help="folder of the site, which is replaced")
    given = parser.parse_args().out
    build(given)
    print(f"open {given / 'index.html'}")
