"""What every network must keep, as tests to inherit: ``class TestMine(NetworkContract)``, which pytest runs.

They train on made-up patients at few pixels. What they do not look at is whether a network learns well.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.trainers.segmentation import train
from medsweep.trainers.segmentation.config import SegmentConfig, SegmentSettings, resolve
from medsweep.trainers.segmentation.network import (
    SegmenterArchitecture,
    build,
    feature_layers,
    load_segmenter,
    predict,
    save_segmenter,
)
from medsweep.trainers.segmentation.networks import NETWORKS
from medsweep.trainers.segmentation.optimisation import levels_of
from medsweep.trainers.segmentation.samples import gather
from medsweep.trainers.training.contract import counted_bytes, made_up_slices, require_same_bytes_after_kills

FOLD: Final = Fold(index=0, of=2)
MODALITIES: Final = 2
CLASSES: Final = 3


class NetworkContract:
    """Inherit it in a test file, and name the network."""

    network: ClassVar[str]
    """As ``segment.network`` takes it."""
    settings: ClassVar[Mapping[str, Any]] = {"channels": (4, 8)}
    """Fields of ``segment`` for a short training."""
    options: ClassVar[Mapping[str, Any]] = {}
    """Settings of the network's own."""
    resolution: ClassVar[int] = 32
    """Side of a slice in pixels."""

    def test_the_same_seed_gives_the_same_network_and_another_seed_another(self) -> None:
        torch.manual_seed(1)
        before = torch.random.get_rng_state()
        first = _weights(self._built(seed=3))
        assert torch.equal(torch.random.get_rng_state(), before), "it changes the global random state"
        torch.manual_seed(2)
        assert torch.equal(_weights(self._built(seed=3)), first), "its weights depend on more than the seed"
        assert not torch.equal(_weights(self._built(seed=4)), first), "the seed decides nothing"

    def test_logits_are_as_large_as_the_images_and_coarser_ones_follow(self) -> None:
        images, side = self._images(), self.resolution
        shape = (len(images), CLASSES, side, side)
        with torch.no_grad():
            seen = self._built().eval()(images)
        assert isinstance(seen, Tensor), "outside training it returns something else than one tensor"
        assert seen.shape == shape, f"logits of {shape} are asked for, and it gives {tuple(seen.shape)}"
        levels = levels_of(self._built().train()(images))
        assert levels[0].shape == shape, "in training the finest logits come first"
        sides = [logits.shape[-1] for logits in levels]
        assert sides == sorted(set(sides), reverse=True), f"levels become coarser, and these are of {sides} px"
        assert all(
            logits.shape == (len(images), CLASSES, side, side) for logits, side in zip(levels, sides, strict=True)
        )

    def test_an_image_is_segmented_alike_in_any_company(self) -> None:
        model, images = self._trained_mode_passed(), self._images()
        together = predict(model, images)
        alone = torch.cat([predict(model, image[None]) for image in images])
        torch.testing.assert_close(alone, together, msg="what it sees in an image depends on others of the batch")

    def test_it_is_saved_and_opened_again(self, tmp_path: Path) -> None:
        model, images = self._trained_mode_passed(), self._images()
        save_segmenter(model, self._architecture(), tmp_path)
        opened = load_segmenter(tmp_path, "cpu")
        assert torch.equal(predict(opened, images), predict(model, images)), "its state_dict does not hold all it needs"

    def test_batch_normalisation_is_told_truly(self) -> None:
        has = any(isinstance(module, _BatchNorm) for module in self._built().modules())
        assert NETWORKS[self.network].batch_normalised == has, f"batch_normalised must be {has}"

    def test_a_trial_that_is_killed_goes_on_and_ends_with_the_same_bytes(self, tmp_path: Path) -> None:
        inputs = {"prepare": made_up_slices(tmp_path, self.resolution)}
        start = partial(train.run, self._config(steps=6, report_every_steps=2), inputs)
        require_same_bytes_after_kills(start, tmp_path, self.network)

    def test_memory_does_not_grow_with_the_steps(self, tmp_path: Path) -> None:
        config, data = self._config(steps=8), SliceSet.open(made_up_slices(tmp_path, self.resolution))
        samples = gather(config, data, split(data.patients, FOLD).train, {}, "cpu")
        architecture = SegmenterArchitecture.of(config, len(data.modalities), len(data.classes))
        learner, held = train.UNetLearner(config, samples, architecture), {}
        with counted_bytes() as held_bytes:
            for step in range(1, 9):
                learner.step(step)
                if step in (2, 8):
                    held[step] = held_bytes()
        # the optimiser's moments and the caches of a first pass are there from the second step on
        assert held[8] <= held[2], f"it holds {held[8] - held[2]} bytes more after 8 steps than after 2"

    def test_diagnose_finds_its_layers_or_says_that_it_cannot(self) -> None:
        model = self._trained_mode_passed()
        if NETWORKS[self.network].layers is None:
            with pytest.raises(UserError, match=self.network):
                feature_layers(model)
            return
        ran: list[tuple[str, Tensor]] = []
        names = feature_layers(model)
        for name in names:
            layer = model.get_submodule(name)
            layer.register_forward_hook(lambda _layer, _inputs, output, name=name: ran.append((name, output)))
        predict(model, self._images())
        assert [name for name, _ in ran] == list(names), "layers run once each, from the deepest up"
        for name, output in ran:
            assert output.ndim == 4, f"{name} gives {tuple(output.shape)} and not (N, D, h, w)"
        sides = [output.shape[-1] for _, output in ran]
        assert sides == sorted(sides), f"layers go from the deepest up, and these are of {sides} px"

    def _config(self, **more: Any) -> SegmentConfig:
        given: dict[str, Any] = {"network": self.network, "batch_size": 4, **self.settings, **more}
        settings, own = SegmentSettings(**given), NETWORKS[self.network].settings
        options = {} if own is None else own(**self.options).model_dump(mode="json")
        return resolve(
            settings,
            fold=FOLD,
            seed=0,
            count=0,
            candidates=0,
            unit="slices",
            resolution=self.resolution,
            options=options,
        )

    def _architecture(self) -> SegmenterArchitecture:
        return SegmenterArchitecture.of(self._config(), MODALITIES, CLASSES)

    def _built(self, seed: int = 0) -> nn.Module:
        return build(self._architecture(), seed)

    def _trained_mode_passed(self) -> nn.Module:
        """A network in evaluation mode whose running statistics have moved."""
        model = self._built().train()
        with torch.no_grad():
            model(self._images())
        return model.eval()

    def _images(self) -> Tensor:
        random = torch.Generator().manual_seed(0)
        return torch.randn(3, MODALITIES, self.resolution, self.resolution, generator=random)


def _weights(model: nn.Module) -> Tensor:
    return torch.cat([value.detach().flatten() for value in model.parameters()])
