"""On a CPU a segmenter is laid out and differentiated otherwise, and is the same function with the same gradients."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medsweep.data.folds import Fold
from medsweep.trainers.segmentation import cpu
from medsweep.trainers.segmentation.config import SegmentSettings, resolve
from medsweep.trainers.segmentation.network import SegmenterArchitecture, build
from medsweep.trainers.segmentation.networks import NETWORKS, NetworkName
from medsweep.trainers.segmentation.optimisation import make_loss, make_optimizer
from medsweep.trainers.segmentation.samples import SliceRows, TrainingSamples
from medsweep.trainers.segmentation.train import UNetLearner

SETTINGS = SegmentSettings(steps=9, batch_size=4, channels=(4, 8, 16))
SHARED = {"fold": Fold(index=0, of=2), "seed": 0, "count": 0, "candidates": 0, "unit": "slices", "resolution": 32}


def network(kind: NetworkName, units: int) -> nn.Module:
    return build(
        SegmenterArchitecture(modalities=2, classes=3, channels=(4, 8, 16), residual_units=units, network=kind), 0
    ).train()


def step(model: nn.Module, dtype: torch.dtype) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits and gradients on made-up slices."""
    random = torch.Generator().manual_seed(0)
    images = torch.randn(4, 2, 32, 32, generator=random).to(dtype)
    labels = torch.randint(0, 3, (4, 32, 32), generator=random).to(torch.uint8)
    loss = make_loss(resolve(SETTINGS, **SHARED), np.zeros(0, np.int64), torch.device("cpu"))  # type: ignore[arg-type]
    logits = model(images)
    torch.autograd.backward(loss(logits, labels))
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    return logits.detach(), gradients


@pytest.mark.parametrize(("kind", "units"), [("unet", 2), ("unet", 0), ("segresnet", 2)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-5)])
def test_a_prepared_network_has_the_same_logits_and_gradients(
    kind: NetworkName, units: int, dtype: torch.dtype, tolerance: float
) -> None:
    plain = network(kind, units).to(dtype)
    if dtype == torch.float32:
        # without kinks, on whose other side rounding may put an activation
        for module in plain.modules():
            if isinstance(module, nn.PReLU):
                module.weight.data.fill_(1.0)
    prepared = copy.deepcopy(plain)
    cpu.prepare(prepared)
    (logits, gradients), (ours, our_gradients) = step(plain, dtype), step(prepared, dtype)
    assert list(plain.state_dict()) == list(prepared.state_dict())
    assert list(gradients) == list(our_gradients)
    largest = max(float(gradient.norm()) for gradient in gradients.values())
    torch.testing.assert_close(ours, logits, rtol=0, atol=tolerance * float(logits.abs().max()))
    for name, gradient in gradients.items():
        assert float((our_gradients[name] - gradient).norm()) <= tolerance * largest, name


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_weights_of_a_prepared_network_move_as_before(optimizer: str) -> None:
    """Fused optimisers walk through weight, gradient and moments in the order of memory."""
    plain = network("unet", 2).double()
    prepared = copy.deepcopy(plain)
    cpu.prepare(prepared)
    config = resolve(SETTINGS.model_copy(update={"optimizer": optimizer}), **SHARED)  # type: ignore[arg-type]
    for model in (plain, prepared):
        moves = make_optimizer(config, model.parameters())
        for _ in range(3):
            moves.zero_grad()
            step(model, torch.float64)
            moves.step()
    for (name, ours), value in zip(prepared.state_dict().items(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, value, rtol=1e-6, atol=1e-7, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_one_slope_has_the_gradients_of_a_prelu(layout: torch.memory_format) -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 4, 5, generator=random, dtype=torch.float64).contiguous(memory_format=layout)
    x[0, 0, 0, 0] = 0.0
    passed_back = torch.randn(2, 3, 4, 5, generator=random, dtype=torch.float64)
    plain = nn.PReLU(init=0.3).double()
    ours = cpu.OneSlope(copy.deepcopy(plain))
    found = []
    for module in (plain, ours):
        leaf = x.clone().requires_grad_()
        value = module(leaf)
        of_x, of_slope = torch.autograd.grad(value, (leaf, module.weight), passed_back)
        found.append((value.detach(), of_x, of_slope))
    torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=1e-12)


def learner(kind: NetworkName) -> UNetLearner:
    config = resolve(SETTINGS.model_copy(update={"network": kind}), **SHARED)  # type: ignore[arg-type]
    images, masks = np.zeros((8, 2, 32, 32), np.float32), np.zeros((8, 32, 32), np.uint8)
    samples = TrainingSamples(SliceRows(images, masks, np.arange(8)), None, "cpu")
    return UNetLearner(config, samples, SegmenterArchitecture.of(config, modalities=2, classes=3))


@pytest.mark.parametrize("kind", ["unet", "segresnet", "attention-unet"])
def test_a_trial_on_a_cpu_prepares_the_networks_that_become_faster(kind: NetworkName) -> None:
    model = learner(kind).model
    wide = [weight for weight in model.parameters() if weight.dim() == 4 and min(weight.shape[1:]) > 1]
    channels_last = [weight.is_contiguous(memory_format=torch.channels_last) for weight in wide]
    assert wide
    assert all(channels_last) if NETWORKS[kind].faster_channels_last else not any(channels_last)
    slopes = [module for module in model.modules() if isinstance(module, nn.PReLU)]
    assert bool(slopes) == (kind != "segresnet")
    assert all(isinstance(module, cpu.OneSlope) == (kind == "unet") for module in slopes)


def test_the_gradient_of_the_logits_is_laid_out_as_they_are() -> None:
    model = network("unet", 2)
    cpu.prepare(model)
    strides = []
    last = model.get_submodule("model.2.1.conv.unit0.conv")
    last.register_full_backward_hook(lambda _module, _inputs, outputs: strides.append(outputs[0].stride()))
    step(model, torch.float32)
    assert strides == [(32 * 32 * 3, 1, 32 * 3, 3)]
