"""A cluster that grows: which nodes its autoscaler can bring, and the wait for the first of them.

Ray 2.60 tells no driver what its autoscaler may start. The process that scales the cluster names its file on its own
command line, and a driver on the head can read both.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from medsweep.errors import UserError
from medsweep.execution.places import Node, bundle_of, capped, fits, listed, require_places, shown, stated
from medsweep.execution.task import RunContext, Task
from medsweep.stop_signals import Stop
from medsweep.sweep.file import Resources
from medsweep.tracking.console import Observer

WAIT_MINUTES: Final = 20.0
"""Default wait for a node where an autoscaler is known: a cloud brings one in minutes, and sets it up in as many."""
MONITORS: Final = ("autoscaler/_private/monitor.py", "autoscaler/v2/monitor.py")
"""Programs that scale a cluster, as their command lines name them."""


@dataclass(frozen=True)
class NodeType:
    """A kind of node that an autoscaler may start."""

    name: str
    has: Node
    most: int
    """Nodes of this kind at the same time."""


@dataclass(frozen=True)
class Cluster:
    """What a cluster has and, as far as anybody tells, what it can have."""

    nodes: tuple[Node, ...]
    types: tuple[NodeType, ...] = ()

    @property
    def each(self) -> list[Node]:
        """The nodes that live and one of each kind that can come."""
        return [*self.nodes, *(kind.has for kind in self.types)]

    @property
    def most(self) -> list[Node]:
        """All nodes that can live at the same time, those that live left out where they may be of a kind."""
        coming = [kind.has for kind in self.types for _ in range(kind.most)]
        return max(coming, list(self.nodes), key=len)


def node_types(address: str, processes: Path = Path("/proc")) -> tuple[NodeType, ...]:
    """The kinds of nodes that the autoscaler of the cluster at ``address`` (host and port of its GCS) may start.

    None where no autoscaler of it runs on this machine, or where its file does not say what a node of some kind has.
    """
    for path in processes.glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().decode(errors="replace").split("\0")
            options = dict(word.partition("=")[::2] for word in words if word.startswith("--"))
            if any(word.endswith(MONITORS) for word in words) and options.get("--gcs-address") == address:
                file = Path(options.get("--autoscaling-config", "")).expanduser()
                return _types_of(YAML(typ="safe").load(file.read_text())) if file.is_file() else ()
    return ()


def _types_of(config: Mapping[str, Any]) -> tuple[NodeType, ...]:
    limit = config.get("max_workers", 0)
    types = [
        NodeType(name, kind.get("resources", {}), min(kind.get("max_workers", limit), limit))
        for name, kind in config.get("available_node_types", {}).items()
        if name != config.get("head_node_type")
    ]
    coming = tuple(kind for kind in types if kind.most > 0)
    return coming if all(kind.has for kind in coming) else ()


def require_cluster(  # noqa: PLR0917
    tasks: Sequence[Task],
    context: RunContext,
    observer: Observer,
    stop: Stop,
    address: str | None,
    minutes: float | None,
) -> Cluster | None:
    """The cluster, once a trial can start on it; None where the user stops meanwhile.

    A cluster whose kinds of nodes are known is asked for a node if none can hold a trial that is to start first, and
    brings the others when their turn comes. Of any other one a node for every stage must come within ``minutes``.

    Raises:
        UserError: a stage asks for more than any node has or can have, or no node came in time.
    """
    import ray

    local = address is None or address.startswith("ray://")
    types = () if local else node_types(ray.get_runtime_context().gcs_address)
    patience = minutes if minutes is not None else WAIT_MINUTES if types else 0.0
    where = "the Ray cluster" if not types else "the Ray cluster, with what its autoscaler can start,"
    cure = "lower it, or run on larger nodes with --address"
    cluster = Cluster(living_nodes(), types)
    needed = stated(tasks, context)
    if types or patience == 0:
        late = "" if local or types else ", or wait for nodes that are on their way with --wait-for-nodes MINUTES"
        require_places(needed, cluster.each, where, cure + late)
    for held in _waited_for(tasks, needed, cluster):
        bundle = capped(bundle_of(held), cluster.each) if types else bundle_of(held)
        if not _has_come(bundle, patience, observer, stop):
            if stop.requested:
                return None
            raise UserError(
                f"no node that can hold {shown(bundle)} has come within {patience:g} minutes; the cluster has "
                f"{listed(living_nodes())}; ray status on the head says why, --wait-for-nodes waits longer"
            )
    return Cluster(living_nodes(), types)


def _waited_for(tasks: Sequence[Task], needed: Mapping[str, Resources], cluster: Cluster) -> Iterable[Resources]:
    """What a node must come for before anything is started."""
    if not cluster.types:
        return [held for held in needed.values() if not any(fits(bundle_of(held), node) for node in cluster.nodes)]
    known = {task.digest for task in tasks}
    first = [task.held for task in tasks if known.isdisjoint(task.waits_for)]
    bundles = [capped(bundle_of(held), cluster.each) for held in first]
    return first[:1] if not any(fits(bundle, node) for bundle in bundles for node in cluster.nodes) else []


def _has_come(bundle: Mapping[str, float], minutes: float, observer: Observer, stop: Stop) -> bool:
    """Ask the cluster for room for ``bundle`` and wait for it; the request ends with this call, or with the driver."""
    # Not ray.autoscaler.sdk.request_resources: what that asks for is kept, and paid for, after a driver was killed.
    from ray.util.placement_group import placement_group, remove_placement_group

    observer.note(
        f"no node can hold {shown(bundle)} yet; the cluster is asked for one and has {minutes:g} minutes to bring it"
    )
    group, since = placement_group([dict(bundle)]), time.monotonic()
    try:
        while not group.wait(1.0):
            if stop.requested or time.monotonic() - since > minutes * 60:
                return False
    finally:
        remove_placement_group(group)
    observer.note(f"a node has come after {time.monotonic() - since:.0f} s")
    return True


def living_nodes() -> tuple[Node, ...]:
    """What each living node has."""
    import ray

    return tuple(node["Resources"] for node in ray.nodes() if node["Alive"])
