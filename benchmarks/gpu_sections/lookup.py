"""Finding rows and checks in a record, and what one setting saves over another. Knows no torch."""

from typing import Any

from gpu_sections.record import Record

LARGE = ("128 px b32", "256 px b16")
"""GANs on which a setting must pay."""


def rows(record: Record, section: str, what: str, **setting: Any) -> list[dict[str, Any]]:
    """Rows of a kind that were measured under these settings."""
    entries = record["sections"].get(section, {}).get("rows", ())
    return [
        row
        for row in entries
        if row["what"] == what
        and "left_out" not in row
        and all(row["setting"].get(name) == value for name, value in setting.items())
    ]


def row(record: Record, section: str, what: str, **setting: Any) -> dict[str, Any] | None:
    """The first of them."""
    return next(iter(rows(record, section, what, **setting)), None)


def gan_row(record: Record, gan: str, setting: str, *, benchmark: bool = True) -> dict[str, Any] | None:
    """An iteration of a GAN; of several batches the first."""
    return row(record, "gan", "gan", gan=gan, setting=setting, **{"cudnn.benchmark": benchmark})


def saved(before: dict[str, Any] | None, after: dict[str, Any] | None) -> float | None:
    """Share of the time that ``after`` saves; 0 where it is below twice the range of the blocks."""
    if before is None or after is None:
        return None
    gain = before["ms"]["median"] - after["ms"]["median"]
    spread = max(one["ms"]["high"] - one["ms"]["low"] for one in (before, after))
    return 0.0 if abs(gain) < 2 * spread else gain / before["ms"]["median"]


def savings(record: Record, before: str, after: str) -> dict[str, float]:
    """What a setting saves over another by GAN, at 128 and 256 px."""
    found = {gan: saved(gan_row(record, gan, before), gan_row(record, gan, after)) for gan in LARGE}
    return {gan: value for gan, value in found.items() if value is not None}


def told(values: dict[str, float]) -> str:
    """Percentages by name."""
    return ", ".join(f"{name} {value:.0%}" for name, value in values.items())


def checks(record: Record, section: str, part: str) -> list[dict[str, Any]]:
    """The checks of a section whose name holds ``part``."""
    return [check for check in record["sections"].get(section, {}).get("checks", ()) if part in check["name"]]
