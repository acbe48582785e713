"""The record of a running sweep: which trials run, at what pace, and when all will be done."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from medsweep.store.lease import LeaseHeldError

SETTLED = frozenset({"complete", "pruned"})
"""Outcomes that count as done; every other outcome counts as failed."""

State = Literal["queued", "running", "done", "failed"]


@dataclass(frozen=True, kw_only=True)
class StageQueue:
    """One stage of a plan: how many trials are reused, and the estimated hours of each trial to run by digest.

    ``inputs`` are what each of them reads and which is to run, too.
    """

    name: str
    reused: int
    hours: Mapping[str, float]
    inputs: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(kw_only=True)
class TrialRecord:
    """One trial to run. Times are seconds on the caller's clock; ``first`` and ``last`` are (time, step) reports."""

    digest: str
    stage: str
    hours: float
    label: str = ""
    state: State = "queued"
    started: float | None = None
    ended: float | None = None
    total: int = 0
    first: tuple[float, int] | None = None
    last: tuple[float, int] | None = None

    @property
    def step(self) -> int:
        """Steps done so far, those before a resume included."""
        return self.last[1] if self.last else 0

    @property
    def seconds_per_step(self) -> float | None:
        """Mean since the first report, so that steps done before a resume are not counted; None before a second."""
        if self.first is None or self.last is None or self.last[1] <= self.first[1]:
            return None
        return (self.last[0] - self.first[0]) / (self.last[1] - self.first[1])

    def seconds_left(self, now: float) -> float | None:
        """Seconds to the last step, None while the pace is unknown."""
        pace = self.seconds_per_step
        if pace is None or self.last is None:
            return None
        return max(0.0, pace * (self.total - self.step) - (now - self.last[0]))

    def lasted(self, now: float) -> float:
        """Seconds since the start, up to the end where it has ended; 0 where it never started."""
        if self.started is None:
            return 0.0
        return (now if self.ended is None else self.ended) - self.started

    def observed_hours(self, now: float) -> float | None:
        """Hours that the whole trial takes as far as it shows: by its pace, or by its duration where that is longer."""
        pace = self.seconds_per_step
        shows = self.state == "done" or (self.state == "running" and pace is not None)
        if shows and self.started is not None:
            # A resumed trial was shorter than its steps; one that loads and tests for long was longer than its steps.
            return max((pace or 0.0) * self.total, self.lasted(now)) / 3600
        return None


class SweepProgress:
    """A record of which trials run, at what pace, and when all will be done; it does no I/O and reads no clock.

    ``now`` is in seconds on any clock that never goes back, the same for all calls.
    """

    def __init__(self, stages: Sequence[StageQueue], concurrency: int) -> None:
        self._reused = {stage.name: stage.reused for stage in stages}
        self._concurrency = max(1, concurrency)
        self._inputs = {digest: inputs for stage in stages for digest, inputs in stage.inputs.items()}
        self._trials = {
            digest: TrialRecord(digest=digest, stage=stage.name, hours=hours)
            for stage in stages
            for digest, hours in stage.hours.items()
        }

    def started(self, digest: str, stage: str, label: str, now: float) -> None:
        """A trial starts, or starts again; one that the plan did not know yet joins its stage."""
        self._reused.setdefault(stage, 0)
        planned = self._trials.get(digest)
        hours = planned.hours if planned else 0.0
        self._trials[digest] = TrialRecord(
            digest=digest, stage=stage, hours=hours, label=label, state="running", started=now
        )

    def progressed(self, digest: str, step: int, total: int, now: float) -> None:
        """A running trial reports; a late report of a trial that has ended changes nothing."""
        trial = self._trials[digest]
        if trial.state == "running":
            trial.total = total
            trial.last = (now, step)
            trial.first = trial.first or trial.last

    def finished(self, digest: str, outcome: str, now: float) -> None:
        """A trial ends, whether it had started or was given up before; one that another worker holds is open again."""
        # One that was found damaged and is to be made again may be closed before its start was heard of.
        trial = self._trials.setdefault(digest, TrialRecord(digest=digest, stage="", hours=0.0))
        trial.state = "done" if outcome in SETTLED else "queued" if outcome == LeaseHeldError.outcome else "failed"
        trial.ended = now

    def trial(self, digest: str) -> TrialRecord:
        """The record of one trial."""
        return self._trials[digest]

    def stages(self) -> dict[str, Counter[str]]:
        """Trials per state (``reused`` is one) by stage, in the order of the plan."""
        counts = {name: Counter(reused=reused) for name, reused in self._reused.items()}
        for trial in self._trials.values():
            if trial.stage in counts:
                counts[trial.stage][trial.state] += 1
        return counts

    def running(self) -> list[TrialRecord]:
        """Running trials, the longest running first."""
        return sorted((t for t in self._trials.values() if t.state == "running"), key=lambda t: t.started or 0.0)

    def waiting(self) -> Counter[tuple[str, str]]:
        """Queued trials by their stage and the stage of an input that is not done; empty where all inputs are."""
        waits: Counter[tuple[str, str]] = Counter()
        for digest, trial in self._trials.items():
            if trial.state == "queued":
                inputs = (self._trials[name] for name in self._inputs.get(digest, ()) if name in self._trials)
                waits[trial.stage, next((one.stage for one in inputs if one.state != "done"), "")] += 1
        return waits

    def expected_seconds(self, trial: TrialRecord, now: float) -> float:
        """Seconds that a running trial is expected to take on, before its own pace is known."""
        return 3600 * self._hours_left(trial, self._scale(trial.stage, now), now)

    def hours_left(self, now: float) -> float:
        """Hours until all is done: what is left of running and queued trials, shared by the trials that run at once.

        Estimates of a stage are scaled by what its trials took so far over what was estimated for them.
        """
        scale = {stage: self._scale(stage, now) for stage in self._reused}
        left = [
            self._hours_left(trial, scale[trial.stage], now)
            for trial in self._trials.values()
            if trial.state in ("queued", "running")
        ]
        return sum(left) / min(self._concurrency, len(left)) if left else 0.0

    def _scale(self, stage: str, now: float) -> float:
        seen = [(t.observed_hours(now), t.hours) for t in self._trials.values() if t.stage == stage and t.hours > 0]
        pairs = [(observed, estimated) for observed, estimated in seen if observed is not None]
        return sum(observed for observed, _ in pairs) / sum(estimated for _, estimated in pairs) if pairs else 1.0

    @staticmethod
    def _hours_left(trial: TrialRecord, scale: float, now: float) -> float:
        if trial.state == "queued":
            return trial.hours * scale
        seconds = trial.seconds_left(now)
        if seconds is not None:
            return seconds / 3600
        return max(0.0, trial.hours * scale - trial.lasted(now) / 3600)
