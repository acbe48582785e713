"""What a report was made from, kept beside it, so that a run that finds nothing new need not make it again."""

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import TypeAdapter

import medsweep
from medsweep.execution.attempt import package_versions
from medsweep.files import sha256_of, write_json

if TYPE_CHECKING:
    from medsweep.analysis.study.analyse import Analysis
    from medsweep.metric_record import Metric

MARK: Final = "made-from.json"
PARTS: Final = ("analysis.json", "figures/*", "tables/*")
"""What a report leaves beside its page."""
WRITTEN_BY: Final = ("matplotlib", "jinja2", "statsmodels", "scikit-posthocs")
"""Packages that tables and pictures depend on, beside those that results do."""
SOURCES: Final = (".py", ".css", ".js", ".j2")


@dataclass(frozen=True)
class Announcement:
    """What a command prints of an analysis: sentences, a table with a line per arm, and remarks below it."""

    sentences: tuple[str, ...]
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class MadeReport:
    """A report as it lies in its folder."""

    made_from: str
    """Digest of all that it depends on."""
    when: str
    page: str
    files: Mapping[str, str]
    """sha256 of tables, page and pictures, by path in the folder."""
    verdicts: Announcement


@dataclass(frozen=True)
class Shown:
    """A report and what a command prints of it."""

    verdicts: Announcement
    page: Path
    when: str = ""
    """When it was written, where it lay there already."""


def verdicts_of(analysis: "Analysis") -> Announcement:
    """How far each arm is from the control, the interval and the verdict. The report says the rest."""
    from medsweep.analysis.study.looks import look_sentence
    from medsweep.analysis.study.wording import FOR_THESE_NETWORKS, number, span

    metric = analysis.primary.metric
    digits = digits_for([end for one in analysis.answers for end in (one.estimate.low, one.estimate.high)], metric)
    rows = [
        (
            one.arm,
            number(one.estimate.value, digits, sign=True),
            span(one.estimate.low, one.estimate.high, digits),
            f"{one.verdict}{FOR_THESE_NETWORKS if one.conditional else ''}",
        )
        for one in analysis.answers
    ]
    remarks = [f"{dead.arm}: {dead.reason}" for dead in analysis.dead]
    remarks += [] if analysis.look is None else [look_sentence(analysis.look)]
    heads = ("arm", f"{metric.unit or metric.title} difference", "interval", "verdict")
    return Announcement((analysis.headline, *analysis.why), heads, tuple(rows), tuple(remarks))


def digits_for(ends: Iterable[float], metric: "Metric") -> int:
    """Digits of intervals: one more than usual where an end that is not 0 would read 0, beside a verdict."""
    return metric.digits + any(0 < abs(end) < 0.5 * 10.0**-metric.digits for end in ends)


def code() -> dict[str, str]:
    """Digest of all of medsweep's own code, any of which may change what a table or a sentence says, and versions."""
    return {"code": _own_code(), **package_versions(), **dict(_versions())}


def _versions() -> Iterator[tuple[str, str]]:
    for name in WRITTEN_BY:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


@cache
def _own_code() -> str:
    hasher = hashlib.sha256(medsweep.__version__.encode())
    (top,) = medsweep.__path__
    files = [
        os.path.join(folder, name)
        for folder, _, names in os.walk(top, followlinks=True)
        for name in names
        if name.endswith(SOURCES)
    ]
    for path in sorted(files):
        hasher.update(f"{os.path.relpath(path, top)} {sha256_of(Path(path))}\n".encode())
    return hasher.hexdigest()


def forget(folder: Path) -> None:
    """Before a report is written: whatever interrupts that, nobody takes what is left for a whole report."""
    (folder / MARK).unlink(missing_ok=True)


def keep(folder: Path, made: str | None, page: Path, tables: Sequence[Path], verdicts: Announcement) -> None:
    """After a report is written: note what it was made from, and what was written."""
    if made is None:
        return
    parts = [path for pattern in PARTS for path in folder.glob(pattern) if path.is_file()]
    files = {path.relative_to(folder).as_posix(): sha256_of(path) for path in (page, *tables, *parts)}
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    record = MadeReport(made, when, page.relative_to(folder).as_posix(), files, verdicts)
    write_json(folder / MARK, TypeAdapter(MadeReport).dump_python(record, mode="json"))


def kept(folder: Path, made: str | None) -> MadeReport | None:
    """The report in a folder if it was ``made`` from the same and each file is as it was written; else None."""
    try:
        record = TypeAdapter(MadeReport).validate_json((folder / MARK).read_bytes())
        whole = all(sha256_of(folder / name) == content_hash for name, content_hash in record.files.items())
    except (OSError, ValueError):
        return None
    return record if whole and record.made_from == made else None
