"""What ``--json`` prints: the records behind the tables, as one JSON document each."""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from medsweep.data.check import Report
    from medsweep.planning.cost import Why
    from medsweep.study.search_loop import Search, State
    from medsweep.study.session import Session


def print_json(document: object) -> None:
    """Print one document; numbers that are not finite are null, which JSON has in their place."""
    typer.echo(json.dumps(plain(document), indent=2))


def plain(value: Any) -> Any:
    """``value`` of what JSON knows: records as mappings, paths as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return None if isinstance(value, float) and not math.isfinite(value) else value
    return value.as_posix() if isinstance(value, PurePath) else plain(value.item())


def plan_document(session: "Session") -> dict[str, Any]:
    """Arms, costs by stage, the forecast, every trial with what happens to it, and the remarks."""
    trials = [
        {"stage": trial.stage, "digest": digest, "label": session.labels[digest], "arms": session.plan.serves()[digest]}
        | {"action": session.decisions[digest].action, "reason": session.decisions[digest].reason}
        for digest, trial in session.plan.trials.items()
    ]
    return {
        "sweep": session.sweep.name,
        "arms": [{"name": arm.name, "control": arm.is_control} for arm in session.plan.arms],
        "aliases": session.plan.aliases,
        "stages": session.stage_costs(),
        "forecast": session.forecast(),
        "trials": trials,
        "remarks": session.remarks(),
    }


def status_document(session: "Session", counts: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Trials by stage and state, those that failed, and the arms that cannot be compared."""
    failures = [
        {"stage": one.trial.stage, "digest": one.trial.digest, "label": one.label, "outcome": one.outcome}
        | {"message": one.message, "at": one.at}
        for one in session.failures
    ]
    return {"sweep": session.sweep.name, "stages": counts, "failures": failures, "dead": session.dead()}


def why_document(why: "Why") -> dict[str, Any]:
    """A trial, the nearest published one, and the fields that set them apart, as a sweep file calls them."""
    from medsweep.study.inside import yaml_name

    return {
        "stage": why.trial.stage,
        "digest": why.trial.digest,
        "published": why.published,
        "outcome": getattr(why.trial, "outcome", None),
        "arms": why.arms,
        "nearest": None if why.nearest is None else why.nearest.digest,
        "differences": [
            {"field": yaml_name(one.name), "here": one.ours, "there": one.theirs} for one in why.differences
        ],
        "changed_files": why.changed_files,
        "ended": why.ended,
    }


def best_document(search: "Search", state: "State") -> dict[str, Any]:
    """Every result of a search, those first that ``medsweep best`` calls best, and what is said of them."""
    from medsweep.commands import search_views
    from medsweep.search.sampler import best_of, ranking

    section, space = search.section, search.points.space
    rows = search_views.history(search, state).to_dict("records")
    front = set(best_of(section, space, state.told))
    ranked = ranking(section, space, state.told)
    order = [*ranked, *(number for number in range(len(rows)) if number not in ranked)]
    results = [{**rows[number], "is_best": number in front} for number in order]
    return {"objectives": section.metrics, "results": results, "told": search_views.sentences(search, state)}


def check_document(report: "Report") -> dict[str, Any]:
    """Whether a folder can be used, how many cases, and every finding."""
    return {
        "ok": report.ok,
        "cases": len(report.cases),
        "unusable": report.unusable,
        "findings": report.findings,
    }
