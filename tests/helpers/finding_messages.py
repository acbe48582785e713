"""Every message that the data room's code can tell of a case or a dataset, read from the code itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOM = Path(__file__).parents[2] / "medsweep" / "data"
LEVELS = ("error", "warning", "note")
REFUSING = ("content.py", "header.py", "nifti.py", "volumes.py")
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
            for level, text in _told(function, path.name):
                if sum(letter.isalpha() for letter in text) >= 8:
                    found[level, text] = str(path.relative_to(ROOM))
    return found


def _told(function: ast.FunctionDef, file: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) >= 1:
            if node.func.id == "Finding" and len(node.args) == 4:
                yield from ((_level(node.args[0]), text) for text in _texts(node.args[3], function))
            elif node.func.id == "UserError" and file in REFUSING:
                yield from (("error", text) for text in _texts(node.args[0], function))
        elif isinstance(node, ast.Tuple) and len(node.elts) in (2, 3) and _level(node.elts[0]) in LEVELS:
            yield from ((_level(node.elts[0]), text) for text in _texts(node.elts[-1], function))


def _level(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else "any"


def _texts(node: ast.expr, function: ast.FunctionDef) -> list[str]:
    """What an expression may say; a name says whatever the function gives it."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.JoinedStr):
        return ["".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)]
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body, function), *_texts(node.orelse, function)]
    if isinstance(node, ast.Name):
        given = (
            assign.value
            for assign in ast.walk(function)
            if isinstance(assign, ast.Assign)
            and any(isinstance(t, ast.Name) and t.id == node.id for t in assign.targets)
        )
        return [text for value in given for text in _texts(value, function)]
    return []
