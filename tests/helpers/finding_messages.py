"""Every message that the data room's code can tell of a case or a dataset, read from the code itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOM = Path(__file__).parents[2] / "medsweep" / "data"
LEVELS = ("error", "warning", "note")
REFUSING = ("content.py", "header.py", "itk.py", "itk_head.py", "nifti.py", "volumes.py")
"""Files whose ``UserError`` becomes the finding of a case."""

GAP = "…"
"""Stands for what a message fills in."""


def messages() -> dict[tuple[str, str], str]:
    """Level and message, and the file that tells it; what the message fills in is a gap."""
    found: dict[tuple[str, str], str] = {}
    for path in sorted(ROOM.rglob("*.py")):
        if "phantom" in path.parts:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            for level, text in _told(function, tree, path.name):
                if sum(letter.isalpha() for letter in text) >= 2:
                    found[level, text] = str(path.relative_to(ROOM))
    return found


def _told(function: ast.FunctionDef, tree: ast.Module, file: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) >= 1:
            if node.func.id == "Finding" and len(node.args) == 4:
                yield from ((_level(node.args[0]), text) for text in _texts(node.args[3], function, tree))
            elif node.func.id == "UserError" and file in REFUSING:
                yield from (("error", text) for text in _texts(node.args[0], function, tree))
        elif isinstance(node, ast.Tuple) and len(node.elts) in (2, 3) and _level(node.elts[0]) in LEVELS:
            yield from ((_level(node.elts[0]), text) for text in _texts(node.elts[-1], function, tree))


def _level(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else "any"


def _texts(node: ast.expr, function: ast.FunctionDef, tree: ast.Module) -> list[str]:  # noqa: PLR0911
    """What an expression may say: a name what the function gives it, a call what the called function returns."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.JoinedStr):
        return ["".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)]
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body, function, tree), *_texts(node.orelse, function, tree)]
    if isinstance(node, ast.Name):
        assigned = (assign for assign in ast.walk(function) if isinstance(assign, ast.Assign))
        given = [assign.value for assign in assigned if any(_is(target, node.id) for target in assign.targets)]
        return [text for value in given for text in _texts(value, function, tree)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        called = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef) and one.name == node.func.id]
        returned = [(end.value, one) for one in called for end in ast.walk(one) if isinstance(end, ast.Return)]
        return [text for value, one in returned if value is not None for text in _texts(value, one, tree)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "replace":
        return _texts(node.func.value, function, tree)
    return []


def _is(target: ast.expr, name: str) -> bool:
    return isinstance(target, ast.Name) and target.id == name
