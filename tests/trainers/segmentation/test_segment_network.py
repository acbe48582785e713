"""The U-Net: built from a seed, saved, opened again, and read at its bottleneck."""

from importlib.util import find_spec

import pytest
import torch
from torch import nn

from medsweep.errors import UserError
from medsweep.trainers.segmentation.network import (
    ARCHITECTURE,
    SegmenterArchitecture,
    build,
    feature_layers,
    features,
    load_segmenter,
    most_likely,
    predict,
    save_segmenter,
)

SMALL = SegmenterArchitecture(modalities=2, classes=3, channels=(4, 8, 16), residual_units=0)
IMAGES = torch.randn(5, 2, 32, 32, generator=torch.Generator().manual_seed(0))


def weights(model) -> torch.Tensor:
    return torch.cat([value.flatten() for value in model.parameters()])


def test_initial_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = weights(build(SMALL, seed=3))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(weights(build(SMALL, seed=3)), first)
    assert not torch.equal(weights(build(SMALL, seed=4)), first)


def test_a_saved_network_predicts_as_before(tmp_path):
    model = build(SMALL, seed=3).train()
    for _ in range(3):
        model(IMAGES)  # moves the statistics of the normalisation, which must be saved too
    save_segmenter(model, SMALL, tmp_path)
    loaded = load_segmenter(tmp_path, "cpu")
    assert not loaded.training
    assert torch.equal(predict(loaded, IMAGES), predict(model.eval(), IMAGES))


def test_prediction_is_a_distribution_and_does_not_depend_on_the_batch():
    model = build(SMALL, seed=3).eval()
    found = predict(model, IMAGES, batch=2)
    assert found.shape == (5, 3, 32, 32)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(5, 32, 32))
    torch.testing.assert_close(found, predict(model, IMAGES, batch=5))


def test_features_are_mean_and_deviation_of_the_deepest_layer():
    model = build(SMALL, seed=3).eval()
    down, around, _ = model.model
    second, around_bottom, _ = around.submodule
    with torch.no_grad():
        deepest = around_bottom.submodule(second(down(IMAGES)))
    assert deepest.shape == (5, 16, 8, 8)
    expected = torch.cat([deepest.mean(dim=(2, 3)), deepest.std(dim=(2, 3), correction=0)], dim=1)
    torch.testing.assert_close(features(model, IMAGES, batch=2), expected)


def test_reading_features_leaves_no_hook_behind():
    model = build(SMALL, seed=3).eval()
    features(model, IMAGES)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("classes", [2, 5])
def test_the_most_likely_class_is_that_of_argmax_and_the_first_of_equal_ones(classes):
    scores = torch.randint(0, 3, (4, classes, 9, 9), generator=torch.Generator().manual_seed(0)).float()
    found = most_likely(scores)
    assert found.dtype == torch.uint8
    assert torch.equal(found.long(), scores.argmax(dim=1))


def test_in_whole_batches_a_sample_does_not_feel_how_many_follow():
    model = build(SMALL, seed=3).eval()
    everything = predict(model, IMAGES, batch=4, whole_batches=True)
    for count in (1, 3, 4, 5):
        assert torch.equal(predict(model, IMAGES[:count], batch=4, whole_batches=True), everything[:count])


def test_in_whole_batches_features_do_not_feel_how_many_follow_either():
    model = build(SMALL, seed=3).eval()
    everything = features(model, IMAGES, batch=4, whole_batches=True)
    torch.testing.assert_close(everything, features(model, IMAGES))
    for count in (1, 3, 4, 5):
        assert torch.equal(features(model, IMAGES[:count], batch=4, whole_batches=True), everything[:count])


def shape_of(network: str) -> SegmenterArchitecture:
    channels = (12, 24, 48, 96, 192) if network == "swin-unetr" else (4, 8, 16)
    return SegmenterArchitecture(modalities=2, classes=3, channels=channels, residual_units=2, network=network)


NETWORKS = [
    "unet",
    "attention-unet",
    "segresnet",
    pytest.param("swin-unetr", marks=pytest.mark.skipif(find_spec("einops") is None, reason="needs einops")),
]


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_is_built_from_its_seed_saved_and_opened_again(tmp_path, network):
    shape = shape_of(network)
    assert torch.equal(weights(build(shape, seed=3)), weights(build(shape, seed=3)))
    model = build(shape, seed=3).train()
    model(IMAGES)
    save_segmenter(model, shape, tmp_path)
    loaded = load_segmenter(tmp_path, "cpu")
    assert predict(loaded, IMAGES).shape == (5, 3, 32, 32)
    assert torch.equal(predict(loaded, IMAGES), predict(model.eval(), IMAGES))
    assert any(isinstance(module, nn.BatchNorm2d) for module in loaded.modules())
    others = {type(module) for module in loaded.modules() if isinstance(module, nn.InstanceNorm2d | nn.GroupNorm)}
    assert others == ({nn.InstanceNorm2d} if network == "attention-unet" else set())


@pytest.mark.parametrize("network", NETWORKS)
def test_the_bottleneck_is_the_smallest_and_widest_map_of_every_network(network):
    model, seen = build(shape_of(network), seed=3).eval(), {}
    for name, module in model.named_modules():
        module.register_forward_hook(lambda _m, _i, output, name=name: seen.setdefault(name, output))
    found = features(model, IMAGES)
    deepest = seen[feature_layers(model)[0]]
    maps = [output for output in seen.values() if isinstance(output, torch.Tensor) and output.ndim == 4]
    assert deepest.shape[-1] == min(output.shape[-1] for output in maps)
    assert found.shape == (5, 2 * deepest.shape[1])
    torch.testing.assert_close(found[:, : deepest.shape[1]], deepest.mean(dim=(2, 3)))
    assert deepest.shape[1] == shape_of(network).channels[-1]


STAGES = {"unet": (4, 3), "attention-unet": (8, 4), "segresnet": (8, 4), "swin-unetr": (96, 48, 24, 12, 12)}
"""Channels of the decoder of ``shape_of``, deepest first."""


@pytest.mark.parametrize("network", NETWORKS)
def test_decoder_layers_are_the_stages_on_the_way_up_in_the_order_they_run(network):
    model, ran = build(shape_of(network), seed=3).eval(), []
    names = feature_layers(model)
    for name in names:
        hook = model.get_submodule(name)
        hook.register_forward_hook(lambda _m, _i, output, name=name: ran.append((name, output)))
    found = features(model, IMAGES, layers=names)
    assert [name for name, _ in ran] == list(names)
    maps = [output for _, output in ran]
    assert tuple(each.shape[1] for each in maps[1:]) == STAGES[network]
    sides = [each.shape[-1] for each in maps]
    assert sides == sorted(sides)
    assert sides[-1] == 32
    assert maps[-1].isfinite().all()
    expected = torch.cat([x for each in maps for x in (each.mean(dim=(2, 3)), each.std(dim=(2, 3), correction=0))], 1)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found[:, : 2 * maps[0].shape[1]], features(model, IMAGES))


def test_a_network_published_before_there_was_a_choice_is_a_unet(tmp_path):
    model = build(SMALL, seed=3)
    save_segmenter(model, SMALL, tmp_path)
    (tmp_path / ARCHITECTURE).write_text('{"modalities": 2, "classes": 3, "channels": [4, 8, 16], "residual_units": 0}')
    assert torch.equal(weights(load_segmenter(tmp_path, "cpu")), weights(model))


def test_a_swin_transformer_without_einops_is_refused_by_name(monkeypatch):
    monkeypatch.setattr("medsweep.trainers.segmentation.networks.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install einops"):
        build(shape_of("swin-unetr"), seed=0)
