"""What leaves the page: CSV for machines, LaTeX for papers, Markdown for tickets, and the page on several data sets."""

import base64
import csv
import io
import json
import re

import pytest

from helpers.made_report import context
from helpers.simulated_results import eight_arms, simulate
from medsweep.analysis.report.across import write_across
from medsweep.analysis.report.latex import escaped, table_text
from medsweep.analysis.report.markdown import escaped as escaped_markdown
from medsweep.analysis.report.page import write_report
from medsweep.analysis.report.table import DASH, Table, csv_text
from medsweep.analysis.study.analyse import analyse_datasets
from medsweep.analysis.study.wording import NOT_COMPUTABLE
from medsweep.errors import UserError

SMALL = Table(
    "small",
    "Caption with 5% & a_b.",
    ("arm", "difference", "p"),
    (("x | y, 50%", "\N{MINUS SIGN}0.010", "< .001"), ("[z]", DASH, NOT_COMPUTABLE), ("w", "\N{INFINITY}", "> .99")),
)


def linked(page: str, name: str) -> str:
    found = re.search(rf'download="{re.escape(name)}" href="data:[^;]*;base64,([^"]*)"', page)
    return base64.b64decode(found[1]).decode("utf-8")


def test_csv_is_for_machines():
    assert csv_text(SMALL).splitlines() == [
        "arm,difference,p",
        '"x | y, 50%",-0.010,< .001',
        "[z],,",
        "w,inf,> .99",
    ]


def test_latex_tables_stand_alone_in_a_paper():
    assert table_text(SMALL).splitlines() == [
        r"\begin{table}[htbp]",
        r"\centering\footnotesize",
        r"\caption{Caption with 5\% \& a\_b.}\label{tab:small}",
        r"\begin{adjustbox}{max width=\textwidth}\begin{tabular}{lrr}",
        r"\toprule",
        r"arm & difference & p \\",
        r"\midrule",
        r"x \textbar{} y, 50\% & $-$0.010 & \textless{} .001 \\",
        r"{[}z] & --- & not computable \\",
        r"w & $\infty$ & \textgreater{} .99 \\",
        r"\bottomrule",
        r"\end{tabular}\end{adjustbox}",
        r"\end{table}",
    ]


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("\\input{x}", r"\textbackslash{}input\{x\}"),
        ("a^b~c#$", r"a\textasciicircum{}b\textasciitilde{}c\#\$"),
        ("\N{PLUS-MINUS SIGN}1 \N{MULTIPLICATION SIGN} 2", r"$\pm$1 $\times$ 2"),
    ],
)
def test_nothing_in_a_text_is_a_command(text, safe):
    assert escaped(text) == safe


def test_every_table_of_the_page_can_be_taken_along(eight_arms_made):
    _, path = eight_arms_made
    page = path.read_text(encoding="utf-8")
    names = re.findall(r'id="table-([^"]*)"', page)
    assert len(names) > 20
    for name in names:
        beside = (path.parent / "tables" / f"{name}.csv").read_text(encoding="utf-8")
        assert linked(page, f"{name}.csv") == beside
        rows = list(csv.reader(io.StringIO(beside)))
        assert len({len(row) for row in rows}) == 1
        assert linked(page, f"{name}.tex").count(r"\\") == len(rows)
        assert rf"\label{{tab:{name}}}" in linked(page, f"{name}.tex")


def test_the_data_of_every_picture_can_be_taken_along(eight_arms_made):
    _, path = eight_arms_made
    page = path.read_text(encoding="utf-8")
    names = [name for name in re.findall(r'id="figure-([^"]*)"', page) if not name.startswith("grid")]
    assert {"dose", "forest", "paired", "runs", "ranks", "pairwise", "rankmap", "factors"} <= set(names)
    for name in names:
        assert linked(page, f"figure-{name}.csv") == (path.parent / "figures" / f"{name}.csv").read_text(
            encoding="utf-8"
        )


def test_markdown_keeps_the_order_of_the_page(eight_arms_made):
    analysis, path = eight_arms_made
    page, text = path.read_text(encoding="utf-8"), (path.parent / "report.md").read_text(encoding="utf-8")
    headings = re.findall(r"<h2[^>]*>([^<]*)</h2>", page)
    assert re.findall(r"^## (.*)$", text, flags=re.MULTILINE) == headings
    assert text.startswith("# counts\n\n*Does \\<b>more\\</b> help & why?*\n\n**")
    for file in re.findall(r"!\[[^\]]*\]\(([^)]*)\)", text):
        assert (path.parent / file).is_file()
    for number in range(1, len(analysis.arms) + 1):
        assert f'<a id="trials-{number}"></a>' in text
    for block in re.findall(r"(?:^\|.*\|$\n?)+", text, flags=re.MULTILINE):
        cells = {len(re.split(r"(?<!\\)\|", line)) for line in block.strip().splitlines()}
        assert len(cells) == 1


def test_a_pipe_in_a_name_ends_no_cell():
    assert escaped_markdown("a|b_c*") == r"a\|b\_c\*"


def test_latex_is_a_whole_document(eight_arms_made):
    _, path = eight_arms_made
    text = (path.parent / "report.tex").read_text(encoding="utf-8")
    assert text.startswith(r"\documentclass")
    assert text.rstrip().endswith(r"\end{document}")
    for name in ("table", "tabular", "figure", "itemize", "adjustbox"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") > 0
    labels = re.findall(r"\\label\{([^}]*)\}", text)
    assert len(labels) == len(set(labels))
    assert set(re.findall(r"\\hyperref\[([^\]]*)\]", text)) <= set(labels)
    # what the fonts of LaTeX lack must have been replaced
    assert {sign for sign in text if ord(sign) > 0x17F} == set()
    for file in re.findall(r"\\includegraphics\[[^\]]*\]\{([^}]*)\}", text):
        assert (path.parent / file).is_file()


def test_an_unknown_format_is_one_line(eight_arms_made, tmp_path):
    analysis, _ = eight_arms_made
    with pytest.raises(UserError, match="no format 'latx'; did you mean 'latex'"):
        write_report(tmp_path, analysis, context(tmp_path), formats=("latx",))
    with pytest.raises(UserError, match="no format ''"):
        write_report(tmp_path, analysis, context(tmp_path), formats=())


def test_several_data_sets_share_a_page(tmp_path):
    arms = eight_arms()[:3]
    shifts = {"heart": 0.03, "brain": -0.03, "spleen": 0.01}
    tables = {
        name: simulate(arms, {arms[1].name: shift}, patients=8, seeds=2, classes=("1",), seed=i)
        for i, (name, shift) in enumerate(shifts.items())
    }
    found = analyse_datasets(tables, control=arms[0].name)
    path = write_across(tmp_path, found, context(tmp_path), formats=("html", "markdown", "latex"))
    assert path.name == "across.html"
    page = path.read_text(encoding="utf-8")
    assert "counts: 3 data sets" in page
    for name in ('id="figure-meta"', 'id="table-meta"', 'id="table-dataset-verdicts"', 'id="table-consensus"'):
        assert name in page
    for one in found:
        assert one.headline.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}") in page
    assert "3 data sets: 2 degrees of freedom" in page
    record = json.loads((tmp_path / "across.json").read_text(encoding="utf-8"))
    assert record["datasets"] == ["heart", "brain", "spleen"]
    assert (tmp_path / "across.md").is_file()
    assert (tmp_path / "across.tex").is_file()


def test_a_table_longer_than_a_page_breaks():
    long = Table("long", "Many.", ("arm", "n"), tuple((f"x{i}", str(i)) for i in range(41)))
    text = table_text(long)
    assert r"\begin{longtable}{lr}" in text
    assert r"\begin{table}" not in text
    assert r"x40 & 40 \\" in text
