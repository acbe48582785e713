"""Digest and lineage: the address of a trial, equal exactly when the same work would be done again."""

import hashlib
import json
import math
from collections.abc import Mapping
from functools import cache, lru_cache
from json.encoder import encode_basestring_ascii as _quoted
from pathlib import Path
from typing import Any, Generic, TypeVar

from medsweep.config import EXTENT, LATER, NOT_IDENTITY, Config

V = TypeVar("V")
_AS_THEY_ARE = (str, int, float, bool, type(None))
_NEVER_CONFIGS = frozenset({*_AS_THEY_ARE, tuple, list, dict})
_CONSTANTS = {None: "null", True: "true", False: "false"}
_ALWAYS = object()
"""No value equals it: of a field that is never left out."""
SHOWN = 16
"""Hex digits of a digest that people see; the store keeps all 64."""


def short(digest: str) -> str:
    """The part of a digest that is shown to people."""
    return digest[:SHOWN]


def identity(value: object, *, extent: bool = True) -> Any:
    """The JSON form of everything in a config, or a nest of mappings and sequences, that decides what is computed.

    Without ``extent``, fields marked ``EXTENT`` are left out, so that pools of any size look alike. Fields marked
    ``LATER`` are left out while they have their default.

    Raises:
        TypeError: a value has no stable text form (a set, an object, a function).
    """
    if type(value) in _AS_THEY_ARE:  # most of what there is, and thousands of arms are planned at a time
        return value
    if isinstance(value, Config):
        return (_kept if value.identity_is_kept else _of_config)(value, extent)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): identity(item, extent=extent) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [identity(item, extent=extent) for item in value]
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"{type(value).__name__} has no stable text form, so it cannot be part of a digest: {value!r}")


def _of_config(value: Config, extent: bool) -> dict[str, Any]:
    fields = {name: getattr(value, name) for name in _names(type(value), extent)}
    neutral = _neutral(type(value))
    return {
        name: identity(item, extent=extent)
        for name, item in fields.items()
        if name not in neutral or item != neutral[name]
    }


_kept = lru_cache(maxsize=4096)(_of_config)


@cache
def _names(model: type[Config], extent: bool) -> tuple[str, ...]:
    left_out = model.fields_marked(NOT_IDENTITY) | (frozenset() if extent else model.fields_marked(EXTENT))
    return tuple(name for name in model.model_fields if name not in left_out)


@cache
def _neutral(model: type[Config]) -> dict[str, Any]:
    """Defaults of the fields that came later."""
    return {name: model.model_fields[name].default for name in model.fields_marked(LATER)}


def canonical(value: object, *, extent: bool = True) -> str:
    """Canonical JSON text of ``identity(value)``.

    Raises:
        ValueError: the value contains NaN or infinity.
    """
    return _text(value, extent)


class Same(Generic[V]):
    """A value that is equal to itself alone, which is quick to find out; thousands of arms have sections in common."""

    def __init__(self, value: V) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.value is self.value


def _text(value: Any, extent: bool) -> str:
    """As ``json.dumps`` writes ``identity(value)`` with sorted keys, without the nest of dicts in between.

    Thousands of arms are planned at a time, and most of what they take is this text.
    """
    kind = type(value)
    if kind is str:
        return _quoted(value)
    if kind is bool or value is None:
        return _CONSTANTS[value]
    if kind is int or (kind is float and math.isfinite(value)):
        return repr(value)
    if kind not in _NEVER_CONFIGS and isinstance(value, Config):
        return (_kept_text if value.identity_is_kept else _text_of_config)(value, extent)
    return _text_of_others(value, extent)


def _text_of_others(value: Any, extent: bool) -> str:
    if type(value) is dict:
        items = {str(key): item for key, item in value.items()}
        return f"{{{','.join([f'{_quoted(key)}:{_text(items[key], extent)}' for key in sorted(items)])}}}"
    if type(value) in (list, tuple):
        return f"[{','.join([_text(item, extent) for item in value])}]"
    return json.dumps(identity(value, extent=extent), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _text_of_config(value: Config, extent: bool) -> str:
    parts = []
    for name, key, neutral in _keys(type(value), extent):
        item = getattr(value, name)
        if neutral is _ALWAYS or item != neutral:
            is_part = type(item) not in _NEVER_CONFIGS and isinstance(item, Config)
            parts.append(key + (_text_of_part(Same(item), extent) if is_part else _text(item, extent)))
    return f"{{{','.join(parts)}}}"


@lru_cache(maxsize=256)
def _text_of_part(same: Same[Config], extent: bool) -> str:
    """Of a config inside others, as a fold is in those of all trials."""
    return _text(same.value, extent)


_kept_text = lru_cache(maxsize=4096)(_text_of_config)


def has_extent(value: Config) -> bool:
    """Whether ``extent`` makes a difference to the identity of ``value``: whether a config in it has such a field."""
    items = [item for item in vars(value).values() if type(item) not in _AS_THEY_ARE]
    return bool(_marked(type(value))) or any(map(_holds_extent, items))


def _holds_extent(value: object) -> bool:
    if type(value) in _AS_THEY_ARE:
        return False
    if isinstance(value, Config):
        return _part_has_extent(Same(value))
    if isinstance(value, Mapping):
        return any(map(_holds_extent, value.values()))
    return isinstance(value, list | tuple) and any(map(_holds_extent, value))


@lru_cache(maxsize=256)
def _part_has_extent(same: Same[Config]) -> bool:
    return has_extent(same.value)


@cache
def _marked(model: type[Config]) -> frozenset[str]:
    return model.fields_marked(EXTENT)


@cache
def _keys(model: type[Config], extent: bool) -> tuple[tuple[str, str, Any], ...]:
    """Names of the fields in the order of the text, each as a JSON key, with the value that is left out."""
    neutral = _neutral(model)
    return tuple((name, f"{_quoted(name)}:", neutral.get(name, _ALWAYS)) for name in sorted(_names(model, extent)))


def digest_of(
    stage: str, version: int, config: Config, reads: Mapping[str, str], *, extent: bool = True, text: str | None = None
) -> str:
    """sha256 over stage, stage version, whole resolved config and what is read; 64 hex digits.

    ``reads`` has the digest of the input trial by role, or its lineage where only a stated prefix is read. Without
    ``extent`` it is the lineage, which is shared by all sizes of one sequence. ``text`` is what ``canonical`` writes of
    the config where that is known.
    """
    written = canonical(config, extent=extent) if text is None else text
    rest = canonical({"inputs": reads, "stage": stage, "version": version})
    # The keys in their order, as canonical would write all four.
    return hashlib.sha256(f'{{"config":{written},{rest[1:]}'.encode()).hexdigest()


def derive_seed(*parts: str | int) -> int:
    """A seed in [0, 2**63) that depends on every part and on nothing else.

    Stages derive theirs from replicate, fold and purpose, so that arms of one replicate share initial weights and
    batch order (paired runs), and adding an arm changes no other arm.
    """
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
