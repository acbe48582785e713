"""One store, several people, containers, versions and file systems: what each may do, and what is left alone."""

import errno
import json
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers import toy
from helpers.commanding import Medsweep, decathlon
from helpers.micro import write_micro
from helpers.runner_contract import plan_of
from medsweep.cli import app
from medsweep.errors import UserError
from medsweep.execution.driver import run_plan
from medsweep.execution.runner import LocalRunner
from medsweep.execution.task import RunContext
from medsweep.processes import process_start
from medsweep.store import lease as leases
from medsweep.store.collection import check_store, find_waste, remove
from medsweep.store.copying import copy_store
from medsweep.store.lease import LEASE, Holder, Lease, LeaseHeldError, is_live
from medsweep.store.presence import announced, present
from medsweep.store.store import DamagedError, Manifest, Store, UnreadableError
from medsweep.tracking.console import Observer

DIGEST, OTHER = "ab" * 32, "cd" * 32
NOBODY = 65534


def publish(store: Store, digest: str = DIGEST, **changes: object) -> Path:
    manifest = Manifest(
        stage="s", version=1, digest=digest, config={}, inputs={}, reads={}, outcome="complete", message="",
        seconds=1.0, estimated_hours=0.1, files={}, metrics={}, host={}, versions={}, finished="now",
    )  # fmt: skip
    folder = store.folder("s", digest)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"format": 1, **asdict(manifest), **changes}))
    return folder


def own_data(root: str) -> list[tuple[str, str]]:
    """The smallest sweep on files, with one fold."""
    phantom = "  phantom: {patients: 6, seed: 3, shape: [20, 18, 8], spacing_mm: [2.0, 2.0, 4.0]}"
    one_fold = ("{folds: 2, seeds: 1}", "{folds: 2, only: [0], seeds: 1}")
    return [(phantom, f"  root: {root}"), ("dataset: phantom", "dataset: micro"), one_fold]


@contextmanager
def somebody_else() -> Iterator[None]:
    """As a user who owns nothing here; only root can be one, so others look at what was made unwritable for them."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that others may pass through, which those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="medsweep-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"format": 2}, "format 2, and this one reads 1"), ({"colour": "red"}, "with colour")],
)
def test_what_a_newer_version_published_is_named_and_never_moved(
    store: Store, changes: dict[str, object], told: str
) -> None:
    folder = publish(store, **changes)
    with pytest.raises(UnreadableError, match=told):
        store.manifest("s", DIGEST)
    checked = check_store(store, ["s"], lambda _: None)
    assert [(one.damages, told in one.unread) for one in checked] == [((), True)]
    assert folder.is_dir()


@pytest.mark.parametrize(
    "changes",
    [{"files": []}, {"config": None}, {"seconds": "long"}, {"metrics": 3}, {"metrics": {"dice": "high"}},
     {"inputs": {"pool": 5}}, {"notes": [1]}],
)  # fmt: skip
def test_json_of_another_shape_is_damage(store: Store, changes: dict[str, object]) -> None:
    publish(store, **changes)
    with pytest.raises(DamagedError, match="cannot be read"):
        store.manifest("s", DIGEST)


def test_a_file_that_i_may_not_read_is_no_damage(open_folder: Path) -> None:
    store = Store.create(open_folder / "store")
    (publish(store) / "manifest.json").chmod(0o600)
    with somebody_else():
        with pytest.raises(UnreadableError, match=r"\(Permission denied; it belongs to .*nothing was moved"):
            Store(store.root).manifest("s", DIGEST)
        assert check_store(Store(store.root), ["s"], lambda _: None)[0].damages == ()


def test_who_may_only_read_a_store_can_look_and_is_told_when_running(open_folder: Path) -> None:
    root = decathlon(open_folder)
    sweep = write_micro(open_folder, *own_data(str(root)))
    words = [str(sweep), "--store", str(open_folder / "store")]
    Store.create(open_folder / "store")
    assert CliRunner().invoke(app, ["plan", *words]).exit_code == 0
    with somebody_else():
        for command in ("plan", "status"):
            shown = CliRunner().invoke(app, [command, *words])
            assert shown.exit_code == 0, (command, shown.output)
        refused = CliRunner().invoke(app, ["run", *words, "--runner", "local"])
        assert (refused.exit_code, "chmod -R g+rwX,g+s" in refused.output) == (2, True), refused.output
        assert refused.output.count("\n") == 1


def test_a_folder_that_a_group_may_write_to_stays_so(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        (tmp_path / "alone").mkdir()
        Store.create(tmp_path / "alone")
        (tmp_path / "alone" / "mine").touch()
        (tmp_path / "shared").mkdir()
        (tmp_path / "shared").chmod(0o2775)
        Store.create(tmp_path / "shared")
        (tmp_path / "shared" / "ours").mkdir()
    finally:
        os.umask(before)
    assert not (tmp_path / "alone" / "mine").stat().st_mode & stat.S_IWGRP
    assert (tmp_path / "shared" / "ours").stat().st_mode & stat.S_IWGRP


def test_looking_moves_nothing_and_says_what_a_run_does(medsweep: Medsweep, tmp_path: Path) -> None:
    sweep = write_micro(tmp_path)
    store = Store.create(tmp_path / "store")
    medsweep("plan", sweep)
    line = (store.root / "plans" / "micro.jsonl").read_text().splitlines()[0]
    trial = json.loads(line)
    folder = store.folder(trial["stage"], trial["digest"])
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{")
    for command in ("plan", "status"):
        shown = medsweep(command, sweep)
        assert shown.exit_code == 0
        assert "medsweep run sets it aside" in shown.output
        assert folder.is_dir()


def test_leases_do_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    held = Lease(tmp_path)
    assert held.held()
    with pytest.raises(LeaseHeldError):
        Lease(tmp_path)
    held.release()
    # the lease of a dead process is taken over all the same
    dead = Holder(socket.gethostname(), os.getpid(), 1, "dead", leases.pid_namespace())
    (tmp_path / LEASE).write_text(json.dumps(asdict(dead)))
    again = Lease(tmp_path)
    assert again.held()
    again.release()
    assert os.listdir(tmp_path) == []


def test_a_sweep_runs_and_is_copied_where_there_are_no_links_no_modes_and_no_sync_of_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    def files_only(handle: int, sync: Callable[[int], None] = os.fsync) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(handle)

    for name in ("link", "chmod", "symlink"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr(os, "fsync", files_only)
    plan, context = plan_of(), RunContext(store=tmp_path / "store", stages=toy.STAGES)
    assert run_plan(plan, context, LocalRunner(), Observer()).ok
    copied = copy_store(Store(tmp_path / "store"), Store.create(tmp_path / "copy"), lambda: None)
    assert (copied.trials, copied.left) == (len(list((tmp_path / "store").glob("*/*/manifest.json"))), ())


def test_another_container_of_this_host_is_judged_by_its_heartbeat(tmp_path: Path) -> None:
    # its pid is that of no process here, which says nothing
    foreign = Holder(socket.gethostname(), 2**22 + 1, 7, "theirs", "pid:[1]")
    (tmp_path / LEASE).write_text(json.dumps(asdict(foreign)))
    assert is_live(tmp_path)
    old = (tmp_path / LEASE).stat().st_mtime - 3600
    os.utime(tmp_path / LEASE, (old, old))
    assert not is_live(tmp_path)
    ours = Holder(socket.gethostname(), 2**22 + 1, 7, "ours", leases.pid_namespace())
    (tmp_path / LEASE).write_text(json.dumps(asdict(ours)))
    assert not is_live(tmp_path)


def test_gc_and_a_run_never_begin_together(store: Store) -> None:
    publish(store)
    waste = find_waste(store, set())
    with announced(store, "run"):
        with pytest.raises(UserError, match=rf"process {os.getpid()} on .* runs a sweep"):
            remove(store, waste, lambda _: None)
        with announced(store, "run"):
            pass
    assert store.folder("s", DIGEST).is_dir()
    with (
        announced(store, "gc"),
        pytest.raises(UserError, match="deletes what nobody needs"),
        announced(store, "run"),
    ):
        pass
    assert present(store.root) == []


def test_the_word_of_a_dead_run_keeps_nobody_out(store: Store) -> None:
    publish(store)
    folder = store.root / ".present" / "run-dead"
    folder.mkdir(parents=True)
    started = process_start(os.getpid())
    assert started is not None
    dead = Holder(socket.gethostname(), os.getpid(), started - 1, "dead", leases.pid_namespace())
    (folder / LEASE).write_text(json.dumps(asdict(dead)))
    removed: list[object] = []
    remove(store, find_waste(store, set()), removed.append)
    assert not store.folder("s", DIGEST).exists()
    assert present(store.root) == []


def test_results_can_be_read_where_the_patients_are_not(
    medsweep: Medsweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = decathlon(tmp_path)
    monkeypatch.setenv("MICRO_ROOT", str(root))
    sweep = write_micro(tmp_path, *own_data("${MICRO_ROOT}"), ("[b-sg, mc-sg]", "[b-sg]"))
    assert medsweep("run", sweep, "--runner", "local").exit_code == 0
    root.rename(tmp_path / "elsewhere")
    gone = medsweep("plan", sweep)
    assert (gone.exit_code, gone.output.count("\n")) == (2, 1), gone.output
    monkeypatch.delenv("MICRO_ROOT")
    said: dict[str, Callable[[str], bool]] = {
        "status": lambda text: "published" in text,
        "results": lambda text: "results.parquet" in text,
        "analyse": lambda text: "report" in text,
    }
    for command, holds in said.items():
        shown = medsweep(command, sweep)
        assert shown.exit_code == 0, (command, shown.output)
        assert holds(shown.output), shown.output
