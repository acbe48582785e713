"""Uploads the offline runs of a sweep with W&B's own client, and says of each run what became of it.

The client appends to what the server has of a run, so that a run sent twice would be there twice. So the server is
asked first how many reports it has of each run. Where it has none, the run is sent. Where it has the first ones, as of
a run that was logged live or broke off, a run of the same id with the other reports is written aside and sent. It also
brings settings, summary and pictures that are missing. What was sent, and where to, is in
``STORE/wandb/SWEEP/pushed.json``. The run of the report is sent again whenever it has changed. Edges between trials
follow (``lineage``).
"""

import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from medsweep.files import write_json
from medsweep.tracking.client import own_variables
from medsweep.tracking.lineage import push_lineage
from medsweep.tracking.mirror import Mirror
from medsweep.tracking.mirrored_run import MirroredRun
from medsweep.tracking.mode import ask, base_url
from medsweep.tracking.run_file import is_whole

BATCH: Final = 50
"""Runs that one call of the client uploads."""
BATCH_SECONDS, RUN_SECONDS = 60.0, 30.0
"""A call that takes longer than these, per call and per run, is ended."""

LINES: Final = (
    "query Lines($entity: String, $project: String!, $run: String!) "
    "{ project(name: $project, entityName: $entity) { run(name: $run) { historyLineCount summaryMetrics } } }"
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


def push(mirror: Mirror, entity: str | None, project: str | None, told: Mapping[str, MirroredRun]) -> Pushed:
    """Upload the runs that are not there yet, to ``entity`` and ``project`` or the user's own and the sweep's.

    ``told`` are the runs of the trials by id. Of those that are there in part, or say something new, the rest is sent.
    """
    target = f"{base_url()} {entity or os.environ.get('WANDB_ENTITY', '')}/{project or ''}"
    record = mirror.folder / "pushed.json"
    sent: dict[str, list[str]] = json.loads(record.read_text()) if record.is_file() else {}
    fingerprints, files = mirror.fingerprints(), mirror.runs()
    there = [name for name in files if sent.get(name) == [fingerprints[name], target]]
    new = [name for name in files if name not in there]
    found = _Found({}, {}, {})
    try:
        for name in [name for name in new if name in told]:
            found.look(told[name], files[name], entity, project or mirror.folder.name)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Pushed((), (), tuple(there), dict.fromkeys(new, f"{base_url()} cannot be asked ({error})"), "")
    whole = found.whole | {name: files[name] for name in new if name not in told}
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
            failed |= reasons
            done += [name for name in batch if name not in reasons]
            url = next((match[0] for line in lines if (match := _URL.search(line))), url)
            write_json(record, sent | {name: [fingerprints[name], target] for name in done})
    lost = push_lineage(mirror, [*there, *done], target, entity, project or mirror.folder.name)
    uploaded, completed = (tuple(name for name in done if (name in rest) == again) for again in (False, True))
    return Pushed(uploaded, completed, tuple(there), {**failed, **lost}, url)


@dataclass(frozen=True)
class _Found:
    """What is to be sent: whole runs, the rest of those that are there in part, and why others are not."""

    whole: dict[str, Path]
    rest: dict[str, MirroredRun]
    failed: dict[str, str]

    def look(self, run: MirroredRun, file: Path, entity: str | None, project: str) -> None:
        """Ask the server what it has of a run.

        Raises:
            OSError, ValueError, http.client.HTTPException: it refuses, or says nothing that can be read.
        """
        try:
            is_whole(file)
        except (OSError, ValueError) as error:
            self.failed[run.run_id] = f"its file cannot be read ({error})"
            return
        asked = {"entity": entity or os.environ.get("WANDB_ENTITY"), "project": project, "run": run.run_id}
        there = (ask(LINES, asked).get("project") or {}).get("run") or {}
        lines = int(there.get("historyLineCount") or 0)
        if not lines:
            self.whole[run.run_id] = file
        elif (rest := run.after(lines, json.loads(there.get("summaryMetrics") or "{}"))) is not None:
            self.rest[run.run_id] = rest
        else:
            self.failed[run.run_id] = (
                f"its {lines} reports there are not the first of its {len(run.rows)}; "
                "delete it at W&B, or give another --project"
            )


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
    # Without a program of its own, the client sends the path of its executable.
    variables = {**own_variables(folder / ".client", "online"), "WANDB_MODE": "online", "WANDB_PROGRAM": "medsweep"}
    seconds = BATCH_SECONDS + RUN_SECONDS * len(files)
    try:
        ran = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **variables},
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
