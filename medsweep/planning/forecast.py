"""What a plan will cost, each number with an interval: hours, wall time, disk. Records; nothing is run or printed.

The built-in estimate of a trial is scaled by what published trials of its kind took over what was estimated for them.
An interval holds the trials' own 10 and 90 % quantiles; errors of the trials of a plan are taken to go together, so
the ends of a sum are the sums of the ends.
"""

import heapq
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from medsweep.execution.plan_tasks import tail_hours
from medsweep.store.store import Manifest, Store
from medsweep.sweep.file import Resources
from medsweep.sweep.plan import Decision, Plan
from medsweep.trial import COMPLETE

WORTH_SECONDS = 1.0
"""Trials that took less say more about the machine's start-up than about the estimate."""
ENOUGH = 3
"""Published trials of a kind whose quantiles are worth a look."""
UNSURE = 3.0
"""Factor either way that is said of an estimate that nothing has tested."""
SIZED = 50
"""Published trials per stage whose files are measured."""


@dataclass(frozen=True)
class Interval:
    """A middle and the ends that it may lie between."""

    low: float
    middle: float
    high: float

    def times(self, factor: float) -> "Interval":
        """All three, scaled."""
        return Interval(self.low * factor, self.middle * factor, self.high * factor)


def sure(value: float) -> Interval:
    """A number without doubt."""
    return Interval(value, value, value)


def total(terms: Iterable[Interval]) -> Interval:
    """The sum of quantities whose errors go together."""
    rows = [(term.low, term.middle, term.high) for term in terms]
    return Interval(*np.sum(rows, axis=0).tolist()) if rows else sure(0.0)


@dataclass(frozen=True)
class Price:
    """One trial: hours of work, what it holds meanwhile, MiB it leaves; ``timed`` published trials tell the hours."""

    hours: Interval
    cpus: float
    gpus: float
    mib: Interval
    timed: int
    sized: int


@dataclass(frozen=True)
class Forecast:
    """The trials of a plan that would run. ``wall`` holds for ``slots`` trials at once and is never shorter than
    ``chain``, the longest chain of trials, nor than ``share``, the work divided by the slots (hours)."""

    trials: int
    hours: Interval
    cpu_hours: Interval
    gpu_hours: Interval
    wall: Interval
    chain: float
    share: float
    slots: int
    disk_gib: Interval
    untimed: int
    """Trials priced with fewer than ``ENOUGH`` timings, so that the ends are a factor of ``UNSURE`` away."""
    unsized: int
    """Trials whose size is a guess, or rests on as few."""


@dataclass(frozen=True)
class _Seen:
    stage: str
    device: str
    """Kind of device that did the work."""
    kind: tuple[int | None, str | None]
    """Resolution and machine."""
    ratio: float | None
    mib: float | None


class History:
    """What published trials took and left, by stage, resolution and hardware; reads the store once."""

    def __init__(self, store: Store, stages: Sequence[str]) -> None:
        manifests = {manifest.digest: manifest for stage in stages for manifest in store.published(stage)}
        newest = sorted(manifests.values(), key=lambda manifest: manifest.finished, reverse=True)
        left: dict[str, int] = dict.fromkeys(stages, SIZED)
        self._seen: list[_Seen] = []
        for manifest in newest:
            if manifest.outcome != COMPLETE:
                continue
            left[manifest.stage] -= 1
            mib = published_mib(store, manifest) if left[manifest.stage] >= 0 else None
            kind = (_resolution(manifest, manifests), manifest.host.get("machine"))
            self._seen.append(_Seen(manifest.stage, _worked_on(manifest), kind, _ratio(manifest), mib))

    def ratio(self, stage: str, resolution: int | None, device: str) -> tuple[Interval, int]:
        """Measured over estimated hours of a trial on this kind of machine, and the timings behind it.

        The estimates for a CPU and for a GPU are wrong in ways of their own, so the one never corrects the other.
        """
        rows = [seen for seen in self._seen if seen.stage == stage and seen.device == device]
        return _summary(_nearest([(seen.kind, seen.ratio) for seen in rows], resolution), 1.0)

    def mib(self, stage: str, resolution: int | None, guess: float) -> tuple[Interval, int]:
        """MiB that a trial leaves, and the trials behind it; around ``guess`` where none is published."""
        rows = [seen for seen in self._seen if seen.stage == stage]
        return _summary(_nearest([(seen.kind, seen.mib) for seen in rows], resolution), guess)


def prices(plan: Plan, history: History, held: Mapping[str, Resources]) -> dict[str, Price]:
    """The price of every trial of the plan; ``held`` are resources by stage, defaults where a stage is missing."""
    ratio, mib = cache(history.ratio), cache(history.mib)
    resolutions: dict[str, int | None] = {}
    priced = {}
    for digest, trial in plan.trials.items():
        own = trial.config.side_px
        inherited = (resolutions[parent] for parent in trial.inputs.values() if resolutions[parent] is not None)
        resolutions[digest] = own if own is not None else next(inherited, None)
        resources = held.get(trial.stage, Resources())
        gpus = trial.most_gpus(resources)
        hours, device = trial.estimate(gpus)
        scale, timed = ratio(trial.stage, resolutions[digest], device)
        size, sized = mib(trial.stage, resolutions[digest], trial.guessed_mib)
        priced[digest] = Price(scale.times(hours), float(resources.cpus), gpus, size, timed, sized)
    return priced


def forecast(plan: Plan, decisions: Mapping[str, Decision], priced: Mapping[str, Price], slots: int) -> Forecast:
    """What the trials to run will cost with ``slots`` of them running at once."""
    run = [digest for digest in plan.trials if decisions[digest].action == "run"]
    rows = [priced[digest] for digest in run]
    middle = {digest: priced[digest].hours.middle for digest in run}
    clock = WallClock(plan, run)
    walls = [
        clock.hours({digest: getattr(priced[digest].hours, end) for digest in run}, slots)
        for end in ("low", "middle", "high")
    ]
    return Forecast(
        trials=len(run),
        hours=total(row.hours for row in rows),
        cpu_hours=total(row.hours.times(row.cpus) for row in rows),
        gpu_hours=total(row.hours.times(row.gpus) for row in rows),
        wall=Interval(*walls),
        chain=max(tail_hours(plan, middle).values(), default=0.0),
        share=sum(middle.values()) / slots,
        slots=slots,
        disk_gib=total(row.mib.times(1 / 1024) for row in rows),
        untimed=sum(row.timed < ENOUGH for row in rows),
        unsized=sum(row.sized < ENOUGH for row in rows),
    )


class WallClock:
    """Runs a plan in thought, as the frontier orders its trials where all of them hold the same."""

    def __init__(self, plan: Plan, run: Sequence[str]) -> None:
        """Of the trials ``run``; all others take no time and are there."""
        self._plan, self._run = plan, run
        place = {digest: number for number, digest in enumerate(run)}
        read = [{place[parent] for parent in plan.trials[one].inputs.values() if parent in place} for one in run]
        self._waits = list(map(len, read))
        self._readers: list[list[int]] = [[] for _ in run]
        for number, parents in enumerate(read):
            for parent in parents:
                self._readers[parent].append(number)

    def hours(self, taken: Mapping[str, float], slots: int) -> float:
        """Hours until all are done if ``slots`` run at once and each takes what ``taken`` says."""
        tails = tail_hours(self._plan, taken)
        urgency, hours = [-tails[digest] for digest in self._run], [taken[digest] for digest in self._run]
        waits = list(self._waits)
        # Of equally long chains the one whose input was settled last goes first, and then the one planned first.
        ready = [(urgency[number], 0, number) for number, open_ in enumerate(waits) if not open_]
        heapq.heapify(ready)
        running: list[tuple[float, str, int]] = []
        now, settled = 0.0, 0
        while True:
            while len(running) < slots and ready:
                number = heapq.heappop(ready)[-1]
                heapq.heappush(running, (now + hours[number], self._run[number], number))
            if not running:
                return now
            now, _, done = heapq.heappop(running)
            settled += 1
            for reader in self._readers[done]:
                waits[reader] -= 1
                if not waits[reader]:
                    heapq.heappush(ready, (urgency[reader], -settled, reader))


def published_mib(store: Store, manifest: Manifest) -> float:
    """Size of a published trial's files in MiB; a file that is gone weighs nothing."""
    return store.size(manifest) / 2**20


def _nearest(rows: Sequence[tuple[tuple[int | None, str | None], float | None]], resolution: int | None) -> list[float]:
    """Values of the narrowest class with enough of them, else all; rows are resolution and machine, then value."""
    known = [(kind, value) for kind, value in rows if value is not None]
    here = (resolution, platform.machine())
    for width in (2, 1):
        close = [value for kind, value in known if kind[:width] == here[:width]]
        if len(close) >= ENOUGH:
            return close
    return [value for _, value in known]


def _worked_on(manifest: Manifest) -> str:
    """Kind of device; before that was kept, the estimate of a trial that held a GPU was for a CPU and tells nothing."""
    held_gpu = str(manifest.host.get("device", "")).startswith("cuda")
    return manifest.timed_on or ("" if held_gpu else "cpu")


def _ratio(manifest: Manifest) -> float | None:
    if manifest.estimated_hours <= 0 or manifest.seconds < WORTH_SECONDS:
        return None
    return manifest.seconds / 3600 / manifest.estimated_hours


def _resolution(manifest: Manifest, manifests: Mapping[str, Manifest]) -> int | None:
    own: Any = manifest.config.get("resolution")
    if own is not None:
        return int(own)
    parents = [manifests[parent] for parent in manifest.inputs.values() if parent in manifests]
    resolutions = (_resolution(parent, manifests) for parent in parents)
    return next((resolution for resolution in resolutions if resolution is not None), None)


def _summary(values: Sequence[float], guess: float) -> tuple[Interval, int]:
    """Median and quantiles; with fewer than ``ENOUGH`` values a factor of ``UNSURE`` around median or guess."""
    middle = float(np.median(values)) if values else guess
    if len(values) < ENOUGH:
        return Interval(middle / UNSURE, middle, middle * UNSURE), len(values)
    low, high = np.quantile(values, [0.1, 0.9]).tolist()
    return Interval(min(low, middle), middle, max(high, middle)), len(values)
