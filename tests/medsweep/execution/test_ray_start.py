"""Ray starts also where it is slow; where it does not start, or is not for this machine, one line says so."""

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from helpers import ray_entering
from helpers.clusters import cluster_of
from helpers.driving import ENVIRONMENT, processes_of
from medsweep.execution import ray_failures
from medsweep.execution.ray_failures import require_answer
from medsweep.execution.ray_start import PORTS, free_ports

LATE_AGENTS = """
import time
words = open("/proc/self/cmdline").read()
if "dashboard/agent.py" in words or "runtime_env/agent" in words:
    time.sleep(3600)
"""
"""Read by every Python that starts; those of a node's agents then begin late."""
OTHER_VERSION = "import ray\nray.__version__ = '9.9.9'\n"


def enter(*before: str, address: str = "", **variables: str) -> "subprocess.Popen[str]":
    """A process that enters and leaves a Ray; ``before`` are words before its own."""
    return subprocess.Popen(
        [*before, sys.executable, ray_entering.__file__, *([address] if address else [])],
        env={**ENVIRONMENT, **os.environ, "PYTHONPATH": ENVIRONMENT["PYTHONPATH"], **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def path_with(folder: Path, code: str) -> str:
    """A PYTHONPATH with ``code`` for every Python that starts."""
    (folder / "sitecustomize.py").write_text(code)
    return os.pathsep.join([str(folder), ENVIRONMENT["PYTHONPATH"]])


def test_a_node_does_not_wait_for_its_agents(tmp_path: Path) -> None:
    marker = uuid.uuid4().hex
    process = enter(PYTHONPATH=path_with(tmp_path, LATE_AGENTS), MEDSWEEP_TEST_RUN=marker)
    told, errors = process.communicate()
    assert (process.returncode, told) == (0, "entered\n"), errors
    assert processes_of(marker) == {}


@pytest.mark.slow
def test_a_node_that_does_not_come_in_time_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    marker = uuid.uuid4().hex
    process = enter(MEDSWEEP_TEST_RUN=marker)
    while not (begun := [pid for pid, words in processes_of(marker).items() if "raylet/raylet " in words]):
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(begun[0], signal.SIGSTOP)
    told, errors = process.communicate()
    assert (process.returncode, told) == (1, "")
    (line,) = errors.splitlines()
    assert line.startswith("told: Ray cannot start here: The current node timed out during startup.")
    assert "try again once this machine is less busy" in line
    assert processes_of(marker) == {}


@pytest.mark.slow
def test_a_cluster_that_this_machine_or_this_ray_is_not_of_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "RAY_AUTH_TOKEN" not in os.environ:  # a Ray that an earlier test started here asks for its token for good
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    alone = ["unshare", "--pid", "--fork", "--mount-proc"]
    with cluster_of(num_cpus=1) as cluster:
        other = enter(address=cluster.address, PYTHONPATH=path_with(tmp_path, OTHER_VERSION))
        assert "takes the Ray and Python that it was started with: Version mismatch" in one_line_of(other)
        if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode != 0:
            pytest.skip("process namespaces are not allowed here")
        elsewhere = enter(*alone, address=cluster.address, RAY_gcs_server_request_timeout_seconds="3")
        assert "answers, but this machine is no node of it" in one_line_of(elsewhere)


def one_line_of(process: "subprocess.Popen[str]") -> str:
    """What a process that could not enter a Ray said."""
    told, errors = process.communicate()
    assert (process.returncode, told) == (1, ""), errors
    (line,) = errors.splitlines()
    return line


def test_while_ray_is_imported_nobody_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_failures, "ANSWER_SECONDS", 5.0)
    monkeypatch.setattr(ray_failures, "ASK", f"import time; time.sleep(6); print({ray_failures.ASKING!r}, flush=True)")
    with socket.create_server(("127.0.0.1", 0)) as server:
        require_answer(f"127.0.0.1:{server.getsockname()[1]}")


def test_ports_are_free_and_different(monkeypatch: pytest.MonkeyPatch) -> None:
    (taken,) = free_ports(1)
    assert taken in PORTS
    drawn = iter([taken, taken + 1, taken + 1, taken + 2])
    monkeypatch.setattr("random.choice", lambda _: next(drawn))
    with socket.create_server(("", taken)):
        assert free_ports(2) == [taken + 1, taken + 2]
