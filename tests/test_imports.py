"""Imports run one way: medsweep <- trainers, analysis <- the composition root <- the command line."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("medsweep", "trainers", "analysis")
COMPOSITION = tuple(
    f"medsweep/{name}.py"
    for name in (
        "settings",
        "chains",
        "pipeline",
        "answer",
        "planning/prospects",
        "search/loop",
        "session",
        "commands/views",
        "commands/data_views",
        "commands/search_views",
        "commands/analyse",
        "commands/data",
        "commands/launch",
        "commands/search",
        "commands/store",
        "cli",
    )
)
"""In order: each may import those before it."""

FORBIDDEN = {
    "trainers": {"ray", "optuna", "wandb", "typer", "rich"},
    "analysis": {"ray", "optuna", "wandb", "torch", "monai", "typer", "rich"},
}


def imported(path: Path) -> set[str]:
    """Dotted names that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def composition_rank(name: str) -> int:
    modules = [path.removesuffix(".py").replace("/", ".") for path in COMPOSITION]
    return modules.index(name) + 1 if name in modules else 0


def test_the_lower_room_imports_no_higher_one() -> None:
    wrong = []
    for path in files("medsweep"):
        relative = path.relative_to(ROOT).as_posix()
        own = COMPOSITION.index(relative) + 1 if relative in COMPOSITION else 0
        for name in imported(path):
            if name.split(".")[0] in ("trainers", "analysis") and not own:
                wrong.append(f"{relative} imports {name}")
            # A view or a test may name the session; nothing below the root may.
            if composition_rank(name) >= max(own, 1) and relative != COMPOSITION[max(composition_rank(name) - 1, 0)]:
                wrong.append(f"{relative} imports {name}")
    assert wrong == []


def test_trainers_and_analysis_know_neither_each_other_nor_the_engine() -> None:
    engine = ("medsweep.execution", "medsweep.store", "medsweep.plan", "medsweep.workspace", "medsweep.tracking")
    wrong = []
    for room, other in (("trainers", "analysis"), ("analysis", "trainers")):
        for path in files(room):
            for name in imported(path):
                if name.split(".")[0] == other or name.startswith(engine) or composition_rank(name):
                    wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_rooms_leave_the_heavy_tools_to_their_owners() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for room, names in FORBIDDEN.items()
        for path in files(room)
        for name in imported(path)
        if name.split(".")[0] in names
    ]
    assert wrong == []


def test_matplotlib_is_for_figures() -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in files(room)
        if "matplotlib" in {name.split(".")[0] for name in imported(path)}
        and "figures" not in path.parts
        and path != ROOT / "medsweep/data/preview.py"
    ]
    assert wrong == []


def test_every_room_says_what_it_is_for() -> None:
    for room in ROOMS:
        for path in (ROOT / room).rglob("__init__.py"):
            text = ast.get_docstring(ast.parse(path.read_text())) or ""
            assert 1 <= len(text.splitlines()) <= 5, path
