"""The peers of ``benchmarks/statistical_tests.py``: a plain pandas, scipy and scikit-posthocs script, and autorank.

The plain script is what a careful user writes who knows the right tests: reduce, then one library call or loop per
arm. Its numbers are those of the analysis room, which the benchmark checks.
"""

import contextlib
import io
import math
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import scikit_posthocs
from scipy import stats
from statsmodels.stats.multitest import multipletests


def plain_script(table: pd.DataFrame, control: str, margin: float, draws: int) -> dict[str, Any]:
    """Patients x arms from the tidy ``table`` of one metric, then every number of the comparison."""
    wide = table.pivot_table(index="patient", columns="arm", values="value", aggfunc="mean", sort=False)
    others = [arm for arm in wide.columns if arm != control]
    n, k = wide.shape
    ranks = wide.rank(axis=1, ascending=False)
    chi2 = float(stats.friedmanchisquare(*(wide[arm] for arm in wide)).statistic)
    f = (n - 1) * chi2 / (n * (k - 1) - chi2)
    deltas = {arm: (wide[arm] - wide[control]).to_numpy().round(12) for arm in others}
    p = [stats.wilcoxon(delta, zero_method="pratt").pvalue for delta in deltas.values()]
    runs = table.pivot_table(index=["arm", "patient"], columns="seed", values="value")
    return {
        "describe": wide.describe(),
        "mean ranks": ranks.mean().to_numpy(),
        "chi2": chi2,
        "F p": float(stats.f.sf(f, k - 1, (k - 1) * (n - 1))),
        "W": chi2 / (n * (k - 1)),
        "Nemenyi p": scikit_posthocs.posthoc_nemenyi_friedman(wide).to_numpy(),
        "CD": stats.studentized_range.ppf(0.95, k, np.inf) / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * n)),
        "Holm p": multipletests(p, method="holm")[1],
        "mean CI": np.array([stats.ttest_1samp(d, 0).confidence_interval(0.95) for d in deltas.values()]),
        "BCa": np.array([_bca(d, draws) for d in deltas.values()]),
        "Hodges-Lehmann": np.array([_hodges_lehmann(d) for d in deltas.values()]),
        "rank-biserial": np.array([_rank_biserial(d) for d in deltas.values()]),
        "wins": np.array([[(d > 0).sum(), (d == 0).sum(), (d < 0).sum()] for d in deltas.values()]),
        "rank CI": _rank_bootstrap(wide, draws),
        "two-way": np.array([_two_way((runs.loc[arm] - runs.loc[control]).to_numpy())[0] for arm in others]),
        "components": np.array([_components(runs.loc[arm].to_numpy()) for arm in wide]),
    }


def _bca(delta: np.ndarray, draws: int) -> tuple[float, float]:
    interval = stats.bootstrap((delta,), np.mean, n_resamples=draws, method="BCa", rng=0).confidence_interval
    return interval.low, interval.high


def _hodges_lehmann(delta: np.ndarray) -> tuple[float, float, float]:
    """The median of all pairwise means, and the normal interval of the signed-rank test."""
    n = len(delta)
    averages = np.sort(np.concatenate([(delta[i] + delta[i:]) / 2 for i in range(n)]))
    cut = round(n * (n + 1) / 4 - 1.959964 * math.sqrt(n * (n + 1) * (2 * n + 1) / 24))
    return float(np.median(averages)), averages[cut - 1], averages[-cut]


def _rank_biserial(delta: np.ndarray) -> float:
    ranks = stats.rankdata(np.abs(delta))
    return float((ranks[delta > 0].sum() - ranks[delta < 0].sum()) / ranks[delta != 0].sum())


def _rank_bootstrap(wide: pd.DataFrame, draws: int) -> np.ndarray:
    """The middle 95 % of each arm's rank, patients resampled."""
    values, rng = -wide.to_numpy(), np.random.default_rng(0)
    ranks = []
    for _ in range(draws):
        sample = values[rng.integers(len(values), size=len(values))]
        ranks.append(stats.rankdata(sample.mean(axis=0)))
    return np.quantile(ranks, [0.025, 0.975], axis=0, method="inverted_cdf")


def _squares(y_PR: np.ndarray) -> tuple[float, float, float]:
    """Mean squares of patients, runs and residual."""
    p, r = y_PR.shape
    rows, columns = y_PR.mean(axis=1, keepdims=True), y_PR.mean(axis=0, keepdims=True)
    residual = ((y_PR - rows - columns + y_PR.mean()) ** 2).sum() / ((p - 1) * (r - 1))
    return r * rows.var(ddof=1), p * columns.var(ddof=1), residual


def _two_way(d_PR: np.ndarray) -> tuple[float, float]:
    """Mean difference with patients and runs random, and its standard error (Hillis 2007)."""
    patients, runs, residual = _squares(d_PR)
    return d_PR.mean(), math.sqrt((runs + max(patients - residual, 0.0)) / d_PR.size)


def _components(y_PR: np.ndarray) -> tuple[float, float, float]:
    """SDs of patient, run and residual of one arm."""
    p, r = y_PR.shape
    patients, runs, residual = _squares(y_PR)
    return (
        math.sqrt(max(patients - residual, 0) / r),
        math.sqrt(max(runs - residual, 0) / p),
        math.sqrt(residual),
    )


def autorank_module() -> ModuleType | None:
    """Autorank (Apache-2.0), or None where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import autorank as module
    except ImportError:
        return None
    return module


def quietly(work: Callable[[], object]) -> object:
    """The result without its prints and warnings, or the error in words."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            return work()
        except Exception as error:
            return f"refused: {type(error).__name__}: {error}"


def autorank(module: ModuleType, wide: pd.DataFrame, **options: object) -> Any:
    """Autorank's answer, or the error in words."""
    return quietly(lambda: module.autorank(wide, alpha=0.05, verbose=False, **options))


AUTORANK = {
    "describe": "median, mad, ci_lower, ci_upper",
    "mean ranks": "meanrank",
    "chi2": "pvalue",
    "Nemenyi p": "",
    "CD": "cd",
    "rank-biserial": "effect_size",
}
"""Where autorank's result has something in the place of one of the contents."""


def autorank_facts(module: ModuleType, wide: pd.DataFrame, scores_ARP: np.ndarray) -> dict[str, str]:
    """What autorank reports and what it does with the traps of such a table, found by running it."""
    rng = np.random.default_rng(0)
    ranked = {"force_mode": "nonparametric"}
    chosen, forced = autorank(module, wide), autorank(module, wide, **ranked)
    shuffled = autorank(module, pd.DataFrame({arm: rng.permutation(wide[arm].to_numpy()) for arm in wide}), **ranked)
    moved = forced.rankdf["effect_size"].sort_index() - shuffled.rankdf["effect_size"].sort_index()
    holed, missed = wide.copy(), wide.copy()
    holed.iloc[0, 0], missed.iloc[0, 0] = np.nan, np.inf
    flat = pd.DataFrame(scores_ARP.reshape(len(scores_ARP), -1).T, columns=wide.columns)
    null = [rng.exponential(1, (40, 1)) + rng.normal(0, 1, (40, 2)) for _ in range(1000)]
    significant = [autorank(module, pd.DataFrame(pair), **ranked).pvalue < 0.05 for pair in null]
    return {
        "chooses for this table": f"{chosen.omnibus}, {chosen.posthoc} (by {chosen.homogeneity_test} and Shapiro-Wilk)",
        "reports per arm": ", ".join(map(str, forced.rankdf.columns)),
        "reports once, nonparametric": f"{forced.omnibus} p {forced.pvalue:.2g}, {forced.posthoc}, CD {forced.cd:.3f}",
        "effect sizes, patients of each arm shuffled": "change" if np.ptp(moved) > 1e-9 else "the same, so unpaired",
        "a score missing": _described(autorank(module, holed)),
        "a structure missed (infinite HD95)": _described(autorank(module, missed)),
        "seeds stacked as patients": f"taken as {autorank(module, flat).num_samples} blocks",
        "two arms alike, n = 40, nonparametric": f"p < .05 in {100 * np.mean(significant):.1f} % of 1,000",
    }


def _described(result: Any) -> str:
    if isinstance(result, str):
        return result
    sizes = int(result.rankdf["effect_size"].isna().sum())
    return f"accepted; {result.omnibus} p {result.pvalue:.2g}, {sizes} effect sizes NaN"
