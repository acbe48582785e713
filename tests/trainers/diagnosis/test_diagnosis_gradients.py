"""Gradients of probe batches, and products of them without noise."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from medsweep.trainers.diagnosis.gradients import (
    HELD_OUT,
    POOL,
    TRAIN,
    Products,
    corrected_cosine,
    half_gradient,
    influence,
    noise_scale,
    norm_ratio,
)
from medsweep.trainers.diagnosis.layers import ALL, group_of, observed_layers
from medsweep.trainers.segmentation.network import SegmenterArchitecture, build

TINY = SegmenterArchitecture(modalities=1, classes=2, channels=(2, 4, 8), residual_units=0)
SOURCES = (TRAIN, HELD_OUT, POOL)
DIMENSIONS = 40


def cross_entropy(logits, masks):
    return functional.cross_entropy(logits, masks.long())


def test_the_gradient_of_a_half_is_the_mean_of_a_plain_loop_over_its_samples():
    model, draws = build(TINY, seed=0).eval(), torch.Generator().manual_seed(0)
    images = torch.randn(6, 1, 16, 16, generator=draws)
    masks = torch.randint(0, 2, (6, 16, 16), generator=draws)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    logits, found = half_gradient(model, cross_entropy, images, masks)
    weights = dict(model.named_parameters())
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for image, mask in zip(images, masks, strict=True):
        model.zero_grad()
        cross_entropy(model(image[None]), mask[None]).backward()
        for name, weight in weights.items():
            total[name] += weight.grad / len(images)
    assert found.keys() == weights.keys()
    for name, expected in total.items():
        torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(logits, model(images).detach())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_products_of_groups_add_up_and_are_scaled_by_second_moments():
    model = build(TINY, seed=0)
    draws = torch.Generator().manual_seed(1)
    gradients = {
        source: [
            {name: torch.randn(w.shape, generator=draws) for name, w in model.named_parameters()} for _ in range(2)
        ]
        for source in SOURCES
    }
    moments = {name: torch.full_like(w, 4.0) for name, w in model.named_parameters()}
    products = Products.of(model, gradients, dict.fromkeys(SOURCES, 8), moments)
    assert set(products.plain) == {ALL, "encoder 1", "encoder 2", "bottleneck", "decoder 2", "head"}
    np.testing.assert_allclose(sum(v for k, v in products.plain.items() if k != ALL), products.plain[ALL])
    whole = [torch.cat([each.flatten() for each in half.values()]) for half in gradients[POOL]]
    assert products.product(POOL, POOL, ALL) == pytest.approx(float(whole[0] @ whole[1]), rel=1e-4)
    np.testing.assert_allclose(products.scaled[ALL], products.plain[ALL] / 2, rtol=1e-6)


def drawn(rng, means, noise, half=8):
    """Products of two noisy halves per source around the means (DIMENSIONS,)."""
    rows = [mean + noise * rng.standard_normal(DIMENSIONS) for mean in means for _ in range(2)]
    gram = np.array(rows) @ np.array(rows).T
    return Products(SOURCES, dict.fromkeys(SOURCES, half), {ALL: gram}, {})


def test_the_corrected_cosine_is_unbiased_where_that_of_two_batches_is_far_too_low():
    rng = np.random.default_rng(0)
    held_out, other = np.linalg.qr(rng.standard_normal((DIMENSIONS, 2)))[0].T
    pool = 2 * (0.6 * held_out + 0.8 * other)
    phase = [drawn(rng, (held_out, held_out, pool), noise=0.5) for _ in range(4000)]
    assert corrected_cosine(phase, HELD_OUT, POOL) == pytest.approx(0.6, abs=0.03)
    assert corrected_cosine(phase, HELD_OUT, TRAIN) == pytest.approx(1.0, abs=0.04)
    raw = [each.plain[ALL][2, 4] / math.sqrt(each.plain[ALL][2, 2] * each.plain[ALL][4, 4]) for each in phase]
    assert np.mean(raw) < 0.2
    assert norm_ratio(phase) == pytest.approx(2.0, abs=0.05)
    assert influence(phase, POOL) == pytest.approx(1.2, abs=0.05)
    # the noise of a half has the squared norm 0.25 D = 10, that of one sample 8 times as much
    assert noise_scale(phase, TRAIN) == pytest.approx(8 * 10, rel=0.06)
    assert noise_scale(phase, POOL) == pytest.approx(8 * 10 / 4, rel=0.06)


def test_what_noise_hides_is_undefined_and_not_nought():
    gram = -np.ones((6, 6)) + 2 * np.eye(6)
    phase = [Products(SOURCES, dict.fromkeys(SOURCES, 8), {ALL: gram}, {})]
    assert math.isnan(corrected_cosine(phase, HELD_OUT, POOL))
    assert math.isnan(norm_ratio(phase))
    assert math.isnan(influence(phase, POOL))
    assert math.isnan(noise_scale(phase, POOL))


@pytest.mark.parametrize("units", [0, 2])
def test_every_weight_of_a_u_net_has_its_level_and_every_level_is_observed(units):
    model = build(TINY.model_copy(update={"residual_units": units}), seed=0)
    levels = {"encoder 1", "encoder 2", "bottleneck", "decoder 2", "head"}
    assert {group_of(model, name) for name, _ in model.named_parameters()} == levels
    layers = observed_layers(model)
    assert set(layers) == levels
    assert all(isinstance(model.get_submodule(name), nn.Module) for name in layers.values())
    assert group_of(model, f"{layers['bottleneck']}.weight") == "bottleneck"
