"""Counts what the house is measured by: floors, circles, names used twice, lines.

``python tools/house.py [FOLDER]`` prints one line per count for the checkout in FOLDER (this one by default). Nothing
of the project is imported: files are read as text. ``tests/test_house.py`` holds the counts that must be zero.
"""

import argparse
import ast
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

PACKAGES = ("medsweep", "trainers", "analysis")
Edges = Mapping[tuple[str, str], int]
"""Number of imports by (importer, imported)."""


def module_name(path: Path) -> str:
    """Dotted name of a file below the root, as it is imported: the two packages beside medsweep are installed in it."""
    parts = path.with_suffix("").parts
    return ".".join(("medsweep",) * (parts[0] != "medsweep") + parts[: -1 if parts[-1] == "__init__" else None])


def modules(root: Path) -> dict[str, Path]:
    """All modules of the three packages by dotted name."""
    files = (path for package in PACKAGES for path in sorted((root / package).rglob("*.py")))
    return {module_name(path.relative_to(root)): path for path in files}


def imported(path: Path, known: Iterable[str]) -> set[str]:
    """Modules of the project that a file imports, wherever in it, type checking included."""
    known, found = set(known), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & known or {node.module}
            found |= {node.module} if any(name not in known for name in inner) else set()
    return found & known


def graph(root: Path) -> dict[str, set[str]]:
    """The modules that each module imports."""
    known = modules(root)
    return {name: imported(path, known) - {name} for name, path in known.items()}


def folders(arrows: Mapping[str, set[str]]) -> dict[str, Edges]:
    """For each folder, the imports between the rooms in it: its files, and its folders as a whole."""
    levels: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for source, targets in arrows.items():
        for target in targets:
            left, right = source.split("."), target.split(".")
            shared = sum(
                1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False))
            )
            if 0 < shared < min(len(left), len(right)):
                levels[".".join(left[:shared])][left[shared], right[shared]] += 1
    return dict(levels)


def circles(edges: Edges) -> list[set[str]]:
    """Groups of rooms that reach each other."""
    reach = {room: {room} for pair in edges for room in pair}
    for _ in reach:
        for source, target in edges:
            reach[source] |= reach[target]
    groups = {frozenset(other for other in reach[room] if room in reach[other]) for room in reach}
    return [set(group) for group in groups if len(group) > 1]


def upward(edges: Edges) -> int:
    """Imports that run back up whatever the order of the floors: the fewest over all orders (a good one above 8)."""
    return sum(_least({pair: n for pair, n in edges.items() if set(pair) <= group}, group) for group in circles(edges))


def _least(edges: Edges, group: set[str]) -> int:
    def cost(order: Sequence[str]) -> int:
        floor = {room: number for number, room in enumerate(order)}
        return sum(n for (source, target), n in edges.items() if floor[source] < floor[target])

    if len(group) <= 8:
        return min(cost(order) for order in itertools.permutations(sorted(group)))
    order = sorted(group)
    for _ in range(len(order)):
        for room in sorted(group):
            rest = [other for other in order if other != room]
            order = min(([*rest[:at], room, *rest[at:]] for at in range(len(order))), key=cost)
    return cost(order)


def public_classes(root: Path) -> dict[str, list[str]]:
    """Modules that define each public class name."""
    places: dict[str, list[str]] = defaultdict(list)
    for name, path in modules(root).items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(name)
    return dict(places)


def names_used_twice(root: Path) -> dict[str, list[str]]:
    """Public class names that more than one module defines."""
    return {name: places for name, places in sorted(public_classes(root).items()) if len(places) > 1}


def tops(root: Path) -> dict[str, int]:
    """Rooms at the top of each package: its files and folders of code."""
    return {
        package: sum(
            1
            for path in (root / package).iterdir()
            if (path.suffix == ".py" and path.name != "__init__.py") or (path.is_dir() and any(path.rglob("*.py")))
        )
        for package in PACKAGES
    }


def lines(root: Path) -> dict[str, int]:
    """Lines of Python of each package."""
    texts: dict[str, int] = dict.fromkeys(PACKAGES, 0)
    for path in modules(root).values():
        texts[path.relative_to(root).parts[0]] += len(path.read_text(encoding="utf-8").splitlines())
    return texts


def _in_words(counts: Mapping[str, int]) -> str:
    return f"{sum(counts.values())} ({', '.join(f'{name} {count}' for name, count in counts.items())})"


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parents[1])
    root = parser.parse_args().folder
    levels = folders(graph(root))
    back = {folder: count for folder, edges in sorted(levels.items()) if (count := upward(edges))}
    tied = {folder: groups for folder, edges in sorted(levels.items()) if (groups := circles(edges))}
    twice = names_used_twice(root)
    print(f"imports that run back up inside a package: {_in_words(back) if back else 0}")
    print(f"circles of rooms: {sum(map(len, tied.values()))}")
    for folder, groups in tied.items():
        for group in groups:
            print(f"  in {folder}: {', '.join(sorted(group))}")
    print(f"rooms at the top: {_in_words(tops(root))}")
    print(f"public class names used twice: {len(twice)}{': ' if twice else ''}{', '.join(twice)}")
    print(f"lines: {_in_words(lines(root))}")


if __name__ == "__main__":
    main()
