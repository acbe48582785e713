"""Fitted on whom: what is written beside an output and refused where it meets patients it must not know."""

import pytest

from medsweep.data.fitted_on import read_fitted_on, require_unseen, require_within, write_fitted_on
from medsweep.errors import UserError


def test_slices_that_were_scaled_volume_by_volume_know_nobody(tmp_path):
    (tmp_path / "cohort.json").write_text('{"constants": null}')
    assert read_fitted_on(tmp_path) == frozenset()
    require_unseen(tmp_path, ["a"])
    require_within("prepared slices", tmp_path, [])


@pytest.mark.parametrize("cohort", [None, '{"constants": {"MRI": {}}}'])
def test_what_does_not_say_whom_it_saw_is_refused(tmp_path, cohort):
    if cohort is not None:
        (tmp_path / "cohort.json").write_text(cohort)
    with pytest.raises(UserError, match=rf"{tmp_path} left no fitted_on.json, so nobody knows whose slices it saw"):
        require_unseen(tmp_path, ["a"])
    with pytest.raises(UserError, match=r"the image generator left no fitted_on.json"):
        require_within("image generator", tmp_path, ["a"])


def test_the_record_is_sorted_and_read_back(tmp_path):
    write_fitted_on(tmp_path, ["b", "a"])
    assert read_fitted_on(tmp_path) == {"a", "b"}
    assert (tmp_path / "fitted_on.json").read_text() == '[\n "a",\n "b"\n]\n'


def test_held_out_patients_must_not_have_been_seen(tmp_path):
    write_fitted_on(tmp_path, ["a", "b", "c"])
    require_unseen(tmp_path, ["d", "e"])
    with pytest.raises(UserError, match="fitted on 2 held-out patients of this fold, first 'b'"):
        require_unseen(tmp_path, ["d", "c", "b"])


def test_fitted_patients_must_train(tmp_path):
    write_fitted_on(tmp_path, ["a", "b"])
    require_within("image generator", tmp_path, ["a", "b", "c"])
    with pytest.raises(UserError, match=r"the image generator was fitted on 1 patients outside .* first 'b'"):
        require_within("image generator", tmp_path, ["a", "c"])
