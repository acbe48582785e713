"""Clusters of Ray on this host, whose nodes come however busy it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from medsweep.execution.ray_start import patient_nodes
from medsweep.processes import descendants, end


@contextmanager
def cluster_of(**head: Any) -> Iterator[Any]:
    """A cluster with ``head`` as arguments of its head node; it ends, with all its processes, at the end."""
    from ray.cluster_utils import Cluster

    with patient_nodes():
        before = descendants()
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            yield cluster
        finally:
            started = descendants() - before
            cluster.shutdown()
            end(started, patience_seconds=2.0)
