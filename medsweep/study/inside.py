"""What the store holds of one trial and of each sweep: the records behind ``medsweep show``, ``log`` and ``ls``."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from medsweep.config import Config
from medsweep.execution.failures import Attempt, notes
from medsweep.identity import identity
from medsweep.planning.cost import ComparedTrial, find_trial, flat, planned_sweeps
from medsweep.store.store import Manifest, Store
from medsweep.study.fields import all_fields
from medsweep.study.stages import STAGES
from medsweep.trial import COMPLETE

SECTION_OF: Final[Mapping[str, str]] = {
    "prepare": "data", "judge": "segment", "embed": "assess", "profile": "assess",
}  # fmt: skip

"""Section of a sweep file that a stage of another name reads."""
FROM_SWEEP: Final[Mapping[str, str]] = {
    "fold.of": "replicates.folds", "fold.scheme": "replicates.scheme", "fold.seed": "replicates.seed",
    "fold.test_share": "replicates.test_share", "fold.validation": "replicates.validation",
    "fold.patients": "data.patients", "resolution": "data.resolution", "variant": "gan.pipeline",
    "pipeline": "gan.pipeline", "count": "synthesise.count", "unit": "synthesise.unit", "fold.index": "fold",
    "seed": "seed", "source": "the files of the data",
}  # fmt: skip
"""What a sweep file calls fields that the planner hands to stages under names of their own."""


def yaml_name(name: str) -> str:
    """A field of a stage's config, as ``synthesise.pipeline``, by the name that it has in a sweep file, if it has one.

    What stands before the field, as ``input pool: ``, is kept.
    """
    before, colon, last = name.rpartition(": ")
    stage, _, field = last.partition(".")
    field = field.removeprefix("segment.") if stage == "diagnose" else field
    section = "segment" if stage == "diagnose" else SECTION_OF.get(stage, stage)
    own = f"{section}.{field}"
    named = own if own in all_fields() else FROM_SWEEP.get(field, last)
    return f"{before}{colon}{named}"


@dataclass(frozen=True)
class InputState:
    """A trial that another one reads, or is read by."""

    role: str
    stage: str
    digest: str
    outcome: str
    """``not published`` where it is not."""


@dataclass(frozen=True)
class TrialInFull:
    """All that the store knows of one trial."""

    trial: ComparedTrial
    outcome: str
    """How it ended, or ``running``, ``failed`` or ``not published``."""
    message: str
    arms: tuple[str, ...]
    sweeps: tuple[str, ...]
    """Those that plan it."""
    config: Mapping[str, Any]
    """By the names that a sweep file has for the fields, in order."""
    unusual: frozenset[str]
    """Names in ``config`` whose value is not the default."""
    inputs: tuple[InputState, ...]
    readers: tuple[InputState, ...]
    attempts: tuple[Attempt, ...]
    reports: tuple[Mapping[str, Any], ...]
    """Lines of metrics.jsonl: step, total and scalars."""
    pictures: tuple[Path, ...]
    """What it drew: samples, or what a network sees in its worst test patients."""
    folder: Path
    manifest: Manifest | None

    @property
    def curves(self) -> dict[str, list[tuple[int, float]]]:
        """Steps and values of each scalar that was reported."""
        curves: dict[str, list[tuple[int, float]]] = {}
        for row in self.reports:
            for name, value in row.items():
                if name not in ("step", "total"):
                    curves.setdefault(name, []).append((int(row["step"]), float(value)))
        return curves


def trial_in_full(prefix: str, store: Store) -> TrialInFull:
    """The planned or published trial whose digest begins with ``prefix``.

    Raises:
        UserError: no such trial, or several.
    """
    sweeps = planned_sweeps(store)
    planned = {digest: trial for trials in sweeps.values() for digest, trial in trials.items()}
    trial = find_trial(prefix, planned, store)
    manifest = trial if isinstance(trial, Manifest) else None
    stage, digest = trial.stage, trial.digest
    published = store.has(stage, digest)
    looked_at = (".jsonl", ".png")
    folder = store.folder_with(store.manifest(stage, digest), looked_at) if published else store.part(stage, digest)
    attempts = tuple(notes(store, stage, digest))
    running = not published and store.leased(stage, digest)
    waits = "running" if running else "failed" if attempts else "not published"
    config = dict(sorted((yaml_name(f"{stage}.{name}"), value) for name, value in flat(trial.config).items()))
    usual = {yaml_name(f"{stage}.{name}"): value for name, value in _defaults(stage).items()}
    everything: dict[str, ComparedTrial] = {**planned, **{one.digest: one for one in store.published()}}
    readers = [
        _state(role, other.digest, everything, store)
        for other in everything.values()
        for role, read in other.inputs.items()
        if read == digest
    ]
    return TrialInFull(
        trial=trial,
        outcome=manifest.outcome if manifest else waits,
        message=manifest.message if manifest else attempts[-1].message if attempts else "",
        arms=tuple(planned[digest].arms) if digest in planned else (),
        sweeps=tuple(name for name, trials in sweeps.items() if digest in trials),
        config=config,
        unusual=frozenset(name for name, value in config.items() if name not in usual or usual[name] != value),
        inputs=tuple(_state(role, read, everything, store) for role, read in trial.inputs.items()),
        readers=tuple(readers),
        attempts=attempts,
        reports=tuple(_reports(folder / "metrics.jsonl")),
        pictures=tuple(sorted((folder / "output").glob("*.png"))),
        folder=folder,
        manifest=manifest,
    )


def _state(role: str, digest: str, trials: Mapping[str, ComparedTrial], store: Store) -> InputState:
    trial = trials.get(digest)
    if trial is None:
        return InputState(role, role, digest, "not published")
    outcome = trial.outcome if isinstance(trial, Manifest) else "not published"
    return InputState(role, trial.stage, digest, outcome)


@cache
def _defaults(stage: str) -> dict[str, Any]:
    """Flat defaults of a stage's config, and of the sections that it must be given."""
    return _usual(STAGES[stage].config) if stage in STAGES else {}


def _usual(model: type[Config]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if not field.is_required():
            values[name] = field.get_default(call_default_factory=True, validated_data={})
        elif isinstance(field.annotation, type) and issubclass(field.annotation, Config):
            values[name] = _usual(field.annotation)
    return flat(identity(values))


def _reports(path: Path) -> Iterator[Mapping[str, Any]]:
    """Lines of metrics.jsonl; one that a kill tore is left out, and the end where the last step said the same."""
    last = ""
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        if line == last:
            continue
        with suppress(ValueError):
            yield json.loads(line)
        last = line


@dataclass(frozen=True)
class SweepInStore:
    """One sweep that was planned in a store."""

    name: str
    trials: int
    published: int
    running: int
    failed: int
    """Ended without a result, published so or not."""
    bytes: int
    """Of the files that its trials left, whatever other sweeps share of them."""
    newest: float
    """When its newest trial ended, or it was planned; seconds since the epoch."""

    @property
    def state(self) -> str:
        """One word."""
        if self.running:
            return "running"
        if self.published == self.trials:
            return "finished" if not self.failed else "finished, with failures"
        return "failed" if self.failed else "begun" if self.published else "planned"


def sweeps_in(store: Store) -> list[SweepInStore]:
    """The sweeps that were planned in a store, the newest first."""
    manifests = {manifest.digest: manifest for manifest in store.published()}
    sweeps = []
    for name, trials in planned_sweeps(store).items():
        done = [manifests[digest] for digest in trials if digest in manifests]
        waiting = [trial for digest, trial in trials.items() if digest not in manifests]
        planned_at = (store.root / "plans" / f"{name}.jsonl").stat().st_mtime
        sweeps.append(
            SweepInStore(
                name=name,
                trials=len(trials),
                published=len(done),
                running=sum(store.leased(trial.stage, trial.digest) for trial in waiting),
                failed=sum(manifest.outcome != COMPLETE for manifest in done)
                + sum(bool(notes(store, trial.stage, trial.digest)) for trial in waiting),
                bytes=sum(map(store.size, done)),
                newest=max(
                    [datetime.fromisoformat(manifest.finished).timestamp() for manifest in done] or [planned_at]
                ),
            )
        )
    return sorted(sweeps, key=lambda sweep: -sweep.newest)
