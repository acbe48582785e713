"""The docs as a site: every page is in it, every command too, and no link of it leads nowhere."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from tools import docs_site

ROOT = Path(__file__).parents[1]


class Page(HTMLParser):
    """The links and ids of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids |= {given["id"] or ""} if "id" in given else set()
        self.links += [given["href"] or ""] if tag == "a" and "href" in given else []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("docs") / "site"
    docs_site.build(out)
    return out


def test_every_page_is_there_and_no_link_leads_nowhere(site: Path) -> None:
    for place in [*docs_site.pages().values(), docs_site.COMMANDS]:
        assert (site / place).with_suffix(".html").is_file(), place
    pages = {path.resolve(): Page(path) for path in site.rglob("*.html") if path.name != "404.html"}
    dead = []
    for path, page in pages.items():
        for link in page.links:
            target, _, anchor = unquote(link).partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            found = pages.get((path.parent / target).resolve()) if target else page
            if found is None or (anchor and anchor not in found.ids):
                dead.append(f"{path.relative_to(site)}: {link}")
    assert dead == []
    assert sum(len(page.links) for page in pages.values()) > 500


def test_the_four_kinds_stand_side_by_side(site: Path) -> None:
    start = (site / "index.html").read_text(encoding="utf-8")
    assert [kind for kind in docs_site.KINDS.values() if not re.search(rf">\s*{kind}\s*<", start)] == []
    assert "Your first sweep</a>" in start


def test_every_command_is_told(site: Path) -> None:
    text = docs_site.commands_page()
    for name in ("plan", "open", "data check", "store verify", "wandb push"):
        assert f"\n## medsweep {name}\n" in text
    assert "| <code>--ensemble none&#124;folds&#124;all</code> | With --on, networks whose probabilities" in text
    assert "| <code>SWEEP" in text


def test_names_in_tables_are_not_broken(site: Path) -> None:
    style = (site / docs_site.STYLE_PLACE).read_text(encoding="utf-8")
    assert "white-space: nowrap" in style
    assert docs_site.STYLE_PLACE in (site / "reference" / "fields.html").read_text(encoding="utf-8")


def test_a_link_that_leads_nowhere_ends_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n[there](#nowhere)\n")
    monkeypatch.setattr(docs_site, "pages", lambda: {page: "index.md"})
    with pytest.raises(SystemExit, match="the docs were not built"):
        docs_site.build(tmp_path / "site")
    assert not (tmp_path / "site").exists()
