"""The store: leases, checkpoints, publication, and finding what is damaged."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from medsweep.errors import UserError
from medsweep.files import sha256_of
from medsweep.processes import process_start
from medsweep.store import lease as leases
from medsweep.store.lease import LEASE, Lease, LeaseHeldError, LeaseLostError, is_live
from medsweep.store.store import SMALL_BYTES, DamagedError, Manifest, Store
from medsweep.store.workspace import NOTES, SUMS, Workspace
from medsweep.trial import Progress

DIGEST = "ab" * 32


def manifest(files: dict[str, str], outcome: str = "complete") -> Manifest:
    return Manifest(
        stage="s", version=1, digest=DIGEST, config={}, inputs={}, reads={}, outcome=outcome, message="",
        seconds=1.0, estimated_hours=0.1, files=files, metrics={}, host={}, versions={}, finished="now",
    )  # fmt: skip


def publish(store: Store, text: str = "result") -> bool:
    with Workspace(store, "s", DIGEST) as work:
        (work.output / "a.txt").write_text(text)
        work.record(Progress(step=1, total=1, metrics={"x": 1.0}))
        return work.publish(lambda files: manifest(dict(files)))


def foreign_lease(folder: Path, pid: int, started: int, host: str | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    holder = {"host": host or os.uname().nodename, "pid": pid, "started": started, "token": "other"}
    (folder / LEASE).write_text(json.dumps(holder))


def test_published_is_complete_hashed_and_without_traces_of_work(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.outcome("s", DIGEST) is None
    assert publish(store)
    assert store.outcome("s", DIGEST) == "complete"
    assert sorted(store.verify("s", DIGEST).files) == ["metrics.jsonl", "output/a.txt"]
    assert sorted(path.name for path in store.folder("s", DIGEST).iterdir()) == [
        "manifest.json",
        "metrics.jsonl",
        "output",
    ]
    assert not store.part("s", DIGEST).exists()


def test_the_first_writer_wins(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with Workspace(store, "s", DIGEST) as late:
        (late.output / "a.txt").write_text("late")
        store.folder("s", DIGEST).mkdir()
        (store.folder("s", DIGEST) / "manifest.json").write_text(json.dumps({"format": 1, **asdict(manifest({}))}))
        assert not late.publish(lambda files: manifest(dict(files)))
    assert store.manifest("s", DIGEST).files == {}
    assert not store.part("s", DIGEST).exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("output/a.txt", b"other", "does not match its sha256"),
        ("output/a.txt", None, "is missing"),
        ("metrics.jsonl", b"", "does not match its sha256"),
        ("manifest.json", b'{"format": 1, "stage": "s"', "manifest.json cannot be read"),
        ("manifest.json", b"[]", "manifest.json cannot be read"),
        ("manifest.json", None, "manifest.json cannot be read"),
    ],
)
def test_damage_is_named_and_set_aside(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    publish(Store(tmp_path))
    store = Store(tmp_path)
    path = store.folder("s", DIGEST) / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(DamagedError, match=message) as caught:
        store.verify("s", DIGEST)
    assert (caught.value.stage, caught.value.digest) == ("s", DIGEST)
    target = store.quarantine("s", DIGEST)
    assert target.is_dir()
    assert store.outcome("s", DIGEST) is None
    assert publish(store)
    assert store.verify("s", DIGEST).outcome == "complete"


def test_a_store_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"the store .*file/store cannot be written to .*--store"):
        Store.create(tmp_path / "file" / "store")


def test_a_living_holder_keeps_others_out(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with Workspace(store, "s", DIGEST):
        assert store.leased("s", DIGEST)
        with pytest.raises(LeaseHeldError), Workspace(store, "s", DIGEST):
            pass
    assert not store.leased("s", DIGEST)


def test_the_lease_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    store = Store(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = process_start(child.pid)
    assert started is not None
    foreign_lease(store.part("s", DIGEST), child.pid, started)
    assert store.leased("s", DIGEST)
    child.kill()
    child.wait()
    assert not store.leased("s", DIGEST)
    assert publish(store)


@pytest.mark.parametrize("content", ["", "[]", '{"host": 3}', "{"])
def test_a_lease_that_is_no_lease_is_taken_over_once_it_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setattr(leases, "WATCH_SECONDS", 0.1)
    (tmp_path / LEASE).write_text(content)
    with pytest.raises(LeaseHeldError):
        Lease(tmp_path)
    os.utime(tmp_path / LEASE, (1, 1))
    taken = Lease(tmp_path)
    taken.require()
    taken.release()


def test_a_reused_pid_is_not_the_holder(tmp_path: Path) -> None:
    foreign_lease(tmp_path, os.getpid(), started=1)
    assert not is_live(tmp_path)


def test_another_host_is_judged_by_its_heartbeat(tmp_path: Path) -> None:
    foreign_lease(tmp_path, 1, 1, host="elsewhere")
    assert is_live(tmp_path)
    old = (tmp_path / LEASE).stat().st_mtime - 3600
    os.utime(tmp_path / LEASE, (old, old))
    assert not is_live(tmp_path)


def test_notes_live_and_die_with_the_checkpoint_that_they_are_part_of(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with Workspace(store, "s", DIGEST) as work:
        work.note("kept")
        work.checkpoint(1, lambda folder: (folder / "x").touch())
        work.note("lost, since the work after the checkpoint is")
    with Workspace(store, "s", DIGEST) as again:
        again.note("of the second attempt")
        again.publish(lambda files: replace(manifest(dict(files)), notes=tuple(again.notes)))
    assert list(Store(tmp_path).manifest("s", DIGEST).notes) == ["kept", "of the second attempt"]


def test_a_checkpoint_from_before_there_were_notes_is_continued(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with Workspace(store, "s", DIGEST) as work:
        work.checkpoint(1, lambda folder: (folder / "x").touch())
        folder = work.part / "checkpoints" / "1"
        (folder / NOTES).unlink()
        sums = json.loads((folder / SUMS).read_text())
        (folder / SUMS).write_text(json.dumps({name: found for name, found in sums.items() if name != NOTES}))
    with Workspace(store, "s", DIGEST) as again:
        assert again.restore() == (1, folder)
        assert again.notes == []


def test_whoever_lost_the_lease_publishes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with Workspace(store, "s", DIGEST) as work:
        foreign_lease(work.part, 1, 1, host="elsewhere")
        with pytest.raises(LeaseLostError):
            work.record(Progress(step=1, total=1))
        with pytest.raises(LeaseLostError):
            work.publish(lambda files: manifest(dict(files)))
    assert store.outcome("s", DIGEST) is None
    assert store.leased("s", DIGEST)


def test_the_heartbeat_keeps_the_lease_fresh(tmp_path: Path) -> None:
    lease = Lease(tmp_path, beat_seconds=0.02)
    old = (tmp_path / LEASE).stat().st_mtime - 3600
    os.utime(tmp_path / LEASE, (old, old))
    while (tmp_path / LEASE).stat().st_mtime <= old + 60:
        lease._stop.wait(0.02)
    lease.release()
    assert not (tmp_path / LEASE).exists()


def write_state(value: str) -> object:
    return lambda folder: (folder / "state").write_text(value)


def test_the_newest_whole_checkpoint_survives_and_cuts_the_metrics(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with Workspace(store, "s", DIGEST) as work:
        assert work.restore() is None
        for step in (1, 2, 3):
            work.record(Progress(step=step, total=9, metrics={"x": float(step)}))
            if step < 3:
                work.checkpoint(step, write_state(str(step)))  # type: ignore[arg-type]

        def torn(folder: Path) -> None:
            (folder / "state").write_text("3")
            raise OSError("disk")

        with pytest.raises(OSError, match="disk"):
            work.checkpoint(3, torn)
        (work.output / "kept").write_text("")
    with work.metrics_file.open("a") as stream:
        stream.write('{"step": 4, "to')
    with Workspace(store, "s", DIGEST) as again:
        found = again.restore()
        assert found is not None
        assert (found[0], (found[1] / "state").read_text()) == (2, "2")
        assert [json.loads(line)["step"] for line in again.metrics_file.read_text().splitlines()] == [1, 2]
        assert (again.output / "kept").exists()


def test_without_a_checkpoint_work_starts_on_a_clean_folder(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with Workspace(store, "s", DIGEST) as work:
        (work.output / "half").write_text("")
        work.record(Progress(step=1, total=2))
    with Workspace(store, "s", DIGEST) as again:
        assert list(again.output.iterdir()) == []
        assert not again.metrics_file.exists()


def test_find_wants_one_trial(tmp_path: Path) -> None:
    store = Store(tmp_path)
    publish(store)
    found = store.find("abab")
    assert found is not None
    assert found.digest == DIGEST
    assert store.find("cd") is None
    store.folder("t", "ab" + "cd" * 31).mkdir(parents=True)
    with pytest.raises(UserError, match="ab is the beginning of 2 digests"):
        store.find("ab")


def test_a_look_tells_sound_damaged_and_absent_apart(tmp_path: Path) -> None:
    digests = [f"{number:064x}" for number in range(200)]
    for digest in digests:
        folder = Store(tmp_path).folder("s", digest)
        (folder / "output").mkdir(parents=True)
        (folder / "output" / "a.txt").write_text(digest)
        made = replace(manifest({"output/a.txt": sha256_of(folder / "output" / "a.txt")}), digest=digest)
        (folder / "manifest.json").write_text(json.dumps({"format": 1, **asdict(made)}))
    (tmp_path / "s" / digests[70] / "manifest.json").write_text("{")
    for number in (30, 150):
        (tmp_path / "s" / digests[number] / "output" / "a.txt").write_text("other")
    store = Store(tmp_path)
    found = store.look([("s", digest) for digest in [*digests, DIGEST]], hashed=set(digests[:100]))
    damaged = {digest: each.what for digest, each in found.items() if isinstance(each, DamagedError)}
    assert sorted(damaged) == [digests[30], digests[70]]  # 150 was not to be hashed
    assert damaged[digests[30]].endswith("a.txt does not match its sha256")
    assert list(found) == digests
    assert all(each.digest == digest for digest, each in found.items())
    assert store.stages() == ["s"]
    assert len(list(store.published())) == 199
    with pytest.raises(DamagedError):
        store.verify("s", digests[150])


def test_a_manifest_that_changes_is_read_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    publish(store)
    assert store.manifest("s", DIGEST) is store.manifest("s", DIGEST)
    path = store.folder("s", DIGEST) / "manifest.json"
    path.write_text(path.read_text().replace('"complete"', '"diverged"'))
    assert store.outcome("s", DIGEST) == "diverged"
    path.unlink()
    with pytest.raises(DamagedError, match="cannot be read"):
        store.outcome("s", DIGEST)


@pytest.mark.parametrize("size", [0, SMALL_BYTES - 1, SMALL_BYTES, SMALL_BYTES + 1])
def test_one_byte_that_differs_is_found_at_any_size(tmp_path: Path, size: int) -> None:
    publish(Store(tmp_path), "a" * size)
    assert Store(tmp_path).verify("s", DIGEST).outcome == "complete"
    path = Store(tmp_path).output("s", DIGEST) / "a.txt"
    path.write_text("a" * (size - 1) + "b")
    with pytest.raises(DamagedError, match="does not match its sha256"):
        Store(tmp_path).verify("s", DIGEST)
