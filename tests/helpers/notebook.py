"""Runs a notebook's code, cell by cell, as a kernel would but for magic."""

import json
from pathlib import Path
from typing import Any


def run_notebook(path: Path, parameters: str) -> dict[str, Any]:
    """The names after the last cell; ``parameters`` stands for the cell with that tag.

    A failing cell raises what it raised, its code being in the traceback under the number of the cell.
    """
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert sum("parameters" in cell["metadata"].get("tags", ()) for cell in code) == 1, path
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code), f"{path} holds outputs"
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(code, start=1):
        chosen = parameters if "parameters" in cell["metadata"].get("tags", ()) else "".join(cell["source"])
        exec(compile(chosen, f"{path.name}, code cell {number}", "exec"), names)
    return names
