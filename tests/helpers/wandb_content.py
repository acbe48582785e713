"""Whether a W&B server says of the trials of a store what the store says."""

import hashlib
import json
from pathlib import Path

import pytest

from helpers.wandb_server import Served
from medsweep.files import sha256_of
from medsweep.store.store import Store


def published(store: Store) -> dict[str, Path]:
    """Folder of each published trial by the id of its run."""
    return {
        f"{stage}-{digest[:16]}": store.folder(stage, digest)
        for stage in store.stages()
        for digest in store.listing(stage)
    }


def require_same(server: Served, project: str, store: Store) -> None:
    """Every trial, every report at its step, every picture, every edge, and how and why a trial ended."""
    for name, folder in published(store).items():
        there, stage = server.runs[project, name], folder.parent.name
        manifest = json.loads((folder / "manifest.json").read_text())
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        told = [{f"{stage}/{key}": value for key, value in line.items() if key != "total"} for line in lines]
        rows = [{key: value for key, value in row.items() if not isinstance(value, dict)} for row in there.rows]
        of_pictures = [row for row in rows if set(row) == {f"{stage}/step"}]
        assert [row for row in rows if row not in of_pictures] == [pytest.approx(row) for row in told], name
        assert all(row[f"{stage}/step"] == told[-1][f"{stage}/step"] for row in of_pictures), name
        pictures = {sha256_of(path) for path in (folder / "output").rglob("*.png")}
        media = {item["sha256"] for row in there.rows for item in row.values() if isinstance(item, dict)}
        sent = {hashlib.sha256(content).hexdigest() for content in there.files.values()}
        assert media == pictures <= sent, name
        complete, outcome = manifest["outcome"] == "complete", manifest["outcome"]
        assert there.made == ({f"medsweep:{stage}/{folder.name}"} if complete else set())
        assert {one.split("/")[1] for one in there.used} == set(manifest["inputs"].values()), name
        assert (there.summary["outcome"], there.exit_code) == (outcome, int(outcome == "pool-dry")), name
        assert there.config["digest"] == folder.name
        assert not any(isinstance(value, list | dict) for key, value in there.config.items() if key != "_wandb"), name
        assert there.fields.get("notes") == (None if complete else f"{outcome}: {manifest['message']}")
