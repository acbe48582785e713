"""Arms that no test can judge, since they have no score: named with the reason, and left out of what is compared."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from medsweep.analysis.records import ArmInfo
from medsweep.analysis.table.arms import control_of
from medsweep.analysis.table.validation import ABSENT
from medsweep.errors import UserError


@dataclass(frozen=True)
class DeadArm:
    """An arm that lacks networks, and why: it is in no comparison, and has no verdict."""

    arm: str
    reason: str


def scoreless(table: pd.DataFrame, primary: str, known: Sequence[DeadArm] = ()) -> tuple[DeadArm, ...]:
    """The ``known`` dead arms, and those of a tidy table of whose primary metric every score is absent."""
    if not {"arm", "metric", "status"} <= set(table):
        return tuple(known)  # what lacks columns is refused later, by name
    named = {dead.arm for dead in known}
    rows = table[(table["metric"] == primary) & ~table["arm"].isin(named)]
    absent = rows["status"].isin(ABSENT).groupby(rows["arm"].astype(str), sort=False)
    found = [
        DeadArm(str(arm), f"no score of {primary}: all {cells.size} are absent")
        for arm, cells in absent
        if bool(cells.all())
    ]
    return (*known, *found)


def compared(
    table: pd.DataFrame, arms: Sequence[ArmInfo], primary: str, known: Sequence[DeadArm]
) -> tuple[pd.DataFrame, tuple[ArmInfo, ...], tuple[DeadArm, ...]]:
    """The rows of the arms that can be compared, these arms, and the dead ones.

    Raises:
        UserError: as ``living``.
    """
    dead = scoreless(table, primary, known)
    gone = [one.arm for one in dead]
    return table[~table["arm"].isin(gone)], living(arms, dead), dead


def living(arms: Sequence[ArmInfo], dead: Sequence[DeadArm]) -> tuple[ArmInfo, ...]:
    """The arms that can be compared.

    Raises:
        UserError: as ``control_of``; or the control is dead, or every other arm.
    """
    control = control_of(arms)
    reasons = {one.arm: one.reason for one in dead}
    if control in reasons:
        raise UserError(
            f"nothing to compare, since every arm is held against {control!r}, and that has {reasons[control]}"
        )
    left = tuple(arm for arm in arms if arm.name not in reasons)
    if len(left) < 2:
        name, reason = next(iter(reasons.items()))
        raise UserError(f"nothing to compare, since {control!r} alone has scores; {name!r} has {reason}")
    return left
