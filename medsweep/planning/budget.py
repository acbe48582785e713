"""Caps of a sweep: refused before it starts where it is forecast above one, and no trial launched past one."""

import time
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, replace

from medsweep.errors import UserError
from medsweep.execution.runner import Guard
from medsweep.execution.task import Task
from medsweep.planning.forecast import Forecast, Price, published_mib
from medsweep.store.store import DamagedError, Store
from medsweep.sweep.file import CAPS, Budget, Sweep

UNITS = {"hours": "h", "gpu_hours": "GPU h", "wall_hours": "h", "trials": "trials", "disk_gib": "GiB"}
ROUNDING = 1e-9


class OverBudgetError(UserError):
    """What is to run is forecast above a cap."""


@dataclass(frozen=True)
class Spent:
    """What a sweep has used up, in the units of ``Budget``; ``wall_hours`` of this call alone."""

    hours: float = 0.0
    gpu_hours: float = 0.0
    wall_hours: float = 0.0
    trials: float = 0.0
    disk_gib: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(*(ours + theirs for ours, theirs in zip(astuple(self), astuple(other), strict=True)))


class Payments:
    """Which trials a sweep has launched, in ``STORE/plans/SWEEP.launched``: what others published costs it nothing."""

    def __init__(self, store: Store, sweep: str) -> None:
        self._store, self._path = store, store.root / "plans" / f"{sweep}.launched"
        self._path.parent.mkdir(exist_ok=True)
        store.fresh(self._path)
        # A torn last line, of a machine that died while writing, names no digest of the plan.
        text = self._path.read_text(encoding="utf-8", errors="replace") if self._path.exists() else ""
        lines = text.splitlines()
        self._launched = dict.fromkeys(lines)

    def launched(self, digest: str) -> None:
        """Remember that the sweep pays for the trial."""
        if digest not in self._launched:
            self._launched[digest] = None
            with self._path.open("a") as stream:
                stream.write(f"{digest}\n")
            self._store.shared(self._path, lines=True)

    def spent(self, stages: Mapping[str, str], priced: Mapping[str, Price]) -> Spent:
        """Sum over the published trials that the sweep launched; ``stages`` by digest are those of its plan."""
        published = self._store.present((stages[digest], digest) for digest in self._launched if digest in stages)
        return sum((self.cost(stage, digest, priced[digest].gpus) for stage, digest in published), Spent())

    def cost(self, stage: str, digest: str, gpus: float) -> Spent:
        """What a published trial took; nothing where its manifest cannot be read, since it is run again.

        ``gpus`` is what it was priced at, for a manifest that does not say what it held.
        """
        try:
            manifest = self._store.manifest(stage, digest)
        except DamagedError:
            return Spent()
        hours, held = manifest.seconds / 3600, float(manifest.host.get("gpus", gpus))
        size = published_mib(self._store, manifest) / 1024
        return Spent(hours=hours, gpu_hours=hours * held, trials=1, disk_gib=size)


class BudgetGuard(Guard):
    """Says whether a trial may be launched.

    A trial may start if what is spent, what running trials are expected to take (or took already, where that is more)
    and what it is itself expected to take stay within every cap. ``stages`` and ``priced`` are by digest of the plan's
    trials; ``clock`` gives seconds that never go back.
    """

    def __init__(
        self,
        sweep: Sweep,
        stages: Mapping[str, str],
        priced: Mapping[str, Price],
        store: Store,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._budget, self._priced, self._store, self._clock = sweep.file.budget, priced, store, clock
        self._payments = Payments(store, sweep.name)
        self._spent = self._payments.spent(stages, priced)
        self._begun = clock()
        self._since: dict[str, float] = {}

    def price(self, priced: Mapping[str, Price]) -> None:
        """Take the prices of a plan that has grown."""
        self._priced = {**self._priced, **priced}

    @property
    def spent(self) -> Spent:
        """What the sweep has used up so far, running trials as far as they are."""
        now = self._clock()
        running = [self._used(digest, (now - since) / 3600) for digest, since in self._since.items()]
        return replace(sum(running, self._spent), wall_hours=(now - self._begun) / 3600)

    def may_start(self, task: Task) -> str | None:
        """None, or one line that names the cap that the trial would pass and what to do."""
        if self._budget is None:
            return None
        now = self._clock()
        running = [self._expected(digest, (now - since) / 3600) for digest, since in self._since.items()]
        cost = self._expected(task.digest, 0.0)
        after = replace(sum(running, self._spent + cost), wall_hours=(now - self._begun) / 3600 + cost.hours)
        for name, cap in caps(self._budget).items():
            if getattr(after, name) > cap * (1 + ROUNDING):
                spent = getattr(self.spent, name)
                return (
                    f"{task.stage} {task.label} would take the sweep past budget.{name} {cap:g}: {_text(spent, name)} "
                    f"are spent, {_text(getattr(after, name), name)} with it; raise the cap and run again to go on"
                )
        return None

    def started(self, task: Task) -> None:
        self._since[task.digest] = self._clock()
        self._payments.launched(task.digest)

    def ended(self, task: Task) -> None:
        """The trial is settled, however it ended; one that failed has cost its time too."""
        hours = (self._clock() - self._since.pop(task.digest)) / 3600
        used = self._used(task.digest, hours)
        if self._store.has(task.stage, task.digest):
            used = replace(used, disk_gib=self._payments.cost(task.stage, task.digest, 0.0).disk_gib)
        self._spent += used

    def _used(self, digest: str, hours: float) -> Spent:
        return Spent(hours=hours, gpu_hours=hours * self._priced[digest].gpus, trials=1)

    def _expected(self, digest: str, lasted: float) -> Spent:
        price = self._priced[digest]
        used = self._used(digest, max(lasted, price.hours.middle))
        return replace(used, disk_gib=price.mib.middle / 1024)


def require_within(sweep: Sweep, forecast: Forecast, spent: Spent) -> None:
    """Refuse to start a sweep that is forecast above a cap, what it has spent before included.

    Raises:
        OverBudgetError: which cap, what is forecast, what to do.
    """
    if sweep.file.budget is None or not forecast.trials:
        return
    middles = {
        "hours": forecast.hours.middle, "gpu_hours": forecast.gpu_hours.middle, "wall_hours": forecast.wall.middle,
        "trials": float(forecast.trials), "disk_gib": forecast.disk_gib.middle,
    }  # fmt: skip
    for name, cap in caps(sweep.file.budget).items():
        before = getattr(spent, name)
        if before + middles[name] > cap * (1 + ROUNDING):
            after = f" after {_text(before, name)} already spent" if before else ""
            text = (
                f"the trials to run are forecast at {_text(middles[name], name)}{after}, above budget.{name} {cap:g}; "
                f"raise budget.{name} or ask for less"
            )
            raise OverBudgetError(str(sweep.error(("budget", name), text)))


def caps(budget: Budget) -> dict[str, float]:
    """The caps that are set, by field."""
    return {name: float(cap) for name in CAPS if (cap := getattr(budget, name)) is not None}


def _text(value: float, name: str) -> str:
    return f"{value:.0f} {UNITS[name]}" if value >= 100 else f"{value:.3g} {UNITS[name]}"
