"""Whether a trial has a place: it runs on one node, so no sum over nodes says so, and a place may be long in coming."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from medsweep.errors import UserError
from medsweep.execution.task import RunContext, Task
from medsweep.sweep.file import Resources

Node = Mapping[str, float]
"""What a node has by Ray's names: ``CPU``, ``GPU`` and ``memory`` in bytes."""
Kind = tuple[tuple[str, float], ...]
"""A bundle as something to tell trials apart by."""
SLACK = 1e-9
"""Of sums of fractions of a GPU."""
LATE_SECONDS = 300.0
"""Time after which a trial that still has no place is named; each further time is twice as late."""
KINDS = {"CPU": "cpus", "GPU": "gpus", "memory": "memory_gib"}


def bundle_of(held: Resources) -> dict[str, float]:
    """What is set aside for a trial."""
    bundle = {"CPU": float(held.cpus), "GPU": held.most_gpus, "memory": float(int(held.memory_gib * 2**30))}
    return {name: amount for name, amount in bundle.items() if amount}


def kind_of(held: Resources) -> Kind:
    """What trials must hold alike to run one after the other in one process."""
    return tuple(bundle_of(held).items())


def capped(bundle: Mapping[str, float], nodes: Iterable[Node]) -> dict[str, float]:
    """``bundle`` with no more memory than the node that has most: a trial that ran out of memory is given twice."""
    most = max((node.get("memory", 0.0) for node in nodes), default=0.0)
    return {name: min(amount, most) if name == "memory" else amount for name, amount in bundle.items()}


def fits(bundle: Mapping[str, float], node: Node) -> bool:
    """Whether an empty node can hold it."""
    return all(amount <= node.get(name, 0.0) for name, amount in bundle.items())


def stated(tasks: Sequence[Task], context: RunContext) -> dict[str, Resources]:
    """What the sweep states for each stage, with the most GPUs that a task of it holds now.

    Not the memory that a task holds: one that ran out of it is given twice what is stated, or as much as there is.
    """
    stages = dict.fromkeys(task.stage for task in tasks)
    gpus = {stage: max(task.held.most_gpus for task in tasks if task.stage == stage) for stage in stages}
    return {stage: context.resources_of(stage).model_copy(update={"gpus": gpus[stage]}) for stage in stages}


def require_places(resources: Mapping[str, Resources], nodes: Sequence[Node], where: str, cure: str) -> None:
    """Refuse what a stage asks for if not one of ``nodes`` can hold all of it.

    Raises:
        UserError: the stage, what it asks for, what the nodes have, and ``cure``.
    """
    largest = f"{where} has" if len(nodes) == 1 else f"the largest node of {where} has"
    for stage, held in resources.items():
        bundle = bundle_of(held)
        if any(fits(bundle, node) for node in nodes):
            continue
        for name, amount in bundle.items():
            most = max((node.get(name, 0.0) for node in nodes), default=0.0)
            if amount > most:
                scale = 2**30 if name == "memory" else 1
                asked = f"resources.{stage}.{KINDS[name]} asks for {amount / scale:g}, {largest} {most / scale:.4g}"
                raise UserError(f"{asked}; {cure}")
        raise UserError(f"resources.{stage} asks for {shown(bundle)} on one node; {where} has {listed(nodes)}; {cure}")


def slots(bundle: Mapping[str, float], nodes: Iterable[Node]) -> int:
    """Trials that hold ``bundle`` and can run at once on ``nodes``, at least one."""
    return max(1, sum(_times(bundle, node) for node in nodes))


def _times(bundle: Mapping[str, float], node: Node) -> int:
    return int(min(node.get(name, 0.0) / amount + SLACK for name, amount in bundle.items()))


def shown(amounts: Mapping[str, float]) -> str:
    """``2 CPUs, 1 GPU, 4 GiB``."""
    words = [f"{amounts[name]:g} {name}{'s' * (amounts[name] != 1)}" for name in ("CPU", "GPU") if amounts.get(name)]
    return (
        ", ".join([*words, *([f"{amounts['memory'] / 2**30:.4g} GiB"] if amounts.get("memory") else [])]) or "nothing"
    )


def listed(nodes: Sequence[Node]) -> str:
    """``2 nodes of 4 CPUs, 16 GiB and 1 node of 8 CPUs, 1 GPU``."""
    counts = dict.fromkeys(map(shown, nodes), 0)
    for node in nodes:
        counts[shown(node)] += 1
    kinds = [f"{count} node{'s' * (count != 1)} of {kind}" for kind, count in counts.items()]
    return " and ".join(kinds) or "no nodes"


class Places:
    """Names trials that have been asked for long ago and have no place yet; asked again and again.

    Args:
        nodes: what the living nodes have, now.
        free: what all of them together have free, now.
        note: takes one line for people.
        clock: seconds that never go back.
        coming: what nodes may have that the cluster can still bring, one of each kind.
    """

    def __init__(
        self,
        nodes: Callable[[], Sequence[Node]],
        free: Callable[[], Node],
        note: Callable[[str], None],
        clock: Callable[[], float],
        coming: Sequence[Node] = (),
    ) -> None:
        self._nodes, self._free, self._note, self._clock, self._coming = nodes, free, note, clock, coming
        self._waiting: dict[str, tuple[Task, float, float]] = {}

    def asked(self, task: Task) -> None:
        """It waits for a place from now on."""
        now = self._clock()
        self._waiting[task.digest] = (task, now, now + LATE_SECONDS)

    def settled(self, digest: str) -> None:
        """It has a place, or needs none any more."""
        self._waiting.pop(digest, None)

    def look(self) -> None:
        """Say of each trial that is late what it holds and what the nodes have."""
        now = self._clock()
        for digest, (task, since, late) in list(self._waiting.items()):
            if now < late:
                continue
            waited = now - since
            self._waiting[digest] = (task, since, now + waited)
            nodes = self._nodes()
            bundle = capped(bundle_of(task.held), [*nodes, *self._coming])
            able = "" if any(fits(bundle, node) for node in nodes) else "; none of them can hold it"
            able += ", a node that can come would" if able and any(fits(bundle, node) for node in self._coming) else ""
            self._note(
                f"{task.stage} {task.label} has waited for a place for {waited / 60:.0f} minutes: it holds "
                f"{shown(bundle)}; there are {listed(nodes)}, with {shown(self._free())} free{able}"
            )
