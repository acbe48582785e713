"""Which trial may start next: the state of a DAG being run. Pure, shared by all runners."""

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable

from medsweep.execution.task import Task
from medsweep.trial import COMPLETE


class Frontier:
    """Tasks whose inputs are there, longest remaining chain first; a failed task closes its descendants only.

    Of equally long chains the one whose input was settled last goes first: it is still in the page cache, and the
    trials made from one input follow each other.
    """

    def __init__(self, tasks: Iterable[Task]) -> None:
        self.tasks = {task.digest: task for task in tasks}
        self.live: set[str] = set()
        self.settled: dict[str, str] = {}
        """Outcome by digest; ``blocked`` for what a failure closed."""
        self._order = {digest: number for number, digest in enumerate(self.tasks)}
        self._waits = {
            digest: {parent for parent in task.inputs.values() if parent in self.tasks}
            for digest, task in self.tasks.items()
        }
        self._readers: dict[str, list[str]] = defaultdict(list)
        for digest, parents in self._waits.items():
            for parent in parents:
                self._readers[parent].append(digest)
        self._ready: list[tuple[float, int, int, str]] = []
        for digest, parents in self._waits.items():
            if not parents:
                self._push(digest)

    def _push(self, digest: str) -> None:
        heapq.heappush(self._ready, (-self.tasks[digest].tail_hours, -len(self.settled), self._order[digest], digest))

    @property
    def open(self) -> int:
        """Tasks that are neither settled nor running."""
        return len(self.tasks) - len(self.settled) - len(self.live)

    def start(self, held_elsewhere: Callable[[Task], bool] = lambda task: False) -> Task | None:
        """The next task to run, now counted as running; tasks that another worker holds are passed over."""
        passed: list[tuple[float, int, int, str]] = []
        chosen: Task | None = None
        while self._ready and chosen is None:
            entry = heapq.heappop(self._ready)
            if held_elsewhere(self.tasks[entry[-1]]):
                passed.append(entry)
            else:
                chosen = self.tasks[entry[-1]]
        for entry in passed:
            heapq.heappush(self._ready, entry)
        if chosen is not None:
            self.live.add(chosen.digest)
        return chosen

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
