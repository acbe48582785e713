"""Quality of pools against utility: the table of generators, Spearman as scipy has it, known truths, and refusals."""

import math
import time

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given as randomly
from hypothesis import settings
from hypothesis.extra.numpy import arrays
from scipy import stats

from helpers.simulated_results import CONTROL, arm, simulate, simulate_pools
from medsweep.analysis.questions.quality import quality_of
from medsweep.analysis.questions.rank_association import (
    bend,
    bootstrap_counts,
    drawn_ranks,
    permutation_p,
    rho,
    scaled_ranks,
)
from medsweep.analysis.questions.utility import KEYS, better, generator_table, is_quality, utility_table
from medsweep.analysis.records import to_json
from medsweep.analysis.stats.p_adjustment import holm
from medsweep.analysis.table.reduction import AnalysisRules, reduce
from medsweep.analysis.table.validation import validated

# fmt: off
DOCUMENTED = [
    "frechet", "frechet_decoder", "frechet_infinity", "frechet_inception", "frechet_random", "kid", "kid_inception",
    "precision", "recall", "density", "coverage", "vendi", "authenticity", "nearest_ratio", "radial_psd_log_error",
    "high_frequency_log_error", "spectral_slope_difference", "laplacian_ratio", "mask_ks_area", "mask_nearest_hd95_px",
    "mask_nearest_hd95_gap_px", "consistency_dice", "excess_dice", "consistency_hd95_px",
    "excess_assd_px", "excess_bias_px", "excess_missed", "spoiled_auc", "iou_mean", "iou_median",
]
AUXILIARY = [
    "n_real", "n_pool", "n_matched", "n_equal", "frechet_floor", "frechet_low", "frechet_high", "frechet_decoder_dims",
    "kid_p", "kid_floor", "vendi_real", "authenticity_real", "mask_nearest_hd95_px_real", "consistency_dice_in_use",
    "consistency_hd95_px_unseen", "excess_hd95_px_low", "class_1/excess_hd95_px", "spoiled_share",
]
# fmt: on


def generators(measures, datasets=(12,), seed=0, noise=0.3):
    """One row per generator; ``measures``: name -> function of the hidden quality q and the noise e."""
    rng = np.random.default_rng(seed)
    rows = []
    for d, n in enumerate(datasets):
        for g in range(n):
            q = rng.normal()
            row = {"dataset": f"set-{d}", "generator": f"{g:03d}", "arms": f"gan {g % 3}", "fold": g // 3, "seeds": "0"}
            row["utility"] = 0.01 * (d + 1) * (q + noise * rng.normal()) + 0.1 * d
            rows.append({**row, **{name: f(q, rng.normal()) + 50 * d for name, f in measures.items()}})
    return pd.DataFrame(rows)


TRUTH = {
    "iou_mean": lambda q, e: q + 0.1 * e,
    "frechet": lambda q, e: -q + 0.3 * e,
    "frechet_inception": lambda q, e: -q + 3 * e,
    "kid": lambda q, e: e,
    "laplacian_ratio": lambda q, e: q**2 + 0.1 * e,
}


def study(table, **settings):
    return quality_of(table, **{"higher_is_better": True, "level": 0.95, **settings})


def found_in(record):
    return {one.metric: one for one in record.metrics}


def test_one_data_set_is_spearman_of_scipy():
    table = generators(TRUTH, (14,))
    for name, one in found_in(study(table)).items():
        oracle = stats.spearmanr(table[name], table["utility"])
        assert one.rho == pytest.approx(oracle.statistic, abs=1e-12)
        assert one.p == pytest.approx(oracle.pvalue, abs=0.02)


@randomly(arrays(np.float64, st.integers(4, 9), elements=st.integers(0, 4).map(float)), st.integers(0, 99))
@settings(deadline=None)
def test_drawn_ranks_are_the_ranks_of_the_drawn_sample(x, seed):
    strata = [np.arange(0, 3), np.arange(3, len(x))] if len(x) > 4 else [np.arange(len(x))]
    counts = bootstrap_counts(strata, len(x), 5, f"test {seed}")
    ranks = drawn_ranks(x, counts, strata)
    y = drawn_ranks(x**2 - 3 * x, counts, strata)
    for b, row in enumerate(counts.astype(int)):
        sample = []
        for positions in strata:
            drawn = np.repeat(positions, row[positions])
            assert len(drawn) == len(positions)
            brute = (stats.rankdata(x[drawn]) - (len(drawn) + 1) / 2) / len(drawn)
            assert ranks[b, drawn] == pytest.approx(brute, abs=1e-12)
            sample += drawn.tolist()
        value = rho(ranks[[b]], y[[b]], counts[[b]])[0]
        if not math.isnan(value):
            assert value == pytest.approx(np.corrcoef(ranks[b, sample], y[b, sample])[0, 1], abs=1e-9)


def test_data_sets_are_ranked_apart_so_that_their_levels_cannot_make_a_correlation():
    table = generators({"iou_mean": lambda q, e: e, "frechet": lambda q, e: -q}, (10, 10, 10), noise=0.01)
    pooled = stats.spearmanr(table["iou_mean"], table["utility"]).statistic
    found = found_in(study(table))
    assert pooled > 0.8
    assert abs(found["iou_mean"].rho) < 0.3
    assert found["frechet"].rho < -0.95
    parts = [stats.spearmanr(rows["frechet"], rows["utility"]).statistic for _, rows in table.groupby("dataset")]
    assert found["frechet"].rho == pytest.approx(np.mean(parts))


def test_known_truths_are_found():
    record = study(generators(TRUTH, (12, 12, 12)))
    found = found_in(record)
    assert found["iou_mean"].low > 0.5
    assert (found["frechet"].high < 0, found["frechet"].as_meant, found["frechet"].p_holm < 0.001) == (True,) * 3
    assert found["kid"].low < 0 < found["kid"].high
    assert found["laplacian_ratio"].as_meant is None
    assert found["laplacian_ratio"].better == "middle"
    adjusted = holm([one.p for one in record.metrics])
    assert [one.p_holm for one in record.metrics] == list(adjusted)
    assert record.note == "exploratory: 36 generators of 3 data sets, 5 measures, Holm over all of them."
    (first, *others) = record.comparisons
    assert (first.first, first.second, first.n) == ("frechet", "frechet_inception", 36)
    assert 0 < first.low < first.difference < first.high
    assert first.difference == pytest.approx(abs(found["frechet"].rho) - abs(found["frechet_inception"].rho))
    assert others == []
    assert [(one.name, one.reason) for one in record.not_judged] == [
        ("frechet_decoder against frechet_inception", "frechet_decoder not measured"),
        ("frechet against frechet_random", "frechet_random not measured"),
    ]


def test_a_peak_in_the_middle_is_a_negative_bend():
    x = np.arange(20.0)
    strata = [np.arange(20)]
    once = np.ones((1, 20))
    ranks = drawn_ranks(x, once, strata)
    for sign in (1, -1):
        y = drawn_ranks(-sign * (x - 9.5) ** 2 + 0.01 * x, once, strata)
        assert sign * bend(ranks, y, once, strata)[0] < -0.95
    assert abs(bend(ranks, drawn_ranks(x**3, once, strata), once, strata)[0]) < 1e-9
    tied = drawn_ranks(np.maximum(x, 9.0), once, strata)
    assert abs(bend(tied, tied, once, strata)[0]) < 1e-9
    peaked = {"iou_mean": lambda q, e: 2 * e, "nearest_ratio": lambda q, e: math.copysign(max(2 - q, 0.0), e)}
    found = found_in(study(generators(peaked, (40,), noise=0.1)))["nearest_ratio"]
    assert found.bend_high < 0
    assert found.bend < -abs(found.rho)


def test_the_control_that_a_replicate_shares_drops_out_when_matched():
    rng = np.random.default_rng(3)
    rows = []
    for fold in range(12):
        control = rng.normal()
        for g in range(3):
            row = {"dataset": "set-0", "generator": f"{fold}-{g}", "arms": f"gan {g}", "fold": fold, "seeds": "0"}
            rows.append({**row, "utility": -control + 0.3 * rng.normal(), "frechet": -control + 0.3 * rng.normal()})
    (found,) = study(pd.DataFrame(rows)).metrics
    assert (found.rho > 0.7, found.p < 0.001) == (True, True)
    assert abs(found.rho_matched) < 0.4


def test_permutation_p_holds_its_level():
    rng = np.random.default_rng(4)
    strata = [np.arange(0, 6), np.arange(6, 14)]
    x = np.stack([scaled_ranks(rng.normal(size=14), strata) for _ in range(400)], axis=1)
    p = permutation_p(x, scaled_ranks(rng.normal(size=14), strata), strata, 999, "level")
    assert 0.02 <= (p <= 0.05).mean() <= 0.08
    assert p.min() >= 1 / 1000


def test_the_table_of_generators_matches_control_fold_and_seed():
    arms = [arm(CONTROL, 0), *(arm(f"{g}, {c}", c, g, **{"gan.pipeline": g}) for g in ("b", "mc") for c in (8, 16))]
    names = [one.name for one in arms]
    results = simulate(arms, {"b, 8": 0.05}, patients=9, folds=3, seeds=2)
    reduced = reduce(validated(results, names, "dice"), AnalysisRules(), names, "dice")
    utility = utility_table(reduced, CONTROL, "phantom")
    assert list(utility.columns) == ["dataset", "arm", "fold", "seed", "n", "utility"]
    assert (len(utility), set(utility["n"])) == (4 * 3 * 2, {3})
    cells = reduced.cells.groupby(["arm", "fold", "seed"])["value"].mean()
    for row in utility.itertuples():
        by_hand = cells[row.arm, row.fold, row.seed] - cells[CONTROL, row.fold, row.seed]
        assert row.utility == pytest.approx(by_hand, abs=1e-11)
    pools = simulate_pools(arms, seeds=2)
    leaf = pools.head(1).assign(digest="a segment trial", metric="slices_seen", value=7.0)
    table = generator_table(pd.concat([pools, leaf]), utility)
    assert list(table.columns) == [*KEYS, "frechet", "frechet_floor", "iou_mean", "n_pool", "retention"]
    assert table["arms"].tolist() == ["b, 16, b, 8", "b, 16, b, 8", "mc, 16, mc, 8", "mc, 16, mc, 8"]
    first = utility[(utility["fold"] == 0) & (utility["seed"] == 0) & utility["arm"].str.startswith("b")]
    assert table["utility"].iloc[0] == pytest.approx(first["utility"].mean(), abs=1e-11)
    shuffled = generator_table(pools.sample(frac=1, random_state=0), utility.sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(shuffled, table)
    record = quality_of(table, higher_is_better=True, level=0.95)
    assert record.metrics == ()
    assert {one.reason for one in record.not_judged[:3]} == {"4 generators, 5 are the fewest"}
    assert record.note == "exploratory: 4 generators of 1 data set; no measure can be judged."
    with pytest.raises(ValueError, match="pools lack a dataset column, and the utilities are of 2 data sets"):
        generator_table(pools, pd.concat([utility, utility.assign(dataset="other")]))


def test_an_infinite_patient_and_a_replicate_without_control_stay_out():
    cells = pd.DataFrame(
        [
            ("real only", 0, 0, "a", 1.0),
            ("real only", 0, 0, "b", math.inf),
            ("x", 0, 0, "a", 3.0),
            ("x", 0, 0, "b", 4.0),
            ("x", 1, 0, "a", 5.0),
        ],
        columns=["arm", "fold", "seed", "patient", "value"],
    )
    reduced = type("Cells", (), {"cells": cells})
    assert utility_table(reduced, CONTROL, "d").to_dict("records") == [
        {"dataset": "d", "arm": "x", "fold": 0, "seed": 0, "n": 1, "utility": 2.0}
    ]


def test_what_cannot_be_judged_is_said_by_name():
    table = generators({**TRUTH, "kid": lambda q, e: 0.0}, (8, 1))
    table.loc[:4, "frechet"] = math.nan
    record = study(table)
    refused = {one.name: (one.n, one.reason) for one in record.not_judged}
    assert refused["frechet"] == (3, "3 generators, 5 are the fewest")
    assert refused["kid"] == (8, "kid is the same for all generators of a data set")
    assert refused["frechet against frechet_inception"] == (3, "3 generators, 5 are the fewest")
    assert found_in(record)["iou_mean"].n == 8
    assert record.datasets == (("set-0", 8), ("set-1", 1))
    flat = study(table.assign(utility=0.0))
    assert flat.metrics == ()
    assert "the benefit is the same for all generators of a data set" in {one.reason for one in flat.not_judged}


def test_few_generators_and_many_measures_can_show_nothing_and_say_so():
    names = {name: (lambda q, e: e) for name in DOCUMENTED[:8]}
    record = study(generators({"iou_mean": lambda q, e: q, **names}, (5,)))
    said = "the smallest p it allows is 0.15, so no measure can be shown to matter."
    assert record.note == f"exploratory: 5 generators of 1 data set, 9 measures, Holm over all of them; {said}"


@pytest.mark.parametrize("name", DOCUMENTED)
def test_documented_measures_have_a_direction(name):
    assert is_quality(name)
    assert better(name) != "unstated"


@pytest.mark.parametrize("name", AUXILIARY)
def test_counts_floors_and_limits_are_no_measures(name):
    assert not is_quality(name)


def test_floors_stay_out_of_the_family():
    record = study(generators({**TRUTH, "frechet_floor": lambda q, e: e}, (9,)))
    assert "frechet_floor" not in found_in(record)


def test_row_order_and_monotone_transforms_change_nothing_and_direction_mirrors():
    table = generators(TRUTH, (9, 7))
    record = study(table, resamples=200)
    assert study(table.sample(frac=1, random_state=3), resamples=200) == record
    bent = found_in(study(table.assign(frechet=np.exp(table["frechet"] / 30)), resamples=200))["frechet"]
    assert bent == found_in(record)["frechet"]
    turned = found_in(study(table, higher_is_better=False, resamples=200))["frechet"]
    assert turned.rho == pytest.approx(-found_in(record)["frechet"].rho)
    assert turned.p == found_in(record)["frechet"].p
    assert '"metric": "frechet"' in to_json(record)


def test_forty_measures_of_fifty_generators_take_moments():
    table = generators({"iou_mean": TRUTH["iou_mean"], **{f"m{i}": (lambda q, e: e) for i in range(39)}}, (25, 25))
    start = time.process_time()
    assert len(study(table).metrics) == 40
    assert time.process_time() - start < 20.0
