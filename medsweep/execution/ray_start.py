"""Lets a Ray of our own start also on a machine that is busy, or whose packages lie on a slow disk."""

import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any, Final

PORTS: Final = range(20_000, 32_000)
"""Above those of Ray's workers, which end at 19,999, and below those that Linux gives to outgoing connections."""
AGENT_PORTS: Final = (
    "metrics_agent_port",
    "metrics_export_port",
    "runtime_env_agent_port",
    "dashboard_agent_listen_port",
)
"""Ports of a node's two agents, by Ray's names of them."""
AGENTS_MAY_TAKE: Final = ("RAY_agent_register_timeout_ms", "600000")
"""How long a trial waits for the agent that sets up its environment, by Ray's name; it is 30 s otherwise."""


@contextmanager
def patient_nodes() -> Iterator[None]:
    """Nodes that are started inside do not wait for their agents, since they know the ports of these beforehand.

    A node of Ray (2.60) gives up if its agents, which import much Python, take more than 15 s to tell a port. No
    setting makes that longer (ray-project/ray#65983), and no public function takes these ports. A Ray that names them
    otherwise starts as it always does.
    """
    from ray._private import services
    from ray._raylet import persist_port  # type: ignore[attr-defined]

    usual = services.start_raylet
    os.environ.setdefault(*AGENTS_MAY_TAKE)

    def start_raylet(*args: Any, **options: Any) -> Any:
        ports = dict(zip(AGENT_PORTS, free_ports(len(AGENT_PORTS)), strict=True))
        if not ports.keys() <= signature(usual).parameters.keys():
            return usual(*args, **options)
        call = signature(usual).bind(*args, **options)
        given = {name: call.arguments.get(name) or port for name, port in ports.items()}
        call.arguments.update(given)
        for name, port in given.items():
            persist_port(call.arguments["session_dir"], call.arguments["node_id"], name, port)
        return usual(*call.args, **call.kwargs)

    services.start_raylet = start_raylet
    try:
        yield
    finally:
        services.start_raylet = usual


def free_ports(count: int) -> list[int]:
    """Different ports of this machine that nobody listens at now."""
    found: set[int] = set()
    while len(found) < count:
        port = random.choice(PORTS)
        with socket.socket() as tried:
            try:
                tried.bind(("", port))
            except OSError:
                continue
        found.add(port)
    return sorted(found)
