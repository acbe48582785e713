"""The views of a sweep at W&B: their specs as golden JSON, and how they are saved and updated."""

import builtins
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.wandb_server import Served, ServedRun
from medsweep.errors import UserError
from medsweep.tracking.dashboard import save_views, write_specs
from medsweep.tracking.mirrored_run import MirroredRun, Picture, PlainTable, ReportRow
from medsweep.tracking.views import Dashboard, _drawn, _mended, report_of, varied, views_of

GOLDEN = Path(__file__).with_name("dashboard.json")
"""Specs without their ids. Made anew by deleting it and running this test, which then fails once."""


def a_run(stage: str, arm: str = "control", seed: int = 0, **more: Any) -> MirroredRun:
    config = {"arm": arm, "stage": stage, "fold": 0, "seed": seed, "is_control": arm == "control"}
    config |= {"dose": 0 if arm == "control" else 20, "pipeline": "none" if arm == "control" else "b-sg"}
    config |= {"segment.steps": 12, "score.fold.index": 0, "inputs.prepare": f"prepare-{seed}"} | more.pop("config", {})
    fields: dict[str, Any] = {"run_id": f"{stage}-{arm}{seed}", "project": "s", "name": f"{stage} {arm}", "group": arm}
    fields |= {"job_type": stage, "config": config, "summary": {"outcome": "complete", "hours": 0.5}}
    return MirroredRun(**(fields | more))


def row(*pictures: str, **metrics: float) -> tuple[ReportRow, ...]:
    return (ReportRow(step=1, metrics=metrics, pictures={name: Picture(Path("p"), "0") for name in pictures}),)


def score(arm: str, seed: int, **config: Any) -> MirroredRun:
    summary = {"outcome": "complete", "hours": 0.1, "peak_memory_mib": 5.0, "score/assd_mm": 2.0, "score/dice": 0.8}
    summary |= {"score/dice/organ": 0.8, "score/n_dice/organ": 3}
    return a_run("score", arm, seed, summary=summary, rows=row("overlay", test_dice=0.8), config=config)


@pytest.fixture
def about() -> Dashboard:
    runs = [
        score("control", 0),
        score("control", 1),
        score("r1", 0, **{"gan.r1_gamma": 0.1, "synthesise.count": 20, "gan.pipeline": "b-sg"}),
        score("r2", 0, **{"gan.r1_gamma": 0.2, "synthesise.count": 20, "gan.pipeline": "b-sg"}),
        a_run("segment", rows=row(loss=1.0)),
        a_run("segment", "r2", exit_code=1, notes="error: a | b\nbroken", summary={"outcome": "error"}),
        a_run("gan", "r1", rows=row("samples", loss_g=1.0, kimg=0.1, frechet_random=2.0, variety=0.5)),
        a_run("synthesise", "r1", rows=row("grid", kept=20)),
        a_run("assess", "r1", rows=row(frechet=1.0, n_pool=20)),
    ]
    table = PlainTable(("arm", "difference", "verdict"), (("r1", 0.01, "equivalent"),))
    told = a_run("report", notes="One arm is equivalent.", tables={"verdicts": table})
    return Dashboard(sweep="s", question="Why?", primary="dice", generators=("gan",), runs=runs, report=told)


def without_ids(value: Any) -> Any:
    if isinstance(value, list):
        return [without_ids(item) for item in value]
    if isinstance(value, dict):
        return {key: without_ids(item) for key, item in value.items() if key not in {"id", "__id__"}}
    return value


def specs_of(about: Dashboard) -> dict[str, Any]:
    views = [*views_of(about, "lab", "s"), report_of(about, "lab", "s", {"Arms": "https://example.org/lab/s?nw=1"})]
    return {view.name: view.spec for view in views}


def test_the_specs_are_those_that_were_looked_at(about: Dashboard) -> None:
    specs = specs_of(about)
    assert specs == specs_of(about), "ids are the same at every call"
    found = without_ids(specs)
    if not GOLDEN.exists():
        GOLDEN.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        pytest.fail(f"{GOLDEN} was made; look at it, and run again")
    assert found == json.loads(GOLDEN.read_text())


def test_ids_follow_from_their_place_in_every_process() -> None:
    first, second, third = (_drawn(f"view/{number}") for number in (1, 2, 3))
    assert _mended({"id": 0, "inner": {"id": 0}, "__id__": 0}, "view") == {
        "id": third,
        "inner": {"id": first},
        "__id__": second,
    }


def panels(spec: Any, section: str) -> list[dict[str, Any]]:
    sections = spec["section"]["panelBankConfig"]["sections"]
    return [panel["config"] for one in sections if one["name"] == section for panel in one["panels"]]


def test_settings_with_dots_are_named_as_w_and_b_stores_flat_ones(about: Dashboard) -> None:
    specs = specs_of(about)
    (plot,) = panels(specs["Search"], "Parallel coordinates")
    assert [column["accessor"] for column in plot["columns"]] == [
        "config:arm.value",
        "config:dose.value",
        "config:pipeline.value",
        "config:gan.r1_gamma.value",
        "summary:score/dice",
    ]
    assert "value.r1_gamma" not in json.dumps(specs)


def test_settings_that_differ_are_drawn_and_those_that_say_which_trial_it_is_are_not(about: Dashboard) -> None:
    assert varied(about.runs) == ["dose", "pipeline", "gan.r1_gamma"]


def test_the_control_is_the_baseline_and_reasons_are_told(about: Dashboard) -> None:
    specs = specs_of(about)
    (runset,) = specs["Arms"]["section"]["runSets"]
    assert runset["baselineRunId"] == "UnVuOnYxOnNjb3JlLWNvbnRyb2wwOnM6bGFi", "Run:v1:score-control0:s:lab"
    texts = [panel["value"] for panel in panels(specs["Health and cost"], "Outcomes")]
    assert "| segment | error | 1 |" in texts[0]
    assert "| segment r2 | error: a \\| b broken |" in texts[1]


def test_what_a_reviewer_asks_for_is_told_to_be_in_a_view_that_there_is(about: Dashboard) -> None:
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "wandb.md").read_text()
    rows = re.findall(r"^\| (.+?) \| (yes|no) \| (.+) \|$", page, re.MULTILINE)
    assert len(rows) == 11
    for asked, answer, where in rows:
        assert answer == "yes", asked
        named = re.match(r"\*(.+?)\*", where)
        assert "no view of ours" in where if named is None else named[1].replace("SWEEP", "s") in specs_of(about), asked


def test_views_are_made_once_and_then_updated(about: Dashboard, server: Served, tmp_path: Path) -> None:
    server.runs["s", "score-control0"] = ServedRun()
    first = save_views(about, tmp_path, None, None)
    assert (first.made, len(server.views)) == (6, 6)
    kept = json.loads((tmp_path / "wandb.json").read_text())[f"{server.url} lab/s"]
    assert sorted(entry["url"] for entry in kept.values()) == sorted(first.addresses.values())
    assert first.addresses["Arms"].startswith(f"{server.url}/lab/s?nw=")
    assert "/lab/s/reports/Verdicts-of-s--View" in first.addresses["Verdicts of s"]
    assert "?" not in first.addresses["Verdicts of s"], "a question mark would end the path"
    links = json.dumps(next(view for view in server.views.values() if view["kind"] == "runs")["spec"])
    assert first.addresses["Search"] in links.replace("\\", "")
    (tmp_path / "wandb.json").unlink()
    again = save_views(replace(about, primary="assd_mm"), tmp_path, "lab", "s")
    assert (again.made, again.addresses, len(server.views)) == (0, first.addresses, 6)
    sent = {view["display"]: view["spec"] for view in server.views.values()}
    assert "Dose against assd_mm" in sent["Arms"], "what was there is replaced"


def test_a_server_that_cannot_be_used_is_named(
    about: Dashboard, server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"has no project lab/s; medsweep wandb push"):
        save_views(about, tmp_path, None, None)
    server.runs["s", "score-control0"] = ServedRun()
    server.refused = lambda operation, asked: 403 if operation == "UpsertView" else 0
    with pytest.raises(UserError, match=r"cannot be used \(HTTP Error 403.*--dry-run writes"):
        save_views(about, tmp_path, None, None)


def test_a_dry_run_needs_no_account(about: Dashboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")
    path = write_specs(about, tmp_path / "results", None, None)
    names = ["Arms", "Generators", "Pools", "Search", "Health and cost", "Verdicts of s"]
    assert [view["name"] for view in json.loads(path.read_text())] == names


def test_without_the_extra_it_says_what_to_install(about: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *more: Any) -> Any:
        if name.startswith("wandb_workspaces"):
            raise ImportError("No module named 'wandb_workspaces'")
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UserError, match=r"pip install 'medsweep\[dashboard\]'"):
        views_of(about, "lab", "s")
