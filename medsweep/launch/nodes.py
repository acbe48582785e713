"""How large the nodes are that a sweep needs: groups of equal nodes, with or without GPUs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from medsweep.errors import UserError
from medsweep.launch.options import Kinds, Kuberay, Nodes, Slurm
from medsweep.sweep.file import Resources

RAY_GIB: Final = 2
"""Host memory of a node that Ray's own processes take."""


@dataclass(frozen=True)
class NodeGroup:
    """Equal nodes."""

    name: str
    count: int
    cpus: int
    gpus: int
    memory_gib: int | None
    """None where no stage states what it needs."""


def node_groups(resources: Mapping[str, Resources], options: Kinds) -> list[NodeGroup]:
    """The workers of a cluster: one group, or with ``--cpu-nodes`` a second one for the stages without GPUs.

    Raises:
        UserError: a trial that would fit on no node, or nodes that no stage needs.
    """
    if not options.cpu_nodes:
        return [_group("worker", options.nodes, resources, options)]
    with_gpu = {stage: held for stage, held in resources.items() if held.most_gpus}
    if not with_gpu:
        raise UserError("--cpu-nodes: no stage of this sweep holds a GPU, so that all nodes are without; use --nodes")
    without = {stage: held for stage, held in resources.items() if stage not in with_gpu}
    plain = options.model_copy(update={"cpus": None, "gpus": None, "memory": None})
    return [
        _group("worker", options.nodes, with_gpu, options),
        _group("cpu-worker", options.cpu_nodes, without, plain),
    ]


def _group(name: str, count: int, resources: Mapping[str, Resources], options: Kinds) -> NodeGroup:
    cpus, gpus = node_size(resources, options)
    return NodeGroup(name, count, cpus, gpus, node_memory(resources, options, cpus, gpus))


def node_size(resources: Mapping[str, Resources], options: Nodes) -> tuple[int, int]:
    """CPU cores and GPUs of a node: as asked for, or as many as fill its GPUs with trials of any stage.

    A node without GPUs holds four of the largest trials, so that stages overlap.

    Raises:
        UserError: a trial that would fit on no node, or GPUs that no stage holds.
    """
    by_stage = {"a stage without resources": Resources(), **resources}
    most_gpus = max(held.most_gpus for held in by_stage.values())
    if options.gpus and not most_gpus:
        raise UserError(
            f"--gpus {options.gpus}: no stage of this sweep holds a GPU; "
            "state resources.STAGE.gpus in the sweep, or leave --gpus out"
        )
    gpus = options.gpus if options.gpus is not None else math.ceil(most_gpus)
    if options.cpus is not None:
        cpus = options.cpus
    elif gpus:
        cpus = max(held.cpus * (int(gpus / held.most_gpus) if held.most_gpus else 1) for held in by_stage.values())
    else:
        cpus = 4 * max(held.cpus for held in by_stage.values())
    for stage, held in by_stage.items():
        for kind, needed, available in (("cpus", held.cpus, cpus), ("gpus", held.most_gpus, gpus)):
            if needed > available:
                text = f"resources.{stage}.{kind} asks for {needed:g}, a node would have {available}"
                raise UserError(f"{text}; raise --{kind}, or lower it in the sweep")
    return cpus, gpus


def node_memory(resources: Mapping[str, Resources], options: Nodes, cpus: int, gpus: int) -> int | None:
    """GiB of a node: as asked for, or what trials of the stage that takes most hold at once; None if none states it.

    Raises:
        UserError: a trial that would fit on no node.
    """
    memory = options.memory if isinstance(options, Slurm | Kuberay) else None
    needed = 0.0
    for stage, held in resources.items():
        if memory is not None and held.memory_gib + RAY_GIB > memory:
            text = f"resources.{stage}.memory_gib asks for {held.memory_gib:g}, and Ray takes {RAY_GIB}"
            raise UserError(f"{text}; a node would have {memory}; raise --memory, or lower it in the sweep")
        times = min(cpus // held.cpus, int(gpus / held.most_gpus) if held.most_gpus else cpus)
        needed = max(needed, held.memory_gib * max(times, 1))
    return memory or (math.ceil(needed) + RAY_GIB if needed else None)
