"""The house: imports run one way, between rooms by one line, inside them by having no circle."""

import ast
import re
from pathlib import Path

import pytest

from medsweep.trainers.synthesis.pipelines import OUR_FAMILIES
from tools import house

ROOT = Path(__file__).parents[1]
LEVELS = house.folders(house.graph(ROOT))
RULE = "words < data < store < tracking < sweep < search < execution < planning < launch < study < commands < cli"
"""A room of ``medsweep`` imports those to its left; ``words`` are the files at its top."""
BESIDE_THE_ENGINE = ("trainers", "analysis")
"""They know the words and the data, and only what is right of the engine knows them."""
ENGINE = frozenset({"store", "tracking", "sweep", "search", "execution", "planning", "launch"})

HEAVY = {
    "trainers": {"ray", "optuna", "wandb", "typer", "rich"},
    "analysis": {"ray", "optuna", "wandb", "torch", "monai", "typer", "rich"},
}


def room(module: str) -> str:
    """The room of a module, by its folder alone."""
    name = module.split(".")[1].replace("__main__", "cli") if "." in module else "words"
    return name if (ROOT / "medsweep" / name).is_dir() or name == "cli" else "words"


def may_import(importer: str, imported: str) -> bool:
    """The rule of one line."""
    order = RULE.split(" < ")
    if importer == imported:
        return True
    if importer in BESIDE_THE_ENGINE:
        return imported in ("words", "data")
    if imported in BESIDE_THE_ENGINE:
        return order.index(importer) >= order.index("study")
    return order.index(imported) < order.index(importer)


def test_every_import_follows_the_line() -> None:
    wrong = [
        f"{module} imports {target}"
        for module, targets in house.graph(ROOT).items()
        for target in targets
        # the package itself is the way in for Python, as the command line is that of the shell
        if not may_import("cli" if module == "medsweep" else room(module), room(target))
    ]
    assert wrong == []


def test_the_page_shows_the_line() -> None:
    assert f"\n{RULE}\n" in (ROOT / "ARCHITECTURE.md").read_text()


def test_the_line_names_every_room() -> None:
    rooms = {room(module) for module in house.modules(ROOT)} - set(BESIDE_THE_ENGINE)
    assert rooms == set(RULE.split(" < "))


def test_no_import_runs_back_up_inside_a_package() -> None:
    assert {folder: house.circles(edges) for folder, edges in LEVELS.items() if house.upward(edges)} == {}


def test_no_family_of_generators_imports_another() -> None:
    families = {family.stage.function.__module__.rpartition(".")[0] for family in OUR_FAMILIES.values()}
    wrong = [
        f"{module} imports {target}"
        for module, targets in house.graph(ROOT).items()
        for target in targets
        if len({_folder(module), _folder(target)} & families) == 2
    ]
    assert len(families) == len(OUR_FAMILIES) > 1
    assert wrong == []


def test_no_two_public_classes_have_one_name() -> None:
    assert house.names_used_twice(ROOT) == {}


def test_rooms_leave_the_heavy_tools_to_their_owners() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for package, tools in HEAVY.items()
        for path in (ROOT / package).rglob("*.py")
        for name in _top_names(path) & tools
    ]
    assert wrong == []


def test_matplotlib_is_for_pictures() -> None:
    wrong = [
        path.relative_to(ROOT)
        for path in house.modules(ROOT).values()
        if "matplotlib" in _top_names(path) and "figures" not in path.parts and path.name != "preview.py"
    ]
    assert wrong == []


def test_what_of_scipy_takes_long_to_import_is_brought_by_its_first_use() -> None:
    slow = re.compile(
        r"^(import scipy\.|from scipy\.|from scipy import .*\b)(stats|optimize|interpolate)\b", re.MULTILINE
    )
    wrong = [path.relative_to(ROOT) for path in house.modules(ROOT).values() if slow.search(path.read_text())]
    assert wrong == [], "write import scipy, and scipy.stats where it is used: every command would wait for it"


def test_a_plan_and_a_report_need_no_torch() -> None:
    """Torch takes seconds to import, and every command would wait for it; ``Later`` names what it is for."""
    known = house.modules(ROOT)
    todo = ["medsweep.study.session", "medsweep.study.report"]
    reached = set(todo)
    for module in todo:
        found = (_imported_at_once(known[module]) & known.keys()) - reached
        todo += found
        reached |= found
    names = {module: _imported_at_once(known[module]) & {"torch", "monai", "safetensors.torch"} for module in todo}
    assert {module for module, heavy in names.items() if heavy} == set()
    assert "medsweep.trainers.stylegan2.cost" in reached


def test_every_room_says_what_it_is_for() -> None:
    for package in house.PACKAGES:
        for folder in (path.parent for path in (ROOT / package).rglob("*.py")):
            text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
            assert 1 <= len(text.splitlines()) <= 5, folder


def test_no_test_imports_another() -> None:
    pattern = re.compile(r"^\s*(?:from|import) (?:tests\b|[\w.]*\btest_\w+)", re.MULTILINE)
    wrong = [path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py") if pattern.search(path.read_text())]
    assert wrong == []


def test_a_circle_is_seen_and_counted(tmp_path: Path) -> None:
    for name, text in {
        "a/x": "import medsweep.b.y",
        "b/y": "from medsweep.a import x",
        "a/z": "import medsweep.b.y",
    }.items():
        path = tmp_path / "medsweep" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    edges = house.folders(house.graph(tmp_path))["medsweep"]
    assert house.circles(edges) == [{"a", "b"}]
    assert house.upward(edges) == 1, "the fewest: one import down to two up"


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [("study", "trainers", True), ("store", "trainers", False), ("trainers", "store", False), ("data", "sweep", False)],
)
def test_the_rule_says_no(importer: str, imported: str, allowed: bool) -> None:
    assert may_import(importer, imported) == allowed


def _folder(module: str) -> str:
    """The folder of the trainers that a module lies in: ``medsweep.trainers.X``."""
    return ".".join(module.split(".")[:3])


def _imported_at_once(path: Path) -> set[str]:
    """Modules that a file imports as it is imported itself, with the packages around them."""
    names: set[str] = set()
    todo: list[ast.stmt] = list(ast.parse(path.read_text()).body)
    for node in todo:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Try | ast.With):
            todo += node.body
        elif isinstance(node, ast.If):
            todo += node.orelse if "TYPE_CHECKING" in ast.unparse(node.test) else node.body + node.orelse
    return {".".join(name.split(".")[:length]) for name in names for length in range(1, name.count(".") + 2)}


def _top_names(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names
