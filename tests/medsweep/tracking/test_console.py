"""The board's counts, paces and estimates under a clock that the test moves, and what the two consoles show of them."""

import io
import os
import pty
import re

import pytest
from rich.console import Console

from medsweep.tracking.console import LiveConsole, PlainConsole, make_console, short_time, summary_line, waiting_lines
from medsweep.tracking.progress import StageQueue, SweepProgress

HOUR = 3600.0


class Clock:
    """Seconds that pass only when the test says so."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def plan(concurrency=1):
    stages = [
        StageQueue(name="gan", reused=2, hours={"g1": 4.0, "g2": 4.0}),
        StageQueue(name="segment", reused=0, hours={"s1": 1.0, "s2": 1.0, "s3": 1.0}),
    ]
    return SweepProgress(stages, concurrency)


def counts(board, name):
    return tuple(board.stages()[name][state] for state in ("queued", "running", "done", "reused", "failed"))


def test_a_trial_moves_from_queued_to_running_to_done_or_failed():
    board = plan()
    assert list(board.stages()) == ["gan", "segment"]
    board.started("g1", "gan", "c-sg", 0.0)
    assert counts(board, "gan") == (1, 1, 0, 2, 0)
    board.finished("g1", "complete", 5.0)
    board.started("g2", "gan", "m-sg", 5.0)
    board.finished("g2", "diverged", 6.0)
    assert counts(board, "gan") == (0, 0, 1, 2, 1)
    assert counts(board, "segment") == (3, 0, 0, 0, 0)


def test_a_retried_trial_runs_again_and_counts_once():
    board = plan()
    board.started("g1", "gan", "c-sg", 0.0)
    board.finished("g1", "node-lost", 5.0)
    board.started("g1", "gan", "c-sg", 7.0)
    assert counts(board, "gan") == (1, 1, 0, 2, 0)
    board.finished("g1", "complete", 9.0)
    assert counts(board, "gan") == (1, 0, 1, 2, 0)


def test_a_trial_that_never_started_can_end():
    board = plan()
    board.finished("s1", "blocked", 1.0)
    assert counts(board, "segment") == (2, 0, 0, 0, 1)
    board.finished("s2", "complete", 1.0)
    assert board.hours_left(1.0) == pytest.approx(4 + 4 + 1), "a trial done by others says nothing about the pace"


def test_a_trial_unknown_to_the_plan_joins_its_stage():
    board = plan()
    board.started("x1", "assess", "found on the way", 0.0)
    assert counts(board, "assess") == (0, 1, 0, 0, 0)


def test_pace_leaves_out_the_steps_before_a_resume():
    board = plan()
    board.started("g1", "gan", "c-sg", 0.0)
    board.progressed("g1", 500, 1000, 50.0)
    assert board.running()[0].seconds_per_step is None
    board.progressed("g1", 600, 1000, 250.0)
    trial = board.running()[0]
    assert trial.seconds_per_step == pytest.approx(2.0)
    assert trial.seconds_left(250.0) == pytest.approx(800.0)
    assert trial.seconds_left(350.0) == pytest.approx(700.0), "time since the last report counts"
    assert trial.seconds_left(9999.0) == 0.0


def test_a_late_report_of_an_ended_trial_changes_nothing():
    board = plan()
    board.started("g1", "gan", "c-sg", 0.0)
    board.finished("g1", "complete", 10.0)
    board.progressed("g1", 7, 10, 11.0)
    assert board.trial("g1").step == 0


def test_hours_left_follow_the_estimates_until_something_is_seen():
    assert plan(concurrency=1).hours_left(0.0) == pytest.approx(11.0)
    assert plan(concurrency=2).hours_left(0.0) == pytest.approx(5.5)
    assert plan(concurrency=100).hours_left(0.0) == pytest.approx(11.0 / 5), "no more trials at once than are open"


def test_hours_left_are_scaled_stage_by_stage():
    board = plan()
    board.started("g1", "gan", "c-sg", 0.0)
    board.finished("g1", "complete", 2 * HOUR)
    assert board.hours_left(2 * HOUR) == pytest.approx(2 + 3), "the second gan is halved, the segments are not"


def test_hours_left_learn_from_a_running_trial():
    board = plan()
    board.started("g1", "gan", "c-sg", 0.0)
    board.progressed("g1", 0, 100, 0.0)
    board.progressed("g1", 25, 100, 2 * HOUR)
    assert board.hours_left(2 * HOUR) == pytest.approx(6 + 8 + 3), "8 instead of 4 hours for each gan"


def test_a_running_trial_without_reports_uses_up_its_estimate():
    board = plan()
    board.started("s1", "segment", "control", 0.0)
    assert board.hours_left(0.25 * HOUR) == pytest.approx(8 + 0.75 + 2)
    assert board.hours_left(5 * HOUR) == pytest.approx(8 + 0 + 2)


def test_nothing_is_left_when_all_have_ended():
    board = plan()
    for digest in ("g1", "g2", "s1", "s2", "s3"):
        board.finished(digest, "complete", 1.0)
    assert board.hours_left(1.0) == 0.0
    assert summary_line(board, 1.0) == "5 of 5 done, 2 reused, 0 failed"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (59.4, "59s"), (59.6, "1m00s"), (200, "3m20s"), (3600, "1h00m"), (7500, "2h05m"), (273600, "3d04h")],
)
def test_short_time(seconds, shown):
    assert short_time(seconds) == shown


def plain(clock):
    stream = io.StringIO()
    return PlainConsole(plan(), Console(file=stream), clock), stream


def test_plain_lines_of_one_trial(clock):
    console, stream = plain(clock)
    with console:
        console.started(digest="g1", stage="gan", label="c-sg [fold 0]")
        clock.now += 65
        console.finished(digest="g1", outcome="out-of-memory", message="needs 9 GiB,\nhas 8")
        console.note(text="retry with [bold]")
    lines = stream.getvalue().splitlines()
    assert [line.strip() for line in lines[:2]] == [
        "0s  0 of 5 done, 2 reused, 0 failed, about 11h00m left",
        "0s  started gan c-sg [fold 0] g1",
    ]
    assert (
        lines[2]
        .strip()
        .startswith("1m05s  out-of-memory gan c-sg [fold 0] g1 after 1m05s: needs 9 GiB, has 8 | 0 of 5")
    )
    assert lines[3].strip() == "1m05s  retry with [bold]"
    assert len(lines) == 5


def test_plain_progress_comes_at_most_every_ten_seconds_per_trial(clock):
    console, stream = plain(clock)
    console.started(digest="g1", stage="gan", label="a")
    console.started(digest="g2", stage="gan", label="b")
    for second in range(25):
        clock.now += 1
        console.progressed(digest="g1", step=second, total=25)
        if second < 5:
            console.progressed(digest="g2", step=second, total=25)
    steps = [line.split(": ")[1] for line in stream.getvalue().splitlines() if "g1: step" in line]
    assert steps == ["step 0 of 25", "step 10 of 25, 1 s per step, 15s left", "step 20 of 25, 1 s per step, 5s left"]
    assert stream.getvalue().count("g2: step") == 1


def test_plain_lines_are_not_wrapped_and_late_reports_not_shown(clock):
    console, stream = plain(clock)
    console.note("word " * 100)
    console.started(digest="g1", stage="gan", label="a")
    console.finished(digest="g1", outcome="complete", message="")
    console.progressed(digest="g1", step=1, total=2)
    assert len(stream.getvalue().splitlines()) == 3


def test_live_view_shows_stages_bars_and_failures(clock):
    stream = io.StringIO()
    console = LiveConsole(plan(), Console(file=stream, force_terminal=True, width=100, color_system=None), clock)
    with console:
        console.started(digest="g1", stage="gan", label="c-sg [fold 0]")
        console.progressed(digest="g1", step=0, total=100)
        clock.now += 60
        console.progressed(digest="g1", step=25, total=100)
        console.started(digest="s1", stage="segment", label="control")
        console.finished(digest="s1", outcome="diverged", message="loss became nan at step 3")
    lines = re.sub(r"\x1b\[[0-9?]*[a-zA-Z]", "", stream.getvalue()).splitlines()
    last = max(number for number, line in enumerate(lines) if "queued" in line)
    assert lines[last].split() == ["stage", "queued", "running", "done", "reused", "failed"]
    assert lines[last + 1].split() == ["gan", "1", "1", "0", "2", "0"]
    assert lines[last + 2].split() == ["segment", "2", "0", "0", "0", "1"]
    assert "gan c-sg [fold 0] g1" in lines[last + 3]
    assert "25/100 3m00s left" in lines[last + 3]
    assert any("diverged segment control s1 after 0s: loss became nan at step 3" in line for line in lines)


def test_live_view_names_how_many_trials_it_leaves_out(clock):
    stream = io.StringIO()
    hours = {f"d{number}": 1.0 for number in range(20)}
    board = SweepProgress([StageQueue(name="gan", reused=0, hours=hours)], 20)
    with LiveConsole(board, Console(file=stream, force_terminal=True, width=100, height=60), clock) as console:
        for digest in hours:
            console.started(digest=digest, stage="gan", label="")
    assert "and 4 more" in stream.getvalue()


def chain():
    """gan -> segment, twice, and one segment trial that reads nothing."""
    stages = [
        StageQueue(name="gan", reused=0, hours={"g1": 1.0, "g2": 1.0}),
        StageQueue(
            name="segment", reused=0, hours={"s0": 0.5, "s1": 0.5, "s2": 0.5}, inputs={"s1": ["g1"], "s2": ["g2"]}
        ),
    ]
    return SweepProgress(stages, 1)


def test_a_trial_that_another_worker_holds_has_not_failed():
    board = chain()
    board.started("g1", "gan", "", 0.0)
    board.finished("g1", "lease-held", 1.0)
    assert (board.stages()["gan"]["queued"], board.stages()["gan"]["failed"]) == (2, 0)
    board.finished("g1", "complete", 2.0)
    assert (board.stages()["gan"]["queued"], board.stages()["gan"]["done"]) == (1, 1)


def test_what_waits_for_what():
    board = chain()
    assert waiting_lines(board) == ["waiting: 2 gan for a free place, 1 segment for a free place, 2 segment for gan"]
    board.started("g1", "gan", "", 0.0)
    board.finished("g1", "complete", 1.0)
    board.started("g2", "gan", "", 1.0)
    assert waiting_lines(board) == ["waiting: 2 segment for a free place, 1 segment for gan"]
    for digest in ("s0", "s1", "s2"):
        board.finished(digest, "complete", 2.0)
    assert waiting_lines(board) == []


@pytest.mark.parametrize("width", [80, 100])
def test_a_live_row_is_one_line_and_shows_life_before_the_first_report(clock, width):
    stream = io.StringIO()
    console = LiveConsole(chain(), Console(file=stream, force_terminal=True, width=width, color_system=None), clock)
    with console:
        console.started(digest="g" * 64, stage="gan", label="mc-sg synthesise.count=256 fold 3 seed 12")
        console.started(digest="g1", stage="gan", label="b-sg")
        clock.now += 90
        console.progressed(digest="g1", step=7, total=500)
    lines = re.sub(r"\x1b\[[0-9?]*[a-zA-Z]", "", stream.getvalue()).splitlines()
    assert max(map(len, lines)) <= width
    long = next(line for line in reversed(lines) if line.startswith("gan mc-sg"))
    assert "1m30s" in long
    assert "starting" in long
    short = next(line for line in reversed(lines) if line.startswith("gan b-sg"))
    assert "7/500" in short
    assert "about 58m30s" in short, "by the estimate, as its pace is not known"
    assert any(line.startswith("1m30s so far: 0 of 6 done") for line in lines)
    assert any(line.startswith("waiting: 1 gan for a free place") for line in lines)


def test_the_stream_chooses_the_console(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(make_console(plan(), io.StringIO()), PlainConsole)
    master, slave = pty.openpty()
    with os.fdopen(master, "rb"), os.fdopen(slave, "w") as terminal:
        assert isinstance(make_console(plan(), terminal), LiveConsole)
        monkeypatch.setenv("TERM", "dumb")
        assert isinstance(make_console(plan(), terminal), PlainConsole)
