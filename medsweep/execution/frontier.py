"""Which trial may start next: the state of a DAG being run. Pure, shared by all runners."""

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable

from medsweep.execution.places import Kind, kind_of
from medsweep.execution.task import Task
from medsweep.trial import COMPLETE

PEERS = 32
"""Equally urgent tasks among which the one whose inputs are nearest is looked for."""
Entry = tuple[float, int, int, str]


class Frontier:
    """Tasks whose inputs are there, longest remaining chain first; a failed task closes its descendants only.

    Of equally long chains the one whose input was settled last goes first: it is still in the page cache, and the
    trials made from one input follow each other. Where it is known which node has a place free, of those the one goes
    first of whose inputs most were made or read there. ``sized`` makes of a task that becomes ready the one to start,
    with what it then holds.
    """

    def __init__(self, tasks: Iterable[Task], sized: Callable[[Task], Task] = lambda task: task) -> None:
        self._sized = sized
        self.tasks: dict[str, Task] = {}
        self.live: set[str] = set()
        self.settled: dict[str, str] = {}
        """Outcome by digest; ``blocked`` for what a failure closed."""
        self._places: dict[str, set[str]] = defaultdict(set)
        """Nodes on which a trial's output was written or read."""
        self._order: dict[str, int] = {}
        self._waits: dict[str, set[str]] = {}
        self._readers: dict[str, list[str]] = defaultdict(list)
        self._ready: dict[Kind, list[Entry]] = defaultdict(list)
        self.add(tasks)

    def add(self, tasks: Iterable[Task]) -> None:
        """Take the tasks that are not here yet; none of them may read one that failed."""
        new = {task.digest: task for task in tasks if task.digest not in self.tasks}
        self.tasks |= new
        for digest, task in new.items():
            self._order[digest] = len(self._order)
            open_ = {parent for parent in task.waits_for if parent in self.tasks and parent not in self.settled}
            self._waits[digest] = open_
            for parent in open_:
                self._readers[parent].append(digest)
            if not open_:
                self._push(digest)

    def _push(self, digest: str) -> None:
        task = self.tasks[digest] = self._sized(self.tasks[digest])
        entry = (-task.tail_hours, -len(self.settled), self._order[digest], digest)
        heapq.heappush(self._ready[kind_of(task.held)], entry)

    def tails(self) -> dict[Kind, float]:
        """The longest remaining chain that may begin now, in hours, of tasks that hold the same."""
        return {kind: -ready[0][0] for kind, ready in self._ready.items() if ready}

    def start(
        self,
        held_elsewhere: Callable[[Task], bool] = lambda task: False,
        near: str = "",
        suits: Callable[[Kind], bool] = lambda kind: True,
    ) -> Task | None:
        """The next task to run, now counted as running; tasks that another worker holds are passed over.

        ``near`` is the node that will run it, as far as anybody can tell. ``suits`` says which kinds may run.
        """
        passed: list[tuple[list[Entry], Entry]] = []
        chosen: Task | None = None
        while chosen is None and (ready := self._most_urgent(suits)):
            entry = _pop(ready, near, self.warmth)
            if held_elsewhere(self.tasks[entry[-1]]):
                passed.append((ready, entry))
            else:
                chosen = self.tasks[entry[-1]]
        for ready, entry in passed:
            heapq.heappush(ready, entry)
        if chosen is not None:
            self.live.add(chosen.digest)
        return chosen

    def _most_urgent(self, suits: Callable[[Kind], bool]) -> list[Entry]:
        suitable = (ready for kind, ready in self._ready.items() if ready and suits(kind))
        return min(suitable, key=lambda ready: ready[0], default=[])

    def warmth(self, digest: str, node: str) -> int:
        """How many inputs of a task were made or read on ``node``."""
        return sum(node in self._places[parent] for parent in self.tasks[digest].inputs.values())

    def ran_on(self, digest: str, node: str) -> None:
        """Remember where a trial was run: its output and its inputs are there."""
        for seen in (digest, *self.tasks[digest].inputs.values()):
            self._places[seen].add(node)

    def put_back(self, digest: str) -> None:
        """Count a running task as ready again."""
        self.live.discard(digest)
        self._push(digest)

    def settle(self, digest: str, outcome: str) -> list[str]:
        """Record how a task ended; returns the descendants that this closes."""
        self.live.discard(digest)
        self.settled[digest] = outcome
        closed: list[str] = []
        todo = [digest]
        while todo:
            for reader in self._readers[todo.pop()]:
                if outcome != COMPLETE and reader not in self.settled:
                    self.settled[reader] = "blocked"
                    closed.append(reader)
                    todo.append(reader)
        if outcome == COMPLETE:
            for reader in self._readers[digest]:
                self._waits[reader].discard(digest)
                if not self._waits[reader] and reader not in self.settled:
                    self._push(reader)
        return closed


def _pop(ready: list[Entry], near: str, warmth: Callable[[str, str], int]) -> Entry:
    first = heapq.heappop(ready)
    peers = [first]
    while near and ready and ready[0][0] == first[0] and len(peers) < PEERS:
        peers.append(heapq.heappop(ready))
    best = max(peers, key=lambda entry: warmth(entry[-1], near))
    for entry in peers:
        if entry is not best:
            heapq.heappush(ready, entry)
    return best
