"""The report as a LaTeX document: booktabs tables that a paper can take as they are, pictures as PNG beside it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from medsweep.analysis.figures.style import WIDTH_IN
from medsweep.analysis.report.document import (
    Block,
    Bullets,
    Code,
    Document,
    Figure,
    Prose,
    Section,
    Trials,
    Verdicts,
    legend_text,
)
from medsweep.analysis.report.table import Table

_ESCAPED: Final = str.maketrans(
    {
        **{sign: rf"\{sign}" for sign in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        # a bracket right behind the end of a row would be read as its argument
        "[": "{[}",
        "\N{MINUS SIGN}": r"$-$",
        "\N{PLUS-MINUS SIGN}": r"$\pm$",
        "\N{INFINITY}": r"$\infty$",
        "\N{MULTIPLICATION SIGN}": r"$\times$",
        "\N{MULTIPLICATION X}": r"$\times$",
        "\N{LESS-THAN OR EQUAL TO}": r"$\leq$",
        "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$",
        "\N{RIGHTWARDS ARROW}": r"$\rightarrow$",
        "\N{LEFTWARDS ARROW}": r"$\leftarrow$",
        "\N{GREEK SMALL LETTER CHI}": r"$\chi$",
        "\N{GREEK SMALL LETTER TAU}": r"$\tau$",
        "\N{GREEK SMALL LETTER RHO}": r"$\rho$",
        "\N{GREEK SMALL LETTER EPSILON}": r"$\varepsilon$",
        "\N{SUPERSCRIPT TWO}": r"$^2$",
        "\N{MIDDLE DOT}": r"$\cdot$",
        "\N{EM DASH}": "---",
        "\N{EN DASH}": "--",
        "\N{NO-BREAK SPACE}": "~",
        "\N{BLACK UP-POINTING TRIANGLE}": r"$\blacktriangle$",
        "\N{BLACK DOWN-POINTING TRIANGLE}": r"$\blacktriangledown$",
        "\N{BLACK SQUARE}": r"$\blacksquare$",
        "\N{BLACK DIAMOND}": r"$\blacklozenge$",
        "\N{WHITE CIRCLE}": r"$\circ$",
    }
)

_PREAMBLE: Final = r"""\documentclass[10pt,a4paper]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage[margin=22mm]{geometry}
\usepackage{adjustbox,amssymb,booktabs,graphicx,longtable}
\usepackage[hidelinks]{hyperref}
\setlength{\parindent}{0pt}
\setlength{\parskip}{6pt}
\sloppy
"""

PAGE_ROWS: Final = 40
"""Rows up to which a table floats."""


def escaped(text: str) -> str:
    """Text in which no character is a command; common signs become mathematics."""
    return text.translate(_ESCAPED)


def table_text(table: Table, arms: Mapping[str, str] | None = None) -> str:
    """A floating ``tabular`` with booktabs rules, no wider than the page, labelled ``tab:NAME``.

    One of more rows than a page holds is a ``longtable``. ``arms``: labels of the trials of each arm, for links;
    without them the table stands alone in any paper.
    """
    align = "".join("l" if column in table.text_columns else "r" for column in range(len(table.head)))
    caption = rf"\caption{{{escaped(table.caption)}}}\label{{tab:{table.name}}}"
    head = [r"\toprule", _row(table.head, None), r"\midrule"]
    rows = [*(_row(row, arms) for row in table.rows), r"\bottomrule"]
    if len(table.rows) > PAGE_ROWS:
        before = [r"{\scriptsize\setlength{\tabcolsep}{3pt}", rf"\begin{{longtable}}{{{align}}}", rf"{caption}\\"]
        lines = [*before, *head, r"\endfirsthead", *head, r"\endhead", *rows, r"\end{longtable}}"]
    else:
        before = [r"\begin{table}[htbp]", r"\centering\footnotesize", caption]
        before.append(rf"\begin{{adjustbox}}{{max width=\textwidth}}\begin{{tabular}}{{{align}}}")
        lines = [*before, *head, *rows, r"\end{tabular}\end{adjustbox}", r"\end{table}"]
    return "\n".join([*lines, ""])


def _row(cells: Sequence[str], arms: Mapping[str, str] | None) -> str:
    return " & ".join(_cell(cell, arms) for cell in cells) + r" \\"


def _cell(cell: str, arms: Mapping[str, str] | None) -> str:
    text = escaped(cell)
    return text if arms is None or cell not in arms else rf"\hyperref[{arms[cell]}]{{{text}}}"


def latex_text(document: Document) -> str:
    """The whole report; needs ``figures/`` beside it."""
    anchors = {arm: f"trials:{number}" for arm, number in document.anchors.items()}
    lines = [
        _PREAMBLE,
        r"\begin{document}",
        rf"\section*{{{escaped(document.title)}}}",
        rf"\emph{{{escaped(document.question)}}}",
        "",
        rf"\textbf{{{escaped(document.headline)}}}",
        "",
        escaped(document.meta),
        "",
    ]
    for section in document.sections:
        lines += _section(section, anchors)
    return "\n".join([*lines, r"\end{document}", ""])


def _section(section: Section, anchors: Mapping[str, str]) -> list[str]:
    lines = [rf"\section*{{{escaped(section.title)}}}", ""]
    for block in section.blocks:
        lines += [_block(block, anchors), ""]
    # so many tables float that LaTeX must be told to set them down
    return [*lines, r"\clearpage", ""] if any(isinstance(block, Table | Figure) for block in section.blocks) else lines


def _block(block: Block, anchors: Mapping[str, str]) -> str:
    match block:
        case Prose():
            text = "\n\n".join(escaped(paragraph) for paragraph in block.paragraphs)
        case Bullets():
            text = _list(escaped(item) for item in block.items)
        case Code():
            text = "\n\n".join(rf"\texttt{{{escaped(line)}}}" for line in block.text.splitlines())
        case Table():
            text = table_text(block, anchors)
        case Figure():
            text = _figure(block)
        case Verdicts():
            told = [(answer.lead, answer.detail) for _, answer in block.lines]
            told += [(f"{one.arm}: no verdict.", one.reason) for one in block.dead]
            text = _list(rf"\textbf{{{escaped(lead)}}} {escaped(detail)}" for lead, detail in told)
        case Trials():
            text = _trials(block, anchors)
    return text


def _list(items: Iterable[str]) -> str:
    return "\n".join([r"\begin{itemize}", *(rf"\item {item}" for item in items), r"\end{itemize}"])


def _figure(figure: Figure) -> str:
    width = f"{min(figure.width_in / WIDTH_IN, 1):.3g}" if figure.width_in else ""
    return rf"""\begin{{figure}}[htbp]
\centering
\includegraphics[width={width}\linewidth,height=.8\textheight,keepaspectratio]{{{figure.file}}}
\caption{{{escaped(figure.caption + legend_text(figure))}}}\label{{fig:{figure.name}}}
\end{{figure}}"""


def _trials(block: Trials, anchors: Mapping[str, str]) -> str:
    lines = []
    for arm, trials in block.arms:
        lines += [rf"\phantomsection\label{{{anchors[arm]}}}\textbf{{{escaped(arm)}}}", ""]
        lines += [rf"{escaped(trial.line)}\\" for trial in trials] + [""]
    return "\n".join(lines)
