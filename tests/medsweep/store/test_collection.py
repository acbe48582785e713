"""Upkeep of real stores: what is damaged, what may go, what is tried again, and how many files a trial leaves."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from helpers import toy
from helpers.micro import write_micro
from helpers.runner_contract import plan_of
from medsweep.cli import app
from medsweep.errors import UserError
from medsweep.execution.driver import run_plan
from medsweep.execution.failures import failed_trials, note_path, set_apart
from medsweep.execution.runner import LocalRunner
from medsweep.execution.task import RunContext
from medsweep.store.collection import check_store, find_waste, planned, remove
from medsweep.store.lease import Lease
from medsweep.store.store import Store
from medsweep.store.waste import NOTES, TUNE, UNFINISHED, UNREACHABLE
from medsweep.store.workspace import Workspace
from medsweep.sweep.plan import Plan
from medsweep.tracking.console import Observer

SMALL, LARGE = plan_of(counts=(2,)), plan_of(counts=(2, 4))


def run(plan: Plan, root: Path) -> Counter[str]:
    return run_plan(plan, RunContext(store=root, stages=toy.STAGES), LocalRunner(), Observer()).ran


def snapshot(root: Path) -> dict[str, int]:
    return {path.relative_to(root).as_posix(): path.lstat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


def first(plan: Plan, stage: str) -> str:
    return next(digest for digest, trial in plan.trials.items() if trial.stage == stage)


def everything(store: Store) -> set[str]:
    return {digest for stage in store.stages() for digest in store.listing(stage)}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("toy") / "store"
    run(SMALL, root)
    run(LARGE, root)
    return root


@pytest.fixture
def store(ran: Path, tmp_path: Path) -> Store:
    return Store(Path(shutil.copytree(ran, tmp_path / "store")))


def test_a_sound_store_has_no_damage_and_checking_changes_nothing(store: Store) -> None:
    before = snapshot(store.root)
    told: list[object] = []
    checked = check_store(store, store.stages(), told.append)
    assert told == checked
    assert {each.digest for each in checked} == everything(store) > set(SMALL.trials)
    assert not any(each.damages or each.inputs_gone for each in checked)
    assert sum(each.files for each in checked) == 2 * len(checked)
    assert snapshot(store.root) == before


def test_every_kind_of_damage_is_named(store: Store) -> None:
    pools = store.listing("pool")
    (store.output("pool", pools[0]) / "draws.json").write_text("[]")
    (store.output("pool", pools[0]) / "stranger").write_text("")
    (store.folder("pool", pools[1]) / "metrics.jsonl").unlink()
    (store.folder("pool", pools[2]) / "manifest.json").write_text('{"format": 1')
    found = {each.digest: each.damages for each in check_store(store, ["pool"], lambda _: None) if each.damages}
    assert sorted(found) == sorted(pools[:3])
    assert [what.split("/")[-1] for what in found[pools[0]]] == [
        "draws.json does not match its sha256",
        "stranger is not in the manifest",
    ]
    assert found[pools[1]][0].endswith("metrics.jsonl is missing")
    assert "manifest.json cannot be read" in found[pools[2]][0]


def test_an_input_that_is_gone_is_no_damage(store: Store) -> None:
    shutil.rmtree(store.root / "grow")
    checked = check_store(store, ["pool", "measure"], lambda _: None)
    assert not any(each.damages for each in checked)
    assert {each.inputs_gone for each in checked if each.stage == "pool"} == {("model",)}
    assert {each.inputs_gone for each in checked if each.stage == "measure"} == {()}


def test_what_is_reachable_stays_and_is_reused(store: Store) -> None:
    waste = find_waste(store, set(SMALL.trials))
    lost = everything(store) - set(SMALL.trials)
    assert {each.path.name for each in waste} == lost
    assert {each.kind for each in waste} == {UNREACHABLE}
    assert all(each.bytes > 0 for each in waste)
    remove(store, waste, lambda _: None)
    assert everything(store) == set(SMALL.trials)
    assert not run(SMALL, store.root)
    assert find_waste(store, set(SMALL.trials)) == []
    assert sum(run(LARGE, store.root).values()) == len(lost)


def test_nothing_is_deleted_while_somebody_works(store: Store) -> None:
    part = store.part("grow", "cd" * 32)
    part.mkdir()
    lease = Lease(part)
    waste = find_waste(store, set())
    assert UNFINISHED not in {each.kind for each in waste}
    before = set(snapshot(store.root))
    with pytest.raises(UserError, match=r"a run is at work on grow cdcdcdcdcdcdcdcd .* wait for its end"):
        remove(store, waste, lambda _: None)
    assert set(snapshot(store.root)) == before
    lease.release()
    remove(store, waste, lambda _: None)
    assert store.stages() == []


def test_unfinished_trials_that_a_run_goes_on_from_stay_until_they_are_old(tmp_path: Path) -> None:
    store = Store(tmp_path)
    needed, other = first(SMALL, "grow"), "cd" * 32
    for digest in (needed, other):
        with Workspace(store, "grow", digest) as work:
            work.checkpoint(7, lambda folder: (folder / "state").touch() or None)
    assert [(each.path.name, each.remark) for each in find_waste(store, SMALL.trials)] == [
        (f"{other}.part", "checkpoint of step 7")
    ]
    assert len(find_waste(store, SMALL.trials, older_than=3600)) == 1
    for path in store.part("grow", needed).rglob("*"):
        os.utime(path, (1, 1))
    old = find_waste(store, SMALL.trials, older_than=3600)
    assert {each.path.name for each in old} == {f"{needed}.part", f"{other}.part"}
    remove(store, old, lambda _: None)
    assert list((tmp_path / "grow").iterdir()) == []


def test_leftovers_go_and_what_belongs_to_others_stays(store: Store) -> None:
    root, published, waiting = store.root, first(SMALL, "grow"), "cd" * 32
    gone = [root / ".tune" / "run" / "x", root / "damaged" / "grow-1" / "x", root / "retried" / "y.jsonl"]
    gone += [note_path(store, "grow", published), root / "grow" / f".{waiting}.gone" / "x"]
    torn = [root / "plans" / ".micro.jsonl.7.tmp", root / "search" / "micro" / ".event.7.tmp"]
    torn += [root / "search" / ".micro.log.7.tmp", root / "rungs" / "micro" / "gan" / "all" / "0" / ".x.7.tmp"]
    gone += torn
    kept = [note_path(store, "grow", waiting), root / "wandb" / "run" / "x", root / "source-hashes.json"]
    kept += [root / "plans" / ".fresh.jsonl.8.tmp", root / "search" / "micro" / "000000.json"]
    kept += [root / "rungs" / "micro" / "gan" / "all" / "0" / waiting]
    for path in (*gone, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    for path in torn:
        os.utime(path, (1, 1))
    waste = find_waste(store, {*SMALL.trials, *LARGE.trials, waiting})
    assert Counter(each.kind for each in waste)[TUNE] == Counter(each.kind for each in waste)[NOTES] == 1
    remove(store, waste, lambda _: None)
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in kept)
    assert not run(LARGE, root)


def test_without_a_plan_nothing_is_taken_for_unneeded(store: Store) -> None:
    with pytest.raises(UserError, match=r"no plan is kept in .* name the sweeps"):
        planned(store)
    (store.root / "plans").mkdir()
    (store.root / "plans" / "a.jsonl").write_text(json.dumps({"digest": "ab"}) + "\n")
    assert planned(store) == {"ab"}
    (store.root / "plans" / "b.jsonl").write_text('{"dig')
    with pytest.raises(UserError, match=r"b\.jsonl cannot be read"):
        planned(store)


@pytest.mark.parametrize(("how", "outcome"), [("diverged", "diverged"), ("bug", "error")])
def test_what_failed_is_set_apart_and_tried_again(tmp_path: Path, how: str, outcome: str) -> None:
    store, plan = Store(tmp_path), plan_of(fail=how)
    run(plan, tmp_path)
    failed = failed_trials(plan, store, [outcome])
    assert [(each.stage, each.outcome, each.published) for each in failed] == [("grow", outcome, how == "diverged")] * 2
    assert failed_trials(plan, store) == failed
    assert failed_trials(plan, store, ["pool-dry"]) == []
    for each in failed:
        set_apart(each, store)
    assert failed_trials(plan, store) == []
    assert len(list((tmp_path / "retried").iterdir())) == 2
    assert run(plan, tmp_path)["grow"] == (2 if how == "diverged" else 0)
    assert failed_trials(plan, store) == failed
    with pytest.raises(UserError, match="did you mean 'diverged'"):
        failed_trials(plan, store, ["divreged"])


Medsweep = Callable[..., Result]


def test_a_trial_leaves_fewer_than_20_files_with_and_without_wandb(finished: Path) -> None:
    store = Store(finished / "store")
    assert store.stages() == ["assess", "embed", "gan", "prepare", "score", "segment", "synthesise"]
    for stage in store.stages():
        for digest in store.listing(stage):
            own = [path for path in store.folder(stage, digest).rglob("*") if path.is_file()]
            runs = (store.root / "wandb").rglob(f"run-{stage}-{digest[:16]}.wandb")
            mirrored = [path for run in runs for path in run.parent.rglob("*") if path.is_file()]
            assert mirrored, stage
            assert len(own) + len(mirrored) < 20, (stage, len(own), len(mirrored))


def test_verify_names_damage_and_sets_it_aside_when_told(medsweep: Medsweep, copy: Path) -> None:
    where = ("--store", copy / "store")
    sound = medsweep("store", "verify", *where)
    assert (sound.exit_code, sound.output.count("\n")) == (0, 1), sound.output
    assert "0 trial(s) damaged" in sound.output
    gan = Store(copy / "store").listing("gan")[0]
    (copy / "store" / "gan" / gan / "metrics.jsonl").write_text("")
    found = medsweep("store", "verify", *where, "--stage", "gan")
    assert found.exit_code == 1
    assert f"damaged: gan {gan[:16]}: " in found.output
    assert (copy / "store" / "gan" / gan).is_dir()
    assert "set aside: " in medsweep("store", "verify", *where, "--set-aside").output
    again = medsweep("store", "verify", *where)
    assert again.exit_code == 0
    assert "inputs gone: " in again.output
    assert "did you mean 'gan'" in medsweep("store", "verify", *where, "--stage", "gam").output
    assert "there is no store" in medsweep("store", "verify", "--store", copy / "elsewhere").output


def test_gc_keeps_what_the_sweeps_need_and_a_second_one_does_nothing(medsweep: Medsweep, copy: Path) -> None:
    where = ("--store", copy / "store")
    assert "nothing to delete" in medsweep("gc", *where).output
    other = write_micro(copy, ("[b-sg, mc-sg]", "[b-sg]"), ("sweep: micro", "sweep: other"), name="other.yaml")
    before = {path for path in snapshot(copy / "store") if "source-hashes" not in path}
    shown = medsweep("gc", other, *where, "--dry-run")
    assert (shown.exit_code, "nothing was deleted" in shown.output) == (0, True)
    refused = medsweep("gc", other, *where)
    assert (refused.exit_code, "give --yes" in refused.output) == (2, True)
    assert {path for path in snapshot(copy / "store") if "source-hashes" not in path} == before
    # For each fold two generators, their pool, its assessment, the U-Net of the arm mc-sg and its scores.
    assert "deleted 12 item(s)" in medsweep("gc", other, *where, "--yes").output
    assert "nothing to delete" in medsweep("gc", other, *where, "--yes").output
    words = ["run", str(other), "--store", str(copy / "store"), "--results", str(copy / "other")]
    assert "ran no trial" in CliRunner().invoke(app, words).output
    assert "--older-than soon is no age" in medsweep("gc", *where, "--older-than", "soon").output


def test_retry_says_what_it_did_and_the_command_to_run(medsweep: Medsweep, copy: Path) -> None:
    words = ("retry", copy / "micro.yaml", "--store", copy / "store")
    for asked in (words, (*words, "--failed")):
        assert "no trial of" in medsweep(*asked).output
    store = Store(copy / "store")
    path = store.folder("gan", store.listing("gan")[0]) / "manifest.json"
    path.write_text(path.read_text().replace('"outcome": "complete"', '"outcome": "diverged"'))
    done = medsweep(*words, "--outcome", "diverged")
    assert "set aside 1 published gan trial(s) that ended as diverged" in done.output
    assert f"medsweep run {copy / 'micro.yaml'} --store {copy / 'store'}" in done.output
    assert not path.exists()
