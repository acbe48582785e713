"""The W&B run of a sweep itself: its report, figures and tables, taken from the folder of its results."""

import html
import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medsweep.files import sha256_of
from medsweep.tracking.mirrored_run import MirroredRun, Picture, PlainTable, ReportRow
from medsweep.tracking.private import HIDDEN, without_people

JOB = "report"
RUN = ["dataset", "arm", "fold", "seed", "class", "metric"]
TABLES = {"verdicts": "effects"} | {name: name for name in ("by-class", "factors", "failures", "lost-trials")}
"""Tables of the report that are sent as such, by the name that they get; the page has them all."""
LONGEST_TITLE = 63
"""Characters that W&B takes of an alert's title."""

_HEADLINE = re.compile(r'<p class="headline">(.*?)</p>', re.DOTALL)
_EMBEDDED = re.compile(r"data:[\w/+.;=-]+,[^\"')\s]*")
_PATH = re.compile(r"(?<![\w/<.&;])/(?:[\w.@+-]+/)+[\w.@+-]*")


def report_run(sweep: str, results: Path, runs: Sequence[MirroredRun], patients: Collection[str]) -> MirroredRun | None:
    """The run with what ``results`` holds of the sweep; None before there is a report.

    ``runs`` are those of its trials, whose hours it adds up by arm.
    """
    page = results / "report.html"
    if not page.is_file():
        return None
    text = page.read_text(encoding="utf-8")
    match = _HEADLINE.search(text)
    headline = " ".join(html.unescape(re.sub(r"<[^>]+>", "", match[1])).split()) if match else "the report is there"
    figures = {path.stem: Picture(path, sha256_of(path)) for path in sorted((results / "figures").glob("*.png"))}
    files = {name: results / "tables" / f"{stem}.csv" for name, stem in TABLES.items()}
    there = {name: path for name, path in files.items() if path.is_file()}
    tables = {name: _plain(_clean(pd.read_csv(path, dtype=str), patients)) for name, path in there.items()}
    if (results / "results.parquet").is_file():
        tables["results"] = _run_means(pd.read_parquet(results / "results.parquet"))
    tables["costs"] = _costs(runs)
    return MirroredRun(
        run_id=f"{JOB}-{sweep}",
        project=sweep,
        name=f"report of {sweep}",
        group=JOB,
        job_type=JOB,
        notes=headline,
        rows=(ReportRow(step=0, metrics={}, pictures=figures),),
        tables={name: table for name, table in tables.items() if table.rows},
        pages=_page(text, patients),
        alert=(f"medsweep: {sweep}"[:LONGEST_TITLE], headline),
        summary={"headline": headline, "outcome": "complete"},
    )


def files_of(results: Path) -> list[Path]:
    """All files that the run is made of."""
    patterns = ("report.html", "figures/*.png", "tables/*.csv", "results.parquet")
    return sorted(path for pattern in patterns for path in results.glob(pattern))


def _plain(table: pd.DataFrame) -> PlainTable:
    """The cells of a table, without ids of patients."""
    told = table.drop(columns=[name for name in ("patient", "case") if name in table])
    cells = told.astype(object).where(told.notna(), None)
    return PlainTable(tuple(str(name) for name in told.columns), tuple(tuple(row) for row in cells.to_numpy().tolist()))


def _clean(table: pd.DataFrame, patients: Collection[str]) -> pd.DataFrame:
    """A table of texts without paths and ids of patients; in messages ids that are numbers are hidden, too."""
    telling = [one for one in patients if _is_telling(one)]
    for name in table:
        people = patients if name == "message" else telling
        table[name] = [_hidden(cell, people) if isinstance(cell, str) else cell for cell in table[name]]
    return table


def _run_means(results: pd.DataFrame) -> PlainTable:
    """Mean over the patients of every score of every network, and of how many patients."""
    finite = results[np.isfinite(results["value"])]
    groups = finite.groupby(RUN, sort=False)["value"]
    return _plain(groups.agg(["mean", "size"]).rename(columns={"size": "patients"}).reset_index())


def _costs(runs: Sequence[MirroredRun]) -> PlainTable:
    """Per arm what its own trials took, and what all trials took that it reads, shared ones in full."""
    sums: defaultdict[tuple[str, str], float] = defaultdict(float)
    for run in runs:
        own = str(run.config.get("arm"))
        for arm in run.arms:
            for name in ("hours", "gpu_hours"):
                hours = run.summary.get(name)
                if isinstance(hours, float):
                    sums[arm, name] += hours
                    sums[arm, f"own_{name}"] += hours * (arm == own)
            sums[arm, "trials"] += 1
    columns = ("trials", "own_hours", "own_gpu_hours", "hours", "gpu_hours")
    arms = dict.fromkeys(arm for arm, _ in sums)
    return PlainTable(("arm", *columns), tuple((arm, *(sums[arm, name] for name in columns)) for arm in arms))


def _is_telling(person: str) -> bool:
    """Whether an id is more than a number, so that hiding it everywhere spoils nothing else."""
    return len(person) > 3 and not person.isdigit()


def _page(text: str, patients: Collection[str]) -> dict[str, str]:
    """The report without paths of this host and ids of patients; none where an id cannot be told from a number."""
    if not all(map(_is_telling, patients)):
        return {}
    parts, at = [], 0
    for embedded in _EMBEDDED.finditer(text):
        parts += [_hidden(text[at : embedded.start()], patients), embedded[0]]
        at = embedded.end()
    return {"page": "".join([*parts, _hidden(text[at:], patients)])}


def _hidden(text: str, patients: Collection[str]) -> str:
    return _PATH.sub(HIDDEN, without_people(text, patients))
