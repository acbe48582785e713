"""One HTML page that holds everything it shows: no script, no link outwards, fit for printing."""

import base64
from pathlib import Path

import jinja2

from analysis.equivalence import Verdict
from analysis.figures.cd import draw_critical_difference
from analysis.figures.dose import draw_dose
from analysis.figures.forest import draw_forest
from analysis.figures.runs import draw_runs
from analysis.omnibus import Omnibus
from analysis.report import design, results
from analysis.report.context import ReportContext
from analysis.report.methods import methods_of
from analysis.report.table import Table, write_csv
from analysis.study import Analysis
from analysis.wording import percent

SIGNS = {
    Verdict.SUPERIOR: "\N{BLACK UP-POINTING TRIANGLE}",
    Verdict.INFERIOR: "\N{BLACK DOWN-POINTING TRIANGLE}",
    Verdict.EQUIVALENT: "\N{BLACK SQUARE}",
    Verdict.NEGLIGIBLE: "\N{BLACK DIAMOND}",
    Verdict.INCONCLUSIVE: "\N{WHITE CIRCLE}",
}
"""The forest plot's marks, as text."""


def write_report(folder: Path, analysis: Analysis, context: ReportContext) -> Path:
    """Write ``report.html``, ``analysis.json``, ``figures/`` and ``tables/`` into ``folder``; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = _tables(analysis, context)
    for table in tables.values():
        write_csv(folder / "tables" / f"{table.name}.csv", table)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["unbroken"] = _unbroken
    page = environment.get_template("page.html.j2").render(
        analysis=analysis,
        context=context,
        tables=tables,
        table_numbers={name: number for number, name in enumerate(tables, start=1)},
        figures=_figures(folder / "figures", analysis),
        grids=[(title, caption, _data_uri(path)) for title, caption, path in context.grids],
        methods=methods_of(analysis),
        signs=SIGNS,
        style=(Path(__file__).parent / "page.css").read_text(encoding="utf-8"),
    )
    (folder / "analysis.json").write_text(analysis.to_json() + "\n", encoding="utf-8")
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _tables(analysis: Analysis, context: ReportContext) -> dict[str, Table]:
    """Every table that has rows, by name, in the order of the page."""
    made = [
        results.effects(analysis),
        results.runs(analysis),
        results.trends(analysis),
        results.robust(analysis),
        design.descriptions(analysis.primary),
        results.nemenyi(analysis),
        design.components(analysis),
        design.power(analysis),
        *(results.exploratory(study) for study in analysis.secondary),
        design.arms(analysis),
        design.exposure(analysis),
        design.pools(analysis),
        design.filters(analysis),
        design.plan(context),
        design.failures(context),
        design.exclusions(analysis),
    ]
    return {table.name: table for table in made if table.rows}


def _figures(folder: Path, analysis: Analysis) -> list[tuple[str, str, str]]:
    """(name, data URI, caption) of every picture the records can fill."""
    level, narrow = percent(1 - analysis.plan.alpha), percent(1 - 2 * analysis.plan.alpha)
    metric = analysis.primary.metric
    made = []
    if analysis.dose:
        caption = (
            f"Dose response. Circles: patients, arm minus control in {metric.label}; squares: mean with {level} CI; "
            "triangles at the edge: number of patients beyond the axis; "
            f"grey band: margin of {analysis.plan.margin:g}. Slope and bend (linear and quadratic contrast on log "
            f"dose, {level} CI) and Page's one-sided p include the control as dose 0."
        )
        made.append(("dose", draw_dose(analysis, folder / "dose").svg, caption))
    runs = " Dashed: the same with runs taken as random." if any(a.runs for a in analysis.answers) else ""
    caption = (
        f"Every arm against the control. Thin line: {level} CI; thick line: {narrow} CI, the interval behind the "
        f"equivalence test; grey band: margin; arrow head: goes on beyond the axis.{runs} Mark by verdict, hollow for "
        "inconclusive."
    )
    made.append(("forest", draw_forest(analysis, folder / "forest").svg, caption))
    if isinstance(analysis.primary.omnibus, Omnibus):
        caption = (
            "Critical-difference diagram: mean rank over patients, 1 is best. A bar, or its absence, says nothing "
            "about the size of a difference; see the plot above."
        )
        made.append(("ranks", draw_critical_difference(analysis, folder / "ranks").svg, caption))
    marks = "; mark by fold" if len(analysis.folds) > 1 else ""
    caption = f"What retraining moves: mean {metric.label} of each run, by arm; bar: mean over runs{marks}."
    made.append(("runs", draw_runs(analysis, folder / "runs").svg, caption))
    return [(name, _data_uri(path), caption) for name, path, caption in made]


def _data_uri(path: Path) -> str:
    kind = {".svg": "image/svg+xml", ".png": "image/png"}[path.suffix]
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _unbroken(text: str) -> str:
    """No line break beside a relation sign or before a unit of the text: ``n = 16``, ``p < .001``."""
    hard = "\N{NO-BREAK SPACE}"
    for sign in ("=", "<", ">"):
        text = text.replace(f" {sign} ", f"{hard}{sign}{hard}")
    return text.replace("% CI ", f"%{hard}CI{hard}")
