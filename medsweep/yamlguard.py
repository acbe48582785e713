"""What YAML can do and no file here needs: tags of other languages, nesting without end, aliases that explode."""

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent

from medsweep.errors import UserError

DEEPEST = 64
"""Levels of nesting that a file may have."""
LARGEST = 100_000
"""Values that a file with aliases may come to."""
OWN_TAGS = frozenset({"str", "int", "float", "bool", "null", "map", "seq", "!"})
_TAG, _ANCHOR = re.compile(r"(^|[\s\[{,:-])!\S"), re.compile(r"(^|[\s\[{,:-])&\S")
_NESTING = re.compile(r"[\[\]{}]|^[ \t?-]+", re.MULTILINE)


def _is_unusual(text: str) -> bool:
    """Whether a text may hold tags, aliases or deep nesting: cheap, and now and then wrong in saying so."""
    if _TAG.search(text) or (_ANCHOR.search(text) and "*" in text):
        return True
    level = deepest = 0
    for match in _NESTING.finditer(text):
        sign = match[0][-1]
        level += 1 if sign in "[{" else -1 if sign in "]}" else 0
        deepest = max(deepest, level, len(match[0]) // 2 if sign not in "[]{}" else 0)
    return deepest > DEEPEST


def require_plain(text: str, path: Path) -> None:
    """Refuse what would be slow, large or foreign once it is built, from the stream of its events.

    Raises:
        UserError: a tag that is not YAML's own, too deep nesting, or aliases that stand for too much.
    """
    if not _is_unusual(text):
        return
    sizes: dict[str, int] = {}
    open_nodes: list[list[Any]] = [["", 0]]  # anchor and nodes so far of each collection that is being read
    for event in YAML().parse(text):
        where = f"{path}:{event.start_mark.line + 1}"
        if isinstance(event, AliasEvent):
            size = sizes.get(event.anchor, LARGEST + 1 if event.anchor in [name for name, _ in open_nodes] else 0)
            open_nodes[-1][1] += size
        elif isinstance(event, NodeEvent):
            tag = str(getattr(event, "tag", None) or "")
            if tag and tag.removeprefix("tag:yaml.org,2002:") not in OWN_TAGS:
                raise UserError(f"{where}: the tag {tag} means nothing here; write plain values")
            open_nodes[-1][1] += 1
            if isinstance(event, CollectionStartEvent):
                open_nodes.append([event.anchor or "", 0])
            elif event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, CollectionEndEvent):
            anchor, size = open_nodes.pop()
            open_nodes[-1][1] += size
            if anchor:
                sizes[anchor] = size
        if len(open_nodes) - 1 > DEEPEST:
            raise UserError(
                f"{where}: nested deeper than {DEEPEST} levels; no {path.suffix or 'YAML'} file here needs that"
            )
        if open_nodes[-1][1] > LARGEST:
            raise UserError(f"{where}: its aliases stand for more than {LARGEST:,} values; write fewer of them")
