"""Corrections for all pairs against their definitions, by brute force."""

import itertools
import math
from collections import Counter

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given as randomly
from hypothesis import settings

from medsweep.analysis.stats.adjust import (
    LARGEST_POOL,
    bergmann_hommel,
    holm,
    holm_pairs,
    shaffer,
    symmetric,
    true_counts,
    upper,
)
from medsweep.errors import UserError


@st.composite
def pair_matrices(draw, largest=6):
    k = draw(st.integers(2, largest))
    size = k * (k - 1) // 2
    values = st.integers(0, 1000).map(lambda i: (i / 1000) ** 3)
    return symmetric(np.array(draw(st.lists(values, min_size=size, max_size=size))), k)


def set_partitions(items):
    """Every way to part the items, by the textbook recursion."""
    if not items:
        yield []
        return
    for smaller in set_partitions(items[1:]):
        yield [[items[0]], *smaller]
        for i, block in enumerate(smaller):
            yield [*smaller[:i], [items[0], *block], *smaller[i + 1 :]]


@randomly(pair_matrices())
@settings(max_examples=40, deadline=None)
def test_each_procedure_is_at_least_as_sharp_as_the_one_before(p):
    m = len(upper(p))
    bonferroni = np.minimum(1, m * upper(p))
    chain = [bonferroni, upper(holm_pairs(p)), upper(shaffer(p)), upper(bergmann_hommel(p)), upper(p)]
    for blunter, sharper in itertools.pairwise(chain):
        assert (sharper <= blunter + 1e-12).all()
    assert holm_pairs(p)[0, 1] == pytest.approx(holm(upper(p).tolist())[0])


@randomly(pair_matrices(5))
@settings(max_examples=40, deadline=None)
def test_bergmann_hommel_is_its_definition(p):
    k = len(p)
    pairs = list(itertools.combinations(range(k), 2))
    worst = Counter()
    for blocks in set_partitions(list(range(k))):
        equal = [pair for pair in pairs if any(set(pair) <= set(block) for block in blocks)]
        for pair in equal:
            worst[pair] = max(worst[pair], len(equal) * min(p[i, j] for i, j in equal))
    assert upper(bergmann_hommel(p)) == pytest.approx([min(1, worst[pair]) for pair in pairs])


@randomly(pair_matrices(5), st.permutations(range(5)))
@settings(max_examples=20, deadline=None)
def test_relabelling_arms_permutes_the_result(p, order):
    order = [i for i in order if i < len(p)]
    for procedure in (holm_pairs, shaffer, bergmann_hommel):
        assert procedure(p[np.ix_(order, order)]) == pytest.approx(procedure(p)[np.ix_(order, order)])


@pytest.mark.parametrize(
    ("k", "counts"), [(2, {0, 1}), (3, {0, 1, 3}), (4, {0, 1, 2, 3, 6}), (5, {0, 1, 2, 3, 4, 6, 10})]
)
def test_equalities_that_can_hold_at_once_as_shaffer_lists_them(k, counts):
    assert true_counts(k) == counts


def test_shaffer_of_three_arms_is_fishers_protected_step():
    # after one of three equalities has fallen, at most one other can hold
    p = symmetric(np.array([0.01, 0.02, 0.04]), 3)
    assert upper(shaffer(p)) == pytest.approx([0.03, 0.03, 0.04])
    assert upper(bergmann_hommel(p)) == pytest.approx([0.03, 0.03, 0.04])


def test_ten_arms_are_feasible_and_eleven_say_what_to_write():
    rng = np.random.default_rng(0)
    ten = bergmann_hommel(symmetric(rng.random(45) ** 4, LARGEST_POOL))
    assert (ten == ten.T).all()
    with pytest.raises(UserError, match="up to 10 arms, got 11; write shaffer instead"):
        bergmann_hommel(np.ones((11, 11)))
    assert shaffer(symmetric(rng.random(190) ** 4, 20)).shape == (20, 20)


@pytest.mark.parametrize("procedure", [holm_pairs, shaffer, bergmann_hommel])
def test_a_missing_p_stays_missing_and_counts(procedure):
    whole, holed = symmetric(np.array([0.001, 0.02, 1.0]), 3), symmetric(np.array([0.001, 0.02, math.nan]), 3)
    assert upper(procedure(holed))[:2] == pytest.approx(upper(procedure(whole))[:2])
    assert math.isnan(procedure(holed)[1, 2])


def test_what_is_no_matrix_of_pairs_is_refused():
    with pytest.raises(ValueError, match=r"square matrix, got shape \(2, 3\)"):
        shaffer(np.ones((2, 3)))
    with pytest.raises(ValueError, match="symmetric"):
        bergmann_hommel(np.array([[1, 0.2], [0.3, 1]]))
