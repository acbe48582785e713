"""The progress of a sweep as people see it: a table redrawn in place on a terminal, one line per event in a log."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from medsweep.identity import short
from medsweep.tracking.progress import SETTLED, SweepProgress, TrialRecord

PROGRESS_EVERY_SECONDS = 10.0
SHOWN_TRIALS = 16


class Observer:
    """What a runner tells while it runs; all calls come from one thread. Shows nothing: override what you need."""

    def started(self, digest: str, stage: str, label: str) -> None:
        """A trial runs from now on; ``label`` says to people which one it is."""

    def progressed(self, digest: str, step: int, total: int) -> None:
        """A running trial has done ``step`` of ``total`` steps."""

    def finished(self, digest: str, outcome: str, message: str) -> None:
        """A trial has ended; ``message`` is one line for people, empty where there is nothing to say."""

    def note(self, text: str) -> None:
        """Something worth a line that is about no single trial."""


class _ProgressConsole(Observer):
    """What both consoles share: the progress, the clock, and the lock between the runner and whoever draws."""

    def __init__(self, sweep: SweepProgress, console: Console, clock: Callable[[], float]) -> None:
        self._sweep = sweep
        self._console = console
        self._clock = clock
        self._lock = threading.RLock()
        self._began = clock()

    def started(self, digest: str, stage: str, label: str) -> None:
        with self._lock:
            self._sweep.started(digest, stage, label, self._clock())

    def progressed(self, digest: str, step: int, total: int) -> None:
        with self._lock:
            self._sweep.progressed(digest, step, total, self._clock())

    def finished(self, digest: str, outcome: str, message: str) -> None:
        with self._lock:
            self._sweep.finished(digest, outcome, self._clock())

    def note(self, text: str) -> None:
        # Never called with the lock held: a live console draws from its own thread, its lock first and then ours.
        line = f"{short_time(self._clock() - self._began):>7}  {text}"
        self._console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)

    def _summary(self) -> str:
        with self._lock:
            return summary_line(self._sweep, self._clock())


class LiveConsole(_ProgressConsole):
    """A table per stage and a bar per running trial, redrawn in place; failures and notes scroll by above it."""

    def __init__(self, sweep: SweepProgress, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(sweep, console, clock)
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=2)

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def finished(self, digest: str, outcome: str, message: str) -> None:
        super().finished(digest, outcome, message)
        if outcome not in SETTLED:
            self.note(_ending(self._sweep.trial(digest), outcome, message, self._clock()))

    def _render(self) -> Group:
        with self._lock:
            now = self._clock()
            lines = [f"{short_time(now - self._began)} so far: {self._summary()}", *waiting_lines(self._sweep)]
            trials = _trial_table(self._sweep, now, self._console.width)
            return Group(_stage_table(self._sweep), trials, Text("\n".join(lines)))


class PlainConsole(_ProgressConsole):
    """One line per event, each with the time since the start; at most one line of progress per trial per 10 s."""

    def __init__(self, sweep: SweepProgress, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(sweep, console, clock)
        self._shown: dict[str, float] = {}

    def __enter__(self) -> Self:
        self.note(self._summary())
        return self

    def __exit__(self, *error: object) -> None:
        self.note(self._summary())

    def started(self, digest: str, stage: str, label: str) -> None:
        super().started(digest, stage, label)
        self.note(f"started {_title(self._sweep.trial(digest))}")

    def progressed(self, digest: str, step: int, total: int) -> None:
        super().progressed(digest, step, total)
        trial, now, shown = self._sweep.trial(digest), self._clock(), self._shown.get(digest)
        if trial.state != "running" or (shown is not None and now - shown < PROGRESS_EVERY_SECONDS):
            return
        self._shown[digest] = now
        self.note(f"{_title(trial)}: step {step} of {total}{_pace(trial, now)}")

    def finished(self, digest: str, outcome: str, message: str) -> None:
        super().finished(digest, outcome, message)
        self.note(f"{_ending(self._sweep.trial(digest), outcome, message, self._clock())} | {self._summary()}")


def make_console(sweep: SweepProgress, stream: TextIO) -> LiveConsole | PlainConsole:
    """The live view where ``stream`` is a terminal that can move its cursor, else plain lines."""
    console = Console(file=stream, markup=False, emoji=False)
    if stream.isatty() and not console.is_dumb_terminal:
        return LiveConsole(sweep, console)
    return PlainConsole(sweep, console)


def short_time(seconds: float) -> str:
    """``45s``, ``3m20s``, ``2h05m`` or ``3d04h``.

    >>> short_time(200.4)
    '3m20s'
    """
    whole = round(seconds)
    for size, unit, smaller, smaller_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // smaller:02d}{smaller_unit}"
    return f"{whole}s"


def summary_line(sweep: SweepProgress, now: float) -> str:
    """Done, reused and failed trials of the whole sweep, and the time until all is done."""
    counts = sum(sweep.stages().values(), Counter[str]())
    done, reused, failed = (counts[state] for state in ("done", "reused", "failed"))
    open_trials = counts["queued"] + counts["running"]
    left = f", about {short_time(3600 * sweep.hours_left(now))} left" if open_trials else ""
    return f"{done} of {done + failed + open_trials} done, {reused} reused, {failed} failed{left}"


def waiting_lines(sweep: SweepProgress) -> list[str]:
    """What queued trials wait for, in one line; nothing where none is queued."""
    waits = [f"{count} {stage} for {blocker or 'a free place'}" for (stage, blocker), count in sweep.waiting().items()]
    return [f"waiting: {', '.join(waits)}"] if waits else []


def _title(trial: TrialRecord) -> str:
    return " ".join(part for part in (trial.stage, trial.label, short(trial.digest)) if part)


def _ending(trial: TrialRecord, outcome: str, message: str, now: float) -> str:
    lasted = f" after {short_time(trial.lasted(now))}" if trial.started is not None else ""
    reason = " ".join(message.split())
    return f"{outcome} {_title(trial)}{lasted}" + (f": {reason}" if reason else "")


def _pace(trial: TrialRecord, now: float) -> str:
    pace, left = trial.seconds_per_step, trial.seconds_left(now)
    return "" if pace is None or left is None else f", {pace:.3g} s per step, {short_time(left)} left"


def _stage_table(sweep: SweepProgress) -> Table:
    states = ("queued", "running", "done", "reused", "failed")
    table = Table("stage", *(Column(state, justify="right") for state in states), box=None, pad_edge=False)
    for stage, counts in sweep.stages().items():
        style = "red" if counts["failed"] else None
        table.add_row(Text(stage), *(str(counts[state]) for state in states), style=style)
    return table


def _trial_table(sweep: SweepProgress, now: float, width: int) -> Group:
    """A row per running trial: how long it runs, how far it is, and how long it has to go, within ``width`` columns."""
    trials = sweep.running()
    bar_width = 20 if width >= 100 else 10
    table = Table.grid(padding=(0, 1))
    for trial in trials[:SHOWN_TRIALS]:
        title = Text(_title(trial))
        title.truncate(max(16, width - bar_width - 40), overflow="ellipsis")
        bar = ProgressBar(total=max(1, trial.total), completed=trial.step, width=bar_width)
        steps = f"{trial.step}/{trial.total}" if trial.total else "starting"
        table.add_row(title, short_time(trial.lasted(now)), bar, steps, _left(sweep, trial, now))
    more = [Text(f"and {len(trials) - SHOWN_TRIALS} more")] if len(trials) > SHOWN_TRIALS else []
    return Group(table, *more)


def _left(sweep: SweepProgress, trial: TrialRecord, now: float) -> str:
    """By the trial's own pace, or by what was estimated."""
    if (left := trial.seconds_left(now)) is not None:
        return f"{short_time(left)} left"
    expected = sweep.expected_seconds(trial, now)
    return f"about {short_time(expected)}" if expected > 0 else ""
