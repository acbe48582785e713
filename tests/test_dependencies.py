"""Whatever is imported is named in pyproject.toml, so that ``make test`` in a fresh clone finds it."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

PRODUCT, AROUND = ("medsweep", "trainers", "analysis"), ("tests", "tools", "benchmarks")
NAMES = {"PIL": "pillow", "ruamel": "ruamel-yaml"}
"""How distributions are called whose module has another name."""
PART_OF = {"pydantic_core": "pydantic", "markupsafe": "jinja2", "google": "wandb", "boto3": "moto"}
"""Modules whose objects another distribution takes or gives, and which come with it."""
PEERS = {"autorank", "nnunetv2"}
"""What a benchmark compares with, in an environment of its own."""
ALWAYS = {"pip", "medsweep"}
MADE_UP = {"madeup"}
OWN = {
    part
    for folder in AROUND
    for file in (ROOT / folder).rglob("*.py")
    for part in file.relative_to(ROOT).with_suffix("").parts
}
RUN = re.compile(r'executable,\s*"-m",\s*"(\w+)|importorskip\("(\w+)')


def normal(requirement: str) -> str:
    """Name of a distribution without its extras and versions, as the index spells it."""
    name = re.match(r"[\w.-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def imported(block: ast.AST) -> Iterator[str]:
    """Top modules of the imports in a block and in the blocks within it."""
    for node in ast.iter_child_nodes(block):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module).partition(".")[0]
        elif isinstance(node, ast.stmt | ast.excepthandler):
            yield from imported(node)


def unnamed(folders: tuple[str, ...], known: set[str]) -> list[str]:
    """Modules that files below the folders import or run, and whose distribution is not in ``known``."""
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    left_out = {*OWN, *ALWAYS, *MADE_UP, *PEERS, *sys.stdlib_module_names}
    found: dict[str, str] = {}
    for file in files:
        text = file.read_text(encoding="utf-8")
        run = {first or second for first, second in RUN.findall(text)}
        for module in {*imported(ast.parse(text)), *run} - left_out:
            found[module] = str(file.relative_to(ROOT))
    named = {module: normal(PART_OF.get(module, NAMES.get(module, module))) for module in found}
    return sorted(f"{found[module]}: {module}" for module, name in named.items() if name not in known)


def required(*extras: str) -> set[str]:
    """Distributions that medsweep requires, and those of some of its extras."""
    groups = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    return {normal(requirement) for group in groups for requirement in group}


def test_the_product_names_what_it_imports() -> None:
    own = set(PROJECT["optional-dependencies"]) - {"dev"}
    assert unnamed(PRODUCT, required(*own) | {"pytest"}) == [], "pytest is for who tests a network by the contract"


@pytest.mark.parametrize("folder", AROUND)
def test_the_development_extra_names_what_else_is_imported_or_run(folder: str) -> None:
    assert unnamed((folder,), required("dev")) == []


def test_what_is_left_out_is_there() -> None:
    texts = "".join(file.read_text() for folder in (*PRODUCT, *AROUND) for file in (ROOT / folder).rglob("*.py"))
    left_out = {*NAMES, *PART_OF, *PEERS, *MADE_UP}
    assert {name for name in left_out if not re.search(rf"(from|import) {name}\b", texts)} == set()
