"""One measure, or two, of pools against the benefit of the arms that use them: over generators, inside data sets."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from medsweep.analysis.questions.rank_association import (
    Strata,
    bend,
    bootstrap_counts,
    drawn_ranks,
    permutation_p,
    rho,
    scaled_ranks,
    strata_of,
)
from medsweep.analysis.records import Array, decimals_of, rounded
from medsweep.analysis.table.reduction import Reduced
from medsweep.metric_record import Direction
from medsweep.metrics import record_of

ANCHOR: Final = "n_pool"
"""The measure that every assessment leaves: its digest tells assessments from other rows of the pools table."""
KEYS: Final = ("dataset", "generator", "arms", "fold", "seeds", "utility")


def better(measure: str) -> Direction:
    """The direction in the measure's record; ``none`` where there is no record."""
    record = record_of(measure)
    return record.direction if record else "none"


def is_quality(measure: str) -> bool:
    """Whether a measure is held against benefit: no count, floor or bound, or one that no record describes."""
    record = record_of(measure)
    return record is None or "utility" in record.shown


def utility_table(reduced: Reduced, control: str, dataset: str) -> pd.DataFrame:
    """Mean difference from the control in the same fold and seed: columns dataset, arm, fold, seed, n, utility.

    In units of the metric, arm minus control, over the n patients with a finite value in both. Replicates that the
    control lacks are left out.
    """
    keys = ["fold", "seed", "patient"]
    wide = reduced.cells.set_index([*keys, "arm"])["value"].unstack("arm")
    delta = wide.drop(columns=control).sub(wide[control], axis=0).round(decimals_of(wide.to_numpy(dtype=np.float64)))
    long = delta.reset_index().melt(id_vars=keys, var_name="arm", value_name="value")
    long = long[np.isfinite(long["value"])]
    grouped = long.groupby(["arm", "fold", "seed"])["value"].agg(n="size", utility="mean").reset_index()
    utility: pd.DataFrame = grouped.assign(dataset=dataset)[["dataset", "arm", "fold", "seed", "n", "utility"]]
    return utility


def generator_table(pools: pd.DataFrame, utility: pd.DataFrame) -> pd.DataFrame:
    """One row per generator: dataset, generator (digest), arms, fold, seeds, utility, then one column per measure.

    ``pools``: arm, fold, seed, digest, metric, value, and dataset where ``utility`` has several. ``utility``: see
    ``utility_table``. Arms and seeds that share a pool are one point with their mean utility, so arms of other doses
    than those of interest are best taken out of ``utility`` before.

    Raises:
        ValueError: ``pools`` has no dataset column and ``utility`` several data sets.
    """
    datasets = sorted(utility["dataset"].unique())
    if "dataset" not in pools and len(datasets) > 1:
        raise ValueError(f"pools lack a dataset column, and the utilities are of {len(datasets)} data sets")
    rows = pools if "dataset" in pools else pools.assign(dataset=datasets[0] if datasets else "")
    rows = rows.rename(columns={"digest": "generator"})
    assessed = rows.loc[rows["metric"] == ANCHOR, ["dataset", "generator"]].drop_duplicates()
    rows = rows.merge(assessed, on=["dataset", "generator"]).sort_values(["arm", "fold", "seed"], kind="stable")
    uses = rows[["dataset", "arm", "fold", "seed", "generator"]].drop_duplicates()
    uses = uses.merge(utility, on=["dataset", "arm", "fold", "seed"]).sort_values(["dataset", "arm", "fold", "seed"])
    points = uses.groupby(["dataset", "generator"]).agg(
        arms=("arm", lambda arms: ", ".join(sorted(set(arms)))),
        fold=("fold", "min"),
        seeds=("seed", lambda seeds: ", ".join(map(str, sorted(set(seeds))))),
        utility=("utility", "mean"),
    )
    points["utility"] = points["utility"].round(12)
    measures = rows.groupby(["dataset", "generator", "metric"])["value"].first().unstack("metric")
    table: pd.DataFrame = points.join(measures).sort_index().reset_index()
    return table


FEWEST: Final = 5
"""Generators below which nothing is judged."""
PERMUTATIONS: Final = 9999


@dataclass(frozen=True)
class GeneratorPoint:
    """One point: the benefit (positive is better) of the arms that draw on this pool, and the pool's measures."""

    dataset: str
    generator: str
    arms: str
    fold: int
    seeds: str
    benefit: float
    measures: Mapping[str, float]


@dataclass(frozen=True)
class MetricUtility:
    """One measure against benefit over ``n`` generators.

    ``rho``: Spearman, ranks inside data sets, with the percentile bootstrap interval over generators. ``p``:
    permutation inside data sets; ``p_holm`` over all measures judged. ``bend``: correlation with the squared rank
    beyond the straight part, negative where benefit peaks at middling values. ``rho_matched``: ranks inside data set,
    fold and seeds, which takes out the control run and the reference segmenter that generators of one replicate share.
    ``better`` is the measure's own direction; ``as_meant``: rho has the sign it promises, None where it promises none.
    """

    metric: str
    better: Direction
    n: int
    rho: float
    low: float
    high: float
    level: float
    p: float
    p_holm: float
    bend: float
    bend_low: float
    bend_high: float
    rho_matched: float
    as_meant: bool | None


@dataclass(frozen=True)
class MetricComparison:
    """|rho| of the first measure minus that of the second, over the ``n`` generators with both; paired bootstrap."""

    first: str
    second: str
    n: int
    difference: float
    low: float
    high: float
    level: float


@dataclass(frozen=True)
class GeneratorSample:
    """Generators with finite values of some measures, sorted by data set and digest; benefit is better when larger."""

    table: pd.DataFrame
    benefit: Array
    level: float
    resamples: int

    @property
    def n(self) -> int:
        """Generators in a data set with at least two."""
        return sum(map(len, self.strata))

    @property
    def identity(self) -> tuple[str, ...]:
        """Which generators these are."""
        return tuple((self.table["dataset"] + "/" + self.table["generator"]).astype(str))

    @property
    def strata(self) -> Strata:
        """Data sets."""
        return strata_of(self.table["dataset"].tolist())

    @property
    def matched(self) -> Strata:
        """Data set, fold and seeds."""
        return strata_of(list(zip(*(self.table[name] for name in ("dataset", "fold", "seeds")), strict=True)))

    def of(self, names: Sequence[str]) -> "GeneratorSample":
        """Those that have all of the measures."""
        keep = np.isfinite(self.benefit)
        for name in names:
            keep &= np.isfinite(self.column(name))
        rows = self.table[keep].reset_index(drop=True)
        return dataclasses.replace(self, table=rows, benefit=self.benefit[keep])

    def column(self, name: str) -> Array:
        """Values of one measure, rounded as numbers of their size."""
        values: Array = rounded(self.table[name].to_numpy(dtype=np.float64))
        return values

    def generators(self, names: Sequence[str]) -> tuple[GeneratorPoint, ...]:
        """The points."""
        points = []
        for row, benefit in zip(self.table.to_dict("records"), self.benefit.tolist(), strict=True):
            values = {name: float(row[name]) for name in names if is_quality(name) and math.isfinite(row[name])}
            dataset, generator, arms, seeds = (str(row[name]) for name in ("dataset", "generator", "arms", "seeds"))
            points.append(GeneratorPoint(dataset, generator, arms, int(row["fold"]), seeds, benefit, values))
        return tuple(points)

    def draws(self) -> Array:
        """(1 + B, N) counts: the sample itself, then draws that are the same for all measures of these generators."""
        n = len(self.table)
        return np.concatenate([_once(self.strata, n), bootstrap_counts(self.strata, n, self.resamples, "quality")])


def obstacle(sample: GeneratorSample, names: Sequence[str]) -> str:
    """Why nothing can be judged; empty where it can."""
    if sample.n < FEWEST:
        return f"{sample.n} generators, {FEWEST} are the fewest"
    for name, values in [("the benefit", sample.benefit), *((name, sample.column(name)) for name in names)]:
        if not any(np.ptp(values[positions]) > 0 for positions in sample.strata):
            return f"{name} is the same for all generators of a data set"
    return ""


def judge(sample: GeneratorSample, names: Sequence[str]) -> list[MetricUtility]:
    """Measures that all generators of ``sample`` have, on shared draws; ``p_holm`` follows when all are known."""
    strata, counts_BN = sample.strata, sample.draws()
    y_BN = drawn_ranks(sample.benefit, counts_BN, strata)
    columns = [sample.column(name) for name in names]
    x_NM = np.stack([scaled_ranks(x_N, strata) for x_N in columns], axis=1)
    p_M = permutation_p(x_NM, scaled_ranks(sample.benefit, strata), strata, PERMUTATIONS, "quality").tolist()
    matched = _matched(sample, columns)
    judged = []
    for name, x_N, p, rho_matched in zip(names, columns, p_M, matched, strict=True):
        x_BN = drawn_ranks(x_N, counts_BN, strata)
        rho_B, bend_B = rho(x_BN, y_BN, counts_BN), bend(x_BN, y_BN, counts_BN, strata)
        low, high = _interval(rho_B, sample.level)
        bend_low, bend_high = _interval(bend_B, sample.level)
        promised = {"lower": -1, "higher": 1}.get(better(name))
        judged.append(
            MetricUtility(
                metric=name,
                better=better(name),
                n=sample.n,
                rho=float(rho_B[0]),
                low=low,
                high=high,
                level=sample.level,
                p=p,
                p_holm=math.nan,
                bend=float(bend_B[0]),
                bend_low=bend_low,
                bend_high=bend_high,
                rho_matched=rho_matched,
                as_meant=None if promised is None else promised * float(rho_B[0]) > 0,
            )
        )
    return judged


def compare(sample: GeneratorSample, first: str, second: str) -> MetricComparison:
    """One shared draw for both measures."""
    strata, counts_BN = sample.strata, sample.draws()
    y_BN = drawn_ranks(sample.benefit, counts_BN, strata)
    sizes = [
        np.abs(rho(drawn_ranks(sample.column(name), counts_BN, strata), y_BN, counts_BN)) for name in (first, second)
    ]
    difference_B = sizes[0] - sizes[1]
    low, high = _interval(difference_B, sample.level)
    return MetricComparison(first, second, sample.n, float(difference_B[0]), low, high, sample.level)


def _once(strata: Strata, n: int) -> Array:
    """The sample itself as a draw, (1, N)."""
    counts_1N = np.zeros((1, n))
    for positions in strata:
        counts_1N[:, positions] = 1
    return counts_1N


def _interval(found_B: Array, level: float) -> tuple[float, float]:
    """Percentile interval of the draws after the first, which is the sample; draws without spread are left out."""
    defined = found_B[1:][np.isfinite(found_B[1:])]
    if not len(defined) or not np.isfinite(found_B[0]):
        return math.nan, math.nan
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _matched(sample: GeneratorSample, columns: Sequence[Array]) -> list[float]:
    """rho of every column with ranks inside data set, fold and seeds; NaN where too few have company there."""
    strata = sample.matched
    if sum(map(len, strata)) < FEWEST:
        return [math.nan] * len(columns)
    counts_1N = _once(strata, len(sample.table))
    y_1N = drawn_ranks(sample.benefit, counts_1N, strata)
    return [float(rho(drawn_ranks(x_N, counts_1N, strata), y_1N, counts_1N)[0]) for x_N in columns]
