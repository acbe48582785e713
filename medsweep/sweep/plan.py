"""Arms x replicates -> trials: which there are, which must run, which are reused or blocked, and what they cost.

Pure: neither Ray nor the store is touched. What is published is asked through a function, so a plan is tested with a
dict in milliseconds.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from medsweep.data.stage_config import StageConfig
from medsweep.identity import canonical, digest_of, has_extent, short
from medsweep.sweep.arms import Arm, Replicate
from medsweep.sweep.file import Resources, S_co
from medsweep.trial import COMPLETE, ExpectedHours, Stage


@dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """One stage with one resolved config and its input trials."""

    stage: str
    digest: str
    lineage: str
    config: StageConfig
    inputs: Mapping[str, str]
    """Digest of the input trial by role."""
    reads: Mapping[str, str]
    """What the digest was taken over: the input's digest, or its lineage where only a prefix is read."""
    hours: float
    """Built-in estimate on one CPU core."""
    gpu_hours: float | None = None
    """Built-in estimate on a GPU; None where nothing is computed there."""
    guessed_mib: float = 1.0
    """Built-in guess of what it leaves in the store."""
    seed: int | None = None
    """Of the replicate, from its config or else from what it is made from; None where seeds share it."""
    of_arm: bool = False
    """Whether it is named and grouped after its arm, if it serves just one."""

    def most_gpus(self, held: Resources) -> float:
        """GPUs that it may come to hold: none for ``auto`` where nothing is computed there."""
        return 0.0 if held.gpus == "auto" and self.gpu_hours is None else held.most_gpus

    def estimate(self, gpus: float) -> ExpectedHours:
        """What it is expected to take where it holds ``gpus``."""
        return ExpectedHours.of(self.hours, self.gpu_hours, gpus)


class Builder:
    """Collects trials; the same work asked for twice is one trial."""

    def __init__(self, stages: Mapping[str, Stage]) -> None:
        self.stages = stages
        self.trials: dict[str, PlannedTrial] = {}
        self.asked: list[str] = []
        """Digest of every trial that was asked for, in order, as often as that was."""
        self._digests: dict[tuple[str, str, tuple[tuple[str, str], ...]], str] = {}
        self._made: dict[Hashable, tuple[str, tuple[str, ...]]] = {}

    def add(self, stage: str, config: StageConfig, inputs: Mapping[str, str] | None = None) -> str:
        """Ask for a trial and get its digest; inputs must have been added before."""
        inputs = dict(inputs or {})
        text = canonical(config)
        key = (stage, text, tuple(sorted(inputs.items())))
        if key in self._digests:
            self.asked.append(self._digests[key])
            return self._digests[key]
        kind = self.stages[stage]
        lineages = {role: self.trials[digest].lineage for role, digest in inputs.items()}
        reads = {role: lineages[role] if role in kind.reads_prefix else inputs[role] for role in inputs}
        digest = digest_of(stage, kind.version, config, reads, text=text)
        unsized = canonical(config, extent=False) if has_extent(config) else text
        same = reads == lineages and unsized == text
        lineage = digest if same else digest_of(stage, kind.version, config, lineages, text=unsized)
        seeds = (config.training_seed, *(self.trials[parent].seed for parent in inputs.values()))
        self._digests[key] = digest
        self.asked.append(digest)
        if digest not in self.trials:
            self.trials[digest] = PlannedTrial(
                stage=stage,
                digest=digest,
                lineage=lineage,
                config=config,
                inputs=inputs,
                reads=reads,
                hours=kind.hours(config),
                gpu_hours=kind.gpu_hours(config),
                guessed_mib=kind.guessed_mib,
                seed=next((seed for seed in seeds if seed is not None), None),
                of_arm=kind.of_arm,
            )
        return digest

    def once(self, key: Hashable, make: Callable[[], str]) -> str:
        """Ask for the trials that ``make`` adds, and get the digest that it gives; it is called once for a ``key``."""
        if key in self._made:
            digest, asked = self._made[key]
            self.asked += asked
            return digest
        before = len(self.asked)
        digest = make()
        self._made[key] = digest, tuple(dict.fromkeys(self.asked[before:]))
        return digest

    def take(self, trials: Mapping[str, PlannedTrial]) -> None:
        """Ask for trials that another builder of the same stages planned, inputs first."""
        for digest, trial in trials.items():
            self.trials.setdefault(digest, trial)
        self.asked += trials


@dataclass(frozen=True)
class Plan(Generic[S_co]):
    """A directed acyclic graph of trials, inputs before the trials that read them."""

    sweep: str
    arms: tuple[Arm[S_co], ...]
    replicates: tuple[Replicate, ...]
    trials: Mapping[str, PlannedTrial]
    leaves: Mapping[tuple[str, Replicate], str]
    """Digest of the trial that measures an arm under a replicate."""
    extras: frozenset[str] = frozenset()
    """Trials wanted for themselves though no arm reads them (assessments of pools)."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Arms left out because they are the same trials as another arm, and that arm's name."""
    patients: tuple[str, ...] = ()
    """Everyone in the data, for those who ask what the replicates test."""
    data_warnings: tuple[str, ...] = ()
    """What ``medsweep data check`` warns of, a line each."""

    @property
    def goals(self) -> list[str]:
        """Digests that somebody wants, in plan order."""
        goals = set(self.leaves.values()) | self.extras
        return [digest for digest in self.trials if digest in goals]

    def leaves_of(self, arm: str) -> list[str]:
        """Digests that measure an arm, or the arm that it is an alias of, by replicate."""
        name = self.aliases.get(arm, arm)
        return [self.leaves[name, replicate] for replicate in self.replicates]

    def ancestry(self, digest: str) -> set[str]:
        """``digest`` and everything it is made from."""
        seen: set[str] = set()
        todo = [digest]
        while todo:
            current = todo.pop()
            if current not in seen:
                seen.add(current)
                todo += self.trials[current].inputs.values()
        return seen

    def serves(self) -> dict[str, tuple[str, ...]]:
        """Names of the arms each trial serves, in arm order; a goal that no arm reads serves those of its inputs."""
        names: dict[str, set[str]] = {digest: set() for digest in self.trials}
        for (arm, _), leaf in self.leaves.items():
            names[leaf].add(arm)
        for digest in reversed(list(self.trials)):
            for parent in self.trials[digest].inputs.values():
                names[parent] |= names[digest]
        for digest in self.extras:
            if not names[digest]:
                served = [names[parent] for parent in self.trials[digest].inputs.values()]
                names[digest] = set.intersection(*served) if served else set()
        order = {arm.name: number for number, arm in enumerate(self.arms)}
        return {digest: tuple(sorted(served, key=order.__getitem__)) for digest, served in names.items()}

    def naive_counts(self) -> Counter[str]:
        """Trials per stage if every arm and replicate ran its own chain, sharing nothing."""
        counts: Counter[str] = Counter()
        for leaf, times in Counter(self.leaves.values()).items():
            for digest in self.ancestry(leaf):
                counts[self.trials[digest].stage] += times
        return counts


Expand = Callable[[Builder, Arm[S_co], Replicate], str]
"""Adds the trials of one arm under one replicate and returns the digest that measures it."""


def build(
    sweep: str,
    *,
    arms: Sequence[Arm[S_co]],
    replicates: Sequence[Replicate],
    stages: Mapping[str, Stage],
    expand: Expand[S_co],
    extras: Callable[[Builder], Iterable[str]] = lambda builder: (),
) -> Plan[S_co]:
    """The plan of a sweep. An arm that is the same trials as an earlier one is kept as its alias."""
    builder = Builder(stages)
    leaves: dict[tuple[str, Replicate], str] = {}
    distinct: dict[tuple[str, ...], Arm[S_co]] = {}
    aliases: dict[str, str] = {}
    for arm in arms:
        digests = tuple(expand(builder, arm, replicate) for replicate in replicates)
        if digests in distinct:
            aliases[arm.name] = distinct[digests].name
            continue
        distinct[digests] = arm
        leaves |= {(arm.name, replicate): digest for replicate, digest in zip(replicates, digests, strict=True)}
    goals = frozenset(extras(builder))
    return Plan(sweep, tuple(distinct.values()), tuple(replicates), builder.trials, leaves, goals, aliases)


def unread_factors(plan: Plan, arms: Sequence[Arm], factors: Mapping[str, Sequence[Any]]) -> list[str]:
    """Factors with several levels that change no trial: levels differ, yet every pair of arms ends in one trial."""
    names = {arm.name: plan.aliases.get(arm.name, arm.name) for arm in arms}
    unread = []
    for dotted, levels in factors.items():
        if len(levels) < 2:
            continue
        groups: dict[str, set[str]] = {}
        counts: Counter[str] = Counter()
        for arm in arms:
            if dotted in arm.levels and set(arm.levels) == set(factors):
                rest = canonical({name: value for name, value in arm.levels.items() if name != dotted})
                groups.setdefault(rest, set()).add(names[arm.name])
                counts[rest] += 1
        compared = [rest for rest, count in counts.items() if count > 1]
        if compared and all(len(groups[rest]) == 1 for rest in compared):
            unread.append(dotted)
    return unread


@dataclass(frozen=True)
class Decision:
    """What happens to a trial: ``run``, ``reuse``, ``blocked``, or ``skip`` where nobody needs it any more."""

    action: str
    reason: str
    outcome: str | None = None
    """Published outcome of a reused trial."""
    message: str = ""
    """What the published trial said of its outcome."""


def decide(plan: Plan, outcome: Callable[[str, str], tuple[str, str] | None]) -> dict[str, Decision]:
    """Decide for every trial, from the goals backwards: only what a trial to run reads is run.

    Args:
        plan: the plan.
        outcome: published outcome and message of (stage, digest), or None.
    """
    published = {digest: outcome(trial.stage, digest) for digest, trial in plan.trials.items()}
    decisions: dict[str, Decision] = {}
    for digest, trial in plan.trials.items():
        decisions[digest] = _forward(trial, published[digest], decisions, plan)
    needed = {digest for digest in plan.goals if decisions[digest].action != "reuse"}
    for digest in reversed(list(plan.trials)):
        if digest in needed and decisions[digest].action != "reuse":
            needed |= set(plan.trials[digest].inputs.values())
    for digest, decision in decisions.items():
        if decision.action == "run" and digest not in needed:
            decisions[digest] = Decision("skip", "everything made from it is published")
    return decisions


def _forward(
    trial: PlannedTrial, published: tuple[str, str] | None, done: Mapping[str, Decision], plan: Plan
) -> Decision:
    if published is not None:
        outcome, message = published
        return Decision("reuse", "published" if outcome == COMPLETE else f"published as {outcome}", outcome, message)
    for role, parent in trial.inputs.items():
        label = f"{plan.trials[parent].stage} {short(parent)} ({role})"
        if done[parent].outcome not in (None, COMPLETE):
            return Decision("blocked", f"its input {label} was {done[parent].reason}")
        if done[parent].action == "blocked":
            return Decision("blocked", f"its input {label} is blocked")
    return Decision("run", "not in the store")
