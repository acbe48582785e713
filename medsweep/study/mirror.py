"""From the trials of a sweep to their W&B runs: what the plan knows of each, and what the store holds of it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from pyarrow.parquet import ParquetFile

from medsweep.execution.driver import Failure
from medsweep.execution.plan_tasks import labels_of
from medsweep.store.store import DamagedError, Manifest, Store
from medsweep.study.chains import network_of
from medsweep.study.stages import Settings
from medsweep.sweep.plan import Plan
from medsweep.tracking.mirrored_run import MirroredRun, recorded_rows
from medsweep.tracking.private import flattened, redacted, scrubbed
from medsweep.tracking.tracker import LONGEST_NAME, RunCard, Scalar, clipped, exit_code, reference, run_id
from medsweep.trial import COMPLETE

SHARED = "shared"
TELLING = 3
"""Settings that a name may hold."""
OF_OTHERS = frozenset({"reference", "judge", "other"})
"""Roles of inputs that are no part of an arm's own chain."""


@dataclass(frozen=True)
class Told:
    """What is to be mirrored, and why some of it cannot be."""

    runs: list[MirroredRun]
    unreadable: dict[str, str]
    """Why a trial cannot be read, by the id of its run."""


SMALL = (".json", ".jsonl", ".parquet", ".png")
"""Ends of the names of files that a run is made of."""


def mirrored_runs(plan: Plan[Settings], dataset: str, store: Store, failures: Sequence[Failure]) -> Told:
    """One run per trial of the plan that has ended: those published, by whatever sweep, and ``failures``."""
    cards = RunCards(plan, dataset)
    told = Told([], {})
    published = store.look((trial.stage, digest) for digest, trial in plan.trials.items())
    for digest, manifest in published.items():
        stage = plan.trials[digest].stage
        name = run_id(stage, digest)
        if isinstance(manifest, DamagedError):
            told.unreadable[name] = manifest.what
            continue
        try:
            folder = store.folder_with(manifest, SMALL)
            summary = _cost(manifest) | (dict(_scores(folder)) if manifest.outcome == COMPLETE else {})
            rows = recorded_rows(folder, manifest.files)
        except (OSError, ValueError, KeyError) as error:
            told.unreadable[name] = f"{type(error).__name__}: {error}"
            continue
        run = cards.run(digest, manifest.outcome, manifest.message)
        told.runs.append(run.with_course(rows, summary))
    for failure in failures:
        digest, stage = failure.trial.digest, failure.trial.stage
        if digest not in published:
            run = cards.run(digest, failure.outcome, failure.message)
            told.runs.append(run.with_course(recorded_rows(store.part(stage, digest)), {}))
    return told


class RunCards:
    """What is said of a trial before anything of its course; what trials of a plan share is worked out once."""

    def __init__(self, plan: Plan[Settings], dataset: str) -> None:
        self._plan, self._dataset = plan, dataset
        self._serves, self._labels = plan.serves(), labels_of(plan)
        self._measures: dict[str, str] = {}
        for (arm, _), leaf in plan.leaves.items():
            for digest in (leaf, network_of(plan, leaf).digest):
                self._measures.setdefault(digest, arm)
        self._arms = {arm.name: arm.settings for arm in plan.arms}
        self._settings: dict[str, dict[str, Scalar]] = {}
        self._control = next(arm.name for arm in plan.arms if arm.is_control)
        self._common: dict[tuple[str, ...], dict[str, Scalar]] = {}
        self._same: defaultdict[str, list[str]] = defaultdict(list)
        for digest, trial in plan.trials.items():
            self._same[f"{trial.stage} {self._labels[digest]}"].append(digest)
        self._names: dict[str, str] = {}

    def run(self, digest: str, outcome: str, message: str) -> MirroredRun:
        """The run of a trial that has ended, without its course."""
        trial = self._plan.trials[digest]
        return MirroredRun(
            **vars(self.card(digest)),
            notes=scrubbed(f"{outcome}: {message}", self._plan.patients) if message else "",
            summary={"outcome": outcome},
            arms=self._served(digest),
            exit_code=exit_code(outcome),
            output=reference(trial.stage, digest) if outcome == COMPLETE else "",
            inputs=tuple(reference(self._plan.trials[of].stage, of) for of in trial.inputs.values()),
        )

    def card(self, digest: str) -> RunCard:
        """What is known of a trial before it begins."""
        trial = self._plan.trials[digest]
        served, arm = self._served(digest), self._arm(digest)
        places = {"fold": trial.config.fold_index, "seed": trial.seed}
        tags = [clipped(one) for one in served] + [f"{key}-{at}" for key, at in places.items() if at is not None]
        return RunCard(
            run_id=run_id(trial.stage, digest),
            project=self._plan.sweep,
            name=clipped(self._name(digest), LONGEST_NAME),
            group=clipped(arm),
            job_type=trial.stage,
            tags=tuple(dict.fromkeys(tags)),
            config=self._config(digest) | {key: at for key, at in places.items() if at is not None},
        )

    def _served(self, digest: str) -> tuple[str, ...]:
        """Arms that read a trial; what is made of a pool alone serves those of the pool."""
        return self._serves[digest] or self._serves.get(self._plan.trials[digest].inputs.get("pool", ""), ())

    def _arm(self, digest: str) -> str:
        served = self._served(digest)
        return self._measures.get(digest) or (served[0] if len(served) == 1 else SHARED)

    def _name(self, digest: str) -> str:
        """The stage and the label of a trial, with the settings that tell it from others that have the same."""
        if digest not in self._names:
            name = f"{self._plan.trials[digest].stage} {self._labels[digest]}"
            self._names |= self._told_apart(name, self._same[name])
        return self._names[digest]

    def _told_apart(self, name: str, digests: Sequence[str]) -> dict[str, str]:
        if len(digests) == 1:
            return {digests[0]: name}
        settings = {digest: self._config(digest) for digest in digests}
        keys = dict.fromkeys(key for config in settings.values() for key in config if "." in key)
        telling = [
            key
            for key in keys
            if not key.startswith("inputs.") and len({str(config.get(key)) for config in settings.values()}) > 1
        ]
        names: dict[str, str] = {}
        for digest, config in settings.items():
            told = ", ".join([name, *(f"{key}={_shown(config.get(key))}" for key in telling[:TELLING])])
            names[digest] = f"{told} {digest[:6]}" if told in names.values() else told
        return names

    def _config(self, digest: str) -> dict[str, Scalar]:
        trial, served, arm = self._plan.trials[digest], self._served(digest), self._arm(digest)
        common = self._of_arm(arm) if arm != SHARED else self._shared_by(served)
        sections = self._sections(digest)
        own = flattened(redacted(trial.config.model_dump(mode="json")), f"{trial.stage}.")
        count = common.get("synthesise.count")
        facts: dict[str, Scalar] = {
            "arm": arm,
            "arms": ", ".join(served),
            "is_control": arm == self._control,
            "dataset": self._dataset,
            "stage": trial.stage,
            "digest": digest,
            **{f"inputs.{role}": run_id(self._plan.trials[of].stage, of) for role, of in trial.inputs.items()},
        }
        if count is not None:
            facts |= {"dose": count, "dose_unit": common.get("synthesise.unit")}
            facts["pipeline"] = common.get("gan.pipeline", SHARED) if count else "none"
        chain = {name: value for name, value in common.items() if name.split(".")[0] in sections}
        return {**chain, **own, **facts}

    def _shared_by(self, served: tuple[str, ...]) -> dict[str, Scalar]:
        """The settings in which these arms agree."""
        if served not in self._common:
            first, *others = (self._of_arm(arm) for arm in served) if served else ({},)
            agreed = {key: value for key, value in first.items() if all(one.get(key) == value for one in others)}
            self._common[served] = agreed
        return self._common[served]

    def _of_arm(self, arm: str) -> dict[str, Scalar]:
        if arm not in self._settings:
            self._settings[arm] = flattened(redacted(self._arms[arm].model_dump(mode="json")))
        return self._settings[arm]

    def _sections(self, digest: str) -> set[str]:
        """Sections of the settings that the trial's own chain has read."""
        seen: set[str] = set()
        todo = [digest]
        while todo:
            current = todo.pop()
            if current not in seen:
                seen.add(current)
                inputs = self._plan.trials[current].inputs
                todo += [parent for role, parent in inputs.items() if role not in OF_OTHERS]
        stages = {self._plan.trials[one].stage for one in seen}
        return {"data" if stage == "prepare" else stage for stage in stages}


def _shown(value: Scalar) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cost(manifest: Manifest) -> dict[str, Scalar]:
    """Hours, and what was held."""
    hours = manifest.seconds / 3600
    gpus = float(manifest.host.get("gpus") or 0)
    peak = manifest.host.get("peak_memory_mib")
    held: dict[str, Scalar] = {} if peak is None else {"peak_memory_mib": float(peak)}
    return {"hours": hours, "gpu_hours": hours * gpus, **held}


@cache
def _scores(folder: Path) -> Mapping[str, Scalar]:
    """Means over the test patients of every score, also by class; none where the trial scored nothing.

    A patient without a finite value, as for a distance to a structure that was missed, counts in ``n`` no more. What is
    published never changes, and a run reads it before its report and after.
    """
    path = folder / "output" / "metrics.parquet"
    if not path.is_file():
        return {}
    with ParquetFile(path) as file:
        table = file.read(["class", "metric", "value"]).to_pandas()
    finite = table[np.isfinite(table["value"])]
    stage = folder.parent.name
    means: dict[str, Scalar] = {}
    # One grouping for all metrics, since most of the time would go into groups.
    for metric, rows in finite.groupby(["metric", "class"])["value"].agg(["mean", "size"]).groupby(level="metric"):
        by_class = rows.droplevel("metric")
        means |= {f"{stage}/{metric}/{name}": float(value) for name, value in by_class["mean"].items()}
        means |= {f"{stage}/n_{metric}/{name}": int(count) for name, count in by_class["size"].items()}
        means[f"{stage}/{metric}"] = float(by_class["mean"].mean())
    return means
