"""What is noted of a trial that failed, whether it is tried again, and after which pause."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from helpers import toy
from helpers.runner_contract import Notebook
from helpers.toy_run import context_of, long_plan
from medsweep.execution.driver import decide_checked, known_failures, run_plan
from medsweep.execution.failures import LONGEST_BACKOFF_SECONDS, backoff_seconds, classify, note_path, notes
from medsweep.execution.plan_tasks import labels_of
from medsweep.execution.runner import LocalRunner, RoundResult, RunPolicy
from medsweep.execution.task import RunContext, Task
from medsweep.store.store import Store
from medsweep.tracking.console import Observer


def test_a_torn_note_hides_no_other(tmp_path: Path) -> None:
    plan = long_plan(tmp_path / "log", pause=0.0, fail="bug")
    store, context = Store(tmp_path / "store"), context_of(tmp_path / "store")
    digest = run_plan(plan, context, LocalRunner(), Notebook()).failures[0].trial.digest
    with note_path(store, "grow", digest).open("a") as stream:
        stream.write('{"outcome": "err')
    assert run_plan(plan, context, LocalRunner(), Notebook()).failures[0].outcome == "error"
    assert [note.outcome for note in notes(store, "grow", digest)] == ["error", "error"]


def test_the_first_failure_of_its_own_stops_a_run_that_asks_for_it(tmp_path: Path) -> None:
    plan = long_plan(tmp_path / "log", pause=0.0, fail="bug")
    context = RunContext(store=tmp_path / "store", stages=toy.STAGES)
    notebook = Notebook()
    summary = run_plan(plan, context, LocalRunner(), notebook, fail_fast=True)
    assert [failure.outcome for failure in summary.failures] == ["error"]
    assert notebook.begun[-1] == summary.failures[0].trial.digest
    assert not summary.ok


def test_a_trial_whose_worker_was_killed_is_known_to_have_failed_by_later_commands_too(tmp_path: Path) -> None:
    plan, context = long_plan(tmp_path / "log", pause=0.0), context_of(tmp_path / "store")
    lost = next(digest for digest, trial in plan.trials.items() if trial.stage == "grow")

    class Killing(LocalRunner):
        def run(self, tasks: Sequence[Task], context: RunContext, observer: Observer, policy: RunPolicy) -> RoundResult:
            return RoundResult(outcomes={lost: "killed"}, messages={lost: "the worker died: SIGKILL"}, capped="enough")

    ran = run_plan(plan, context, Killing(), Notebook())
    store = Store(tmp_path / "store")
    later = known_failures(plan, labels_of(plan), decide_checked(plan, store, Notebook()), store)
    for failures in (ran.failures, later):
        assert [(one.trial.digest, one.outcome, one.message) for one in failures] == [
            (lost, "killed", "the worker died: SIGKILL")
        ]


CUBLAS = "CUDA error: {} when calling `cublasCreate(handle)`"
CUDNN = "cuDNN error: {}"


@pytest.mark.parametrize(
    ("message", "plenty", "short"),
    [
        ("CUDA out of memory. Tried to allocate 2.00 GiB.", True, True),
        ("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory", True, True),
        (CUBLAS.format("CUBLAS_STATUS_ALLOC_FAILED"), True, True),
        (CUBLAS.format("CUBLAS_STATUS_NOT_INITIALIZED"), True, True),
        (CUDNN.format("CUDNN_STATUS_ALLOC_FAILED"), True, True),
        (CUDNN.format("CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), True, True),
        ("cuFFT error: CUFFT_ALLOC_FAILED", True, True),
        ("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`", True, True),
        ("GET was unable to find an engine to execute this computation", False, True),
        ("Unable to find a valid cuDNN algorithm to run convolution", False, True),
        (CUDNN.format("CUDNN_STATUS_NOT_INITIALIZED"), False, True),
        (CUDNN.format("CUDNN_STATUS_BAD_PARAM"), False, False),
        ("CUDA error: an illegal memory access was encountered", False, False),
    ],
)
def test_lack_of_memory_goes_by_many_names(message: str, plenty: bool, short: bool) -> None:
    for expected, is_short in ((plenty, False), (short, True)):
        found = classify(RuntimeError(message), lambda is_short=is_short: is_short)  # type: ignore[misc]
        assert found == ("out-of-memory" if expected else "error")


def test_what_is_no_error_of_torch_is_no_lack_of_memory() -> None:
    assert classify(ValueError("the text says out of memory"), lambda: True) == "error"


@pytest.mark.parametrize(("memory_gib", "tries"), [(0.0, 1), (1.0, 2)])
def test_memory_that_ran_out_is_doubled_once_where_it_was_stated(tmp_path: Path, memory_gib: float, tries: int) -> None:
    plan = long_plan(tmp_path / "log", pause=0.0, fail="memory")
    summary = run_plan(plan, context_of(tmp_path / "store", memory_gib=memory_gib), LocalRunner(), Notebook())
    assert {failure.outcome for failure in summary.failures} == {"out-of-memory"}
    for failure in summary.failures:
        assert len(notes(Store(tmp_path / "store"), "grow", failure.trial.digest)) == tries


def test_pauses_double_up_to_a_minute_and_differ_between_drivers() -> None:
    firsts = set()
    for pid in range(1, 401):
        pauses = [backoff_seconds(tries, "sweep", "host", pid) for tries in range(1, 12)]
        assert all(0.75 * 2**i <= pause <= 1.25 * 2**i for i, pause in enumerate(pauses[:6]))
        assert pauses[:7] == sorted(set(pauses[:7])), "each is longer than the one before, whatever was drawn"
        assert max(pauses) <= 1.25 * LONGEST_BACKOFF_SECONDS
        firsts.add(round(pauses[0], 1))
    assert len(firsts) >= 5, "drivers spread over the whole range"
