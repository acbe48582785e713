"""A cluster that exists in numbers alone: nodes that fail and come back, a clock in hours, a store in memory."""

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from medsweep.store.store import Store

REPAIR_HOURS = 0.25
CHECKPOINT_HOURS = 1 / 60


@dataclass
class Node:
    """One machine: what it has, what of it is free, and the processes on it, each with what it holds."""

    has: dict[str, float]
    free: Counter[str]
    slots: dict[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Cluster:
    """Equal nodes, each of which fails at ``rate`` per GPU and hour, and is back after ``REPAIR_HOURS``."""

    nodes: int
    gpus: int
    rate: float

    def empty(self) -> list[Node]:
        """All nodes, idle."""
        has = {"GPU": self.gpus / self.nodes, "CPU": 16.0 * self.gpus / self.nodes}
        return [Node(dict(has), Counter(has)) for _ in range(self.nodes)]


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
        self._running: dict[str, tuple[str, float, float]] = {}
        for node in range(cluster.nodes):
            self._plan_failure(node)

    def _push(self, at: float, kind: str, node: int, slot: str = "") -> None:
        heapq.heappush(self._events, (at, next(self._count), kind, node, slot))

    def _plan_failure(self, node: int) -> None:
        rate = self.cluster.rate * self.cluster.gpus / self.cluster.nodes
        if rate > 0:
            self._push(self.now + self._rng.exponential(1 / rate), "fail", node)

    @property
    def is_busy(self) -> bool:
        """Whether any task runs."""
        return bool(self._running)

    def place(self, slot: str, bundle: Mapping[str, float]) -> int | None:
        """Start a process on the first node with room, as Ray packs them."""
        for number, node in enumerate(self.nodes):
            if all(node.free[name] + 1e-9 >= amount for name, amount in bundle.items()):
                node.free.subtract(bundle)
                node.slots[slot] = bundle
                return number
        return None

    def begin(self, slot: str, digest: str) -> None:
        """Start a task in a process."""
        left = self._left.setdefault(digest, self.durations[digest])
        self._running[slot] = digest, self.now, self.now + left
        self._push(self.now + left, "end", self._node_of(slot), slot)

    def _node_of(self, slot: str) -> int:
        return next(number for number, node in enumerate(self.nodes) if slot in node.slots)

    def release(self, slot: str) -> None:
        """End a process that runs nothing."""
        node = self.nodes[self._node_of(slot)]
        node.free.update(node.slots.pop(slot))

    def next_end(self) -> tuple[list[tuple[str, int, str]], list[str]]:
        """Go on to the next end of tasks: process, node and digest of what finished, or processes whose node failed."""
        while True:
            self.now, _, kind, number, slot = heapq.heappop(self._events)
            node = self.nodes[number]
            if kind == "end" and slot in self._running and math.isclose(self.now, self._running[slot][2]):
                self.ended = self.now
                return [(slot, number, self._stop(slot, node))], []
            if kind == "back":
                node.has["GPU"] = node.free["GPU"] = self.cluster.gpus / self.cluster.nodes
                self._plan_failure(number)
                return [], []
            if kind == "fail":
                self.failures += 1
                killed = sorted(node.slots)
                for name in killed:
                    done = self.now - self._running[name][1]
                    saved = math.floor(done / CHECKPOINT_HOURS) * CHECKPOINT_HOURS
                    self.lost += (done - saved) * node.slots[name].get("GPU", 0.0)
                    self._left[self._stop(name, node)] -= saved
                    self.release(name)
                node.has["GPU"] = node.free["GPU"] = 0.0
                self._push(self.now + REPAIR_HOURS, "back", number)
                return [], killed

    def _stop(self, slot: str, node: Node) -> str:
        digest, begun, _ = self._running.pop(slot)
        self.busy += (self.now - begun) * node.slots[slot].get("GPU", 0.0)
        return digest
