"""What the saved views of a sweep at W&B show, one per question, as the specs that W&B keeps. Asks no server.

W&B's own package writes the specs. Two things of them are mended here. It takes a dot in the name of a setting for a
level of a nested one, while ours are flat. And it draws its ids by lot, so that the same view would never be the same.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from medsweep.errors import UserError
from medsweep.tracking.mirrored_run import MirroredRun, PlainTable
from medsweep.tracking.tracker import Scalar

RANDOM_ID: Final = 11
"""Characters of the name of a view, as W&B draws them."""
ABOUT: Final = frozenset({"arm", "arms", "is_control", "dataset", "stage", "digest", "dose_unit", "fold", "seed"})
"""Settings that say which trial it is; ``inputs.ROLE`` and ``STAGE.fold.NAME`` do so, too."""
SAME: Final = {"dose": "synthesise.count", "pipeline": "gan.pipeline"}
"""Settings that the control has, too, by which those of other arms need not be shown again."""
POOL_METRICS: Final = ("frechet", "kid", "precision", "recall", "density", "coverage", "iou_mean", "authenticity")
"""Metrics of a pool that are drawn first."""
Drawn = tuple[str, list[Any], dict[str, Any]]
"""Name of a view, its sections, and which runs it shows and how."""
_NESTED: Final = re.compile(r"(config[:.])([^.:]+)\.value\.(.+)")


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """What the views are made of."""

    sweep: str
    question: str
    primary: str
    """The metric that verdicts are about."""
    generators: Sequence[str]
    """Stages that fit generators."""
    runs: Sequence[MirroredRun]
    """Of the trials."""
    report: MirroredRun | None = None
    """The run of the sweep itself, where there is a report."""


@dataclass(frozen=True)
class SavedView:
    """A saved view, or a report, as W&B keeps it."""

    name: str
    """That people see."""
    kind: str
    """``project-view``, or ``runs`` for a report; W&B's words."""
    internal_name: str
    """The same for the same sweep and question, so that a second call finds the view."""
    spec: Mapping[str, Any]
    description: str = ""


def views_of(about: Dashboard, entity: str, project: str) -> list[SavedView]:
    """The views *Arms*, *Generators*, *Pools*, *Search* and *Health and cost*, each with what the runs hold of it.

    Raises:
        UserError: W&B's package for views is not installed.
    """
    import_workspaces()
    drawn = [_arms(about), _generators(about), _pools(about), _search(about), _health(about)]
    return [_saved_view(one, about.sweep, entity, project) for one in drawn]


def report_of(about: Dashboard, entity: str, project: str, links: Mapping[str, str]) -> SavedView:
    """The W&B Report with question, headline, verdicts and costs, and ``links`` to the views by name.

    Raises:
        UserError: W&B's package for views is not installed.
    """
    import_workspaces()
    import wandb_workspaces.reports.v2 as wr

    told = about.report
    tables = {} if told is None else dict(told.tables)
    headline = "There is no report yet. Run the sweep to its end." if told is None else told.notes
    blocks: list[Any] = [wr.H1("Question"), wr.P(about.question), wr.H1("Verdicts"), wr.P(headline)]
    for name, heading in (("verdicts", ""), ("costs", "Cost"), ("lost-trials", "Trials that were lost")):
        if name in tables:
            blocks += [wr.H1(heading)] if heading else []
            blocks.append(wr.MarkdownBlock(markdown_table(tables[name])))
    bars = _bars([f"score/{about.primary}"], "arm")
    # Without a project of its own a set of runs is that of the report, and no server is asked for it.
    runset = wr.Runset(name="Scores", filters="Metric('JobType') == 'score'", groupby=["config.arm"])
    blocks += [wr.H1("Scores by arm"), wr.PanelGrid(runsets=[runset], panels=bars)]
    if links:
        blocks += [wr.H1("Views"), wr.UnorderedList([[wr.Link(name, url)] for name, url in links.items()])]
    # A question mark in the title would break the report's address.
    title = f"Verdicts of {about.sweep}"
    report = wr.Report(entity=entity, project=project, title=title, description=about.question, blocks=blocks)
    spec = report._to_model().spec.model_dump_json(by_alias=True, exclude_none=True)
    name = _drawn(f"{about.sweep}/report")
    return SavedView(title, "runs", name, _mended(json.loads(spec), name), about.question)


def import_workspaces() -> None:
    """Raise UserError where W&B's package for views cannot be imported."""
    try:
        import wandb_workspaces.workspaces  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"medsweep dashboard needs wandb-workspaces, which cannot be imported ({error}); "
            "pip install 'medsweep[dashboard]'"
        ) from None


def markdown_table(table: PlainTable) -> str:
    """A table in Markdown."""

    def line(cells: Iterable[Scalar]) -> str:
        shown = ("" if cell is None else f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells)
        return "| " + " | ".join(" ".join(text.replace("|", "\\|").split()) for text in shown) + " |"

    return "\n".join([line(table.columns), line(["---"] * len(table.columns)), *(line(row) for row in table.rows)])


def _arms(about: Dashboard) -> Drawn:
    """Scores by arm over folds and seeds, dose against score, and overlays side by side."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    scores = _scores(about.runs)
    primary = f"score/{about.primary}"
    means = sorted((key for key in scores if key.count("/") == 1), key=lambda key: (key != primary, key))
    by_class = [key for key in scores if key.startswith(f"{primary}/")]
    dose = wr.ScatterPlot(title=f"Dose against {about.primary}", x=wr.Config("dose"), y=wr.SummaryMetric(primary))
    curves = [wr.LinePlot(x="segment/step", y=[key], **_by("arm")) for key in _reported(about.runs, "segment")]
    pictures = _pictures(about.runs, ["score", "segment"])
    sections = [
        _section("Scores", _bars(means, "arm")),
        _section("Scores by class", _bars(by_class, "arm")),
        _section("Dose", [dose]),
        _section("Overlays", _media(pictures, "run"), columns=1),
        _section("Training of the segmenters", curves, is_open=False),
    ]
    control = next((run for run in about.runs if run.job_type == "score" and run.config.get("is_control")), None)
    shown = [f"summary:{primary}", "config:arm.value", "config:dose.value", "config:fold.value"]
    settings: dict[str, Any] = {
        "filters": "Metric('JobType') in ['score', 'segment']",
        "groupby": [ws.Config("arm")],
        "pinned_columns": ["run:displayName", *shown, "config:seed.value", "summary:outcome"],
        "baseline_run": None if control is None else control.run_id,
    }
    return "Arms", sections, settings


def _generators(about: Dashboard) -> Drawn:
    """Losses, overfitting of D, augmentation and Fréchet distance, and grids of samples, over the training."""
    import wandb_workspaces.reports.v2 as wr

    sections = []
    stages = [stage for stage in about.generators if any(run.job_type == stage for run in about.runs)]
    for stage in stages:
        logged = _reported(about.runs, stage)
        x = f"{stage}/kimg" if f"{stage}/kimg" in logged else f"{stage}/step"
        topics = {
            "losses": ["loss_g", "loss_d", "r1"],
            "overfitting of D and augmentation": ["real_sign", "overfitting", "score_gap", "augment_p"],
            "Fréchet distance": ["frechet_random"],
        }
        named = {f"{stage}/{metric}" for metrics in topics.values() for metric in metrics}
        for topic, metrics in topics.items():
            there = [f"{stage}/{metric}" for metric in metrics if f"{stage}/{metric}" in logged]
            sections.append(_section(f"{stage}, {topic}", [wr.LinePlot(x=x, y=[key], title=key) for key in there]))
        sections.append(_section(f"{stage}, samples", _media(_pictures(about.runs, [stage]), "step"), columns=1))
        rest = [wr.LinePlot(x=x, y=[key], title=key) for key in logged if key not in named | {x}]
        sections.append(_section(f"{stage}, more", rest, is_open=False))
    columns = ["config:arm.value", "config:fold.value", "config:seed.value", "summary:outcome"]
    return "Generators", sections, {"filters": _jobs(about.generators), "pinned_columns": ["run:displayName", *columns]}


def _pools(about: Dashboard) -> Drawn:
    """Pairs of the pools side by side, what was measured of each pool, and a comparer."""
    import wandb_workspaces.reports.v2 as wr

    stages = ["synthesise", "import", "treat", "assess"]
    measured = _reported(about.runs, "assess")
    preferred = [f"assess/{metric}" for metric in POOL_METRICS]
    drawn = [key for key in preferred if key in measured]
    sections = [
        _section("Pairs", _media(_pictures(about.runs, stages), "run"), columns=1),
        # Arms that differ in dose alone have one pool, which is none's own.
        _section("Metrics", _bars(drawn, "arms")),
        _section("More metrics", _bars([key for key in measured if key not in drawn], "arms"), is_open=False),
        _section("Pools compared", [wr.RunComparer(diff_only="split")], columns=1),
    ]
    columns = ["config:arms.value", "config:pipeline.value", "config:fold.value", "config:seed.value"]
    return "Pools", sections, {"filters": _jobs(stages), "pinned_columns": ["run:displayName", *columns]}


def _search(about: Dashboard) -> Drawn:
    """Settings that differ between arms as parallel coordinates, and how much each matters."""
    import wandb_workspaces.reports.v2 as wr

    fields, target = varied(about.runs), f"score/{about.primary}"
    column = wr.ParallelCoordinatesPlotColumn
    columns = [column(metric=wr.Config(name), display_name=name) for name in ["arm", *fields]]
    columns.append(column(metric=wr.SummaryMetric(target), display_name=about.primary))
    each = [wr.ScatterPlot(title=name, x=wr.Config(name), y=wr.SummaryMetric(target)) for name in fields]
    sections = [
        _section("Parallel coordinates", [wr.ParallelCoordinatesPlot(columns=columns)], columns=1),
        _section("Importance", [wr.ParameterImportancePlot(with_respect_to=target)], columns=1),
        _section("Each setting", each, is_open=False),
    ]
    shown = [f"summary:{target}", *(f"config:{name}.value" for name in fields)]
    return "Search", sections, {"filters": _jobs(["score"]), "pinned_columns": ["run:displayName", *shown]}


def _health(about: Dashboard) -> Drawn:
    """How trials ended and why, and what they took."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    counts: dict[tuple[str, str], int] = {}
    for run in about.runs:
        key = (run.job_type, str(run.summary.get("outcome")))
        counts[key] = counts.get(key, 0) + 1
    table = PlainTable(("stage", "outcome", "trials"), tuple((*key, count) for key, count in sorted(counts.items())))
    lost = tuple((run.name, run.notes) for run in about.runs if run.exit_code)
    texts = {"outcomes": table} | ({"failures": PlainTable(("trial", "reason"), lost)} if lost else {})
    panels = [wr.MarkdownPanel(f"**{name}**\n\n{markdown_table(text)}") for name, text in texts.items()]
    hours = [key for key in ("hours", "gpu_hours") if any(key in run.summary for run in about.runs)]
    sections = [
        _section("Outcomes", panels, columns=2),
        _section("Hours by stage", _bars(hours, "stage", "sum")),
        _section("Hours by arm", _bars(hours, "arm", "sum")),
        _section("Memory by stage", _bars(["peak_memory_mib"], "stage", "max")),
    ]
    columns = ["summary:outcome", "run:notes", "summary:hours", "summary:gpu_hours", "config:arm.value"]
    settings = {
        "filters": "Metric('JobType') != 'report'",
        "groupby": [ws.Summary("outcome")],
        "pinned_columns": ["run:displayName", *columns],
    }
    return "Health and cost", sections, settings


def varied(runs: Sequence[MirroredRun]) -> list[str]:
    """Settings that are not the same in all scored trials of the sweep, less those that say which trial it is."""
    seen: dict[str, set[Scalar]] = {}
    for run in runs:
        if run.job_type == "score":
            for name, value in run.config.items():
                seen.setdefault(name, set()).add(value)

    several = {name for name, values in seen.items() if len(values) > 1} - ABOUT
    several -= {other for name, other in SAME.items() if name in several}
    return [name for name in seen if name in several and not name.startswith("inputs.") and ".fold." not in name]


def _saved_view(drawn: Drawn, sweep: str, entity: str, project: str) -> SavedView:
    import wandb_workspaces.workspaces as ws

    name, sections, settings = drawn
    workspace = ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[section for section in sections if section.panels],
        settings=ws.WorkspaceSettings(max_runs=100),
        runset_settings=ws.RunsetSettings(**settings),
    )
    spec = workspace._to_model().spec.model_dump_json(by_alias=True, exclude_none=True)
    internal_name = f"nw-{_drawn(f'{sweep}/{name}')}-v"
    return SavedView(name, "project-view", internal_name, _mended(json.loads(spec), internal_name))


def _mended(spec: Any, name: str) -> Any:
    """The spec with dotted settings as flat ones, and with ids that depend on ``name`` and their place alone."""
    number = 0

    def walk(value: Any) -> Any:
        """The mended copy of a part of the spec; ids are counted from the inside out."""
        nonlocal number
        if isinstance(value, list):
            return [walk(item) for item in value]
        if isinstance(value, dict):
            mended = {key: walk(item) for key, item in value.items()}
            for key in ("__id__", "id"):  # a set would be walked in another order by each process
                if key in mended:
                    number += 1
                    mended[key] = _drawn(f"{name}/{number}")
            return mended
        match = _NESTED.fullmatch(value) if isinstance(value, str) else None
        return f"{match[1]}{match[2]}.{match[3]}.value" if match else value

    return walk(spec)


def _drawn(text: str) -> str:
    """Letters and digits as W&B draws them for an id, but from ``text``."""
    return hashlib.sha256(text.encode()).hexdigest()[:RANDOM_ID]


def _jobs(stages: Sequence[str]) -> str:
    return f"Metric('JobType') in {list(stages)!r}"


def _section(name: str, panels: Sequence[Any], *, is_open: bool = True, columns: int = 3) -> Any:
    import wandb_workspaces.workspaces as ws

    layout = ws.SectionLayoutSettings(columns=columns, rows=2 if columns > 1 else 1)
    return ws.Section(name=name, panels=list(panels), is_open=is_open, layout_settings=layout)


def _by(setting: str, how: str = "mean") -> dict[str, Any]:
    """Runs as one per value of a setting, with their spread where they are averaged."""
    import wandb_workspaces.reports.v2 as wr

    spread = "stddev" if how == "mean" else "none"
    return {"groupby": wr.Config(setting), "groupby_aggfunc": how, "groupby_rangefunc": spread}


def _bars(keys: Sequence[str], setting: str, how: str = "mean") -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    return [wr.BarPlot(title=key, metrics=[key], **_by(setting, how)) for key in keys]


def _media(keys: Sequence[str], axis: str) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    return [wr.MediaBrowser(title=key, media_keys=[key], gallery_axis=axis, num_columns=4) for key in keys]


def _scores(runs: Sequence[MirroredRun]) -> list[str]:
    """Means over the test patients, also by class, that some network has."""
    found = {key for run in runs if run.job_type == "score" for key in run.summary}
    return sorted(key for key in found if key.startswith("score/") and not key.startswith("score/n_"))


def _reported(runs: Sequence[MirroredRun], stage: str) -> list[str]:
    """Numbers that trials of a stage report."""
    rows = [row for run in runs if run.job_type == stage for row in run.rows]
    return sorted({f"{stage}/{key}" for row in rows for key in row.metrics})


def _pictures(runs: Sequence[MirroredRun], stages: Sequence[str]) -> list[str]:
    rows = [(run.job_type, row) for run in runs if run.job_type in stages for row in run.rows]
    return sorted({f"{stage}/{name}" for stage, row in rows for name in row.pictures})
