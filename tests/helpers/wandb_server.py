"""A server on the loopback that speaks as much of W&B's protocol as its client needs to upload runs.

History is kept by line number. The client asks how many lines there are and goes on after them.
"""

import gzip
import hashlib
import json
import os
import re
import sys
import threading
import traceback
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

ENTITY = "lab"
KEY = "c0ffee00" * 5


@dataclass
class ServedRun:
    """What the server has of one run."""

    fields: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, dict[int, str]] = field(default_factory=dict)
    """Content of the streamed files by line number."""
    files: dict[str, bytes] = field(default_factory=dict)
    exit_code: int | None = None
    made: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    """References of the artifacts that the run left behind, and that it used."""

    @property
    def summary(self) -> dict[str, Any]:
        """What was last said of the run as a whole."""
        said = self.lines.get("wandb-summary.json", {})
        summary: dict[str, Any] = json.loads(said[max(said)]) if said else {}
        return summary

    @property
    def config(self) -> dict[str, Any]:
        """Its settings."""
        return {key: item["value"] for key, item in json.loads(self.fields.get("config", "{}")).items()}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Reports in order, without what the client counts itself."""
        lines = self.lines.get("wandb-history.jsonl", {})
        assert sorted(lines) == list(range(len(lines)))
        rows = [json.loads(lines[at]) for at in sorted(lines)]
        return [{key: value for key, value in row.items() if not key.startswith("_")} for row in rows]


@dataclass
class Served:
    """The server as a test sees it."""

    url: str
    runs: dict[tuple[str, str], ServedRun] = field(default_factory=dict)
    """By project and id."""
    asked: Counter[str] = field(default_factory=Counter)
    """How often each operation was asked for."""
    bodies: list[bytes] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By id: its project, digest, state, and what its manifest refers to."""
    views: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """What was last saved of each view and report, by project and name."""
    errors: list[str] = field(default_factory=list)
    """Of the server itself."""
    refused: Callable[[str, dict[str, Any]], int] = lambda operation, variables: 0
    """Status with which a request is refused, 0 for those that are answered."""


@contextmanager
def wandb_server() -> Iterator[Served]:
    """A running server."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.served = Served(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.served
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def logged_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A running server to which this process is logged in. No other setting of W&B is left, and nothing may break."""
    # The last one is where the client that runs already listens.
    for name in [name for name in os.environ if name.startswith("WANDB_") and name != "WANDB_SERVICE"]:
        monkeypatch.delenv(name)
    with wandb_server() as served:
        monkeypatch.setenv("WANDB_BASE_URL", served.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        # The client would else send what it has every 15 seconds.
        monkeypatch.setenv("WANDB__FILE_STREAM_TRANSMIT_INTERVAL", "0.2")
        yield served
        assert served.errors == []


class _Server(ThreadingHTTPServer):
    served: Served

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            self.served.errors.append(traceback.format_exc())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    @property
    def served(self) -> Served:
        return self.server.served

    def do_POST(self) -> None:
        body = self._body()
        if self.path.startswith("/graphql"):
            asked = json.loads(body)
            found = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])
            operation = found[1] if found else "anonymous"
            variables = asked.get("variables") or {}
            self.served.asked[operation] += 1
            if status := self.served.refused(operation, variables):
                self._answer(status, {"errors": [{"message": "refused"}]})
                return
            name = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
            answer = getattr(self, f"_{name}", lambda variables: {})(variables)
            self._answer(200, {"data": answer})
        elif (stream := re.fullmatch(r"/files/([^/]+)/([^/]+)/([^/]+)/file_stream", self.path)) is not None:
            if status := self.served.refused("file_stream", {}):
                self._answer(status, {})
                return
            self._stream(self._run(stream[2], stream[3]), json.loads(body))
            self._answer(200, {"exitcode": None, "limits": {}})
        else:
            self.served.asked[self.path] += 1
            self._answer(404, {})

    def do_GET(self) -> None:
        self.served.asked[self.path] += 1
        self._answer(404, {})

    def do_PUT(self) -> None:
        body = self._body()
        if self.path.startswith("/manifest/"):
            artifact = self.served.artifacts[self.path.removeprefix("/manifest/")]
            assert self.headers["Content-MD5"] == artifact["md5"] == b64encode(hashlib.md5(body).digest()).decode()
            artifact["reference"] = json.loads(body)["contents"]["output"]["ref"]
            self._answer(200, {})
            return
        _, project, run, name = self.path.removeprefix("/").split("/", 3)
        if status := self.served.refused("upload", {"name": name}):
            self._answer(status, {})
            return
        self._run(project, run).files[name] = body
        self._answer(200, {})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            body = b"".join(parts)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        self.served.bodies.append(body)
        return body

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _run(self, project: str, run_id: str) -> ServedRun:
        return self.served.runs.setdefault((project, run_id), ServedRun())

    def _stream(self, run: ServedRun, told: dict[str, Any]) -> None:
        self.served.asked["file_stream"] += 1
        for name, chunk in (told.get("files") or {}).items():
            lines = run.lines.setdefault(name, {})
            lines |= {chunk["offset"] + number: line for number, line in enumerate(chunk["content"])}
        if told.get("complete"):
            run.exit_code = told.get("exitcode")

    def _viewer(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {"viewer": {"id": "u", "entity": ENTITY, "username": "me", "flags": "{}", "teams": {"edges": []}}}

    def _server_features_query(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    def _upsert_bucket(self, variables: dict[str, Any]) -> dict[str, Any]:
        name, project = variables.get("name"), variables.get("project")
        if name is None:  # an update names the run by the server's own id
            project, name = variables["id"].split("/")
        known = (project, name) in self.served.runs
        run = self._run(project, name)
        run.fields |= {key: value for key, value in variables.items() if value is not None}
        entity = variables.get("entity") or ENTITY
        bucket = {
            "id": f"{project}/{name}",
            "name": name,
            "displayName": variables.get("displayName") or name,
            "config": variables.get("config") or "{}",
            "historyLineCount": len(run.lines.get("wandb-history.jsonl", {})),
            "project": {"id": project, "name": project, "entity": {"id": entity, "name": entity}},
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": not known}}

    def _lines(self, variables: dict[str, Any]) -> dict[str, Any]:
        run = self.served.runs.get((variables["project"], variables["run"]))
        if run is None:
            return {"project": {"run": None}}
        told = {"historyLineCount": len(run.lines.get("wandb-history.jsonl", {})), "notes": run.fields.get("notes")}
        return {"project": {"run": told | {"summaryMetrics": json.dumps(run.summary)}}}

    def _forget_notes(self, variables: dict[str, Any]) -> dict[str, Any]:
        del self.served.runs[variables["project"], variables["run"]].fields["notes"]
        return {"upsertBucket": {"bucket": {"id": variables["run"]}}}

    def _files(self, variables: dict[str, Any]) -> dict[str, Any]:
        files = self.served.runs[variables["project"], variables["run"]].files
        nodes = [{"name": name, "sizeBytes": str(len(files[name]))} for name in variables["names"] if name in files]
        return {"project": {"run": {"files": {"edges": [{"node": node} for node in nodes[: variables["most"]]]}}}}

    def _project(self, variables: dict[str, Any]) -> dict[str, Any]:
        known = any(project == variables["project"] for project, _ in self.served.runs)
        return {"project": {"id": variables["project"]} if known else None}

    def _view(self, variables: dict[str, Any]) -> dict[str, Any]:
        there = (variables["project"], variables["name"]) in self.served.views
        edges = [{"node": {"id": f"View:{variables['name']}", "name": variables["name"]}}] if there else []
        return {"project": {"allViews": {"edges": edges}}}

    def _upsert_view(self, variables: dict[str, Any]) -> dict[str, Any]:
        place = (variables["project"], variables["name"])
        known = place in self.served.views
        assert known == (variables["id"] is not None), "an id that is not there, or a second view of one name"
        self.served.views[place] = variables
        view = {"id": f"View:{variables['name']}", "name": variables["name"]}
        return {"upsertView": {"view": view, "inserted": not known}}

    def _create_artifact(self, variables: dict[str, Any]) -> dict[str, Any]:
        asked = variables["input"]
        assert (asked["projectName"], asked["runName"]) in self.served.runs
        assert asked["entityName"] == ENTITY
        place = f"{asked['projectName']}/{asked['artifactCollectionName']}/{asked['digest']}"
        new = {"state": "PENDING", "made_by": (asked["projectName"], asked["runName"])}
        artifact = self.served.artifacts.setdefault(place, new)
        return {"createArtifact": {"artifact": {"id": place, "state": artifact["state"]}}}

    def _create_artifact_manifest(self, variables: dict[str, Any]) -> dict[str, Any]:
        asked = variables["input"]
        self.served.artifacts[asked["artifactID"]]["md5"] = asked["digest"]
        address = f"{self.served.url}/manifest/{asked['artifactID']}"
        file = {"id": "f", "uploadUrl": address, "uploadHeaders": [f"Content-MD5:{asked['digest']}"]}
        return {"createArtifactManifest": {"artifactManifest": {"id": "m", "file": file}}}

    def _commit_artifact(self, variables: dict[str, Any]) -> dict[str, Any]:
        artifact = self.served.artifacts[variables["input"]["artifactID"]]
        artifact["state"] = "COMMITTED"
        self.served.runs[artifact["made_by"]].made.add(artifact["reference"])
        return {"commitArtifact": {"artifact": {"id": variables["input"]["artifactID"], "digest": "d"}}}

    def _use_artifact(self, variables: dict[str, Any]) -> dict[str, Any]:
        asked = variables["input"]
        artifact = self.served.artifacts[asked["artifactID"]]
        assert artifact["state"] == "COMMITTED"
        self.served.runs[asked["projectName"], asked["runName"]].used.add(artifact["reference"])
        return {"useArtifact": {"artifact": {"id": asked["artifactID"]}}}

    def _run_resume_status(self, variables: dict[str, Any]) -> dict[str, Any]:
        project, name = variables["project"], variables["name"]
        model = {"id": project, "name": project, "entity": {"id": "e", "name": ENTITY}, "bucket": None}
        run = self.served.runs.get((project, name))
        if run is not None:
            lines = run.lines.get("wandb-history.jsonl", {})
            events = run.lines.get("wandb-events.jsonl", {})
            model["bucket"] = {
                "id": f"{project}/{name}",
                "name": name,
                "displayName": run.fields.get("displayName"),
                "summaryMetrics": json.dumps(run.summary),
                "historyLineCount": len(lines),
                "eventsLineCount": len(events),
                "logLineCount": 0,
                "historyTail": json.dumps([lines[max(lines)]] if lines else []),
                "eventsTail": json.dumps([events[max(events)]] if events else []),
                "config": run.fields.get("config", "{}"),
                "tags": run.fields.get("tags") or [],
                "notes": run.fields.get("notes"),
                "wandbConfig": json.dumps({"t": run.config.get("_wandb", {}).get("t")}),
            }
        return {"model": model}

    def _create_run_files(self, variables: dict[str, Any]) -> dict[str, Any]:
        where = f"{self.served.url}/upload/{variables['project']}/{variables['run']}"
        files = [{"name": name, "uploadUrl": f"{where}/{name}"} for name in variables["files"]]
        return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}

    def _notify_scriptable_run_alert(self, variables: dict[str, Any]) -> dict[str, Any]:
        self.served.alerts.append(variables)
        return {"notifyScriptableRunAlert": {"success": True}}
