"""Whether a worker sees the store that its driver writes to: a file that the driver has just made must be there."""

import os
import socket
import time
from pathlib import Path
from typing import Final

from medsweep.execution.failures import TrialFailedError

OTHER_STORE: Final = "other-store"
"""How a trial ends that was sent to a node without the store; no trial of that node can end otherwise."""
PATIENCE_SECONDS = 10.0
"""Time that a network file system gets to show a new file to another node."""


def require_same_store(store: Path, token: Path, node: str) -> None:
    """Wait for ``token``, a file of this run alone below ``store``, on the node that people know as ``node``.

    Raises:
        TrialFailedError: it does not come, so that the node has another disk at that path.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    while not _is_there(token):
        if time.monotonic() > until:
            raise TrialFailedError(
                OTHER_STORE,
                f"node {socket.gethostname()} ({node}) does not see the store {store.absolute()} of this run, but "
                "another folder there, or none; mount the same disk at that path on every node, or take a store that "
                "all nodes see, then run the sweep again",
            )
        time.sleep(0.2)


def _is_there(token: Path) -> bool:
    try:
        os.listdir(token.parent)  # asks a network file system anew, which remembers what was not there
    except OSError:
        return False
    return token.is_file()
