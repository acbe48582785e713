"""What Ray raises, in the names and words of this project: why a cluster cannot start, and how a worker was lost."""

import itertools
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from medsweep.errors import UserError
from medsweep.execution.failures import KILLED_FOR_MEMORY, first_line

SHARED_MEMORY = Path("/dev/shm")
SHORT_FOLDER = "set RAY_TMPDIR to a short folder that can be written, such as /tmp"
ANSWER_SECONDS = 45.0
"""Time that a cluster has to answer."""
ASKING = "asking"
ASK = f"""
import sys
from ray._raylet import GcsClient
print({ASKING!r}, flush=True)
GcsClient(address=sys.argv[1])
"""
"""A process that asks a cluster whether it is there, and first says that it begins."""
ENOUGH = {"RLIMIT_NPROC": (1024, "-u"), "RLIMIT_NOFILE": (1024, "-n"), "RLIMIT_AS": (64 * 2**30, "-v")}
"""Limits of a process that Ray runs into, what is enough of each, and its letter of ``ulimit``."""
RAISED = re.compile(r"\(pid=\d+, ip=")
"""Stands in Ray's text of an exception that a worker raised, and not in what it says of one that died."""


def require_shared_memory() -> None:
    """Refuse what Ray would find out after half a minute. Raises UserError: its folder for objects is read-only."""
    if SHARED_MEMORY.is_dir() and not os.access(SHARED_MEMORY, os.W_OK):
        raise UserError(
            f"Ray cannot start here: {SHARED_MEMORY} cannot be written; mount it writable "
            "(docker run --shm-size=2g), or use --runner local"
        )


def start_failure(error: Exception) -> UserError:
    """One line for whatever keeps a Ray from starting on this machine, with the cure."""
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    text = first_line(error)
    if "AF_UNIX path length" in text:
        text, cure = f"the path of {folder} is too long for its sockets", SHORT_FOLDER
    elif isinstance(error, OSError) and error.filename is not None:
        text, cure = f"{error.filename} cannot be written ({error.strerror})", SHORT_FOLDER
    else:
        low = _low_limits()
        cure = f"{low} may be why: raise it" if low else f"{folder}/ray/session_latest/logs says why"
        if "timed out" in text and not low:
            cure = f"try again once this machine is less busy, since Ray waits for 30 s, {cure}"
        cure += ", or use --runner local"
    return UserError(f"Ray cannot start here: {text.rstrip('.')}; {cure}")


def _low_limits() -> str:
    low = []
    for name, (enough, letter) in ENOUGH.items():
        limit = resource.getrlimit(getattr(resource, name))[0]
        if limit not in (resource.RLIM_INFINITY, -1) and limit < enough:
            low.append(f"ulimit {letter} of {limit // 1024 if letter == '-v' else limit}")
    return " and ".join(low)


def connect_failure(address: str | None, error: Exception) -> UserError:
    """One line for a cluster that cannot be used: nobody there, no Ray there, another token, or no node of it here."""
    text = first_line(error.__cause__ or error)
    lowered = text.lower()
    if "unauthenticated" in lowered or "token" in lowered:
        return UserError(
            f"the Ray cluster at {address!r} does not take this token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH "
            "to the file with the cluster's token (or RAY_AUTH_MODE=disabled where it asks for none)"
        )
    if "version mismatch" in lowered:
        both = " ".join(str(error).split())
        return UserError(f"the Ray cluster at {address!r} takes the Ray and Python that it was started with: {both}")
    if "node to connect to" in lowered:
        return UserError(
            f"the Ray cluster at {address!r} answers, but this machine is no node of it; run on one of its nodes, send "
            f"the run there (medsweep launch --target job), or make this machine one: ray start --address={address}"
        )
    return UserError(f"no Ray cluster answers at {address!r} ({text}); leave --address out to start one here")


def require_answer(address: str) -> None:
    """Ask a cluster for its health, since Ray itself would try for minutes and fill the terminal.

    Raises:
        OSError: nobody listens there, or nobody who is a Ray, or no such host is known.
        TimeoutError: no answer within ``ANSWER_SECONDS``.
    """
    host, colon, port = address.rpartition(":")
    if address.startswith("ray://"):
        host = host.removeprefix("ray://")
    if not (colon and port.isdigit()):
        return
    socket.create_connection((host, int(port)), timeout=10).close()
    if address.startswith("ray://"):
        return
    with subprocess.Popen(
        [sys.executable, "-c", ASK, address], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as asking:
        assert asking.stdout is not None
        # Until it asks it imports Ray, which takes a minute on a busy machine and is nobody's silence.
        said = list(itertools.takewhile(lambda line: line.strip() != ASKING, asking.stdout))
        try:
            rest, _ = asking.communicate(timeout=ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            asking.kill()
            raise TimeoutError(f"something listens there, and is no Ray within {ANSWER_SECONDS:g} s") from None
    if asking.returncode != 0:
        said = [line for line in (*said, *rest.splitlines()) if line.strip()]
        tokens = [line for line in said if "token" in line.lower() or "unauthenticated" in line.lower()]
        raise ConnectionError((tokens or said or ["it is not healthy"])[-1].strip()[:300])


def loss(text: str) -> tuple[str, str]:
    """Outcome and message of what ended a worker, from the text that Ray has of it.

    That is the traceback of an exception that the worker raised, or what is known of its death.
    """
    if "running low on memory" in text:
        return "out-of-memory", f"{KILLED_FOR_MEMORY}: its node ran low on memory"
    last = text.strip().splitlines()[-1].strip()[:300] if text.strip() else "without a word"
    if "creation task" in text:
        return "error", f"its worker could not be set up: {last}"
    if RAISED.search(text):
        return "error", f"its worker failed: {last}"
    return "killed", f"the worker died: {last}"
