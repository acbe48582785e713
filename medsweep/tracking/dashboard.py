"""Saves the views of a sweep at W&B, the same ones at every call, and keeps their addresses."""

import http.client
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

from medsweep.errors import UserError
from medsweep.files import write_json
from medsweep.tracking.mode import ask, base_url
from medsweep.tracking.mode import owner as whose
from medsweep.tracking.views import Dashboard, SavedView, report_of, views_of

Answer = TypeVar("Answer")
SPECS: Final = "dashboard.json"
ADDRESSES: Final = "wandb.json"

PROJECT: Final = (
    "query Project($entity: String, $project: String!) { project(name: $project, entityName: $entity) { id } }"
)
FIND: Final = (
    "query View($entity: String, $project: String, $kind: String, $name: String) "
    "{ project(name: $project, entityName: $entity) "
    "{ allViews(viewType: $kind, viewName: $name) { edges { node { id name } } } } }"
)
SAVE: Final = (
    "mutation UpsertView($id: ID, $entity: String, $project: String, $kind: String, $name: String, "
    "$display: String, $description: String, $spec: String!) { upsertView(input: {id: $id, entityName: $entity, "
    "projectName: $project, name: $name, displayName: $display, description: $description, type: $kind, "
    "createdUsing: WANDB_SDK, spec: $spec}) { view { id name } inserted } }"
)


@dataclass(frozen=True)
class Saved:
    """What became of the views."""

    addresses: Mapping[str, str]
    """By name."""
    made: int
    """How many of them are new."""


def write_specs(about: Dashboard, folder: Path, entity: str | None, project: str | None) -> Path:
    """Write what would be saved to ``FOLDER/dashboard.json``; needs neither account nor network."""
    owner = entity or os.environ.get("WANDB_ENTITY") or ""
    views = views_of(about, owner, project or about.sweep)
    report = report_of(about, owner, project or about.sweep, {})
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / SPECS, [asdict(view) for view in (*views, report)])
    return folder / SPECS


def save_views(about: Dashboard, folder: Path, entity: str | None, project: str | None) -> Saved:
    """Save the views and then the report that links to them, and write ``FOLDER/wandb.json``.

    A view that is there is found by its name and replaced.

    Raises:
        UserError: W&B cannot be asked, refuses, or has no such project yet.
    """
    where = project or about.sweep
    owner = _asked(lambda: whose(entity))
    if _told(PROJECT, {"entity": owner, "project": where}).get("project") is None:
        raise UserError(
            f"{base_url()} has no project {owner}/{where}; medsweep wandb push uploads the runs that views need"
        )
    folder.mkdir(parents=True, exist_ok=True)
    kept, target = _kept(folder), f"{base_url()} {owner}/{where}"
    entries: dict[str, dict[str, str]] = kept.get(target, {})
    addresses: dict[str, str] = {}
    made = 0

    def save(view: SavedView) -> None:
        nonlocal made
        known = _found(view, owner, where) or entries.get(view.internal_name, {}).get("id")
        answer = _upsert(view, owner, where, known)
        made += bool(answer.get("inserted", known is None))
        addresses[view.name] = _address(view, owner, where, answer["view"]["id"])
        entries[view.internal_name] = {"id": answer["view"]["id"], "url": addresses[view.name]}
        write_json(folder / ADDRESSES, kept | {target: entries})

    for view in views_of(about, owner, where):
        save(view)
    save(report_of(about, owner, where, dict(addresses)))
    return Saved(addresses, made)


def _kept(folder: Path) -> dict[str, Any]:
    try:
        kept: dict[str, Any] = json.loads((folder / ADDRESSES).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return kept


def _found(view: SavedView, owner: str, project: str) -> str | None:
    """W&B's own id of a view that was saved before, by whomever."""
    asked = {"entity": owner, "project": project, "kind": view.kind, "name": view.internal_name}
    views = (_told(FIND, asked).get("project") or {}).get("allViews") or {}
    found = [edge["node"] for edge in views.get("edges", [])]
    return next((str(node["id"]) for node in found if node.get("name", view.internal_name) == view.internal_name), None)


def _upsert(view: SavedView, owner: str, project: str, known: str | None) -> dict[str, Any]:
    told: dict[str, str | None] = {"entity": owner, "project": project, "kind": view.kind, "name": view.internal_name}
    told |= {"display": view.name, "description": view.description, "spec": json.dumps(view.spec), "id": known}
    answer: dict[str, Any] | None = _told(SAVE, told).get("upsertView")
    if not answer or not answer.get("view"):
        raise UserError(f"{base_url()} did not save the view {view.name!r} of {owner}/{project}")
    return answer


def _told(query: str, variables: Mapping[str, str | None]) -> dict[str, Any]:
    return _asked(lambda: ask(query, variables))


def _asked(question: Callable[[], Answer]) -> Answer:
    try:
        return question()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UserError(
            f"{base_url()} cannot be used ({' '.join(str(error).split())}); --dry-run writes the views without it"
        ) from None


def _address(view: SavedView, owner: str, project: str, view_id: str) -> str:
    from wandb.util import api_to_app_url

    pages = os.environ.get("WANDB_APP_URL") or api_to_app_url(base_url())
    place = f"{pages.rstrip('/')}/{quote(owner)}/{quote(project)}"
    if view.kind == "runs":
        return f"{place}/reports/{quote(view.name.replace(' ', '-'))}--{view_id.rstrip('=')}"
    return f"{place}?nw={view.internal_name.removeprefix('nw-').removesuffix('-v')}"
