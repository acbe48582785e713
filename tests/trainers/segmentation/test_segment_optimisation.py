"""Learning rates at chosen steps, optimisers, and the running average."""

import math

import pytest
import torch
from torch import nn

from medsweep.data.folds import Fold
from medsweep.trainers.segmentation.config import SegmentSettings, resolve
from medsweep.trainers.segmentation.optimisation import RunningAverage, learning_rate, make_optimizer


def config(**settings):
    given = SegmentSettings(**({"steps": 100, "learning_rate": 0.1} | settings))
    fold = Fold(index=0, of=4)
    return resolve(given, fold=fold, seed=0, count=0, candidates=0, unit="slices", resolution=32)


def rates(steps, **settings):
    return [learning_rate(config(**settings), step) for step in steps]


def test_schedules_at_the_first_step_halfway_and_at_the_last():
    at = (1, 51, 100)
    assert rates(at, schedule="constant") == [0.1] * 3
    assert rates(at) == pytest.approx([0.1, 0.05, 0.05 * (1 + math.cos(0.99 * math.pi))])
    assert rates(at, schedule="poly") == pytest.approx([0.1, 0.1 * 0.5**0.9, 0.1 * 0.01**0.9])


@pytest.mark.parametrize("schedule", ["cosine", "poly", "constant"])
def test_warm_up_rises_to_the_peak_and_the_schedule_takes_the_rest(schedule):
    warm = {"schedule": schedule, "warmup_steps": 20}
    assert rates((1, 10, 20, 21), **warm) == pytest.approx([0.005, 0.05, 0.1, 0.1])
    assert rates((61,), **warm) == pytest.approx(rates((51,), schedule=schedule))


def test_sgd_has_nesterov_momentum_and_weight_decay():
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = make_optimizer(config(optimizer="sgd", weight_decay=0.5), [weight])
    weight.grad = torch.tensor([1.0])
    optimizer.step()
    assert weight.item() == pytest.approx(2.0 - 0.1 * 1.99 * (1.0 + 0.5 * 2.0))


def test_the_average_follows_its_formula_in_weights_and_statistics():
    model = nn.BatchNorm1d(1)
    average = RunningAverage(model, half_life_steps=2)
    expected_weight, expected_mean = 1.0, 0.0
    for step in (1, 2, 40):
        nn.init.constant_(model.weight, 5.0 + step)
        model.running_mean.fill_(float(step))
        model.num_batches_tracked.fill_(step)
        average.update(step)
        keep = min(0.5**0.5, (1 + step) / (10 + step))
        expected_weight = keep * expected_weight + (1 - keep) * (5.0 + step)
        expected_mean = keep * expected_mean + (1 - keep) * step
    assert average.model.weight.item() == pytest.approx(expected_weight)
    assert average.model.running_mean.item() == pytest.approx(expected_mean)
    assert average.model.num_batches_tracked.item() == 40
    assert not average.model.weight.requires_grad
