"""Which trained networks stand behind an arm: what links a number to the trials it was computed from."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from medsweep.identity import short


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
        """Id of its W&B run, where the trial was mirrored."""
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
