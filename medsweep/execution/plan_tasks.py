"""From a plan and what was decided of it to tasks: which trials run, how urgent they are, and what people call them."""

from collections.abc import Callable, Mapping

from medsweep.execution.gpu_memory import Grant
from medsweep.execution.memory_probe import probe_of, sized, sizes_of
from medsweep.execution.task import RunContext, Task
from medsweep.search.stopping import kinds_of
from medsweep.store.opening import store_at
from medsweep.sweep.plan import Decision, Plan
from medsweep.tracking.tracker import RunCard


def tasks_of(
    plan: Plan,
    decisions: Mapping[str, Decision],
    labels: Mapping[str, str],
    *,
    closed: set[str],
    context: RunContext,
    enlarged: Mapping[str, Grant],
    card_of: Callable[[str], RunCard] | None = None,
) -> list[Task]:
    """Tasks for the trials to run, in plan order, without those in ``closed`` and what is made from them.

    A task holds what its stage does, or what ``enlarged`` says. Before the first trial of a shape whose memory is not
    known yet stands the probe that measures it. ``card_of`` says what W&B is told of each while it runs.
    """
    shut = set(closed)
    gpus = {digest: trial.most_gpus(context.resources_of(trial.stage)) for digest, trial in plan.trials.items()}
    hours = {digest: trial.estimate(gpus[digest]).hours for digest, trial in plan.trials.items()}
    tails = tail_hours(plan, hours)
    kinds = {} if context.stopping is None else kinds_of(plan, context.stopping.rules)
    tasks: list[Task] = []
    probed: set[str] = set()
    for digest, trial in plan.trials.items():
        if shut & set(trial.inputs.values()):
            shut.add(digest)
        if decisions[digest].action != "run" or digest in shut:
            continue
        data: dict[str, str] = {}
        grant, shape = enlarged.get(digest) or Grant(context.resources_of(trial.stage), 1), ""
        if grant.held.gpus == "auto":
            data = sizes_of(trial, plan.trials, context.stages)
            grant, shape = sized(grant.held, context.stages[trial.stage], trial.config, data, store_at(context.store))
        task = Task(
            sweep=plan.sweep,
            stage=trial.stage,
            digest=digest,
            config=trial.config.model_dump(mode="json"),
            inputs=dict(trial.inputs),
            input_stages={role: plan.trials[parent].stage for role, parent in trial.inputs.items()},
            reads=dict(trial.reads),
            label=labels[digest],
            hours=hours[digest],
            tail_hours=tails[digest],
            held=grant.held,
            micro_batches=grant.micro_batches,
            shape=shape,
            kind=kinds.get(digest, ""),
            card=None if card_of is None else card_of(digest),
        )
        if shape and shape not in probed:
            tasks.append(probe_of(task, context.stages[trial.stage], trial.config, data))
        probed |= {shape}
        tasks.append(task)
    return tasks


def tail_hours(plan: Plan, hours: Mapping[str, float]) -> dict[str, float]:
    """Hours of the longest chain that begins with each trial in ``hours``; other trials take no time."""
    tails = dict.fromkeys(hours, 0.0)
    for digest in reversed([digest for digest in plan.trials if digest in hours]):
        tails[digest] += hours[digest]
        for parent in plan.trials[digest].inputs.values():
            if parent in tails:
                tails[parent] = max(tails[parent], tails[digest])
    return tails


def labels_of(plan: Plan) -> dict[str, str]:
    """A name people recognise for every trial: the arm it belongs to, or what it makes, with fold and seed."""
    arm_of: dict[str, str] = {}
    for (arm, _), leaf in plan.leaves.items():
        own = [parent for parent in plan.trials[leaf].inputs.values() if plan.trials[parent].of_arm]
        for digest in (leaf, *own):
            arm_of.setdefault(digest, arm)
    kinds: dict[str, str] = {}
    labels = {}
    for digest, trial in plan.trials.items():
        config = trial.config
        # What is made of a pool is called after it, whoever judges it.
        parents = sorted(trial.inputs.items(), key=lambda one: one[0] != "pool")
        names = (config.label, arm_of.get(digest, ""), *(kinds[parent] for _, parent in parents))
        kinds[digest] = next(filter(None, names), "")
        words = [kinds[digest]] if kinds[digest] else []
        words += [] if config.fold_index is None else [f"fold {config.fold_index}"]
        words += [] if trial.seed is None else [f"seed {trial.seed}"]
        labels[digest] = " ".join(words) or "shared by all"
    return labels
