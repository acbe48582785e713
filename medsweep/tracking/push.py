"""Uploads the offline runs of a sweep with W&B's own client, and says of each run what became of it.

The client appends to what the server has of a run, so that a run sent twice would be there twice. So the server is
asked first how many reports it has of each run. Where it has none, the run is sent. Where it has the first ones, as of
a run that was logged live or broke off, a run of the same id with the other reports is written aside and sent. It also
brings settings and summary. Pictures that never arrived follow (``pictures``). What was sent, and where to, is in
``STORE/wandb/SWEEP/pushed.json``. The run of the report is sent again whenever it has changed, after what is there of
it, since W&B drops reports that are not later. Edges between trials come last (``lineage``).
"""

import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from medsweep.files import write_json
from medsweep.tracking.client import OF_ONE_RUN, own_variables
from medsweep.tracking.lineage import push_lineage
from medsweep.tracking.mirror import Mirror
from medsweep.tracking.mirrored_run import MirroredRun
from medsweep.tracking.mode import ask, base_url, owner
from medsweep.tracking.pictures import bring, files_of, files_of_first
from medsweep.tracking.run_file import is_whole

BATCH: Final = 50
"""Runs that one call of the client uploads."""
BATCH_SECONDS, RUN_SECONDS = 60.0, 30.0
"""A call that takes longer than these, per call and per run, is ended."""

LINES: Final = (
    "query Lines($entity: String, $project: String!, $run: String!) "
    "{ project(name: $project, entityName: $entity) { run(name: $run) { historyLineCount summaryMetrics notes } } }"
)
FORGET_NOTES: Final = (
    "mutation ForgetNotes($entity: String, $project: String!, $run: String!) "
    '{ upsertBucket(input: {entityName: $entity, modelName: $project, name: $run, notes: ""}) { bucket { id } } }'
)

_LINE = re.compile(r"\[[^\]]*?/?([a-z0-9-]+)\] (.*)")
_URL = re.compile(r"https?://\S+?(?=/runs/)")
_BAD = re.compile(r"error|fatal|failed", re.IGNORECASE)


@dataclass(frozen=True)
class Pushed:
    """What became of the runs of a sweep."""

    uploaded: tuple[str, ...]
    completed: tuple[str, ...]
    """Runs that were there in part, or with other settings, and are whole now."""
    there: tuple[str, ...]
    """Runs that were uploaded before and say nothing new."""
    failed: Mapping[str, str]
    """Why each run is not there, by id."""
    url: str
    """Of the project; empty where no run was uploaded."""


def push(
    mirror: Mirror,
    entity: str | None,
    project: str | None,
    told: Mapping[str, MirroredRun],
    report: MirroredRun | None = None,
) -> Pushed:
    """Upload the runs that are not there yet, to ``entity`` and ``project`` or the user's own and the sweep's.

    ``told`` are the runs of the trials by id. Of those that are there in part, or say something new, the rest is sent.
    ``report`` is the run of the sweep itself.
    """
    place = _Place(entity, project or mirror.folder.name)
    target = f"{base_url()} {entity or os.environ.get('WANDB_ENTITY', '')}/{project or ''}"
    record = mirror.folder / "pushed.json"
    sent: dict[str, list[str]] = json.loads(record.read_text()) if record.is_file() else {}
    fingerprints, files = mirror.fingerprints(), mirror.runs()
    there = [name for name in files if sent.get(name) == [fingerprints[name], target]]
    new = [name for name in files if name not in there]
    found = _Found()
    try:
        for name in [name for name in new if name in told]:
            found.look(told[name], files[name], place)
        if report is not None and report.run_id in new:
            found.look_at_report(report, files[report.run_id], place)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Pushed((), (), tuple(there), dict.fromkeys(new, f"{base_url()} cannot be asked ({error})"), "")
    known = {*told, *([] if report is None else [report.run_id])}
    whole = found.whole | {name: files[name] for name in new if name not in known}
    words = [word for flag, value in (("--entity", entity), ("--project", project)) if value for word in (flag, value)]
    done: list[str] = []
    failed, url = dict(found.failed), ""
    with mirror.aside(list(found.rest.values())) as rest:
        failed |= {name: "what is to be added cannot be written" for name in found.rest if name not in rest}
        todo = list((whole | rest).items())
        for start in range(0, len(todo), BATCH):
            batch = dict(todo[start : start + BATCH])
            lines = _sync(batch, words, mirror.folder)
            reasons = {name: reason for name in batch if (reason := _reason(name, lines)) is not None}
            reasons |= found.finish({name: file for name, file in batch.items() if name not in reasons}, place)
            failed |= reasons
            done += [name for name in batch if name not in reasons]
            url = next((match[0] for line in lines if (match := _URL.search(line))), url)
            write_json(record, sent | {name: [fingerprints[name], target] for name in done})
    lost = push_lineage(mirror, [*there, *done], target, entity, place.project)
    uploaded, completed = (tuple(name for name in done if (name in rest) == again) for again in (False, True))
    return Pushed(uploaded, completed, tuple(there), {**failed, **lost}, url)


@dataclass(frozen=True)
class _Place:
    """The project that runs are sent to."""

    entity: str | None
    """As it was typed."""
    project: str

    @cached_property
    def owner(self) -> str:
        """Whose it is; asked for once."""
        return owner(self.entity)

    def asked(self, run: str) -> dict[str, str | None]:
        """What a query about a run is asked with."""
        return {"entity": self.entity or os.environ.get("WANDB_ENTITY"), "project": self.project, "run": run}

    def held(self, run: str) -> tuple[int, dict[str, Any]]:
        """How many reports the server has of a run, and what else it knows of it.

        Raises:
            OSError, ValueError, http.client.HTTPException: the server refuses, or says nothing that can be read.
        """
        there = (ask(LINES, self.asked(run)).get("project") or {}).get("run") or {}
        return int(there.get("historyLineCount") or 0), there


@dataclass(frozen=True)
class _Found:
    """What is to be sent: whole runs, the rest of those that are there in part, and why others are not."""

    whole: dict[str, Path] = field(default_factory=dict)
    rest: dict[str, MirroredRun] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    named: dict[str, dict[str, Path]] = field(default_factory=dict)
    """By run the files that reports name which are there already."""
    outdated: set[str] = field(default_factory=set)
    """Runs with a note there on a failure that has been overcome."""

    def look(self, run: MirroredRun, file: Path, place: _Place) -> None:
        """Ask the server what it has of a run.

        Raises:
            OSError, ValueError, http.client.HTTPException: it refuses, or says nothing that can be read.
        """
        try:
            is_whole(file)
        except (OSError, ValueError) as error:
            self.failed[run.run_id] = f"its file cannot be read ({error})"
            return
        lines, there = place.held(run.run_id)
        told = json.loads(there.get("summaryMetrics") or "{}")
        if there.get("notes") and not run.notes:
            self.outdated.add(run.run_id)
        if not lines:
            self.whole[run.run_id] = file
        elif (rest := run.after(lines, told)) is not None:
            self.rest[run.run_id] = rest
            self.named[run.run_id] = files_of_first(file, run, lines, told)
        else:
            self.failed[run.run_id] = (
                f"its {lines} reports there are not the first of its {len(run.rows)}; "
                "delete it at W&B, or give another --project"
            )

    def look_at_report(self, run: MirroredRun, file: Path, place: _Place) -> None:
        """Ask how many reports the server has of the run of the sweep itself, after which all that it says is new.

        Raises:
            OSError, ValueError, http.client.HTTPException: the server refuses, or says nothing that can be read.
        """
        lines, _ = place.held(run.run_id)
        if lines:
            self.rest[run.run_id] = replace(run, first=lines)
        else:
            self.whole[run.run_id] = file

    def finish(self, files: Mapping[str, Path], place: _Place) -> dict[str, str]:
        """Send what the client has not sent of runs of which it says that it has; why that failed, by id."""
        failed: dict[str, str] = {}
        for name, file in files.items():
            try:
                if pictures := files_of(file) | self.named.get(name, {}):
                    bring(pictures, place.owner, place.project, name)
                if name in self.outdated:
                    ask(FORGET_NOTES, place.asked(name))
            except (OSError, ValueError, http.client.HTTPException) as error:
                failed[name] = f"its reports are there, and not all else ({' '.join(str(error).split())})"
        return failed


def _sync(files: Mapping[str, Path], words: Sequence[str], folder: Path) -> list[str]:
    """The lines that ``wandb sync`` says of some runs; its exit code is 0 whatever happens."""
    command = [
        sys.executable,
        "-m",
        "wandb",
        "sync",
        "--include-synced",
        *words,
        *(str(file) for file in files.values()),
    ]
    kept = {name: value for name, value in os.environ.items() if name not in OF_ONE_RUN}
    variables = {**own_variables(folder / ".client", "online"), "WANDB_MODE": "online"}
    seconds = BATCH_SECONDS + RUN_SECONDS * len(files)
    try:
        ran = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**kept, **variables},
            cwd=folder,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        output = late.stdout or b""
        text = output.decode(errors="replace") if isinstance(output, bytes) else output
        return [*text.splitlines(), f"error: the upload was ended after {seconds:.0f} s"]
    return ran.stdout.splitlines()


def _reason(name: str, told: Sequence[str]) -> str | None:
    """Why a run was not uploaded, None where it was: an error of its own, or no word of its end."""
    own = [match[2] for line in told if (match := _LINE.search(line)) and match[1] == name]
    wrong = [text for text in own if _BAD.match(text)]
    if wrong:
        return wrong[-1]
    if any(text.startswith("Finished syncing") for text in own):
        return None
    general = [text for line in told if _BAD.match(text := line.removeprefix("wandb: "))]
    return general[-1] if general else "W&B's client said nothing of its end"
