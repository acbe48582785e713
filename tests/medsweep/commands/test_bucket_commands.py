"""Commands on a store in a bucket: run, plan, status, results and a copy of the store."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from helpers.buckets import new_bucket
from helpers.commanding import Medsweep, decathlon
from helpers.micro import write_micro
from medsweep.store.bucket import Bucket
from medsweep.store.location import location
from medsweep.store.opening import store_at


def count(finished: Path) -> int:
    return len(list((finished / "store").glob("*/*/manifest.json")))


def reused(plan: str) -> int:
    return len(re.findall("reuse +published", plan))


def test_a_sweep_in_a_bucket(
    s3: dict[str, str], finished: Path, tmp_path: Path, medsweep: Medsweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / "here"))
    sweep, store, results = write_micro(tmp_path), str(new_bucket()), tmp_path / "results"
    where = [sweep, "--store", store]
    generators = shutil.copytree(finished / "store", tmp_path / "generators")
    for stage in ("segment", "assess", "score"):
        shutil.rmtree(generators / stage)
    copied = medsweep("store", "copy", generators, store)
    assert f"copied {count(finished) - 16} trial(s)" in copied.output, copied.output
    ran = medsweep("run", *where, "--results", results, "--runner", "local", "--wandb", "disabled", "--quiet")
    assert ran.exit_code == 0, ran.output
    assert store in (results / "report.html").read_text()
    # Another machine, which has seen nothing of it.
    monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / "there"))
    planned = medsweep("plan", *where)
    assert planned.exit_code == 0, planned.output
    assert reused(planned.output) == count(finished)
    status = medsweep("status", *where)
    assert status.exit_code == 0, status.output
    told = medsweep("results", *where, "--results", tmp_path / "again")
    assert told.exit_code == 0, told.output
    for name in ("results.parquet", "pools.parquet"):
        expected = pd.read_parquet(finished / "results" / name)
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "again" / name), expected)
    again = medsweep("run", *where, "--results", results, "--runner", "local", "--wandb", "offline", "--quiet")
    assert again.exit_code == 0, again.output
    assert not list(tmp_path.glob("s3*"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        for output in (ran.output, planned.output, status.output, again.output):
            assert s3[name] not in output


def test_a_folder_is_copied_into_a_bucket_and_used_there(
    s3: dict[str, str], finished: Path, tmp_path: Path, medsweep: Medsweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / "here"))
    store = str(new_bucket())
    copied = medsweep("store", "copy", finished / "store", store)
    assert copied.exit_code == 0, copied.output
    assert f"copied {count(finished)} trial(s)" in copied.output
    planned = medsweep("plan", finished / "micro.yaml", "--store", store)
    assert reused(planned.output) == count(finished)
    (leaf, *_) = (path.parent.name for path in (finished / "store" / "score").glob("*/manifest.json"))
    for words, said in ((("why", leaf), "score"), (("show", leaf), "complete"), (("log", leaf), "step")):
        told = medsweep(*words, "--store", store)
        assert told.exit_code == 0, told.output
        assert said in told.output
    again = medsweep("store", "copy", finished / "store", store)
    assert "copied 0 trial(s) and 0 small file(s)" in again.output
    same = medsweep("store", "copy", store, store)
    assert same.exit_code == 2
    assert "are one store" in same.output


SEARCH = """\
search:
  suggestions: 2
  at_once: 1
  objectives: [{metric: dice, goal: maximise}]
  space: {segment.steps: {low: 6, high: 10}}
"""


def searching(folder: Path, *more: str) -> Path:
    """A search over networks alone."""
    factors = "factors:\n  gan.pipeline: [b-sg, mc-sg]\n  synthesise.count: [4]\n"
    search = SEARCH + "".join(f"  {line}\n" for line in more)
    validated = ("{folds: 2, seeds: 1}", "{folds: 2, only: [0], seeds: 1, validation: 0.34}")
    return write_micro(folder, (factors, ""), validated, ("analysis:", f"{search}analysis:"))


def test_a_search_in_a_bucket_goes_on_elsewhere(
    s3: dict[str, str], tmp_path: Path, medsweep: Medsweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, local = str(new_bucket()), ("--runner", "local", "--wandb", "disabled", "--quiet")
    sweep = searching(tmp_path)
    for machine in ("here", "there"):
        monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / machine))
        ran = medsweep("run", sweep, "--store", store, "--results", tmp_path / machine / "results", *local)
        assert ran.exit_code == 0, ran.output
    found = medsweep("best", sweep, "--store", store, "--results", tmp_path / "best")
    assert found.exit_code == 0, found.output
    assert "search-00" in found.output
    names = [entry.name for entry in Bucket(location(store)).entries("search")]
    assert "search/micro.log" in names
    assert len(names) == len({name for name in names if name.endswith(".json")}) + 1
    assert len([entry for entry in Bucket(location(store)).entries("published/segment")]) == 1 + 2


def test_looking_at_a_prefix_that_holds_no_store_makes_none(
    s3: dict[str, str], tmp_path: Path, medsweep: Medsweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / "here"))
    url = new_bucket()
    planned = medsweep("plan", write_micro(tmp_path), "--store", url)
    assert planned.exit_code == 0, planned.output
    assert f"there is no store {url} yet" in " ".join(planned.output.split())
    assert list(Bucket(url).entries("")) == []


def test_slices_are_prepared_and_listed_in_a_bucket(
    s3: dict[str, str], tmp_path: Path, medsweep: Medsweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, out, where = write_micro(tmp_path), tmp_path / "fold-0", ("--store", str(new_bucket()))
    for machine, said in (("here", "prepared 6 patients as"), ("there", "is there already")):
        monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / machine))
        told = medsweep("data", "export-fold", sweep, "--fold", 0, "--out", out / machine, *where)
        assert told.exit_code == 0, told.output
        assert said in told.output
    assert (out / "there" / "images.npy").read_bytes() == (out / "here" / "images.npy").read_bytes()
    planned = medsweep("plan", sweep, *where)
    assert planned.exit_code == 0, planned.output
    (listed,) = json.loads(medsweep("ls", *where, "--json").stdout)
    assert (listed["sweep"], listed["published"]) == ("micro", 1)
    assert "nothing to delete in s3://" in medsweep("gc", *where).output
    Bucket(location(where[1])).put(f"working/gan/{'cd' * 32}.json", b'{"step": 3}')
    shown = medsweep("gc", *where, "--dry-run").output
    assert "unfinished: gan cdcdcdcdcdcdcdcd: checkpoint of step 3" in shown
    assert "deleted 1 item(s)" in medsweep("gc", *where, "--yes").output
    assert listed["bytes"] > (out / "here" / "images.npy").stat().st_size / 4


def test_a_sweep_for_a_folder_is_written_and_prepared_with_a_bucket(
    s3: dict[str, str], tmp_path: Path, medsweep: Medsweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / "here"))
    root, url = decathlon(tmp_path), new_bucket()
    told = medsweep("new", "--root", root, "--size", "demo", "--out", tmp_path / "first.yaml", "--store", url)
    assert told.exit_code == 0, told.output
    assert f"first.yaml --store {url}" in told.output
    prepared = medsweep("data", "prepare", "Task99_Micro", "--root", root, "--resolution", 16, "--store", url)
    assert prepared.exit_code == 0, prepared.output
    assert f"{url}/prepare/" in prepared.output
    assert store_at(url).listing("prepare")
    assert not list(tmp_path.glob("s3*"))
