"""Trials read their inputs through the node's cache, say so in their manifests, and let go of them however they end."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers import toy
from medsweep.cli import app
from medsweep.errors import UserError
from medsweep.execution.attempt import attempt
from medsweep.execution.task import RunContext, Task
from medsweep.identity import digest_of
from medsweep.store.cache import CacheSpec, NodeCache, cache_spec
from medsweep.store.file_lock import FileLock
from medsweep.store.store import Store
from medsweep.tracking.tracker import Tracker


@pytest.fixture
def grown(store: Store) -> Task:
    """A trial of toy steps whose input is published."""
    source = digest_of("source", 1, toy.SourceConfig(), {})
    reads, config = {"source": source}, toy.GrowConfig(fold=0, seed=0)
    given = {
        "sweep": "toy", "label": "x", "hours": 1.0, "tail_hours": 1.0,
        "input_stages": {"source": "source"},
    }  # fmt: skip
    first = Task(stage="source", digest=source, config=toy.SourceConfig().model_dump(), inputs={}, reads={}, **given)
    list(attempt(first, RunContext(store=store.root, stages=toy.STAGES), store, Tracker()))
    digest = digest_of("grow", 1, config, reads)
    return Task(stage="grow", digest=digest, config=config.model_dump(), inputs=reads, reads=reads, **given)


@pytest.mark.parametrize("ends", [True, False])
def test_an_attempt_holds_its_inputs_until_it_ends_or_is_given_up(
    tmp_path: Path, store: Store, grown: Task, ends: bool
) -> None:
    context = RunContext(store=store.root, stages=toy.STAGES, cache=CacheSpec(root=tmp_path / "node"))
    reports = attempt(grown, context, store, Tracker())
    next(reports)
    (lock,) = (tmp_path / "node").glob("*/source-*.lock")
    assert FileLock.try_exclusive(lock) is None
    list(reports) if ends else reports.close()  # type: ignore[attr-defined]
    free = FileLock.try_exclusive(lock)
    assert free is not None
    free.release()
    if ends:
        host = store.manifest("grow", grown.digest).host
        assert (host["inputs"], host.get("reasons")) == ({"source": "fetched"}, None)


def test_a_manifest_says_why_there_was_no_copy(tmp_path: Path, store: Store, grown: Task) -> None:
    spec = CacheSpec(root=tmp_path / "node", limit_gib=1e-9)
    list(attempt(grown, RunContext(store=store.root, stages=toy.STAGES, cache=spec), store, Tracker()))
    host = store.manifest("grow", grown.digest).host
    assert host["inputs"] == {"source": "store"}
    assert "more than the cache's limit" in host["reasons"]["source"]


def test_variables_are_those_of_the_node(
    tmp_path: Path, store: Store, grown: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = grown.inputs["source"]
    monkeypatch.setenv("NODE_DISK", str(tmp_path / "disk"))
    spec = cache_spec(Path("${NODE_DISK}/x"), store.root, {"MEDSWEEP_CACHE_GIB": "2.5"})
    assert spec == CacheSpec(root=Path("${NODE_DISK}/x"), limit_gib=2.5)
    with NodeCache(spec.root, spec.limit_gib, reserved=0.0).fetched(store, "source", source) as found:
        assert found.folder.is_relative_to(tmp_path / "disk" / "x")
    monkeypatch.delenv("NODE_DISK")
    with NodeCache(spec.root).fetched(store, "source", source) as found:
        assert (found.origin, "is no folder in this node's environment" in found.reason) == ("store", True)


@pytest.mark.parametrize(
    ("folder", "gib", "said"),
    [
        ("node", "", "would be another folder on each node"),
        ("{tmp}/store/cache", "", "lies inside the store"),
        ("{tmp}/store", "", "lies inside the store"),
        ("{tmp}/file", "", "is a file"),
        ("{tmp}/node", "plenty", "MEDSWEEP_CACHE_GIB=plenty is no size of a cache"),
        ("{tmp}/node", "0", "MEDSWEEP_CACHE_GIB=0 is no size"),
        ("{tmp}/node", "nan", "MEDSWEEP_CACHE_GIB=nan is no size"),
        ("{tmp}/node", "inf", "MEDSWEEP_CACHE_GIB=inf is no size"),
    ],
)
def test_a_cache_that_no_node_could_use_is_one_line(tmp_path: Path, folder: str, gib: str, said: str) -> None:
    (tmp_path / "file").touch()
    environment = {"MEDSWEEP_CACHE": folder.format(tmp=tmp_path), "MEDSWEEP_CACHE_GIB": gib}
    told = CliRunner(env=environment).invoke(app, ["run", "no.yaml", "--store", str(tmp_path / "store")])
    assert told.exit_code == 2
    assert said in told.output
    assert len(told.output.strip().splitlines()) == 1
    with pytest.raises(UserError, match=re.escape(said)):
        cache_spec(Path(environment["MEDSWEEP_CACHE"]), tmp_path / "store", environment)


def test_without_a_folder_there_is_no_cache(tmp_path: Path) -> None:
    assert cache_spec(None, tmp_path, {"MEDSWEEP_CACHE_GIB": "no number"}) is None
    environment = {"MEDSWEEP_CACHE": "", "MEDSWEEP_CACHE_GIB": "no number"}
    told = CliRunner(env=environment).invoke(app, ["run", "no.yaml", "--store", str(tmp_path / "store")])
    assert "no.yaml" in told.output
    assert "MEDSWEEP_CACHE" not in told.output
    assert cache_spec(tmp_path / "node", tmp_path / "store", {}) == CacheSpec(root=tmp_path / "node", limit_gib=50.0)
