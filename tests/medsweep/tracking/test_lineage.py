"""Edges between trials as artifacts of W&B that refer to the store."""

import json
from pathlib import Path

import pytest

from helpers.wandb_server import Served, ServedRun
from medsweep.tracking.client import environment
from medsweep.tracking.lineage import content_digest, manifest_of, push_lineage
from medsweep.tracking.mirror import INDEX, Mirror

GAN, POOL, SEGMENT = (
    f"medsweep:{stage}/{letter * 64}" for stage, letter in zip(("gan", "pool", "segment"), "abc", strict=True)
)
RUNS = {
    "segment-2": {"output": "", "inputs": [POOL]},
    "segment-1": {"output": SEGMENT, "inputs": [POOL]},
    "pool-1": {"output": POOL, "inputs": [GAN]},
    "gan-1": {"output": GAN, "inputs": []},
}


@pytest.fixture
def server(server: Served) -> Served:
    server.runs.update({("s", name): ServedRun() for name in RUNS})
    return server


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    made = Mirror(tmp_path, "s")
    made.folder.mkdir(parents=True)
    entries = {name: edges | {"kind": "trial", "fingerprint": "f", "folder": name} for name, edges in RUNS.items()}
    (made.folder / INDEX).write_text(json.dumps(entries))
    return made


def edges(server: Served) -> dict[str, tuple[set[str], set[str]]]:
    return {name: (run.made, run.used) for (_, name), run in server.runs.items()}


def test_each_trial_has_made_its_output_and_used_its_inputs_once(server: Served, mirror: Mirror) -> None:
    assert push_lineage(mirror, list(RUNS), "t", None, "s") == {}
    told = {name: ({str(one["output"])} - {""}, set(one["inputs"])) for name, one in RUNS.items()}
    assert edges(server) == told
    before = dict(server.asked)
    assert push_lineage(mirror, list(RUNS), "t", None, "s") == {}
    assert dict(server.asked) == before, "what was sent is not asked for again"
    (mirror.folder / "lineage.json").unlink()
    push_lineage(mirror, list(RUNS), "t", None, "s")
    assert (edges(server), len(server.artifacts)) == (told, 3), "sent again it is the same"


def test_an_input_whose_run_is_not_there_waits_for_it(server: Served, mirror: Mirror) -> None:
    assert push_lineage(mirror, ["segment-1"], "t", "lab", "s") == {}
    assert edges(server)["segment-1"] == ({SEGMENT}, set())
    assert push_lineage(mirror, list(RUNS), "t", "lab", "s") == {}
    assert edges(server)["segment-1"] == ({SEGMENT}, {POOL})


def test_what_the_server_refuses_is_named_and_sent_later(server: Served, mirror: Mirror) -> None:
    server.refused = lambda operation, asked: 500 if operation == "UseArtifact" else 0
    failed = push_lineage(mirror, list(RUNS), "t", None, "s")
    assert set(failed) == {"segment-2", "segment-1", "pool-1"}
    assert "its lineage is not all there (HTTP Error 500" in failed["pool-1"]
    server.refused = lambda operation, asked: 0
    assert push_lineage(mirror, list(RUNS), "t", None, "s") == {}
    assert edges(server)["segment-2"] == (set(), {POOL})


def test_no_path_is_sent(server: Served, mirror: Mirror) -> None:
    push_lineage(mirror, list(RUNS), "t", None, "s")
    assert not any(str(mirror.folder.parents[2]).encode() in body for body in server.bodies)


def test_digest_and_manifest_are_those_of_the_client(tmp_path: Path) -> None:
    with environment({"WANDB_MODE": "offline", "WANDB_CACHE_DIR": str(tmp_path), "WANDB_DATA_DIR": str(tmp_path)}):
        import wandb

        artifact = wandb.Artifact("gan-1", type="gan")
        artifact.add_reference(GAN, name="output", checksum=False)
    assert artifact.digest == content_digest(GAN)
    manifest = json.loads(manifest_of(GAN))
    assert manifest["contents"]["output"]["ref"] == artifact.manifest.entries["output"].ref == GAN
    assert manifest["contents"]["output"]["digest"] == artifact.manifest.entries["output"].digest
    theirs = artifact.manifest.to_manifest_json()
    assert {key: manifest[key] for key in theirs if key != "contents"} == {
        key: value for key, value in theirs.items() if key != "contents"
    }
