"""A cluster that exists in numbers alone: nodes that fail and come back, a clock in hours, a store in memory."""

import heapq
import itertools
import math
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from medsweep.execution.task import Task
from medsweep.store.store import Store
from medsweep.sweep.file import Resources

REPAIR_HOURS = 0.25
CHECKPOINT_HOURS = 1 / 60


@dataclass
class Node:
    """What is free on one machine."""

    gpus: float
    cpus: float
    running: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Cluster:
    """Equal nodes, each of which fails at ``rate`` per GPU and hour, and is back after ``REPAIR_HOURS``."""

    nodes: int
    gpus: int
    rate: float

    def empty(self) -> list[Node]:
        """All nodes, idle."""
        return [Node(self.gpus / self.nodes, 16.0 * self.gpus / self.nodes) for _ in range(self.nodes)]


class SimulatedStore(Store):
    """Published trials in memory: the only part of the store that a ledger asks for."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent"))
        self.published: set[str] = set()

    def leased(self, stage: str, digest: str) -> bool:
        """Nobody else is there."""
        return False

    def has(self, stage: str, digest: str) -> bool:
        """Whether the simulated trial has ended."""
        return digest in self.published

    def manifest(self, stage: str, digest: str) -> Any:
        """What a ledger reads of a manifest."""
        return SimpleNamespace(outcome="complete", message="")


class Simulation:
    """One run of a ledger's tasks on a cluster; time in hours."""

    def __init__(self, cluster: Cluster, durations: dict[str, float], seed: int) -> None:
        self.cluster, self.durations = cluster, durations
        self.nodes = cluster.empty()
        self.now, self.ended, self.busy, self.lost = 0.0, 0.0, 0.0, 0.0
        self.failures = 0
        self._rng = np.random.default_rng(seed)
        self._events: list[tuple[float, int, str, int, str]] = []
        self._count = itertools.count()
        self._left: dict[str, float] = {}
        self._begun: dict[str, float] = {}
        self._end_hours: dict[str, float] = {}
        for node in range(cluster.nodes):
            self._plan_failure(node)

    def _push(self, at: float, kind: str, node: int, digest: str = "") -> None:
        heapq.heappush(self._events, (at, next(self._count), kind, node, digest))

    def _plan_failure(self, node: int) -> None:
        rate = self.cluster.rate * self.cluster.gpus / self.cluster.nodes
        if rate > 0:
            self._push(self.now + self._rng.exponential(1 / rate), "fail", node)

    def place(self, task: Task, resources: Resources) -> bool:
        """Start a task on the first node with room, as Ray packs them."""
        for number, node in enumerate(self.nodes):
            if node.gpus + 1e-9 >= resources.gpus and node.cpus >= resources.cpus:
                node.gpus, node.cpus = node.gpus - resources.gpus, node.cpus - resources.cpus
                node.running.add(task.digest)
                self._begun[task.digest] = self.now
                self._left.setdefault(task.digest, self.durations[task.digest])
                self._end_hours[task.digest] = self.now + self._left[task.digest]
                self._push(self._end_hours[task.digest], "end", number, task.digest)
                return True
        return False

    def next_end(self, resources: dict[str, Resources]) -> tuple[list[str], list[str]]:
        """Go on to the next end of trials: those that finished, and those whose node failed."""
        while True:
            self.now, _, kind, number, digest = heapq.heappop(self._events)
            node = self.nodes[number]
            if kind == "end" and digest in node.running and math.isclose(self.now, self._end_hours[digest]):
                self.ended = self.now
                self._release(node, digest, resources[digest])
                return [digest], []
            if kind == "back":
                node.gpus = self.cluster.gpus / self.cluster.nodes
                self._plan_failure(number)
                return [], []
            if kind == "fail":
                self.failures += 1
                killed = sorted(node.running)
                for digest in killed:
                    done = self.now - self._begun[digest]
                    saved = math.floor(done / CHECKPOINT_HOURS) * CHECKPOINT_HOURS
                    self.lost += (done - saved) * resources[digest].gpus
                    self._left[digest] -= saved
                    self._release(node, digest, resources[digest])
                node.gpus = 0.0
                self._push(self.now + REPAIR_HOURS, "back", number)
                return [], killed

    def _release(self, node: Node, digest: str, resources: Resources) -> None:
        node.running.discard(digest)
        node.gpus, node.cpus = node.gpus + resources.gpus, node.cpus + resources.cpus
        self.busy += (self.now - self._begun[digest]) * resources.gpus
