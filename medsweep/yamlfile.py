"""YAML 1.2 with the line of every key and value, so that an error can point at it."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from medsweep.errors import UserError, nearest
from medsweep.yamlguard import require_plain

Key = tuple[str | int, ...]
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class YamlFile:
    """Plain data of a YAML file and the line (from 1) on which each key or item stands."""

    path: Path
    data: dict[str, Any]
    lines: dict[Key, int]

    def where(self, key: Key) -> str:
        """``file:line`` of ``key``, as ``line`` has it."""
        return f"{self.path}:{self.line(key)}"

    def line(self, key: Key) -> int:
        """Line of ``key``, or of its nearest ancestor that the file contains."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)

    def error(self, key: Key, message: str) -> UserError:
        """A user error that begins with the place of ``key``."""
        return UserError(f"{self.where(key)}: {message}")


def read_yaml(path: Path, kind: str = "sweep", *, keep_unset: bool = False) -> YamlFile:
    """Read a YAML mapping; ``${NAME}`` in a string is replaced by the environment variable NAME.

    With ``keep_unset`` a variable that is not set stays as it is written.

    Raises:
        UserError: no such file, not YAML, not a mapping, a repeated key, a tag of another language, what is nested too
            deep or grows too large by its aliases, or a variable that is not set.
    """
    plain, lines = _loaded(path, kind)
    return YamlFile(path, _expanded(plain, (), lines, path, keep_unset=keep_unset), lines)


def variables_of(path: Path) -> dict[str, str]:
    """Names of the environment variables that a sweep file reads, each with its first place. Raises UserError, too."""
    plain, lines = _loaded(path, "sweep")
    places: dict[str, str] = {}
    todo: list[tuple[Key, Any]] = [((), plain)]
    while todo:
        key, node = todo.pop(0)
        below = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        todo += [((*key, name), item) for name, item in below]
        for name in _VARIABLE.findall(node) if isinstance(node, str) else ():
            places.setdefault(name, f"{path}:{lines.get(key, 1)}")
    return places


def _loaded(path: Path, kind: str) -> tuple[dict[str, Any], dict[Key, int]]:
    text = read_text(path, kind, "*.y*ml")
    try:
        require_plain(text, path)
        loaded = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        advice = _advice((text.splitlines() or [""])[min(line, len(text.splitlines())) - 1])
        problem = str(error.problem)
        if twice := re.match(r'found duplicate key "([^"]*)"', problem):
            problem, advice = f"the key {twice[1]!r} stands twice in one section", "; keep one of them"
        raise UserError(f"{path}:{line}: not valid YAML: {problem}{advice}") from None
    except YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None
    if loaded is None:
        raise UserError(f"{path} is empty; a {kind} file holds a mapping of keys")
    if not isinstance(loaded, CommentedMap):
        raise UserError(f"{path}:1: a {kind} file holds a mapping of keys, got {type(loaded).__name__}")
    lines: dict[Key, int] = {}
    return _plain(loaded, (), lines), lines


def _advice(line: str) -> str:
    """What to do about the usual mistakes in a line that is no YAML; empty where there is none of them."""
    if unquoted := re.search(r"(?<![\"'\w/-])[\w/-]*\{\w+\}[^\s,}]*", line):
        return f'; put text with braces in quotes, as "{unquoted[0]}"'
    return "; indent with spaces, not with a tab" if "\t" in line else ""


def read_text(path: Path, kind: str, pattern: str) -> str:
    """The text of a file that the user names; its neighbours match ``pattern``.

    Raises:
        UserError: no such file, or no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        beside = map(str, path.parent.glob(pattern))
        raise UserError(f"there is no {kind} file {path}; {nearest(str(path), beside)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as a text file: {error}") from None


def _plain(node: Any, key: Key, lines: dict[Key, int]) -> Any:
    if isinstance(node, CommentedMap):
        for name in node:
            lines[(*key, str(name))] = node.lc.key(name)[0] + 1 if name in node.lc.data else lines.get(key, 1)
        return {str(name): _plain(item, (*key, str(name)), lines) for name, item in node.items()}
    if isinstance(node, CommentedSeq):
        for number in range(len(node)):
            lines[(*key, number)] = node.lc.item(number)[0] + 1
        return [_plain(item, (*key, number), lines) for number, item in enumerate(node)]
    if isinstance(node, bool) or node is None:
        return node
    for kind in (int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return str(node)


def _expanded(node: Any, key: Key, lines: dict[Key, int], path: Path, *, keep_unset: bool) -> Any:
    if isinstance(node, dict):
        return {name: _expanded(item, (*key, name), lines, path, keep_unset=keep_unset) for name, item in node.items()}
    if isinstance(node, list):
        return [_expanded(item, (*key, at), lines, path, keep_unset=keep_unset) for at, item in enumerate(node)]
    if not isinstance(node, str):
        return node

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in os.environ and keep_unset:
            return match[0]
        if name not in os.environ:
            place = f"{path}:{lines.get(key, 1)}"
            raise UserError(f"{place}: the environment variable {name} is not set; begin the command with {name}=...")
        return os.environ[name]

    return _VARIABLE.sub(value, node)
