"""Which process runs which trial: a process holds a bundle, and is handed one trial of that bundle after another."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from medsweep.execution.places import SLACK, Kind, Node, Places, fits, kind_of
from medsweep.execution.runner import Ledger
from medsweep.execution.task import Task

LINGER_SECONDS = 10.0
"""Time that a process without work keeps its place: about what starting another one would take."""
Bundle = Mapping[str, float]


@dataclass
class Slot:
    """One process, which is asked for first, comes to a node, and then runs tasks of its kind."""

    kind: Kind
    bundle: Bundle
    task: Task | None
    """What it runs, or will begin with."""
    node: str = ""
    """Where it is; nothing before it has come."""
    idle_since: float = 0.0


class Slots:
    """Hands the tasks of a ledger to processes, the urgent ones first.

    A process whose task has ended takes the next of its kind at once. It gives up its place where something more urgent
    of another kind waits for what it holds and for nothing else.

    Args:
        ledger: settles and chooses tasks.
        places: told of tasks that wait for a place.
        bundle: what is set aside for a kind of task.
        most: processes of a bundle that can be there at once, as far as anybody knows.
        nodes: what each living node has, by its id.
        clock: seconds that never go back.
    """

    def __init__(  # noqa: PLR0917
        self,
        ledger: Ledger,
        places: Places,
        bundle: Callable[[Kind], Bundle],
        most: Callable[[Bundle], int],
        nodes: Callable[[], Mapping[str, Node]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger, self._places, self._bundle, self._most = ledger, places, bundle, most
        self._nodes, self._clock = nodes, clock
        self._slots: dict[str, Slot] = {}

    def ask(self, name: str) -> Bundle | None:
        """The bundle of one more process, called ``name``, and None while no task needs one.

        It is not asked for where an idle one may take the task, nor where as many are asked for as can come.
        """
        coming = Counter(slot.kind for slot, _ in self._waiting())
        idle = {slot.kind for slot in self._slots.values() if slot.node and slot.task is None}

        def is_wanted(kind: Kind) -> bool:
            return kind not in idle and (coming[kind] == 0 or coming[kind] < self._most(self._bundle(kind)))

        task = self._ledger.start(is_wanted)
        if task is None:
            return None
        kind = kind_of(task.held)
        slot = self._slots[name] = Slot(kind, self._bundle(kind), task)
        self._places.asked(task)
        return slot.bundle

    def runs(self, name: str) -> Task | None:
        """What a process is at."""
        return self._slots[name].task

    def is_free(self, name: str, node: str) -> Task | None:
        """What the process that has come to ``node``, or has ended its task there, is to run now; None: nothing yet."""
        slot = self._slots[name]
        if not slot.node:
            slot.node, slot.idle_since = node, self._clock()
        elif slot.task is not None:
            ended, slot.task, slot.idle_since = slot.task, None, self._clock()
            self._ledger.settle(ended, node)
        if slot.task is None:
            slot.task = self._next(slot)
        if slot.task is not None:
            self._places.settled(slot.task.digest)
            self._ledger.observer.started(slot.task.digest, slot.task.shown_stage, slot.task.label)
        return slot.task

    def may_stay(self, name: str) -> bool:
        """Whether a process without a task is kept for one that may become ready in moments."""
        slot = self._slots[name]
        if not self._ledger.frontier.live or self._waiting(slot.kind) or self._gives_way(slot):
            return False
        return self._clock() - slot.idle_since < LINGER_SECONDS

    def comes_again(self, name: str) -> None:
        """The process was taken away with its node, and another one takes up its task."""
        self._slots[name].node = ""

    def ended(self, name: str) -> None:
        """The process is no more, or is given to another slot; what it was at is settled by what the store says."""
        slot = self._slots.pop(name, None)
        if slot is not None and slot.task is not None:
            self._places.settled(slot.task.digest)
            self._ledger.settle(slot.task, slot.node)

    def _waiting(self, kind: Kind | None = None) -> list[tuple[Slot, Task]]:
        """Processes that are not there yet (of a kind), each with what it was asked for, in that order."""
        return [
            (slot, slot.task)
            for slot in self._slots.values()
            if not slot.node and slot.task is not None and kind in {None, slot.kind}
        ]

    def _next(self, slot: Slot) -> Task | None:
        """The most urgent task of its kind, which may be one that a process not yet here was asked for.

        That process then gets another. Where there is no other, it gets this one's place.
        """
        if self._gives_way(slot):
            return None
        fresh = self._ledger.start(lambda kind: kind == slot.kind)
        if fresh is None:
            return None
        warmth = self._ledger.frontier.warmth
        tasks = [(asked, task) for asked, task in self._waiting(slot.kind)] + [(slot, fresh)]
        giver, task = max(tasks, key=lambda one: (one[1].tail_hours, warmth(one[1].digest, slot.node)))
        if giver is not slot:
            giver.task = fresh
            self._places.asked(fresh)
        return task

    def _gives_way(self, slot: Slot) -> bool:
        """Whether something more urgent of another kind lacks what this process holds, and nothing else."""
        tails = self._ledger.frontier.tails()
        asked = [(task.tail_hours, waiting.kind) for waiting, task in self._waiting()]
        others = [*asked, *((tail, kind) for kind, tail in tails.items() if kind != slot.kind)]
        own = max([tails.get(slot.kind, -1.0), *(tail for tail, kind in asked if kind == slot.kind)])
        if all(tail <= own or kind == slot.kind for tail, kind in others):
            return False
        nodes = self._nodes()
        left = {node: Counter(has) for node, has in nodes.items()}
        for other in self._slots.values():
            left.get(other.node, Counter()).subtract(other.bundle)
        here: Node = nodes.get(slot.node, {})
        left_here: Node = left.get(slot.node, {})
        for kind, tail in _without_room(others, self._bundle, left).items():
            bundle = self._bundle(kind)
            urgent = tail > own and kind != slot.kind and fits(bundle, here)
            if urgent and _lacking(bundle, left_here) <= slot.bundle.keys():
                return True
        return False


def _without_room(
    asked: Iterable[tuple[float, Kind]], bundle_of: Callable[[Kind], Bundle], left: Mapping[str, Counter[str]]
) -> dict[Kind, float]:
    """The kinds that have no room in what is ``left``, once it is taken by what has, with the longest chain of each."""
    stuck: dict[Kind, float] = {}
    for tail, kind in asked:
        bundle = bundle_of(kind)
        room = None if kind in stuck else next((node for node in left.values() if not _lacking(bundle, node)), None)
        if room is None:
            stuck[kind] = max(tail, stuck.get(kind, tail))
        else:
            room.subtract(bundle)  # a process for it is on its way
    return stuck


def _lacking(bundle: Bundle, left: Bundle) -> set[str]:
    return {name for name, amount in bundle.items() if amount > left.get(name, 0.0) + SLACK}
