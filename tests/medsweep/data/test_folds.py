"""Folds: parts of patients that depend on ids and seed alone, with nested small training sets."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from medsweep.data.folds import Fold, Split, patients_of, split, unused_patients, with_all_patients
from medsweep.errors import UserError
from medsweep.identity import canonical
from medsweep.tracking.private import redacted

PATIENTS = st.sets(st.text("abc0123456789", min_size=1, max_size=6), min_size=6, max_size=30)
SCHEMES = st.sampled_from(
    [
        {"index": 1, "of": 3, "seed": 5},
        {"index": 0, "of": 3, "validation": 0.3},
        {"index": 2, "of": 3, "validation": 0.01},
        {"index": 7, "scheme": "hold-out", "test_share": 0.3},
        {"index": 0, "scheme": "hold-out", "test_share": 0.4, "validation": 0.2, "seed": 3},
    ]
)


@settings(max_examples=60, deadline=None)
@given(patients=PATIENTS, folds=st.integers(2, 6), seed=st.integers(0, 9), validation=st.sampled_from([0.0, 0.2]))
def test_k_fold_tests_every_patient_exactly_once(patients, folds, seed, validation):
    fold = {"of": folds, "seed": seed, "validation": validation}
    parts = [split(sorted(patients), Fold(index=i, **fold)) for i in range(folds)]
    tested = [patient for part in parts for patient in part.test]
    assert sorted(tested) == sorted(patients)
    assert all({*part.train, *part.validation, *part.test} == patients for part in parts)
    assert max(len(part.test) for part in parts) - min(len(part.test) for part in parts) <= 1


@settings(max_examples=40, deadline=None)
@given(patients=PATIENTS)
def test_with_a_fold_per_patient_one_is_left_out_at_a_time(patients):
    parts = [split(sorted(patients), Fold(index=i, of=len(patients))) for i in range(len(patients))]
    assert all(len(part.test) == 1 for part in parts)
    assert {patient for part in parts for patient in part.test} == patients


@settings(max_examples=80, deadline=None)
@given(patients=PATIENTS, scheme=SCHEMES, data=st.data())
def test_parts_are_apart_and_small_training_sets_nested_in_the_same_fold(patients, scheme, data):
    everyone = split(sorted(patients), Fold(**scheme))
    room = len(everyone.train)
    small, large = sorted(data.draw(st.lists(st.integers(1, room), min_size=2, max_size=2)))
    a, b = (split(sorted(patients), Fold(**scheme, patients=count)) for count in (small, large))
    assert (len(a.train), len(b.train)) == (small, large)
    assert set(a.train) <= set(b.train) <= set(everyone.train)
    assert (a.test, a.validation) == (b.test, b.validation) == (everyone.test, everyone.validation)
    for part in (a, everyone):
        assert not set(part.train) & {*part.validation, *part.test}
        assert not set(part.validation) & set(part.test)
    assert bool(everyone.validation) == ("validation" in scheme)


@settings(max_examples=30, deadline=None)
@given(patients=PATIENTS, scheme=SCHEMES, data=st.data())
def test_the_order_of_the_list_does_not_matter(patients, scheme, data):
    shuffled = data.draw(st.permutations(sorted(patients)))
    fold = Fold(**scheme, patients=1)
    assert split(shuffled, fold) == split(sorted(patients), fold)


def test_the_cut_of_a_k_fold_never_changes():
    found = split([f"case-{i}" for i in range(8)], Fold(index=1, of=4, seed=2, patients=3))
    assert found == Split(train=("case-0", "case-1", "case-2"), test=("case-3", "case-7"))


def test_validation_is_a_share_of_the_training_patients_and_leaves_small_sets_as_they_were():
    patients = [f"p{i}" for i in range(30)]
    without, half = (Fold(index=0, of=3, patients=9, validation=share) for share in (0.0, 0.5))
    assert len(split(patients, half).validation) == 10
    assert split(patients, half).train == split(patients, without).train
    assert split(patients, half).test == split(patients, without).test


def test_hold_outs_are_shuffles_of_their_own_whatever_their_number():
    patients = [f"p{i}" for i in range(30)]
    tests = [split(patients, Fold(index=i, scheme="hold-out", test_share=0.2)).test for i in range(10)]
    assert {len(test) for test in tests} == {6}
    assert len(set(tests)) == 10
    assert any(set(a) & set(b) for a in tests for b in tests if a != b)


def test_another_seed_gives_other_folds():
    patients = [f"p{i}" for i in range(30)]
    for scheme in ({"of": 3}, {"scheme": "hold-out", "test_share": 0.2}):
        assert split(patients, Fold(index=0, **scheme)) != split(patients, Fold(index=0, **scheme, seed=1))


def test_the_small_training_set_is_drawn_and_not_the_head_of_the_list():
    patients = [f"p{i:02}" for i in range(30)]
    fold = {"index": 0, "of": 3, "seed": 2}
    everyone, drawn = (split(patients, Fold(**fold, patients=count)).train for count in (None, 6))
    assert drawn not in (everyone[:6], everyone[-6:])


def test_unused_patients_are_the_training_patients_outside_the_small_set():
    patients, fold = [f"p{i:02}" for i in range(12)], Fold(index=0, of=3, patients=5)
    unused, everyone = unused_patients("this", patients, fold), with_all_patients(fold)
    assert sorted((*unused, *split(patients, fold).train)) == list(split(patients, everyone).train)
    with pytest.raises(UserError, match="this finds no training patient left out of the 8 in use"):
        unused_patients("this", patients, everyone)


def test_a_patient_named_twice_counts_once():
    assert split(["a", "b", "b", "c"], Fold(index=0, of=3)) == split(["a", "b", "c"], Fold(index=0, of=3))


def test_given_parts_are_taken_as_they_are_and_travel_with_the_config():
    parts = Split(train=("d", "b", "a"), validation=("c",), test=("e",))
    fold = Fold(index=0, scheme="file", given_patients=parts)
    assert parts.train == ("a", "b", "d")
    assert split("abcdef", fold) == parts
    small = split("abcdef", fold.model_copy(update={"patients": 2}))
    assert set(small.train) < set(parts.train)
    assert (len(small.train), small.validation, small.test) == (2, parts.validation, parts.test)
    assert Fold.model_validate_json(canonical(fold)) == fold
    other = Fold(index=0, scheme="file", given_patients=Split(train=("a", "b"), test=("e",)))
    assert canonical(other) != canonical(fold)


def test_given_ids_do_not_leave_the_host():
    parts = Split(train=("Miller",), validation=("Smith",), test=("Jones",))
    told = json.dumps(redacted({"fold": Fold(index=0, scheme="file", given_patients=parts).model_dump()}))
    assert '"scheme": "file"' in told
    assert not [name for name in ("Miller", "Smith", "Jones") if name in told]


@pytest.mark.parametrize(
    ("fold", "message"),
    [
        ({"of": 3}, "2 patients cannot fill 3 folds; lower replicates.folds"),
        ({"of": 2, "patients": 9}, "asks for 9 training patients, the fold has 1"),
        ({"of": 2, "validation": 0.1}, "share of 0.1 leaves none of the 1 training patients"),
        ({"scheme": "hold-out", "test_share": 0.9}, "test share of 0.9 leaves none of 2 patients"),
        (
            {"scheme": "file", "given_patients": Split(train=("p1",), test=("p3",))},
            "group 'test' names 'p3', which is no patient; did you mean",
        ),
    ],
)
def test_what_cannot_be_cut_is_refused(fold, message):
    with pytest.raises(ValueError, match=message):
        split(["p1", "p2"], Fold(index=0, **fold))


@pytest.mark.parametrize(
    ("fold", "message"),
    [
        ({"index": 3, "of": 3}, r"must be below the number of folds \(3\), got 3"),
        ({"index": 0}, "'k-fold' needs of"),
        ({"index": 0, "of": 3, "test_share": 0.2}, "'k-fold' does not read test_share"),
        ({"index": 0, "scheme": "hold-out"}, "'hold-out' needs test_share"),
        ({"index": 0, "scheme": "hold-out", "test_share": 0.2, "of": 3}, "'hold-out' does not read of"),
        ({"index": 0, "scheme": "file"}, "'file' needs given_patients"),
        (
            {
                "index": 0,
                "scheme": "file",
                "validation": 0.1,
                "given_patients": Split(train=("a",), validation=("b",), test=("c",)),
            },
            "no share of 0.1 is drawn",
        ),
    ],
)
def test_a_fold_holds_what_its_scheme_reads_and_no_more(fold, message):
    with pytest.raises(ValidationError, match=message):
        Fold(**fold)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": ("a", "b"), "test": ("b",)}, "'b' is in 'train' and in 'test'"),
        ({"train": ("a", "b"), "validation": ("b",), "test": ("c",)}, "'b' is in 'train' and in 'validation'"),
        ({"train": ("a",), "validation": ("c",), "test": ("c",)}, "'c' is in 'validation' and in 'test'"),
        ({"train": (), "test": ("c",)}, "group 'train' is empty"),
        ({"train": ("a",), "test": ()}, "group 'test' is empty"),
        ({"train": ("b", "a", "b"), "test": ("c",)}, "group 'train' names patient 'b' twice"),
    ],
)
def test_parts_that_meet_or_are_empty_are_refused(parts, message):
    with pytest.raises(ValidationError, match=message):
        Split(**parts)


VISITS = tuple(f"p{patient}/visit-{visit}" for patient in range(9) for visit in range(1, 1 + patient % 3 + 1))
"""Nine patients with one to three cases each."""


@pytest.mark.parametrize(
    "scheme",
    [
        {"index": 1, "of": 3, "validation": 0.2},
        {"index": 2, "scheme": "hold-out", "test_share": 0.3, "validation": 0.2},
    ],
)
def test_all_cases_of_a_patient_stand_on_one_side(scheme):
    groups = split(VISITS, Fold(**scheme)).groups
    assert sorted(case for cases in groups.values() for case in cases) == sorted(VISITS)
    people = [set(patients_of(cases)) for cases in groups.values()]
    assert sum(map(len, people)) == len(set.union(*people)) == 9
    if scheme.get("of"):
        assert len(people[2]) == 3


def test_small_training_sets_and_folds_count_patients_not_cases():
    assert len(patients_of(split(VISITS, Fold(index=0, of=3, patients=2)).train)) == 2
    with pytest.raises(ValueError, match="9 patients cannot fill 10 folds"):
        split(VISITS, Fold(index=0, of=10))
    plain = [f"p{patient}" for patient in range(9)]
    cut = Fold(index=1, of=3)
    assert patients_of(split(VISITS, cut).test) == split(plain, cut).test


def test_given_groups_that_cut_a_patient_in_two_are_refused():
    with pytest.raises(ValidationError, match="patient 'p1' is in 'train' and in 'test'; leave it in one group"):
        Split(train=("p1/visit-1",), test=("p1/visit-2",))
    given = Split(train=("p1/visit-1", "p2/visit-1"), test=("p5/visit-2",))
    assert split(VISITS, Fold(index=0, scheme="file", given_patients=given)) == given
