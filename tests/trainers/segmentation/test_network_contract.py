"""The contract of networks: ours keep it, and each way of breaking it is found."""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from medsweep.data.folds import Fold
from medsweep.errors import UserError
from medsweep.identity import digest_of
from medsweep.trainers.segmentation.config import SegmentSettings, resolve
from medsweep.trainers.segmentation.contract import NetworkContract
from medsweep.trainers.segmentation.network import features
from medsweep.trainers.segmentation.networks import NETWORKS, NetworkShape, SegmenterNetwork
from medsweep.trainers.segmentation.optimisation import levels_of, over_levels
from medsweep.trainers.segmentation.sources import SplitNormalisation


class TestUnet(NetworkContract):
    network = "unet"


class TestAttentionUnet(NetworkContract):
    network = "attention-unet"


class TestSegresnet(NetworkContract):
    network = "segresnet"


class Plain(nn.Module):
    """Two levels and, in training, logits of both; each flaw breaks one promise."""

    kept: ClassVar[list[Tensor]] = []
    calls = 0

    def __init__(self, shape: NetworkShape, flaw: str) -> None:
        super().__init__()
        if flaw == "reseeds":
            torch.manual_seed(0)
        wide, deep = shape.channels
        self.first, self.norm = nn.Conv2d(shape.modalities, wide, 3, padding=1), nn.BatchNorm2d(wide)
        self.down = nn.Conv2d(wide, deep, 2, stride=2)
        self.coarse = nn.Conv2d(deep, shape.classes, 1)
        self.fine = nn.Conv2d(wide + deep, shape.classes + (flaw == "one class more"), 1)
        self.flaw = flaw
        type(self).calls += 1
        if flaw == "odd weights":
            self.first.weight.data += type(self).calls

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        x = self.norm(self.first(images)).relu()
        if self.flaw == "looks at company":
            x = x - x.mean(dim=0)
        deep = self.down(x).relu()
        if self.flaw == "remembers":
            self.kept.append(deep.detach())
        if self.flaw == "random" and self.training:
            type(self).calls += 1
            deep = deep * (1 + type(self).calls % 7)
        logits = self.fine(torch.cat([x, nn.functional.interpolate(deep, x.shape[2:])], dim=1))
        if self.flaw == "always deep":
            return [logits, self.coarse(deep)]
        coarsest_first = self.flaw == "coarsest first"
        levels = [self.coarse(deep), logits] if coarsest_first else [logits, self.coarse(deep)]
        return levels if self.training else logits


def layers_of(flaw: str) -> Any:
    if flaw == "says nothing":
        return None
    return lambda model: ("fine", "down") if flaw == "finest first" else ("down", "fine")


def contract_of(flaw: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    network = SegmenterNetwork(
        build=lambda shape: Plain(shape, flaw), layers=layers_of(flaw), batch_normalised=flaw != "hides its norm"
    )
    # under a name that configs take
    monkeypatch.setitem(NETWORKS, "segresnet", network)

    class Contract(NetworkContract):
        network = "segresnet"

    return Contract()


TESTS = [name for name in vars(NetworkContract) if name.startswith("test_")]


def call(contract: Any, name: str, folder: Path) -> None:
    test = getattr(contract, name)
    folder.mkdir(exist_ok=True)
    test(folder) if "tmp_path" in test.__code__.co_varnames else test()


@pytest.mark.parametrize("flaw", ["", "says nothing"])
def test_a_network_that_keeps_all_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flaw: str) -> None:
    contract = contract_of(flaw, monkeypatch)
    for number, name in enumerate(TESTS):
        call(contract, name, tmp_path / str(number))


@pytest.mark.parametrize(
    ("flaw", "test"),
    [
        ("reseeds", "same_seed"),
        ("odd weights", "same_seed"),
        ("one class more", "logits"),
        ("always deep", "logits"),
        ("coarsest first", "logits"),
        ("looks at company", "alike_in_any_company"),
        ("hides its norm", "told_truly"),
        ("random", "killed"),
        ("remembers", "memory"),
        ("finest first", "layers"),
    ],
)
def test_each_broken_promise_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flaw: str, test: str) -> None:
    (name,) = [name for name in TESTS if test in name]
    with pytest.raises(AssertionError):
        call(contract_of(flaw, monkeypatch), name, tmp_path)


def resolved(**settings: Any) -> Any:
    given = SegmentSettings(**{"channels": (4, 8)} | settings)
    return resolve(given, fold=Fold(index=0, of=2), seed=0, count=4, candidates=0, unit="slices", resolution=32)


def test_a_network_of_another_version_has_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    first = digest_of("segment", 1, resolved(), {})
    monkeypatch.setitem(NETWORKS, "unet", replace(NETWORKS["unet"], version=2))
    assert digest_of("segment", 1, resolved(), {}) != first


def test_normalisation_is_split_where_there_is_some(monkeypatch: pytest.MonkeyPatch) -> None:
    apart = {"normalise": "split-statistics", "mixing": "fixed-exposure"}
    resolved(**apart)
    monkeypatch.setitem(NETWORKS, "unet", replace(NETWORKS["unet"], batch_normalised=False))
    with pytest.raises(ValueError, match=r"takes batch normalisation apart, and segment.network unet has none"):
        resolved(**apart)


def test_a_coarser_level_has_half_the_weight_of_the_finer_and_the_labels_of_every_other_pixel() -> None:
    fine, coarse = torch.zeros(1, 2, 4, 4), torch.ones(1, 2, 2, 2)
    labels = torch.arange(16).reshape(1, 4, 4).to(torch.uint8)
    seen = []

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        seen.append(labels)
        return 3 * logits.mean() + 6

    assert float(over_levels(loss, [fine, coarse], labels)) == pytest.approx(6 * 2 / 3 + 9 / 3)
    assert torch.equal(seen[0], labels)
    assert seen[1].dtype == torch.uint8
    assert torch.equal(seen[1], labels[:, 1::2, 1::2])


def test_every_level_keeps_its_samples_where_they_are_normalised_apart() -> None:
    model = Plain(NetworkShape(modalities=1, classes=2, channels=(4, 8), residual_units=0), "").train()
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    synthetic = torch.tensor([True, False, True, False]).numpy()
    fine, coarse = SplitNormalisation(model, "split-statistics")(images, synthetic)
    for chosen in (synthetic, ~synthetic):
        alone = levels_of(model(images[chosen]))
        torch.testing.assert_close((fine[chosen], coarse[chosen]), alone)


def test_a_network_without_layers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    contract = contract_of("says nothing", monkeypatch)
    with pytest.raises(UserError, match=r"segment.network segresnet names no layers .* set assess.enabled to false"):
        features(contract._built(), contract._images())
