"""Folds: a partition of patients that depends on ids and seed alone, with nested small training sets."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from medsweep.data.folds import Fold, Split, split

PATIENTS = st.sets(st.text("abc0123456789", min_size=1, max_size=6), min_size=6, max_size=30)


@settings(max_examples=60, deadline=None)
@given(patients=PATIENTS, folds=st.integers(2, 6), seed=st.integers(0, 9))
def test_every_patient_is_tested_exactly_once(patients, folds, seed):
    parts = [split(sorted(patients), Fold(index=i, of=folds, seed=seed)) for i in range(folds)]
    tested = [patient for part in parts for patient in part.test]
    assert sorted(tested) == sorted(patients)
    assert all(set(part.train) == patients - set(part.test) for part in parts)
    assert max(len(part.test) for part in parts) - min(len(part.test) for part in parts) <= 1


@settings(max_examples=60, deadline=None)
@given(patients=PATIENTS, data=st.data())
def test_small_training_sets_are_nested_and_share_the_test_part(patients, data):
    fold = {"index": 1, "of": 3, "seed": 5}
    room = len(split(sorted(patients), Fold(**fold)).train)
    small, large = sorted(data.draw(st.lists(st.integers(1, room), min_size=2, max_size=2)))
    a, b = (split(sorted(patients), Fold(**fold, patients=count)) for count in (small, large))
    assert len(a.train) == small
    assert set(a.train) <= set(b.train)
    assert a.test == b.test


@settings(max_examples=30, deadline=None)
@given(patients=PATIENTS, data=st.data())
def test_the_order_of_the_list_does_not_matter(patients, data):
    shuffled = data.draw(st.permutations(sorted(patients)))
    fold = Fold(index=0, of=3, patients=3)
    assert split(shuffled, fold) == split(sorted(patients), fold)


def test_another_seed_gives_other_folds():
    patients = [f"p{i}" for i in range(30)]
    assert split(patients, Fold(index=0, of=3)) != split(patients, Fold(index=0, of=3, seed=1))


def test_the_small_training_set_is_drawn_and_not_the_head_of_the_list():
    patients = [f"p{i:02}" for i in range(30)]
    fold = {"index": 0, "of": 3, "seed": 2}
    everyone, drawn = (split(patients, Fold(**fold, patients=count)).train for count in (None, 6))
    assert drawn not in (everyone[:6], everyone[-6:])


def test_a_patient_named_twice_counts_once():
    assert split(["a", "b", "b", "c"], Fold(index=0, of=3)) == split(["a", "b", "c"], Fold(index=0, of=3))


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(ValueError, match="2 patients cannot fill 3 folds"):
        split(["a", "b"], Fold(index=0, of=3))
    with pytest.raises(ValueError, match=r"asks for 9 training patients, the fold has 2"):
        split(["a", "b", "c"], Fold(index=0, of=3, patients=9))
    with pytest.raises(ValidationError, match="must be below"):
        Fold(index=3, of=3)
    with pytest.raises(ValueError, match="both trained on and tested on"):
        Split(train=("a", "b"), test=("b",))
