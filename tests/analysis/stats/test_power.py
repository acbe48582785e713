"""Power against G*Power, a published table, and simulation."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from scipy import special

from helpers.published import expected, given, wide
from medsweep.analysis.records import mean_estimate
from medsweep.analysis.stats.effects import effect
from medsweep.analysis.stats.power import (
    Size,
    Spread,
    design_power,
    detectable,
    method_detectable,
    patient_arm,
    patients_for_equivalence,
    patients_needed,
    pilot,
    power_of,
    seeds_needed,
    sentences,
    tost_power,
)
from medsweep.analysis.stats.rank_stability import ranking


@pytest.mark.parametrize(("n", "alpha"), [(5, 0.05 / 19), (8, 1e-4), (250, 1e-4)])
def test_detectable_is_found_as_often_as_it_says_also_for_few_patients_and_small_alpha(n: int, alpha: float) -> None:
    draws = np.random.default_rng(n).normal(detectable(n, 1.0, alpha), 1.0, (200_000 // (1 + n // 10), n))
    t = draws.mean(axis=1) / draws.std(axis=1, ddof=1) * math.sqrt(n)
    assert (np.abs(t) > special.stdtrit(n - 1, 1 - alpha / 2)).mean() == pytest.approx(0.8, abs=0.02)


def test_detectable_inverts_gpower():
    n = expected("gpower_paired_t", "n_continuous")
    found = detectable(n, 1.0, given("gpower_paired_t", "alpha"), given("gpower_paired_t", "power"))
    assert found == pytest.approx(given("gpower_paired_t", "dz"), rel=1e-4)


def test_smaller_alpha_needs_a_larger_difference():
    assert detectable(20, 0.04, 0.05 / 6) == pytest.approx(0.034, abs=5e-4)
    assert detectable(20, 0.04, 0.05) == pytest.approx(0.026, abs=5e-4)


@pytest.mark.parametrize(("n", "sd"), [(20, 0.02), (40, 0.02), (40, 0.04)])
def test_tost_power_by_simulation(n, sd):
    rng = np.random.default_rng(n)
    intervals = [mean_estimate(rng.normal(0, sd, n), 0.9) for _ in range(1500)]
    hits = np.mean([max(-interval.low, interval.high) < 0.01 for interval in intervals])
    assert tost_power(n, sd, 0.01, 0.05) == pytest.approx(hits, abs=0.04)


# Smallest detectable difference with a paired t test, power .80, printed to three decimals.
PAIRED_T = {
    (10, 0.02): (0.020, 0.027), (10, 0.04): (0.040, 0.055), (10, 0.06): (0.060, 0.082),
    (20, 0.02): (0.013, 0.017), (20, 0.04): (0.026, 0.034), (20, 0.06): (0.040, 0.051),
    (40, 0.02): (0.009, 0.012), (40, 0.04): (0.018, 0.023), (40, 0.06): (0.027, 0.035),
    (100, 0.02): (0.006, 0.007), (100, 0.04): (0.011, 0.014), (100, 0.06): (0.017, 0.021),
    (200, 0.02): (0.004, 0.005), (200, 0.04): (0.008, 0.010), (200, 0.06): (0.012, 0.015),
}  # fmt: skip


@pytest.mark.parametrize("case", PAIRED_T)
def test_detectable_is_the_printed_table(case):
    plain, sixth = PAIRED_T[case]
    assert detectable(*case, 0.05) == pytest.approx(plain, abs=6e-4)
    assert detectable(*case, 0.05 / 6) == pytest.approx(sixth, abs=6e-4)


@pytest.mark.parametrize(
    ("n", "seeds", "printed"),
    [
        (40, 1, 0.028),
        (40, 3, 0.017),
        (40, 5, 0.014),
        (40, 10, 0.011),
        (100, 1, 0.025),
        (100, 3, 0.015),
        (100, 5, 0.012),
        (100, 10, 0.009),
    ],
)
def test_run_variance_is_the_printed_series(n, seeds, printed):
    size = Size(patients=n, folds=1, seeds=seeds, scores=seeds, comparisons=1)
    assert method_detectable(size, Spread(), 0.01, 0.05) == pytest.approx(printed, abs=6e-4)


@pytest.mark.parametrize(
    ("n", "margin", "sd", "printed"),
    [
        (20, 0.01, 0.02, 0.39),
        (40, 0.01, 0.02, 0.86),
        (100, 0.01, 0.02, 1.0),
        (40, 0.01, 0.04, 0.03),
        (100, 0.01, 0.04, 0.60),
        (40, 0.02, 0.04, 0.86),
    ],
)
def test_tost_power_is_the_printed_one(n, margin, sd, printed):
    assert tost_power(n, sd, margin, 0.05) == pytest.approx(printed, abs=0.006)


def test_patients_for_equivalence_is_the_first_number_that_reaches_the_power():
    needed = patients_for_equivalence(0.02, 0.01, 0.05)
    assert tost_power(needed - 1, 0.02, 0.01, 0.05) < 0.8 <= tost_power(needed, 0.02, 0.01, 0.05)
    assert 20 < needed < 40


def test_a_method_is_never_easier_to_tell_than_its_networks():
    for n in (2, 5, 8, 40):
        size = Size(patients=n, folds=1, seeds=3, scores=3, comparisons=7)
        found = design_power(size, Spread(run=0.0), margin=0.01, alpha=0.05)
        assert 0 < found.models <= found.method < math.inf
    assert found.run_share == 0


def test_a_pilot_recovers_the_spread_it_was_drawn_with():
    rng = np.random.default_rng(5)
    patients, seeds, folds = 60, 4, 8
    rows = []
    for fold in range(folds):
        level = rng.normal(0.8, 0.08, patients)
        effect = {"control": np.zeros(patients), "a": rng.normal(0.0, 0.03, patients)}
        for arm, seed in ((arm, seed) for arm in effect for seed in range(seeds)):
            run = rng.normal(0.0, 0.01)
            values = level + effect[arm] + run + rng.normal(0.0, 0.02, patients)
            rows += [(arm, fold, seed, f"{fold}-{i}", value) for i, value in enumerate(values)]
    cells = pd.DataFrame(rows, columns=["arm", "fold", "seed", "patient", "value"])
    found = pilot(cells, "control")
    assert found.measured == ("run", "residual", "differences")
    assert found.residual == pytest.approx(0.02, rel=0.05)
    assert found.run == pytest.approx(0.01, rel=0.35)
    assert found.differences == pytest.approx(math.sqrt(0.03**2 + 2 * (0.02**2 + 0.01**2) / seeds), rel=0.1)
    alone = pilot(cells[cells["arm"] == "control"], "control")
    assert (alone.measured, alone.differences) == (("run", "residual"), 0.04)
    assert pilot(cells[(cells["arm"] == "control") & (cells["seed"] == 0)], "control") is None
    assert pilot(cells[:0], "control") is None


def test_the_plan_warns_of_what_it_cannot_show_and_of_nothing_else():
    def said(patients, folds, seeds, sd):
        size = Size(patients=patients, folds=folds, seeds=seeds, scores=seeds, comparisons=6)
        return sentences(design_power(size, Spread(differences=sd), margin=0.01, alpha=0.05), "dice")

    few = said(20, 1, 5, 0.04)
    assert few[0] == "power: 20 patients tested, 1 fold(s) x 5 seed(s), 6 comparison(s) with the control"
    assert "at alpha 0.05/6: 0.034" in few[2]
    assert [line for line in few if "warning" in line] == [few[4]]
    assert "equivalence within 0.01 cannot be shown; it takes 139 patients" in few[4]
    single = said(300, 1, 1, 0.04)
    assert [line for line in single if "warning" in line] == list(single[4:])
    assert "1 seed(s) of 7 arms on one held-out set cannot judge a method" in single[4]
    assert "seeds are the bottleneck" in single[5]
    assert len(single) == 6
    assert not [line for line in said(200, 5, 5, 0.04) if "warning" in line]


def test_edges():
    alone = effect("x", np.array([0.1]), higher_is_better=True, level=0.95)
    assert math.isnan(power_of(alone, margin=0.01, alpha=0.05, comparisons=3).detectable)
    sure = effect("x", np.full(4, 0.1), higher_is_better=True, level=0.95)
    assert power_of(sure, margin=0.01, alpha=0.05, comparisons=3).tost == 1.0


def test_rank_stability_is_firm_for_a_clear_winner_and_shared_for_twins():
    rng = np.random.default_rng(0)
    base = rng.normal(0.8, 0.05, 20)
    clear = wide(np.stack([base, base + 0.05, base - 0.05], axis=1).tolist())
    first, best, worst = ranking(clear, higher_is_better=True, level=0.95).arms
    assert (best.share_first, best.low, best.high) == (1.0, 1.0, 1.0)
    assert (first.rank, worst.rank) == (2.0, 3.0)
    twins = ranking(wide(np.stack([base, base], axis=1).tolist()), higher_is_better=False, level=0.95).arms
    assert [one.share_first for one in twins] == [0.5, 0.5]


def test_rank_stability_ignores_row_order_and_direction_flips_with_the_metric():
    table = wide(np.random.default_rng(1).normal(size=(9, 4)).tolist())
    found = ranking(table, higher_is_better=True, level=0.95).arms
    assert ranking(table.iloc[::-1], higher_is_better=True, level=0.95).arms == found
    assert ranking(-table, higher_is_better=False, level=0.95).arms == found


@pytest.mark.parametrize(("count", "field"), [(seeds_needed, "seeds"), (patients_needed, "patients")])
def test_what_is_needed_is_the_first_design_that_finds_the_difference(count, field):
    size, spread = Size(patients=10, folds=1, seeds=2, scores=2, comparisons=6), Spread(0.02, 0.005, 0.01)
    arm = math.sqrt(0.02**2 / 2 - 0.01**2 / 2)

    def found(n):
        more = {"seeds": n, "scores": n} if field == "seeds" else {"patients": n}
        return method_detectable(dataclasses.replace(size, **more), spread, arm, 0.05 / 6)

    fewest = count(size, spread, 0.02, 0.05)
    assert found(fewest) <= 0.02 < found(fewest - 1)


def test_what_no_number_of_seeds_can_show_is_out_of_reach():
    size = Size(patients=4, folds=1, seeds=2, scores=2, comparisons=6)
    assert seeds_needed(size, Spread(0.05, 0.001, 0.001), 0.005, 0.05) is None
    assert patients_needed(size, Spread(0.05, 0.02, 0.001), 0.005, 0.05) is None


def test_one_seed_is_enough_where_every_fold_trains():
    spread = Spread(0.02, 0.005, 0.01)
    over_folds = Size(patients=40, folds=5, seeds=1, scores=1, comparisons=2)
    assert method_detectable(over_folds, spread, patient_arm(over_folds, spread), 0.025) <= 0.05
    assert seeds_needed(over_folds, spread, 0.05, 0.05) == 1
    assert seeds_needed(dataclasses.replace(over_folds, folds=1, seeds=2, scores=2), spread, 0.05, 0.05) == 2
