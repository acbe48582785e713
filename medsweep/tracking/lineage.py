"""Which trial read what of which other trial, as artifacts of W&B that refer to the store and hold no file.

The edges are sent at the push, not written into the offline runs: ``use_artifact`` raises offline, and ``wandb sync``
sends artifacts to the project of the recording and not to that of ``--entity`` and ``--project`` (wandb 0.31). What is
sent is what W&B's own client sends for an artifact of one reference.
"""

import base64
import hashlib
import http.client
import json
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any, Final

from medsweep.files import write_json
from medsweep.tracking.mirror import Edges, Mirror
from medsweep.tracking.mode import ask, base_url, owner, put
from medsweep.tracking.tracker import run_id

RECORD: Final = "lineage.json"
ENTRY: Final = "output"
"""Name of the reference inside an artifact."""
GIVE_UP: Final = 3
"""Runs that fail one after the other before the rest is given up."""

CREATE: Final = (
    "mutation CreateArtifact($input: CreateArtifactInput!) { createArtifact(input: $input) { artifact { id state } } }"
)
MANIFEST: Final = (
    "mutation CreateArtifactManifest($input: CreateArtifactManifestInput!) "
    "{ createArtifactManifest(input: $input) { artifactManifest { id file { id uploadUrl uploadHeaders } } } }"
)
COMMIT: Final = (
    "mutation CommitArtifact($input: CommitArtifactInput!) { commitArtifact(input: $input) { artifact { id digest } } }"
)
USE: Final = "mutation UseArtifact($input: UseArtifactInput!) { useArtifact(input: $input) { artifact { id } } }"


def push_lineage(
    mirror: Mirror, there: Collection[str], target: str, entity: str | None, project: str
) -> dict[str, str]:
    """Send the artifacts and edges of the runs that are ``there``; by id why those of a run are not all at W&B.

    What was sent to ``target`` is in ``STORE/wandb/SWEEP/lineage.json`` and not sent again. An input whose own run is
    not there waits.
    """
    record = mirror.folder / RECORD
    kept: dict[str, dict[str, str]] = json.loads(record.read_text()) if record.is_file() else {}
    edges = {name: one for name, one in mirror.edges().items() if name in there}
    sender = _Sender(entity, project, kept.setdefault(target, {}))
    failed: dict[str, str] = {}
    # Outputs come first, so that each artifact is made by the run that left it.
    for send, jobs in ((sender.make, sender.unmade), (sender.use, sender.unused)):
        in_a_row = 0
        for name, one in jobs(edges):
            if in_a_row == GIVE_UP:
                failed.setdefault(name, "its lineage was not tried any more")
                continue
            try:
                send(name, one)
                in_a_row = 0
            except (OSError, ValueError, http.client.HTTPException) as error:
                failed[name] = f"its lineage is not all there ({' '.join(str(error).split())})"
                in_a_row += 1
    if sender.changed:
        write_json(record, kept)
    return failed


class _Sender:
    """Sends what is not in ``sent``: ids of artifacts by reference, and by ``RUN REFERENCE`` what a run used."""

    def __init__(self, entity: str | None, project: str, sent: dict[str, str]) -> None:
        self._entity, self._project, self._sent = entity, project, sent
        self.changed = False

    @cached_property
    def _place(self) -> dict[str, str]:
        """The project, whose owner is asked for where there is anything to send."""
        return {"entityName": owner(self._entity), "projectName": self._project}

    def unmade(self, edges: Mapping[str, Edges]) -> list[tuple[str, str]]:
        """Runs, each with the output that is not at W&B."""
        return [(name, one.output) for name, one in edges.items() if one.output and one.output not in self._sent]

    def unused(self, edges: Mapping[str, Edges]) -> list[tuple[str, str]]:
        """Runs, each with an input that is at W&B and that it is not said to use."""
        pairs = [(name, read) for name, one in edges.items() for read in one.inputs if read in self._sent]
        return [(name, read) for name, read in pairs if f"{name} {read}" not in self._sent]

    def make(self, name: str, output: str) -> None:
        """Send what a run left behind."""
        self._keep(output, self._artifact(output, name))

    def use(self, name: str, read: str) -> None:
        """Say that a run used an output that was sent."""
        _told(USE, {**self._place, "artifactID": self._sent[read], "runName": name}, "useArtifact", "artifact")
        self._keep(f"{name} {read}", self._sent[read])

    def _keep(self, key: str, value: str) -> None:
        self._sent[key] = value
        self.changed = True

    def _artifact(self, output: str, name: str) -> str:
        """The id of an artifact with its manifest; one with the same content is found, not made again."""
        stage, digest = output.removeprefix("medsweep:").split("/")
        collection = run_id(stage, digest)
        about = {**self._place, "runName": name, "artifactTypeName": stage, "artifactCollectionName": collection}
        about |= {"digest": content_digest(output), "digestAlgorithm": "MANIFEST_MD5"}
        alias = {"artifactCollectionName": collection, "alias": "latest"}
        asked = about | {"aliases": [alias], "enableDigestDeduplication": True}
        artifact = _told(CREATE, asked, "createArtifact", "artifact")
        if artifact.get("state") != "COMMITTED":
            content = manifest_of(output)
            asked = {**self._place, "runName": name, "artifactID": artifact["id"], "name": "wandb_manifest.json"}
            asked |= {"type": "FULL", "digest": base64.b64encode(hashlib.md5(content).digest()).decode()}
            manifest = _told(MANIFEST, asked, "createArtifactManifest", "artifactManifest")
            put(manifest["file"]["uploadUrl"], content, manifest["file"].get("uploadHeaders") or ())
            _told(COMMIT, {"artifactID": artifact["id"]}, "commitArtifact", "artifact")
        return str(artifact["id"])


def content_digest(output: str) -> str:
    """The digest of an artifact of one reference, as W&B's client takes it."""
    return hashlib.md5(f"wandb-artifact-manifest-v1\n{ENTRY}:{output}\n".encode()).hexdigest()


def manifest_of(output: str) -> bytes:
    """What an artifact of one reference holds."""
    entry = {"digest": output, "ref": output, "size": 0}
    manifest = {
        "version": 1,
        "storagePolicy": "wandb-storage-policy-v1",
        "storagePolicyConfig": {"storageLayout": "V2"},
    }
    return json.dumps(manifest | {"contents": {ENTRY: entry}}).encode()


def _told(query: str, asked: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """What the server answers under these names."""
    answer: Any = ask(query, {"input": asked})
    for name in names:
        answer = (answer or {}).get(name)
    if not answer:
        raise ValueError(f"{base_url()} answered {names[0]} with nothing")
    found: dict[str, Any] = answer
    return found
