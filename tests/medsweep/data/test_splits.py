"""Split files: our form, nnU-Net's form, and one line for what cannot be used."""

import json

import pytest

from medsweep.data.folds import Fold, Split, split
from medsweep.data.splits import read_splits
from medsweep.errors import UserError

PATIENTS = [f"case-{number}" for number in range(9)]
GOOD = {"train": ["case-0", "case-1"], "test": ["case-2"]}


def test_our_own_form_is_read(tmp_path):
    cuts = tuple(split(PATIENTS, Fold(index=i, of=3, validation=0.2)) for i in range(3))
    folds = [{"train": cut.train, "validation": cut.validation, "test": cut.test} for cut in cuts]
    path = tmp_path / "splits.json"
    path.write_text(json.dumps({"patients": PATIENTS, "scheme": "k-fold", "folds": folds}))
    assert read_splits(path, PATIENTS) == cuts


def test_the_val_of_nnunet_is_tested_on(tmp_path):
    path = tmp_path / "splits_final.json"
    path.write_text(json.dumps([{"train": ["case-4", "case-1"], "val": ["case-3"]}]))
    assert read_splits(path, PATIENTS) == (Split(train=("case-1", "case-4"), test=("case-3",)),)


WRONG = {
    "unknown id": (
        {"folds": [GOOD, {**GOOD, "test": ["case-10"]}]},
        "fold 1: group 'test' names 'case-10', .* did",
    ),
    "unknown id of nnU-Net": ([{"train": ["cas-1"], "val": ["case-2"]}], "fold 0: group 'train' names 'cas-1'"),
    "two groups": ({"folds": [{**GOOD, "validation": ["case-1"]}]}, "fold 0: patient 'case-1' is in 'train' and in 'v"),
    "twice": ({"folds": [{**GOOD, "test": ["case-2", "case-2"]}]}, "fold 0: group 'test' names patient 'case-2' twice"),
    "empty": ([{"train": ["case-1"], "val": []}], "fold 0: group 'test' is empty"),
    "number as id": ({"folds": [{**GOOD, "test": [2]}]}, "fold 0: test.0: should be text.*, got 2"),
    "missing group": ({"folds": [{"train": ["case-1"]}]}, "fold 0: key 'test' is missing"),
    "unknown group": ({"folds": [{**GOOD, "tets": ["case-3"]}]}, "fold 0: unknown key 'tets' .*did you mean 'test'"),
    "other keys": ([GOOD], "fold 0 must have the keys train and val, .* got test, train"),
    "unknown key": ({"fold": [GOOD]}, "unknown key 'fold' .*did you mean 'folds'"),
    "no fold": ({"folds": []}, "has no fold"),
    "a number": (3, "splits.json: .*got 3"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_one_line_with_the_path(tmp_path, case):
    content, message = WRONG[case]
    path = tmp_path / "splits.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message) as caught:
        read_splits(path, PATIENTS)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_no_json_is_named(tmp_path):
    path = tmp_path / "splits.json"
    path.write_text("{\n'a'}")
    with pytest.raises(UserError, match=r"splits.json:2: not valid JSON"):
        read_splits(path, PATIENTS)
    with pytest.raises(UserError, match=r"there is no split file .*split.json; did you mean '.*splits.json'"):
        read_splits(tmp_path / "split.json", PATIENTS)


def test_a_key_that_stands_twice_is_refused(tmp_path):
    (tmp_path / "splits.json").write_text('[{"train": ["a"], "train": ["c"], "val": ["b"]}]')
    with pytest.raises(UserError, match=r"splits\.json has the key 'train' twice in one object; keep one"):
        read_splits(tmp_path / "splits.json", ("a", "b", "c"))
