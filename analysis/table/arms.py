"""The arms of a study: exactly one is the control; for a table without a sweep they are read off its columns."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from medsweep.analysis.records import ArmInfo
from medsweep.errors import UserError, nearest
from medsweep.identity import short

COUNT: Final = "synthesise.count"
"""The factor that is a dose."""


def control_of(arms: Sequence[ArmInfo]) -> str:
    """Name of the one control.

    Raises:
        UserError: two arms share a name, fewer than two arms, or not exactly one control.
    """
    names = [arm.name for arm in arms]
    if len(set(names)) != len(names):
        raise UserError(f"two arms share a name: {sorted(name for name in set(names) if names.count(name) > 1)[0]!r}")
    controls = [arm.name for arm in arms if arm.control]
    if len(controls) != 1:
        raise UserError(f"exactly one arm is the control, got {len(controls)} among {len(arms)} arms")
    if len(arms) < 2:
        raise UserError(f"one arm ({names[0]!r}) leaves nothing to compare it with")
    return controls[0]


def infer_arms(table: pd.DataFrame, control: str) -> tuple[ArmInfo, ...]:
    """The arms of a tidy table: the control, then the others by factor levels, count and name.

    Columns with a dot in their name (``gan.pipeline``) are factors and hold one level per arm; ``synthesise.count`` is
    the dose. Arms that differ in the count alone form a series.

    Raises:
        UserError: no arm is called ``control``, or an arm has two levels of one factor.
    """
    factors = [str(name) for name in table.columns if "." in str(name)]
    levels = {
        str(name): {factor: _one_level(rows[factor], str(name), factor) for factor in factors}
        for name, rows in table.groupby("arm", observed=True)
    }
    if control not in levels:
        raise UserError(f"no arm is called {control!r}, the control; {nearest(control, levels)}")
    counts = {name: _count(settings.get(COUNT), name) for name, settings in levels.items()}
    series = {name: _series(settings) for name, settings in levels.items()}
    doses = [(series[name], counts[name]) for name in levels if name != control]
    arms = [
        ArmInfo(
            name,
            settings,
            counts[name],
            # two arms of one dose differ in what no column says, so they are no points of one curve
            series[name] if counts[name] > 0 and doses.count((series[name], counts[name])) == 1 else None,
            control=name == control,
        )
        for name, settings in levels.items()
    ]
    return tuple(sorted(arms, key=lambda arm: (not arm.control, series[arm.name], arm.count, _natural(arm.name))))


def _one_level(values: pd.Series, arm: str, factor: str) -> object:
    distinct = values.drop_duplicates().tolist()
    if len(distinct) > 1:
        raise UserError(
            f"arm {arm!r} has {len(distinct)} levels of {factor!r}: {distinct[0]!r}, {distinct[1]!r}; one is needed"
        )
    return None if pd.isna(distinct[0]) else distinct[0]


def _count(level: object, arm: str) -> int:
    if level is None:
        return 0
    if not isinstance(level, int | float) or level != int(level) or level < 0:
        raise UserError(f"arm {arm!r}: {COUNT} must be a whole number from 0 on, got {level!r}")
    return int(level)


def _series(levels: dict[str, object]) -> str:
    named = [f"{factor.rpartition('.')[2]}={level}" for factor, level in levels.items() if factor != COUNT]
    return ", ".join(named) or "synthetic"


def _natural(name: str) -> list[tuple[int, str]]:
    """``x 8`` before ``x 16``."""
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in re.split(r"(\d+)", name)]


@dataclass(frozen=True)
class TrialRef:
    """One network of an arm, by the trial that scored it. ``digest`` is empty where the table names none."""

    arm: str
    fold: int
    seed: int
    digest: str
    outcome: str
    """``complete``, ``diverged`` or ``absent``."""
    stage: str = "score"

    @property
    def shown(self) -> str:
        """The part of the digest that people see."""
        return short(self.digest)

    @property
    def run_id(self) -> str:
        """Id of its W&B run, where it has one."""
        return f"{self.stage}-{self.shown}"


def trials_of(table: pd.DataFrame, arms: Sequence[str]) -> tuple[TrialRef, ...]:
    """One per arm, fold and seed of the tidy table, in the arms' order; ``table`` may lack the column ``digest``."""
    keys = ["arm", "fold", "seed"]
    columns = [*keys, "status", *(["digest"] if "digest" in table else [])]
    # the last row of a run decides nothing: a diverged or absent run is so in all of its rows
    runs = table[columns].drop_duplicates(keys).set_index(keys).sort_index()
    trials = []
    for name in arms:
        if name not in runs.index.get_level_values("arm"):
            continue
        for row in runs.loc[name].reset_index().to_dict("records"):
            outcome = row["status"] if row["status"] in ("diverged", "absent") else "complete"
            fold, seed, digest = row["fold"], row["seed"], row.get("digest", "")
            trials.append(TrialRef(name, int(fold), int(seed), "" if pd.isna(digest) else str(digest), str(outcome)))
    return tuple(trials)
