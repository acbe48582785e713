"""What a plan costs and how it differs from what is published: records that the command line prints."""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medsweep.execution.failures import notes
from medsweep.files import read_only_is_fine, write_atomic
from medsweep.identity import identity, short
from medsweep.planning.forecast import Interval, Price, total
from medsweep.store.collection import unreadable_plan
from medsweep.store.source_code import changed_files
from medsweep.store.store import Manifest, Store, several_begin
from medsweep.sweep.plan import Decision, Plan
from medsweep.trial import COMPLETE, Stage

SHOWN_FILES = 4


@dataclass(frozen=True)
class StageCost:
    """One row of ``medsweep plan``."""

    stage: str
    trials: int
    naive: int
    """Trials if every arm and replicate ran a chain of its own."""
    reuse: int
    run: int
    blocked: int
    hours_each: float
    hours: Interval
    """Of the trials to run."""
    timed: int
    """Published trials whose timings the price rests on, at least, for the trials to run; 0 for the estimate alone."""


def stage_costs(
    plan: Plan, decisions: Mapping[str, Decision], stages: Sequence[str], priced: Mapping[str, Price]
) -> list[StageCost]:
    """A row per stage that the plan has trials of; ``priced`` are the prices of its trials."""
    naive = plan.naive_counts()
    rows = []
    for stage in stages:
        digests = [digest for digest, trial in plan.trials.items() if trial.stage == stage]
        if not digests:
            continue
        actions = Counter(decisions[digest].action for digest in digests)
        to_run = [digest for digest in digests if decisions[digest].action == "run"]
        rows.append(
            StageCost(
                stage=stage,
                trials=len(digests),
                naive=naive[stage],
                reuse=actions["reuse"] + actions["skip"],
                run=actions["run"],
                blocked=actions["blocked"],
                hours_each=sum(priced[digest].hours.middle for digest in digests) / len(digests),
                hours=total(priced[digest].hours for digest in to_run),
                timed=min(priced[digest].timed for digest in to_run or digests),
            )
        )
    return rows


def price_sentence(
    plan: Plan, decisions: Mapping[str, Decision], stages: Mapping[str, Stage], priced: Mapping[str, Price]
) -> str | None:
    """What takes most of the hours of the trials to run, with its value; None where nothing takes half of them."""
    hours: dict[str, float] = {}
    lengths: dict[str, set[float]] = {}
    for digest, trial in plan.trials.items():
        if decisions[digest].action != "run":
            continue
        field = stages[trial.stage].length
        name = field or trial.stage
        hours[name] = hours.get(name, 0.0) + priced[digest].hours.middle
        if field:
            lengths.setdefault(field, set()).add(float(getattr(trial.config, field.split(".")[1])))
    most = max(hours, key=hours.__getitem__, default="")
    if not most or hours[most] < sum(hours.values()) / 2:
        return None
    values = sorted(lengths.get(most, ()))
    ends = " to ".join(f"{value:.6g}" for value in dict.fromkeys(values[:1] + values[-1:]))
    return f"{most}{' ' if ends else ''}{ends} decides the price: {hours[most] / sum(hours.values()):.0%} of the hours"


def store_notes(
    plan: Plan, decisions: Mapping[str, Decision], stages: Mapping[str, Stage], store: Store
) -> tuple[str, ...]:
    """A line per stage whose published trials other code made, or are of a version that the plan cannot use.

    The latter is said only where trials of the stage are to run: it answers why they are not reused.
    """
    lines = []
    for stage in dict.fromkeys(trial.stage for trial in plan.trials.values()):
        own = {digest for digest, trial in plan.trials.items() if trial.stage == stage}
        manifests, version = list(store.published(stage)), stages[stage].version
        if any(decisions[digest].action == "run" for digest in own):
            for other, count in sorted(Counter(manifest.version for manifest in manifests).items()):
                if other != version:
                    text = f"store holds {_trials(count, stage)} of version {other}; version {version} is needed"
                    lines.append(f"{text}, so {'it is' if count == 1 else 'they are'} not reused")
        changed = [changed_files(manifest.code) for manifest in manifests if manifest.digest in own]
        if count := sum(map(bool, changed)):
            lines.append(f"{_trials(count, stage)} published by {other_code(set().union(*changed))}")
    return tuple(lines)


def other_code(files: Collection[str]) -> str:
    """Words for source files that differ from those which published a trial."""
    names = sorted(files)
    more = f" and {len(names) - SHOWN_FILES} more" if len(names) > SHOWN_FILES else ""
    return f"other code: {', '.join(names[:SHOWN_FILES])}{more} {'differs' if len(names) == 1 else 'differ'}"


def _trials(count: int, stage: str) -> str:
    return f"{count} {stage} trial{'s' * (count != 1)}"


@dataclass(frozen=True)
class IndexedTrial:
    """A planned trial, in the words of the manifest that it would leave."""

    stage: str
    digest: str
    config: Mapping[str, Any]
    reads: Mapping[str, str]
    inputs: Mapping[str, str]
    arms: Sequence[str] = ()
    """Arms that it serves."""


ComparedTrial = IndexedTrial | Manifest


@dataclass(frozen=True)
class Difference:
    """A field or input in which two trials differ, deepest cause first."""

    name: str
    ours: Any
    theirs: Any


@dataclass(frozen=True)
class Why:
    """A trial, the nearest published trial of its stage, and what sets them apart."""

    trial: ComparedTrial
    published: bool
    nearest: ComparedTrial | None
    differences: tuple[Difference, ...]
    changed_files: tuple[str, ...] = ()
    """Source files that differ from those which published the trial."""
    arms: tuple[str, ...] = ()
    """Arms of planned sweeps that it serves."""
    ended: tuple[str, ...] = ()
    """How it, or what it would be made from, ended without a result."""


def write_index(plan: Plan, store: Store, *, grows: bool = False) -> None:
    """Keep the planned trials where ``why`` finds them; a cache, made anew by every plan that may write.

    One that ``grows`` keeps what was there before: a search whose results are gone forgets what it asked after them.
    Where no store is yet, none is made.
    """
    if not store.is_there:
        return
    serves = plan.serves()
    rows = [
        {
            "stage": trial.stage,
            "digest": digest,
            "config": identity(trial.config),
            "reads": dict(trial.reads),
            "inputs": dict(trial.inputs),
            "arms": serves[digest],
        }
        for digest, trial in plan.trials.items()
    ]
    folder = store.root / "plans"
    path = store.fresh(folder / f"{plan.sweep}.jsonl")
    lines, known = [json.dumps(row) for row in rows], {None, *serves}
    if grows and path.is_file():
        kept = path.read_text(encoding="utf-8", errors="replace").splitlines()
        lines += [line for line in kept if _digest(line) not in known]
    with read_only_is_fine():
        folder.mkdir(exist_ok=True)
        write_atomic(path, "".join(f"{line}\n" for line in lines))
        store.shared(path, if_allowed=True)


def _digest(line: str) -> object:
    try:
        return json.loads(line)["digest"]
    except (ValueError, KeyError, TypeError):
        return None


def explain(prefix: str, store: Store) -> Why:
    """Compare the planned or published trial ``prefix...`` with the nearest other published trial of its stage.

    Raises:
        UserError: no such trial, or several.
    """
    planned = {digest: trial for trials in planned_sweeps(store).values() for digest, trial in trials.items()}
    published = {manifest.digest: manifest for manifest in store.published()}
    trial = find_trial(prefix, planned, store)
    digest = trial.digest
    changed = tuple(changed_files(trial.code)) if isinstance(trial, Manifest) else ()
    trials: dict[str, ComparedTrial] = {**planned, **published}
    arms = tuple(planned[digest].arms) if digest in planned else ()
    ended = tuple(_ended(trial, published, trials, store))
    others = [other for other in published.values() if other.stage == trial.stage and other.digest != digest]
    if not others:
        return Why(trial, digest in published, None, (), changed, arms, ended)
    apart = {other.digest: differences(trial, other, trials) for other in others}
    nearest = min(others, key=lambda other: (len(apart[other.digest]), other.digest))
    return Why(trial, digest in published, nearest, tuple(apart[nearest.digest]), changed, arms, ended)


def find_trial(prefix: str, planned: Mapping[str, IndexedTrial], store: Store) -> ComparedTrial:
    """The published trial whose digest begins with ``prefix``, or the one of ``planned``.

    Raises:
        UserError: no such trial, or several.
    """
    manifest = store.find(prefix)
    own = set() if manifest is None else {manifest.digest}
    others = [digest for digest in planned if digest.startswith(prefix) and digest not in own]
    if len(own) + len(others) > 1:
        raise several_begin(prefix, len(own) + len(others))
    if manifest is not None:
        return manifest
    if not others:
        raise store.no_such(prefix)
    return planned[others[0]]


def _ended(
    trial: ComparedTrial, published: Mapping[str, Manifest], trials: Mapping[str, ComparedTrial], store: Store
) -> Iterator[str]:
    """How the trial ended, if without a result; else how its inputs did, each once, nearest first."""
    seen, todo = {trial.digest}, [trial]
    while todo:
        current = todo.pop(0)
        if (manifest := published.get(current.digest)) is not None:
            if manifest.outcome != COMPLETE:
                yield f"{current.stage} {short(current.digest)} ended as {manifest.outcome}: {manifest.message}"
            continue
        if attempts := notes(store, current.stage, current.digest):
            last = attempts[-1]
            yield f"{current.stage} {short(current.digest)} failed at {last.at}, {last.outcome}: {last.message}"
        fresh = [parent for parent in current.inputs.values() if parent in trials and parent not in seen]
        seen |= set(fresh)
        todo += [trials[parent] for parent in fresh]


def differences(ours: ComparedTrial, theirs: ComparedTrial, trials: Mapping[str, ComparedTrial]) -> list[Difference]:
    """Config fields that differ, then inputs that differ, each input traced to the fields that made it differ."""
    apart = [Difference(f"{ours.stage}.{name}", a, b) for name, a, b in differing(ours.config, theirs.config)]
    for role in dict.fromkeys([*ours.reads, *theirs.reads]):
        if ours.reads.get(role) == theirs.reads.get(role):
            continue
        a_input, b_input = (trials.get(trial.inputs.get(role, "")) for trial in (ours, theirs))
        deeper = []
        if a_input and b_input and a_input.stage == b_input.stage:
            deeper = differences(a_input, b_input, trials)
        if deeper:
            apart += [Difference(f"input {role}: {deep.name}", deep.ours, deep.theirs) for deep in deeper]
        else:
            digests = [short(trial.digest) if trial else None for trial in (a_input, b_input)]
            apart.append(Difference(f"input {role}", *digests))
    return apart


def planned_sweeps(store: Store) -> dict[str, dict[str, IndexedTrial]]:
    """Trials by digest of each sweep that was planned in a store, by its name.

    Raises:
        UserError: a plan cannot be read.
    """
    sweeps: dict[str, dict[str, IndexedTrial]] = {}
    for path in (store.fresh(store.root / name) for name in store.small_files("plans") if name.endswith(".jsonl")):
        try:
            trials = [IndexedTrial(**json.loads(line)) for line in path.read_text().splitlines()]
        except (ValueError, TypeError) as error:
            raise unreadable_plan(path, error) from None
        sweeps[path.stem] = {trial.digest: trial for trial in trials}
    return sweeps


def differing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Dotted names whose values differ, with both values; None for a name that one of the two lacks."""
    a, b = flat(ours), flat(theirs)
    return [(name, a.get(name), b.get(name)) for name in dict.fromkeys([*a, *b]) if a.get(name) != b.get(name)]


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values of nested mappings by dotted name."""
    values: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            values |= flat(value, f"{prefix}{name}.")
        else:
            values[prefix + name] = value
    return values
