"""One draw of patients for all arms."""

import math

import numpy as np
import pytest

from medsweep.analysis.stats import effects
from medsweep.analysis.stats.effects import bootstrap_means, patient_weights, resampled_means


def test_weights_are_multinomial_counts_over_n():
    weights = patient_weights(8, 4000, "test")
    counts = weights * 8
    assert weights.shape == (4000, 8)
    assert (counts == counts.round()).all()
    assert weights.sum(axis=1) == pytest.approx(np.ones(4000))
    assert counts.mean(axis=0) == pytest.approx(np.ones(8), abs=0.06)
    assert counts.var(axis=0) == pytest.approx(np.full(8, 7 / 8), abs=0.08)
    assert np.corrcoef(counts[:, 0], counts[:, 1])[0, 1] == pytest.approx(-1 / 7, abs=0.05)


def test_the_draw_is_fixed_shared_and_named_by_its_purpose():
    first = patient_weights(5, 50, "a")
    assert first is patient_weights(5, 50, "a")
    patient_weights.cache_clear()
    assert (first == patient_weights(5, 50, "a")).all()
    assert (first != patient_weights(5, 50, "b")).any()
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 1.0


def test_the_chunk_bounds_memory_and_changes_no_row_sum(monkeypatch):
    monkeypatch.setattr(effects, "CHUNK", 70)
    patient_weights.cache_clear()
    weights = patient_weights(10, 33, "a")
    assert weights.sum(axis=1) == pytest.approx(np.ones(33))
    patient_weights.cache_clear()


def test_means_of_many_patients_are_those_of_the_same_draw(monkeypatch):
    scores = np.random.default_rng(0).normal(size=(40, 3))
    scores[7, 2] = math.inf
    held = bootstrap_means(scores, 60, "a")
    monkeypatch.setattr(effects, "HELD", 100)
    monkeypatch.setattr(effects, "CHUNK", 320)
    patient_weights.cache_clear()
    assert bootstrap_means(scores, 60, "a") == pytest.approx(resampled_means(patient_weights(40, 60, "a"), scores))
    assert np.isinf(held[:, 2]).any()


def test_means_with_infinite_scores_are_infinite_where_drawn():
    weights = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]])
    means = resampled_means(weights, np.array([[math.inf, 1.0], [2.0, 2.0], [4.0, 3.0]]))
    assert means.tolist() == [[math.inf, 1.5], [3.0, 2.5]]
    for bad in ([[math.nan], [1.0], [2.0]], [[math.inf], [-math.inf], [2.0]]):
        with pytest.raises(ValueError, match="without NaN"):
            resampled_means(weights, np.array(bad))
