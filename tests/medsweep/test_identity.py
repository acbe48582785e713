"""Digest and lineage: equal exactly when the same work would be done."""

import json
from collections import OrderedDict
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from medsweep.config import EXTENT, LATER, NOT_IDENTITY, Config
from medsweep.identity import canonical, derive_seed, digest_of, has_extent, identity


class Inner(Config):
    rate: float = 0.5
    workers: Annotated[int, NOT_IDENTITY] = 2


class Outer(Config):
    steps: int = 3
    inner: Inner = Inner()
    count: Annotated[int, EXTENT] = 10


def test_a_field_that_is_not_identity_changes_nothing_at_any_depth() -> None:
    assert canonical(Outer(inner=Inner(workers=9))) == canonical(Outer())
    assert "workers" not in canonical(Outer())


class Before(Config):
    steps: int = 3


class After(Before):
    snapshots: Annotated[int, LATER] = 0


def test_a_field_that_came_later_leaves_the_old_address_while_it_has_its_default() -> None:
    assert canonical({"a": [After()]}) == canonical({"a": [Before()]})
    assert canonical(After(snapshots=5)) == '{"snapshots":5,"steps":3}'


def test_every_other_field_changes_the_digest_defaults_included() -> None:
    base = digest_of("s", 1, Outer(), {})
    assert digest_of("s", 1, Outer(steps=4), {}) != base
    assert digest_of("s", 1, Outer(inner=Inner(rate=0.25)), {}) != base
    assert digest_of("s", 2, Outer(), {}) != base
    assert digest_of("t", 1, Outer(), {}) != base
    assert digest_of("s", 1, Outer(), {"a": "x"}) != base


def test_the_lineage_is_shared_by_all_sizes_and_the_digest_is_not() -> None:
    small, large = Outer(count=10), Outer(count=20)
    assert digest_of("s", 1, small, {}) != digest_of("s", 1, large, {})
    assert digest_of("s", 1, small, {}, extent=False) == digest_of("s", 1, large, {}, extent=False)


def test_a_whole_number_given_for_a_float_is_the_same_config() -> None:
    assert canonical(Inner.model_validate_json('{"rate": 1}')) == canonical(Inner(rate=1.0))


def test_a_value_without_stable_text_is_refused() -> None:
    with pytest.raises(TypeError, match="set has no stable text form"):
        identity({"a": {1, 2}})
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"a": float("nan")})


class Kept(Config):
    names: tuple[str, ...] = ()

    identity_is_kept = True


class Deep(Config):
    outer: Outer = Outer()
    kept: Kept = Kept()
    share: Annotated[float | None, LATER] = 0.5
    given: dict[str, Any] = Field(default={})
    path: Path = Path("a/b")


_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=4)
)
_PLAIN = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
_DEEP = st.builds(
    lambda share, given, count, names, path: Deep.model_construct(
        share=share, given=given, outer=Outer(count=count), kept=Kept(names=tuple(names)), path=path
    ),
    st.one_of(st.none(), st.floats(0, 1)),
    st.dictionaries(st.text(max_size=3), _PLAIN, max_size=3),
    st.integers(0, 9),
    st.lists(st.text(max_size=3), max_size=2),
    st.sampled_from([Path("a/b"), Path("/c")]),
)


@given(st.one_of(_PLAIN, _DEEP, st.lists(_DEEP, max_size=2), st.dictionaries(st.integers(0, 3), _DEEP, max_size=2)))
def test_the_text_is_that_of_the_identity_as_json_sorts_it(value: object) -> None:
    for extent in (True, False):
        nest = identity(value, extent=extent)
        assert canonical(value, extent=extent) == json.dumps(nest, sort_keys=True, separators=(",", ":"))


@given(_DEEP)
def test_a_config_without_extent_has_one_text_and_one_with_it_has_two(value: Deep) -> None:
    assert has_extent(value)
    assert canonical(value) != canonical(value, extent=False)
    bare = value.model_copy(update={"outer": None})
    assert not has_extent(bare)
    assert canonical(bare) == canonical(bare, extent=False)
    assert has_extent(bare.model_copy(update={"given": {"a": [value.outer]}}))


@pytest.mark.parametrize("value", [np.float64(0.1), IntEnum("Number", ["one"])(1), OrderedDict(b=1, a=(2,)), True])
def test_the_text_of_kinds_of_numbers_and_mappings_is_that_of_json(value: object) -> None:
    assert canonical({"a": value}) == json.dumps(identity({"a": value}), sort_keys=True, separators=(",", ":"))


@given(st.lists(st.one_of(st.integers(), st.text(max_size=5)), min_size=1, max_size=4))
def test_seeds_are_stable_and_in_range(parts: list[str | int]) -> None:
    assert derive_seed(*parts) == derive_seed(*parts)
    assert 0 <= derive_seed(*parts) < 2**63


def test_seeds_depend_on_order_and_every_part() -> None:
    assert len({derive_seed("a", 1), derive_seed(1, "a"), derive_seed("a", 2), derive_seed("a")}) == 4


def test_the_seed_of_known_parts_never_changes() -> None:
    """Published results depend on it."""
    assert derive_seed("segment", 0, 1) == 2161449710958289667
