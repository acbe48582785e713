"""Networks that bring the rules of their training along: what they set, what is refused, and the layers themselves."""

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from medsweep.data.folds import Fold
from medsweep.identity import canonical
from medsweep.trainers.segmentation.config import SegmentConfig, SegmentSettings, probe, resolve
from medsweep.trainers.segmentation.contract import NetworkContract
from medsweep.trainers.segmentation.network import SegmenterArchitecture, build
from medsweep.trainers.segmentation.networks import NETWORKS, NNUNET_RECIPE, NetworkShape, SegmenterNetwork

SMALL = {"channels": (2, 4, 8, 8)}


class TestResidualEncoder(NetworkContract):
    network = "resenc-unet"
    settings = SMALL


def test_the_recipe_keeps_the_contract_too(tmp_path: Any) -> None:
    class Recipe(NetworkContract):
        network = "nnunet-2d"
        settings = SMALL

    Recipe().test_a_trial_that_is_killed_goes_on_and_ends_with_the_same_bytes(tmp_path)


def resolved(**settings: Any) -> SegmentConfig:
    given = SegmentSettings(**settings)
    return resolve(given, fold=Fold(index=0, of=2), seed=0, count=0, candidates=0, unit="slices", resolution=64)


@pytest.mark.parametrize("by_file", [True, False])
def test_fields_that_a_sweep_leaves_out_are_those_of_the_recipe(by_file: bool) -> None:
    asked: dict[str, Any] = {"network": "nnunet-2d", "steps": 7}
    given = SegmentSettings.model_validate_json(json.dumps(asked)) if by_file else SegmentSettings(**asked)
    assert {name: getattr(given, name) for name in NNUNET_RECIPE} == NNUNET_RECIPE
    assert given.channels == (32, 64, 128, 256, 512)
    config = resolved(**asked)
    assert {name: getattr(config, name) for name in NNUNET_RECIPE} == NNUNET_RECIPE
    assert SegmentConfig.model_validate_json(config.model_dump_json()) == config


def test_another_network_keeps_the_usual_defaults() -> None:
    assert SegmentSettings().optimizer == "adamw"
    assert SegmentSettings(network="resenc-unet", augment="nnunet").optimizer == "adamw"
    assert not [name for name in ("network_version", "options", "neighbours") if name in canonical(resolved())]


def test_settings_of_a_network_are_part_of_its_address_and_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {"fold": Fold(index=0, of=2), "seed": 0, "count": 0, "candidates": 0}
    given |= {"unit": "slices", "resolution": 64}
    plain, other = (resolve(SegmentSettings(), **given, options=options) for options in (None, {"growth": 3}))
    assert canonical(plain) != canonical(other)
    seen: list[NetworkShape] = []
    monkeypatch.setitem(NETWORKS, "unet", SegmenterNetwork(build=lambda shape: seen.append(shape) or nn.Identity()))
    build(SegmenterArchitecture.of(other, modalities=1, classes=2), seed=0)
    assert (seen[0].options, seen[0].resolution) == ({"growth": 3}, 64)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "adamw"}, "nnunet-2d sets optimizer to sgd, got adamw; leave .* such as resenc-unet"),
        ({"augment": "none"}, "nnunet-2d sets augment to nnunet, got none"),
        ({"learning_rate": 0.001}, "nnunet-2d sets learning_rate to 0.01, got 0.001"),
        ({"channels": (4, 8, 16, 32, 32, 32)}, "halves down to 4 px, and 6 levels .* of 64 end at 2; take fewer"),
        ({"normalise": "split-affine", "mixing": "fixed-exposure"}, "segment.network nnunet-2d has none"),
    ],
)
def test_what_contradicts_the_recipe_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        resolved(network="nnunet-2d", **settings)


def test_what_agrees_with_the_recipe_may_be_said() -> None:
    assert resolved(network="nnunet-2d", optimizer="sgd") == resolved(network="nnunet-2d")


@pytest.mark.parametrize("part", ["recipe", "defaults"])
def test_a_network_that_sets_an_unknown_field_is_named(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    monkeypatch.setitem(NETWORKS, "unet", replace(NETWORKS["unet"], **{part: {"optimiser": "sgd"}}))
    with pytest.raises(ValidationError, match=r"unet sets optimiser, and segment has no such field; .*'optimizer'"):
        SegmentSettings()


def test_memory_is_probed_with_the_recipe() -> None:
    probed = probe(resolved(network="nnunet-2d", steps=500))
    assert (probed.steps, probed.augment, probed.optimizer) == (2, "nnunet", "sgd")


def test_a_level_has_its_blocks_and_all_but_the_lowest_two_answer_in_training() -> None:
    shape = SegmenterArchitecture(
        modalities=1, classes=3, channels=(2, 4, 8, 8, 8), residual_units=2, network="resenc-unet"
    )
    model = build(shape, seed=0)
    assert [len(level) for level in model.encoder] == [1, 3, 4, 6, 6]  # type: ignore[union-attr, arg-type]
    images = torch.randn(2, 1, 64, 64)
    levels = model.train()(images)
    assert [logits.shape[-1] for logits in levels] == [64, 32, 16]
    assert torch.equal(model.eval()(images), model.train()(images)[0])
