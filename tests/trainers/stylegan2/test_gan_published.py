"""Networks and phases against StyleGAN2 as its papers have it (``helpers.stylegan2_reference``)."""

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers import stylegan2_reference as published
from medsweep.data.folds import Fold
from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.stylegan2.config import GanSettings
from medsweep.trainers.stylegan2.learner import GanLearner
from medsweep.trainers.stylegan2.resolve import resolve
from medsweep.trainers.training import accumulation

N, R, GROUP = 8, 32, 4
SETTINGS = GanSettings(
    batch_size=N, latent_dim=16, channel_base=256, channel_max=16, mapping_layers=3, augment="none", style_mixing=0.0,
    r1_gamma=0.7, r1_gamma_mask_ratio=1.0, minibatch_std_group=GROUP,
)  # fmt: skip
CONFIG = resolve(SETTINGS, "b-sg", Fold(index=0, of=2), 0, R)


@pytest.fixture
def learner() -> GanLearner:
    """Weights as drawn, but for those that start at 0 or 1, which would hide a wrong gain."""
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    data = TrainingSet(
        patients=("p",),
        images=torch.from_numpy(random.standard_normal((16, 1, R, R), dtype=np.float32)),
        channels=torch.from_numpy(random.uniform(-1, 1, (16, 2, R, R)).astype(np.float16)),
        labels=random.integers(0, 2, (16, R, R), dtype=np.uint8),
    )
    made = GanLearner(CONFIG, data, "cpu")
    chance = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for network in (made.networks.g, made.networks.d):
            for name, weight in network.named_parameters():
                if name.endswith(("bias", "noise_strength")):
                    weight.add_(torch.empty_like(weight).normal_(0, 0.3, generator=chance))
    made.phases.mean_path_length.fill_(0.1)
    return made


@pytest.fixture
def drawn(monkeypatch) -> list[Tensor]:
    """All random numbers of a phase in the order in which it draws them."""
    draw, found = accumulation._draw, []

    def noting(*arguments: object) -> Tensor:
        found.append(draw(*arguments))
        return found[-1]

    monkeypatch.setattr(accumulation, "_draw", noting)
    return found


def weights_of(network: torch.nn.Module) -> published.Weights:
    """A copy in double precision, to be differentiated."""
    return {name: weight.detach().double().requires_grad_() for name, weight in network.named_parameters()}


def relative(network: torch.nn.Module, weights: published.Weights, loss: Tensor) -> float:
    """Distance of the gradient that a phase has left from that of ``loss``."""
    slopes = torch.autograd.grad(loss, list(weights.values()), allow_unused=True, materialize_grads=True)
    left = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in network.parameters()]
    found, expected = (torch.cat([slope.flatten() for slope in side]).double() for side in (left, slopes))
    return float((found - expected).norm() / expected.norm())


def test_images_and_scores(learner):
    g, d = learner.networks.g, learner.networks.d
    z, noise = torch.randn(N, 16), g.noise(N, torch.Generator().manual_seed(0))
    weights = {name: weight.detach() for name, weight in weights_of(g).items()}
    expected = published.generated(weights, published.styles(weights, z.double()), noise.double())
    image = g(z, None, noise)
    torch.testing.assert_close(image.double(), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    score = published.scored(weights_of(d), image.detach().double(), GROUP)
    torch.testing.assert_close(d(image).double(), score, rtol=1e-4, atol=1e-5 * float(score.detach().abs().max()))


def test_the_step_of_g(learner, drawn):
    g, d = weights_of(learner.networks.g), weights_of(learner.networks.d)
    learner.phases.generator()
    z, noise = (numbers.double() for numbers in drawn)
    assert relative(learner.networks.g, g, published.loss_of_g(g, d, z, noise, GROUP)) < 1e-4


def test_the_step_of_path_lengths(learner, drawn):
    g = weights_of(learner.networks.g)
    learner.phases.path_length()
    z, noise, y = (numbers.double() for numbers in drawn)
    penalty = published.path_length(g, z, noise, y, mean=0.1)
    scale = CONFIG.path_length_weight * CONFIG.path_length_every_steps
    assert relative(learner.networks.g, g, penalty * scale) < 1e-4


def test_the_step_of_d(learner, drawn):
    g, d, real = weights_of(learner.networks.g), weights_of(learner.networks.d), learner.batches.real()
    learner.phases.discriminator(real, 1)
    z, noise = (numbers.double() for numbers in drawn)
    fake = published.generated(g, published.styles(g, z), noise).detach()
    assert relative(learner.networks.d, d, published.loss_of_d(d, fake, real.x.double(), GROUP)) < 1e-4


def test_the_step_of_r1(learner):
    d, real = weights_of(learner.networks.d), learner.batches.real()
    learner.phases.r1(real)
    penalty = published.r1(d, real.x.double(), GROUP, gamma=0.7) * CONFIG.r1_every_steps
    assert relative(learner.networks.d, d, penalty) < 1e-4
