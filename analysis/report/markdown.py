"""The report as Markdown with pipe tables, in the order of the page; pictures are linked as PNG files beside it."""

from collections.abc import Mapping, Sequence

from medsweep.analysis.report.document import (
    Block,
    Bullets,
    Code,
    Document,
    Figure,
    Prose,
    Trials,
    Verdicts,
    legend_text,
)
from medsweep.analysis.report.table import Table


def escaped(text: str) -> str:
    """Text that neither ends a cell nor becomes markup."""
    for sign in ("\\", "|", "*", "_", "`", "<", "[", "]"):
        text = text.replace(sign, f"\\{sign}")
    return text.replace("\n", " ")


def table_text(table: Table, anchors: Mapping[str, int]) -> str:
    """A pipe table; names of arms link to their trials."""
    rule = [":--" if column in table.text_columns else "--:" for column in range(len(table.head))]
    rows = [_row([_linked(cell, anchors) for cell in row]) for row in table.rows]
    return "\n".join([_row(list(map(escaped, table.head))), _row(rule), *rows])


def markdown_text(document: Document) -> str:
    """The whole report; needs ``figures/`` beside it."""
    blocks = [f"# {escaped(document.title)}", f"*{escaped(document.question)}*"]
    blocks += [f"**{escaped(document.headline)}**", escaped(document.meta)]
    for section in document.sections:
        blocks.append(f"## {escaped(section.title)}")
        blocks += [_block(block, document) for block in section.blocks]
    return "\n\n".join(blocks) + "\n"


def _block(block: Block, document: Document) -> str:
    match block:
        case Prose():
            text = "\n\n".join(map(escaped, block.paragraphs))
        case Bullets():
            text = "\n".join(f"- {escaped(item)}" for item in block.items)
        case Code():
            text = f"```\n{block.text}\n```"
        case Table():
            caption = f"**Table {document.number(block)}.** {escaped(block.caption)}"
            text = f"{caption}\n\n{table_text(block, document.anchors)}"
        case Figure():
            caption = f"**Figure {document.number(block)}.** {escaped(block.caption + legend_text(block))}"
            text = f"![{escaped(block.alt)}]({block.file})\n\n{caption}"
        case Verdicts():
            lines = [f"- {mark} **{escaped(line.lead)}** {escaped(line.detail)}" for mark, line in block.lines]
            lines += [f"- **{escaped(one.arm)}: no verdict.** {escaped(one.reason)}" for one in block.dead]
            text = "\n".join(lines)
        case Trials():
            text = "\n\n".join(_trials(arm, [line.line for line in lines], document) for arm, lines in block.arms)
    return text


def _trials(arm: str, lines: Sequence[str], document: Document) -> str:
    anchor = f'<a id="trials-{document.anchors[arm]}"></a>'
    return "\n".join([f"{anchor}**{escaped(arm)}**", "", *(f"- {escaped(line)}" for line in lines)])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _linked(cell: str, anchors: Mapping[str, int]) -> str:
    return f"[{escaped(cell)}](#trials-{anchors[cell]})" if cell in anchors else escaped(cell)
