"""Writes the tables of the docs page on metrics from the records in ``medsweep.metrics``.

``python tools/metrics_page.py`` rewrites what stands between the page's markers; the rest of the page is written by
hand. ``tests/test_metrics.py`` fails where the page and the records differ.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from medsweep.metric_record import Metric
from medsweep.metrics import SCORES
from medsweep.pool_metrics import POOLS

DOCS = Path(__file__).parents[1] / "docs"
TABLES = {"scores": SCORES, "pools": POOLS}
BETTER = {"higher": ", higher", "lower": ", lower", "middle": "", "none": ""}


def page() -> Path:
    """The page on metrics, wherever in the docs it lies."""
    return next(DOCS.rglob("metrics.md"))


def table(metrics: Iterable[Metric]) -> str:
    """A Markdown table, one row per metric."""
    head = ("metric", "definition", "range, better", "unit", "source", "computed by")
    rows = [head, ("---",) * len(head), *map(_row, metrics)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _row(metric: Metric) -> tuple[str, ...]:
    name = f"**`{metric.name}`**" if "scores" in metric.shown else f"`{metric.name}`"
    limits, semicolon, note = metric.range.partition(";")
    better = f"{limits}{BETTER[metric.direction]}{semicolon}{note}"
    return (name, metric.meaning.replace("|", "\\|"), better, metric.unit, metric.source, f"`{metric.computed_by}`")


def written(text: str) -> str:
    """The page's text with both tables as the records have them."""
    for name, metrics in TABLES.items():
        pattern = rf"(<!-- table: {name} -->\n\n).*?(\n\n<!-- end -->)"
        rows = table(metrics.values())
        text = re.sub(pattern, lambda match, rows=rows: f"{match[1]}{rows}{match[2]}", text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    page().write_text(written(page().read_text(encoding="utf-8")), encoding="utf-8")
