"""``gpu.md``: the record as a page. Knows no torch."""

from collections.abc import Iterable, Sequence
from typing import Any

from gpu_sections.decisions import decisions
from gpu_sections.record import SECTIONS, Record, failed_checks, passed

NOT_SHOWN = {"what", "setting", "lines"}


def page(record: Record) -> str:
    """The whole page: verdict, what failed, facts, one table per section and kind of row, decisions."""
    toy = " A toy: its numbers mean nothing." if record["toy"] else ""
    verdict = "passed" if passed(record) else "did not pass"
    lines = [
        "# One run on one device",
        "",
        f"{record['when']}, device {record['device']}. Equal, resume and memory {verdict}.{toy}",
    ]
    lines += ["", *states(record), *failures(record), *facts(record)]
    for name, entry in record["sections"].items():
        lines += [
            "",
            f"## {name}: {SECTIONS[name].purpose}",
            "",
            f"{entry['state']}, {entry['seconds']} s, {len(entry['checks'])} checks.",
        ]
        for what in dict.fromkeys(row["what"] for row in entry["rows"]):
            lines += ["", *rows([row for row in entry["rows"] if row["what"] == what], what)]
    lines += ["", "## Decisions", ""]
    lines += table(["measured", "rule", "then", "where"], [decision.cells for decision in decisions(record)])
    return "\n".join(lines) + "\n"


def states(record: Record) -> list[str]:
    """How each section ended."""
    cells = [[name, entry["state"], text(entry["seconds"])] for name, entry in record["sections"].items()]
    return table(["section", "state", "seconds"], cells)


def failures(record: Record) -> list[str]:
    """What raised and which checks failed."""
    lines = ["", "## Failed checks", ""]
    for name, entry in record["sections"].items():
        lines += [
            f"- {name} ({entry['state']}): {line}" for line in (entry["error"] or "").splitlines() if line.strip()
        ]
    failed = failed_checks(record)
    if not failed:
        return [*lines, "", "No check failed." if len(lines) == 3 else "No other check failed."]
    cells = [
        [
            check["name"],
            text(check["value"]),
            ("at least " if check["at_least"] else "at most ") + text(check["limit"]),
            check["unit"],
        ]
        for check in failed
    ]
    return [*lines, "", *table(["check", "value", "wanted", "unit"], cells)]


def facts(record: Record) -> list[str]:
    """The machine."""
    return [
        "",
        "## Facts",
        "",
        *table(["fact", "value"], [[name, text(value)] for name, value in record["facts"].items()]),
    ]


def rows(entries: Sequence[dict[str, Any]], what: str) -> list[str]:
    """A table of the rows of one kind, with the columns that any of them has; predictions come last."""
    flat = [flattened(entry) for entry in entries]
    columns = list(dict.fromkeys(name for row in flat for name, value in row.items() if value is not None))
    columns.sort(key=lambda name: name == "predicted")
    return [f"### {what}", "", *table(columns, [[text(row.get(name)) for name in columns] for row in flat])]


def flattened(entry: dict[str, Any]) -> dict[str, Any]:
    """Setting, then measurements; times as a median with its range."""
    row = dict(entry["setting"])
    for name, value in entry.items():
        if name == "ms":
            row["ms"] = f"{text(value['median'])} ({text(value['low'])} to {text(value['high'])})"
        elif name not in NOT_SHOWN:
            row[name] = value
    if entry.get("lines"):
        row["lines"] = ", ".join(entry["lines"])
    return row


def table(heads: Sequence[str], cells: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return lines + [
        "| " + " | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in row) + " |" for row in cells
    ]


def text(value: Any) -> str:
    """A value as a cell shows it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
