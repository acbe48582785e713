"""What Ray raises is told in one line: why it cannot start, who does not answer, how a worker was lost."""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from helpers import ray_entering
from helpers.driving import ENVIRONMENT, ended, start
from medsweep.errors import UserError
from medsweep.execution import ray_failures
from medsweep.execution.failures import KILLED_FOR_MEMORY
from medsweep.execution.ray_failures import connect_failure, loss, require_answer, start_failure
from medsweep.execution.ray_runner import RayRunner


def test_a_folder_whose_path_is_too_long_for_sockets_is_named() -> None:
    with tempfile.TemporaryDirectory() as short:
        folder = Path(short) / ("x" * 90)
        folder.mkdir()
        environment = {**ENVIRONMENT, "TMPDIR": str(folder)}
        ran = subprocess.run(
            [sys.executable, ray_entering.__file__], env=environment, capture_output=True, text=True, check=False
        )
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert line.startswith(
        f"told: Ray cannot start here: the path of {folder} is too long for its sockets; set RAY_TMP"
    )


def test_limits_and_folders_that_keep_ray_from_starting_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    locked = start_failure(OSError(30, "Read-only file system", "/locked/ray"))
    assert "/locked/ray cannot be written (Read-only file system); set RAY_TMPDIR" in str(locked)
    monkeypatch.setattr("resource.getrlimit", lambda which: (64, 64))
    slow = str(start_failure(RuntimeError("The current node timed out during startup. This could be anything.")))
    assert "ulimit -u of 64 and ulimit -n of 64" in slow
    monkeypatch.setattr("resource.getrlimit", lambda which: (-1, -1))
    busy = str(start_failure(RuntimeError("The current node timed out")))
    assert "session_latest/logs says why" in busy
    assert "less busy" in busy


def test_shared_memory_that_cannot_be_written_is_found_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_failures, "SHARED_MEMORY", tmp_path)
    ray_failures.require_shared_memory()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UserError, match="cannot be written; mount it writable"):
        ray_failures.require_shared_memory()


def test_a_server_that_is_no_ray_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_failures, "ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(TimeoutError, match="is no Ray"):
            require_answer(address)


def test_a_missing_token_is_not_a_missing_cluster() -> None:
    told = str(connect_failure("head:6379", OSError("InvalidAuthToken: Unauthenticated: no token was given")))
    assert "RAY_AUTH_TOKEN_PATH" in told
    assert "no Ray cluster answers" not in told
    assert "no Ray cluster answers at 'head:6379' (refused)" in str(connect_failure("head:6379", OSError("refused")))


def test_each_way_to_lose_a_worker_has_its_outcome_and_words() -> None:
    from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError

    scarce = OutOfMemoryError("Task was killed due to the node running low on memory.\nMemory on the node was 9 GB.")
    assert loss(str(scarce)) == ("out-of-memory", f"{KILLED_FOR_MEMORY}: its node ran low on memory")
    lines = "Traceback (most recent call last):\nModuleNotFoundError: No module named 'mine'"
    raised = RayTaskError("train", lines, ImportError("mine"))
    words = "ModuleNotFoundError: No module named 'mine'"
    assert loss(str(raised)) == ("error", f"its worker failed: {words}")
    assert loss(str(ActorDiedError(raised))) == ("error", f"its worker could not be set up: {words}")
    died = "The actor died unexpectedly before finishing this task."
    assert loss(str(ActorDiedError())) == ("killed", f"the worker died: {died}")
    assert loss("") == ("killed", "the worker died: without a word")


def test_a_host_that_nobody_knows_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    with pytest.raises(UserError, match=r"no Ray cluster answers at 'nowhere:6379' \(.*Name or service not known"):
        RayRunner("nowhere:6379").__enter__()


@pytest.mark.slow
def test_what_the_memory_monitor_kills_is_tried_again_with_all_memory_of_a_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each worker is above this threshold, whatever it does.
    monkeypatch.setitem(ENVIRONMENT, "RAY_memory_usage_threshold", "0.01")
    monkeypatch.setitem(ENVIRONMENT, "RAY_memory_monitor_refresh_ms", "100")
    told = ended(start(tmp_path, "pause=1.0", runner="ray"))
    assert told["code"] == 1
    assert set(told["outcomes"]) == {"out-of-memory"}  # type: ignore[call-overload]
    notes = " ".join(told["notes"])  # type: ignore[arg-type]
    assert "ran out of memory; tried again with all memory of a node" in notes
