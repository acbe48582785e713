"""Published numbers, with their source, as oracles."""

import json
from pathlib import Path

import pandas as pd

CASES = json.loads((Path(__file__).parents[1] / "reference" / "published_statistics.json").read_text(encoding="utf-8"))


def given(case: str, name: str):
    """An input of the case."""
    return CASES[case]["input"][name]


def expected(case: str, name: str):
    """The number behind the printed one."""
    return CASES[case]["expected"][name]["value"]


def printed(case: str, name: str):
    """(as printed, half a unit of its last digit)."""
    entry = CASES[case]["expected"][name]
    return entry["printed"], entry["printed_atol"]


def wide(data, arms=None) -> pd.DataFrame:
    """Blocks x arms."""
    arms = arms or [f"arm {i}" for i in range(len(data[0]))]
    return pd.DataFrame(data, columns=arms, index=[f"case-{i:02d}" for i in range(len(data))], dtype=float)
