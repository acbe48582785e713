"""The script of error rates: what it counts is what the report says, and its simulated sweeps are what they claim."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import error_rates

ROWS = {row.name: row for row in error_rates.rows()}
SOME = [
    "held-out set, 1 seed, run SD 0.006",
    "held-out set, 5 seeds, run SD 0.006, 3 % missed",
    "5 folds, 5 seeds, arms .012, control .003",
]


@pytest.mark.parametrize("name", SOME)
def test_the_ends_counted_are_those_of_the_reports_verdicts(name):
    error_rates.check(ROWS[name])
    rates = error_rates.outcomes(ROWS[name], error_rates.simulate(ROWS[name], np.random.default_rng(1)))
    assert len(rates) == len(error_rates.HEAD)
    assert all(0 <= rate <= 1 for rate in rates)


def test_a_table_holds_each_patient_in_its_fold():
    row = ROWS["5 folds, 5 seeds, run SD 0.006"]
    table = error_rates.table_of(row, error_rates.simulate(row, np.random.default_rng(0)))
    assert table.values.shape == (7, 40 * 5)
    folds = [set(table.patient[cells]) for cells in table.fold_cells()]
    assert [len(fold) for fold in folds] == [8] * 5
    assert len(set.union(*folds)) == 40


def test_runs_spread_as_the_row_says():
    row = ROWS["held-out set, 5 seeds, arms .012, control .003"]
    spread = [error_rates.simulate(row, np.random.default_rng(i)).mean(axis=1).std(axis=1) for i in range(60)]
    control, *arms = np.mean(spread, axis=0)
    assert control < 0.6 * min(arms)
    assert error_rates.failures(row, [0.2, 0, 0.99, 0, 0, 0, 0, 0, 0], 2000)
    assert not error_rates.failures(ROWS[SOME[0]], [0.9, 0, 0.5, 0, 0, 0, 0, 0, 0], 2000)
