"""The helper the other tests rely on: checkpoints are whole, newest wins, and survive a new trial object."""

import pytest

from helpers.fake_trial import FakeTrial


def test_the_newest_whole_checkpoint_is_restored(tmp_path):
    trial = FakeTrial(tmp_path)
    assert trial.restore() is None
    for step in (9, 10):
        trial.checkpoint(step, lambda folder, step=step: (folder / "x").write_text(str(step)) and None)
    step, folder = FakeTrial(tmp_path).restore()
    assert (step, (folder / "x").read_text()) == (10, "10")


def test_a_checkpoint_that_fails_leaves_the_older_one(tmp_path):
    trial = FakeTrial(tmp_path)
    trial.checkpoint(1, lambda folder: (folder / "x").write_text("1") and None)

    def broken(folder):
        (folder / "x").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        trial.checkpoint(2, broken)
    step, folder = trial.restore()
    assert (step, (folder / "x").read_text()) == (1, "1")
