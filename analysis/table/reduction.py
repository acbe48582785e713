"""From the tidy results table to patients x arms: checked first, missing cells by declared rule, every loss counted.

One row of the table per data set, arm, fold, seed, patient, class and metric. The independent unit is the patient:
classes, seeds and, with repeated hold-out, folds are averaged inside it, so each patient counts once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np
import pandas as pd
from pydantic import Field, ValidationInfo, field_validator

from medsweep.analysis.records import Array, decimals_of
from medsweep.analysis.table.validation import ABSENT, NO_ROW, REPLICATE, UNKNOWN, absent_summary, undefined_pairs
from medsweep.config import Config
from medsweep.errors import UserError, nearest
from medsweep.metric_record import Metric
from medsweep.metrics import SCORES

PostHocMethod = Literal["conover", "shaffer"]


class AnalysisRules(Config):
    """What is fixed before any result is seen."""

    primary: str = "dice"
    """The one metric that carries verdicts; every other is exploratory."""
    margin: float = Field(default=0.01, gt=0)
    """Differences inside +-margin, in units of the primary metric, do not matter."""
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """Level of the primary family: the chance that any arm is said to differ from the control where none does."""
    equivalence: Literal["each", "family"] = "each"
    """Whether ``alpha`` bounds a false claim of equivalence for each arm by itself, or for any of them."""
    seeds: Literal["independent", "paired"] = "independent"
    """Whether runs of one seed share nothing between arms, or what moves them together is taken out."""
    missing: Literal["refuse", "complete-cases"] = "refuse"
    """What to do where a trial left no score: stop, or drop its replicate or patient for ALL arms."""
    diverged: Literal["worst", "refuse"] = "worst"
    """A diverged training is a result of its arm, scored as the worst value; or stop."""
    kind: Literal["arms", "factorial"] = "arms"
    """``factorial``: the effects of the factors of two levels carry the headline, before each arm's verdict."""
    contrasts: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Further comparisons by name, each as weights of arms that add up to 0; one family, with the effects if any."""
    post_hoc: tuple[PostHocMethod, ...] = ()
    """Tests of all pairs to print beside Nemenyi's; none carries a verdict."""

    @field_validator("margin")
    @classmethod
    def _leaves_room(cls, margin: float, given: ValidationInfo) -> float:
        metric = SCORES.get(given.data.get("primary", ""))
        if metric is not None and margin >= metric.reach:
            raise ValueError(f"no difference of {metric.name}, from {metric.range}, is larger; is it percent?")
        return margin


class MissingScoresError(UserError):
    """Scores are absent, and no declared rule says what then."""


NO_SUCH_RUN: Final = "the table has no such run of the arm"
"""Rule of a step that leaves nothing out: arms may have runs of their own."""


@dataclass(frozen=True)
class FlowStep:
    """One exclusion rule with n before and after it."""

    rule: str
    unit: str
    before: int
    after: int


@dataclass(frozen=True)
class Reduced:
    """One metric, one value per patient and arm.

    ``wide``: patients x arms, in the arms' given order, rounded to ``decimals_of`` them. ``cells``: one row per arm,
    fold, seed and patient. ``missed``: missed structures per arm. ``diverged``: diverged runs per arm, scored as the
    worst value.
    """

    metric: Metric
    wide: pd.DataFrame
    cells: pd.DataFrame
    flow: tuple[FlowStep, ...]
    missed: Mapping[str, int]
    diverged: Mapping[str, int]

    @property
    def n(self) -> int:
        """Patients."""
        return len(self.wide)

    @cached_property
    def folds(self) -> tuple[int, ...]:
        """Folds with at least one patient."""
        return tuple(sorted(int(fold) for fold in self.cells["fold"].unique()))

    @cached_property
    def _seeds(self) -> pd.Series:
        return self.cells.groupby(["fold", "arm"])["seed"].nunique()

    @property
    def seeds(self) -> int:
        """Seeds per fold, of the arm with most; the smallest number where folds differ."""
        return int(self._seeds.groupby("fold").max().min())

    @property
    def fewest_seeds(self) -> int:
        """Seeds of the arm with least, in the fold with least."""
        return int(self._seeds.min())

    def differences(self, arm: str, control: str) -> Array:
        """``arm - control`` per patient; 0 where both are infinite (missed by both)."""
        return difference(self.wide[arm].to_numpy(dtype=np.float64), self.wide[control].to_numpy(dtype=np.float64))


def difference(a: Array, b: Array) -> Array:
    """``a - b``, rounded as these; 0 where both are equal, infinities included. ``b`` may broadcast to ``a``."""
    delta = np.zeros_like(a)
    np.subtract(a, b, out=delta, where=a != b)
    return delta.round(decimals_of(a, b))


def metric_named(name: str, metrics: Mapping[str, Metric]) -> Metric:
    """The metric of these by name; raises UserError for one that is not there."""
    if name not in metrics:
        raise UserError(f"no metric is called {name!r}; {nearest(name, metrics)}")
    return metrics[name]


def reduce(table: pd.DataFrame, rules: AnalysisRules, arms: Sequence[str], metric: str | Metric) -> Reduced:
    """Apply the declared rules to a table that ``validation.validated`` returned, then average inside patients.

    A patient whose reference lacks a class is dropped for that class in ALL arms; a diverged run scores the worst
    value; absent cells follow ``rules.missing``.

    Raises:
        UserError: cells are absent or diverged and the rules refuses them, or no patient is left.
    """
    details = metric_named(metric, SCORES) if isinstance(metric, str) else metric
    scored, flow = scored_rows(table, rules, details)
    is_diverged = scored["status"] == "diverged"
    runs = scored.groupby(["arm", "fold", "seed", "patient"], observed=True, sort=True)["value"].mean()
    cells = runs.reset_index().astype({"arm": str, "patient": str})
    means = cells.groupby(["patient", "arm"])["value"].mean().unstack("arm")
    wide = means.reindex(columns=list(arms)).sort_index()
    diverged = scored[is_diverged].drop_duplicates(["arm", *REPLICATE]).groupby("arm", observed=True).size()
    missed = scored[scored["status"] == "missed"].groupby("arm", observed=True).size()
    return Reduced(
        metric=details,
        wide=wide.round(decimals_of(wide.to_numpy(dtype=np.float64))),
        cells=cells,
        flow=tuple(flow),
        missed={arm: int(missed.get(arm, 0)) for arm in arms},
        diverged={arm: int(diverged.get(arm, 0)) for arm in arms},
    )


def scored_rows(table: pd.DataFrame, rules: AnalysisRules, metric: Metric) -> tuple[pd.DataFrame, list[FlowStep]]:
    """The rows of one metric that count, diverged runs with the worst value, and what was left out.

    Raises:
        UserError: as ``reduce``.
    """
    flow: list[FlowStep] = []
    rows = _drop_undefined(table[table["metric"] == metric.name], flow)
    rows = rows.assign(value=rows["value"].where(rows["status"] != "diverged", metric.worst))
    scored = _drop_absent(_drop_unheld(rows, flow), rules, flow)
    _refuse_diverged(scored[scored["status"] == "diverged"], rules)
    return scored, flow


def _drop_unheld(rows: pd.DataFrame, flow: list[FlowStep]) -> pd.DataFrame:
    """Arms may have runs of their own: one of which the table has no row at all is no hole.

    It is one where other runs of the arm do not test its patients either, as in a fold that the arm lacks.
    """
    if not (rows["status"] == NO_ROW).any():
        return rows
    run = [rows["arm"], rows["fold"], rows["seed"]]
    no_row = rows["status"] == NO_ROW
    untested = no_row.groupby([rows["arm"], rows["patient"]], observed=True).transform("all")
    unheld = no_row.groupby(run, observed=True).transform("all") & ~untested
    total = rows.groupby(["arm", "fold", "seed"], observed=True).ngroups
    held = rows[~unheld]
    after = held.groupby(["arm", "fold", "seed"], observed=True).ngroups
    if after < total:
        flow.append(FlowStep(NO_SUCH_RUN, "runs", total, after))
    return held


def _drop_undefined(rows: pd.DataFrame, flow: list[FlowStep]) -> pd.DataFrame:
    """Drop (patient, class) pairs whose reference is empty or unknown, for all arms, and count them."""
    pairs = pd.MultiIndex.from_frame(rows[["patient", "class"]])
    undefined = undefined_pairs(rows)
    defined = rows[~pairs.isin(undefined)]
    total = len(pairs.unique())
    flow.append(FlowStep("class absent from the reference", "patient-class pairs", total, total - len(undefined)))
    before = rows["patient"].nunique()
    flow.append(FlowStep("no class left in the reference", "patients", before, defined["patient"].nunique()))
    if defined.empty:
        raise UserError("no patient has any foreground class in the reference; check the labels of the data set")
    return _drop_ignored(defined, flow)


def _drop_ignored(rows: pd.DataFrame, flow: list[FlowStep]) -> pd.DataFrame:
    unknown = undefined_pairs(rows, UNKNOWN)
    if unknown.empty:
        return rows
    pairs = pd.MultiIndex.from_frame(rows[["patient", "class"]])
    known = rows[~pairs.isin(unknown)]
    total, before = len(pairs.unique()), rows["patient"].nunique()
    flow.append(
        FlowStep("voxels are ignored, so distances are unknown", "patient-class pairs", total, total - len(unknown))
    )
    flow.append(FlowStep("no class left with known distances", "patients", before, known["patient"].nunique()))
    if known.empty:
        raise UserError("every patient has ignored voxels, so no distance is known; take an overlap such as dice")
    return known


def _drop_absent(rows: pd.DataFrame, rules: AnalysisRules, flow: list[FlowStep]) -> pd.DataFrame:
    """Complete cases: first replicates in which an arm has no score at all, then patients with a score missing."""
    absent = rows["status"].isin(ABSENT)
    if not absent.any():
        return rows
    if rules.missing == "refuse":
        raise MissingScoresError(
            f"{absent_summary(rows[absent])}; {int(absent.sum())} of {len(rows)} scores; bring them in, or set "
            "missing: complete-cases"
        )
    whole = absent.groupby([rows["arm"], rows["fold"], rows["seed"]], observed=True).transform("all")
    lost = pd.MultiIndex.from_frame(rows.loc[whole, REPLICATE].drop_duplicates())
    replicates = pd.MultiIndex.from_frame(rows[REPLICATE])
    scored = rows[~replicates.isin(lost)]
    total = len(replicates.unique())
    rule = "an arm has no score in the replicate"
    flow.append(FlowStep(rule, "replicates (fold x seed)", total, total - len(lost)))
    before = rows["patient"].nunique()
    incomplete = scored.loc[scored["status"].isin(ABSENT), "patient"].unique()
    scored = scored[~scored["patient"].isin(incomplete)]
    flow.append(FlowStep("a score is missing in some arm", "patients", before, scored["patient"].nunique()))
    if scored.empty:
        raise MissingScoresError(
            f"missing: complete-cases leaves no patient: {absent_summary(rows[absent])}; bring these scores in, or "
            "take the arm out"
        )
    return scored


def _refuse_diverged(rows: pd.DataFrame, rules: AnalysisRules) -> None:
    if rules.diverged == "refuse" and not rows.empty:
        runs = rows.drop_duplicates(["arm", *REPLICATE])
        first = runs.iloc[0]
        raise UserError(
            f"{len(runs)} trainings diverged, first arm {first['arm']!r} fold {first['fold']} seed {first['seed']}; "
            "train them otherwise, or set diverged: worst, which scores them as the worst value"
        )
