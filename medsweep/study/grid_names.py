"""What pictures of pairs are called in a report."""

from collections.abc import Sequence
from typing import Final

from medsweep.sweep.plan import Plan, PlannedTrial
from medsweep.trainers.synthesis.pipelines import FAMILIES

NAMED_ARMS: Final = 3
"""Arms that the title of a picture names."""


def kinds_of_pictures(plan: Plan) -> dict[str, str]:
    """What a grid of each trial's pairs is called; trials that leave none, as generators of masks alone, are left out.

    Pools of one label that were made with other settings are told apart by their arms.
    """
    found = {digest: kind for digest, trial in plan.trials.items() if (kind := _kind_of_pictures(trial)) is not None}
    serves = plan.serves()
    sharers: dict[str, set[tuple[str, ...]]] = {}
    for digest, kind in found.items():
        sharers.setdefault(kind, set()).add(serves[digest])
    alone = {kind for digest, kind in found.items() if plan.trials[digest].stage in FAMILIES or len(sharers[kind]) == 1}
    return {digest: kind if kind in alone else f"{kind}, {_few(serves[digest])}" for digest, kind in found.items()}


def _few(arms: Sequence[str]) -> str:
    """The first arms by name, and how many more there are."""
    return ", ".join(arms[:NAMED_ARMS]) + (f" and {len(arms) - NAMED_ARMS} more" if len(arms) > NAMED_ARMS else "")


def _kind_of_pictures(trial: PlannedTrial) -> str | None:
    if trial.stage in FAMILIES:
        return "Real pairs" if FAMILIES[trial.stage].emits_images(trial.config) else None
    return trial.config.label if trial.stage in ("synthesise", "import", "treat") else None
