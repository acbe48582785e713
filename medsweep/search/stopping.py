"""Early stopping of trials that serve suggestions alone, per stage, by tiny files in the store.

No scheduler of Ray Tune takes part, so the rules hold under any runner and for several drivers of one store at once. A
trial is compared with those of its own kind only: same stage, variant of generator, fold and seed.
"""

import json
import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from medsweep.data.stage_config import StageConfig
from medsweep.errors import UserError, nearest
from medsweep.files import write_atomic
from medsweep.identity import derive_seed
from medsweep.store.store import Store
from medsweep.sweep.plan import Plan
from medsweep.sweep.space import SUGGESTION, StoppingRule
from medsweep.trial import Progress, PrunedError

FEWEST_OTHERS: Final = 3
"""Others that the median needs."""
RUNGS: Final = "rungs"
"""Folder of the store: ``rungs/SWEEP/STAGE/KIND/RUNG/DIGEST``."""


@dataclass(frozen=True)
class Noted:
    """What a trial left at a rung."""

    step: int
    loss: float


_NOTED: Final = TypeAdapter(Noted)


@dataclass(frozen=True)
class Stopping:
    """Which trials may be stopped, by which rules, and where their values are. Plain data, carried to every worker."""

    sweep: str
    rules: Mapping[str, StoppingRule]
    """By stage."""

    def check(self, store: Store, stage: str, digest: str, kind: str, progress: Progress) -> None:
        """Note the trial's value where it reached a new rung, and stop it there if the rule says so.

        Trials of one ``kind`` are compared; one of none is left alone. A resumed trial that comes to a rung again
        overwrites its value and is judged again.

        Raises:
            PrunedError: the trial is stopped; published with that outcome and never repeated.
            UserError: the trial ended and never reported the metric that it is judged by; a bucket does not answer.
        """
        rule = self.rules.get(stage)
        if rule is None or not kind:
            return
        place = f"{RUNGS}/{self.sweep}/{stage}/{kind}"
        if rule.rule == "hyperband":
            dealt, rule = bracket(rule, digest)
            place += f"/bracket-{dealt}"
        if progress.step >= progress.total:
            _require_judged(rule, _values(store, place), digest, progress)
            return
        number = rung(rule, progress.step / progress.total)
        if number is None or rule.metric not in progress.metrics:
            return
        path = store.fresh(store.root / place / str(number) / digest, now=True)
        before = _noted(path)
        if before is not None and before.step < progress.step:
            return
        value = _loss(rule, progress.metrics[rule.metric])
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps({"step": progress.step, "loss": value}))
        store.shared(path)
        noted = [
            _noted(store.fresh(other, now=True))
            for other in _values(store, f"{place}/{number}")
            if other.name != digest
        ]
        others = [value.loss for value in noted if value is not None]
        if is_stopped(rule, value, others):
            raise PrunedError(
                f"stopped at step {progress.step} of {progress.total} by {self.rules[stage].rule}: {rule.metric} "
                f"{progress.metrics[rule.metric]:.4g} against {len(others)} other suggestion(s) at rung {number}"
            )


def _noted(path: Path) -> Noted | None:
    """Step and loss of a trial at a rung; None where there is no such file, or one that a power cut tore."""
    try:
        return _NOTED.validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _values(store: Store, place: str) -> list[Path]:
    """Files of the values below a folder of the store; none that is being written."""
    return [store.root / name for name in store.small_files(place)]


def _require_judged(rule: StoppingRule, values: Sequence[Path], digest: str, progress: Progress) -> None:
    if rule.metric not in progress.metrics and all(value.name != digest for value in values):
        hint = nearest(rule.metric, progress.metrics)
        raise UserError(f"early_stopping goes by {rule.metric!r}, which the stage never reported; {hint}")


def stopping_of(sweep: str, rules: Mapping[str, StoppingRule]) -> Stopping | None:
    """How trials of a sweep are stopped; None without rules."""
    return Stopping(sweep, dict(rules)) if rules else None


def kinds_of(plan: Plan, rules: Mapping[str, StoppingRule]) -> dict[str, str]:
    """Kinds of the trials that may be stopped, by digest: of stages with a rule, and serving suggestions alone.

    Reference segmenters and judges are left alone too: every suggestion is made from them.
    """
    roles = ("reference", "judge")
    references = {trial.inputs[role] for trial in plan.trials.values() for role in roles if role in trial.inputs}
    serves = plan.serves()
    return {
        digest: kind_of(trial.config)
        for digest, trial in plan.trials.items()
        if trial.stage in rules and digest not in references and suggestions_only(serves[digest])
    }


def suggestions_only(arms: Collection[str]) -> bool:
    """Whether a trial that serves ``arms`` serves suggestions alone, so that it may be stopped."""
    return bool(arms) and all(name.startswith(SUGGESTION) for name in arms)


def kind_of(config: StageConfig) -> str:
    """Variant, fold and seed of a trial, as a folder name: what makes values comparable."""
    names = {"variant": config.label or None, "fold": config.fold_index, "seed": config.training_seed}
    return "-".join(f"{name}-{value}" for name, value in names.items() if value is not None) or "all"


def bracket(rule: StoppingRule, digest: str) -> tuple[int, StoppingRule]:
    """The bracket of a trial under ``hyperband``, from 0, and the rule of ASHA that holds within it.

    Each bracket begins ``reduction`` times later than the one before, the last one before the end of a trial. A trial
    is dealt to a bracket by its digest, so that all brackets take about as many steps: in proportion to 1 / (first
    share x rungs) (Li et al. 2018, JMLR 18(185), algorithm 1; asynchronous as in Li et al. 2020, section 3.3).
    """
    firsts = [rule.first_step_share]
    while firsts[-1] * rule.reduction < 1 - 1e-9:
        firsts.append(firsts[-1] * rule.reduction)
    weights = [1 / (first * (len(firsts) - number)) for number, first in enumerate(firsts)]
    place = derive_seed("bracket", digest) / 2**63 * sum(weights)
    number = next(
        number for number in range(len(firsts)) if place < sum(weights[: number + 1]) or number == len(firsts) - 1
    )
    return number, rule.model_copy(update={"rule": "asha", "first_step_share": firsts[number]})


def rung(rule: StoppingRule, share: float) -> int | None:
    """The last rung that a trial has reached after ``share`` of its steps, from 0; None before the first.

    ASHA's rungs (Li et al. 2020, MLSys, section 3) are ``reduction`` apart as a ratio; the median's are even.
    """
    reached = share / rule.first_step_share * (1 + 1e-9)
    if reached < 1:
        return None
    return int(math.log(reached, rule.reduction) + 1e-9) if rule.rule == "asha" else int(reached) - 1


def is_stopped(rule: StoppingRule, loss: float, others: Collection[float]) -> bool:
    """Whether a trial with ``loss`` (less is better) ends at a rung that ``others`` reached before it.

    ``asha``: it is not among the best ``floor(n / reduction)`` of the n there, itself included; fewer than
    ``reduction`` stop nobody. ``median``: it is worse than the median of the others, of which there must be 3.
    """
    if rule.rule == "median":
        return len(others) >= FEWEST_OTHERS and loss > statistics.median(others)
    survivors = (len(others) + 1) // rule.reduction
    return survivors > 0 and sum(other < loss for other in others) >= survivors


def _loss(rule: StoppingRule, value: float) -> float:
    if not math.isfinite(value):
        return math.inf
    return value if rule.goal == "minimise" else -value
