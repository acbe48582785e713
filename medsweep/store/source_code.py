"""Which source files a published result depends on, and which of them read differently today.

A manifest keeps a hash per file, so that a later look can name the files. This is told to people as a note. What is
run again is decided by the stage's version alone, since most edits of a file change no result.
"""

import ast
import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.util import resolve_name
from pathlib import Path
from typing import Any, Final

PROJECT: Final = __name__.partition(".")[0]
HEX_DIGITS: Final = 16


def source_hashes(function: Callable[..., Any]) -> dict[str, str]:
    """Hash of each project file that the module of ``function`` imports, directly or through others, and of its own.

    Names are those of the modules written as paths, such as ``medsweep/data/slices.py``, so that an installation and a
    checkout agree. Imports inside functions count. Empty for a function whose source is no file.
    """
    return dict(_hashes_from(function.__module__))


@cache
def _hashes_from(module: str) -> dict[str, str]:
    """Worked out once per process: files that are edited while it runs are not what it imported."""
    hashes: dict[str, str] = {}
    todo, seen = [module], {module}
    while todo:
        name = todo.pop()
        for path in _candidates(name):
            if (content_hash := _hash(path)) is not None:
                hashes[path] = content_hash
                imported = _imported_by(path, name)
                todo += imported - seen
                seen |= imported
    return dict(sorted(hashes.items()))


def changed_files(recorded: Mapping[str, str]) -> list[str]:
    """Names out of ``source_hashes`` whose files differ from what was recorded, or are gone.

    A file that joined the imports since then shows through the file that imports it.
    """
    return [path for path, content_hash in recorded.items() if _hash(path) != content_hash]


def _candidates(module: str) -> tuple[str, str]:
    path = module.replace(".", "/")
    return f"{path}.py", f"{path}/__init__.py"


@cache
def _hash(path: str) -> str | None:
    content = _read(path)
    return None if content is None else hashlib.sha256(content).hexdigest()[:HEX_DIGITS]


def _read(path: str) -> bytes | None:
    """A file by its path below the folder of its top package; None where there is none."""
    top, _, rest = path.partition("/")
    for folder in getattr(sys.modules.get(top), "__path__", ()):
        try:
            return (Path(folder) / rest).read_bytes()
        except OSError:
            continue
    return None


@cache
def _imported_by(path: str, module: str) -> set[str]:
    """Modules of the project, or of the importer's own top package, that a file names in its imports."""
    package = module if path.endswith("/__init__.py") else module.rpartition(".")[0]
    ours = (PROJECT, module.partition(".")[0])
    names = _import_names(ast.parse(_read(path) or b""), package)
    return {name for name in names if name.partition(".")[0] in ours}


def _import_names(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = resolve_name("." * node.level + base, package)
            yield base
            # ``from package import name`` may name a module or something inside the package's own file.
            yield from (f"{base}.{alias.name}" for alias in node.names)
