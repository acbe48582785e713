"""What is seen of a cause without any comparison of arms: laws of the explained arm's pool, and its networks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd

from medsweep.analysis.records import Bounded, Estimate, mean_estimate
from medsweep.mechanism import Cause

BOUNDARY_LOSS: Final = 1.5
"""Times the boundary loss of reals from which misfit is visible."""
VENDI: Final = 0.7
"""Share of the reals' Vendi score below which lost variety is visible."""
LATE_PERCENT: Final = 50
"""Of the steps; a late loss is the mean over the snapshots from there on."""

YesNo = Literal["yes", "no", "not measured"]


def answer(yes: bool) -> YesNo:
    """The answer to a question that was measured."""
    return "yes" if yes else "no"


@dataclass(frozen=True)
class LawSize:
    """A law of a pool with its interval, means over runs."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Instruments:
    """What measures of the explained arm's pool and networks say; None or NaN is not measured."""

    bias: Bounded | None = None
    """Of the masks against an independent judge, in px, its own zero taken off."""
    random: Bounded | None = None
    late_pool_cosine: Bounded | None = None
    """Noise-corrected, of the pool's gradient with the held-out one."""
    late_real_cosine: Bounded | None = None
    boundary_loss: float = math.nan
    """Of the pool over that of held-out reals, late in training."""
    domain_auc: float = math.nan
    auc_floor: tuple[float, float] | None = None
    """Range over cuts of real against real."""
    vendi: float = math.nan
    """Of the pool over that of reals."""
    edge_offset: Bounded | None = None
    """How far the edge of the foreground lies inside the masks, told by intensities alone, in px."""
    larger: Bounded | None = None
    """Share of the boundary's pixels that masks alone have, minus those that a judge, sure of itself, alone has."""
    judges_differ: bool = False
    """Whether two judges disagree on the label law by more than their intervals."""

    @property
    def opposed(self) -> tuple[str, ...]:
        """Second opinions on the bias that have the other sign, both told from 0."""
        second = {"offset of the edge": self.edge_offset, "masks confidently larger": self.larger}
        signs = {name: _sign(one) * _sign(self.bias) for name, one in second.items()}
        return tuple(name for name, sign in signs.items() if sign < 0)

    def sees(self, cause: Cause) -> YesNo:
        """Whether a cause is visible without any comparison of arms."""
        if self.missing(cause):
            return "not measured"
        if cause == "labels":
            return answer(self._misfit())
        if cause == "look":
            return answer(self.auc_floor is not None and self.domain_auc > self.auc_floor[1])
        return answer(self.vendi < VENDI)

    def missing(self, cause: Cause) -> tuple[str, ...]:
        """By name, what a view on the cause needs and was not measured."""
        if cause == "look":
            return () if self.auc_floor and not math.isnan(self.domain_auc) else ("law_domain_auc with its floor",)
        if cause == "variety":
            return ("law_vendi_share",) if math.isnan(self.vendi) else ()
        found = [] if self.bias or self.random else ["law_bias_px or law_random_px with an interval"]
        if math.isnan(self.boundary_loss) and not (self.late_pool_cosine and self.late_real_cosine):
            found.append("late gradients or boundary losses (segment.snapshots)")
        return tuple(found)

    def _misfit(self) -> bool:
        laws = [law for law in (self.bias, self.random) if law is not None]
        pool, real = self.late_pool_cosine, self.late_real_cosine
        opposed = pool is not None and real is not None and pool.high < real.low
        return any(law.low > 0 or law.high < 0 for law in laws) and (opposed or self.boundary_loss > BOUNDARY_LOSS)


def _sign(one: Bounded | None) -> int:
    """1 or -1 where the interval leaves out 0, else 0."""
    return 0 if one is None else int(one.low > 0) - int(one.high < 0)


def instruments_of(pools: pd.DataFrame, diagnosis: pd.DataFrame, arm: str, level: float) -> Instruments:
    """Instruments of an arm, as far as they were measured.

    Laws and their bounds are means over folds and seeds. Cosines have t intervals over folds and seeds, so one run has
    none. Two judges differ where they do in half of the runs or more.

    Args:
        pools: columns arm, fold, seed, metric and value.
        diagnosis: columns arm, fold, seed, when, quantity, group, source and value.
        arm: the explained one.
        level: of the t intervals.
    """
    means = pools[pools["arm"] == arm].dropna(subset=["value"]).groupby("metric")["value"].mean()
    laws = {str(name): float(mean) for name, mean in means.items()}
    floor = laws.get("law_domain_auc_floor_low"), laws.get("law_domain_auc_floor_high")
    seen = diagnosis[diagnosis["arm"] == arm]
    return Instruments(
        bias=_law(laws, "law_bias_px"),
        random=_law(laws, "law_random_px"),
        late_pool_cosine=_cosine(seen, "pool", level),
        late_real_cosine=_cosine(seen, "train", level),
        boundary_loss=_boundary_loss(seen),
        domain_auc=laws.get("law_domain_auc", math.nan),
        auc_floor=None if floor[0] is None or floor[1] is None else (floor[0], floor[1]),
        vendi=laws.get("law_vendi_share", math.nan),
        edge_offset=_law(laws, "law_edge_offset_px"),
        larger=_law(laws, "law_confident_larger"),
        judges_differ=laws.get("law_judges_differ", 0.0) >= 0.5,
    )


def _law(laws: Mapping[str, float], name: str) -> LawSize | None:
    parts = [laws.get(column, math.nan) for column in (name, f"{name}_low", f"{name}_high")]
    return None if any(map(math.isnan, parts)) else LawSize(*parts)


def _cosine(seen: pd.DataFrame, source: str, level: float) -> Estimate | None:
    rows = seen[
        (seen["when"] == "late")
        & (seen["quantity"] == "cosine_with_held_out")
        & (seen["group"] == "all")
        & (seen["source"] == source)
    ]
    found = mean_estimate(rows["value"].dropna().to_numpy(dtype=np.float64), level)
    return None if math.isnan(found.low) else found


def _boundary_loss(seen: pd.DataFrame) -> float:
    """Mean over runs of the pool's late boundary loss over that of held-out slices."""
    losses = late_losses(seen)
    losses = losses[(losses["quantity"] == "cross_entropy") & (losses["group"] == "boundary")]
    by_run = losses.pivot_table(index=["fold", "seed"], columns="source", values="value")
    if not {"pool", "held-out"} <= set(by_run.columns):
        return math.nan
    return float((by_run["pool"] / by_run["held-out"]).mean())


def late_losses(diagnosis: pd.DataFrame) -> pd.DataFrame:
    """Rows of single snapshots from half of the steps on."""
    return diagnosis[pd.to_numeric(diagnosis["when"], errors="coerce") >= LATE_PERCENT]


@dataclass(frozen=True)
class Diagnosed:
    """One quantity of an arm's networks, with a t interval over folds and seeds."""

    arm: str
    when: str
    quantity: str
    group: str
    source: str
    runs: int
    estimate: Estimate


KEYS: Final = ["arm", "when", "quantity", "group", "source"]
WHOLE: Final = ("all", "boundary", "rest")
"""Groups that are told of single snapshots; parts of the network are told of phases."""


def diagnosed(diagnosis: pd.DataFrame, arms: Sequence[str], level: float) -> tuple[Diagnosed, ...]:
    """Means over folds and seeds of what the diagnose stage found, in the order of ``arms`` and of its table.

    Losses get rows ``late``, the mean over the snapshots from half of the steps on. Values that are not defined are
    left out of the means.
    """
    table = diagnosis[diagnosis["arm"].isin(list(arms))]
    snapshot = pd.to_numeric(table["when"], errors="coerce").notna()
    losses = table["quantity"].isin(LOSSES)
    late = late_losses(table[losses]).groupby([*KEYS[:1], "fold", "seed", *KEYS[2:]], sort=False)["value"].mean()
    features = ~losses & ~table["quantity"].isin(GRADIENTS)
    kept = table[~snapshot | features | table["group"].isin(WHOLE)]
    frames = [kept, late.reset_index().assign(when="late")] if len(late) else [kept]
    rows = pd.concat(frames, ignore_index=True).dropna(subset=["value"])
    found = []
    for key, values in rows.groupby(KEYS, sort=False)["value"]:
        arm, when, quantity, group, source = map(str, key)
        estimate = mean_estimate(values.to_numpy(dtype=np.float64), level)
        found.append(Diagnosed(arm, when, quantity, group, source, len(values), estimate))
    return tuple(sorted(found, key=lambda one: list(arms).index(one.arm)))


GRADIENTS: Final = (
    "cosine_with_held_out", "norm_ratio", "influence", "influence_preconditioned", "influence_of_real_high_band",
    "noise_scale",
)  # fmt: skip
LOSSES: Final = ("cross_entropy", "soft_dice_loss", "signed_residual_px", "generalisation_gap", "memorisation_gap")
