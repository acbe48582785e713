"""The main phases through torch.compile: the gradients of the eager ones, and penalties that stay eager."""

import dataclasses

import pytest
import torch

from medsweep.data.folds import Fold
from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.generation.device import device_settings
from medsweep.trainers.stylegan2.config import GanSettings
from medsweep.trainers.stylegan2.learner import GanLearner
from medsweep.trainers.stylegan2.resolve import resolve

FOLD = Fold(index=1, of=4)
SETTINGS = GanSettings(
    batch_size=4, latent_dim=8, channel_base=64, channel_max=8, r1_every_steps=1, path_length_every_steps=1,
    path_length_weight=2.0, report_every_steps=100,
)  # fmt: skip


@pytest.fixture
def traced(monkeypatch) -> list[str]:
    """Compilation without a compiler of machine code; what was compiled, call by call."""
    compile_, calls = torch.compile, []

    def compile_traced(function, *, dynamic, backend):
        assert backend == "inductor"
        compiled = compile_(function, dynamic=dynamic, backend="aot_eager", fullgraph=True)

        def run(*arguments):
            calls.append(function.__qualname__)
            return compiled(*arguments)

        return run

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", compile_traced)
    return calls


def gradients(learner: GanLearner) -> dict[str, torch.Tensor]:
    """What each phase of a step leaves, before its optimiser moves on."""
    found, phases = {}, learner.phases

    def noting(name: str, side: str) -> None:
        phase, network = getattr(phases, name), getattr(learner.networks, side)

        def run(*arguments):
            said = phase(*arguments)
            found[name] = torch.cat(
                [weight.grad.flatten() for weight in network.parameters() if weight.grad is not None]
            )
            return said

        setattr(phases, name, run)

    for name, side in (("generator", "g"), ("path_length", "g"), ("discriminator", "d"), ("r1", "d")):
        noting(name, side)
    learner.step(1)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["b-sg", "c-sg"])
def test_compiled_main_phases_have_the_gradients_of_eager_ones(slices, traced, variant):
    config = resolve(SETTINGS, variant, FOLD, 5, 32)
    data = TrainingSet.load(config, slices, "cpu")
    settings = device_settings("cpu", 32)
    assert not settings.compiled
    eager = gradients(GanLearner(config, data, "cpu", device_settings=settings))
    assert traced == []
    settings = dataclasses.replace(settings, compiled=True)
    compiled = gradients(GanLearner(config, data, "cpu", device_settings=settings))
    assert traced == ["Generator.synthesise", "Discriminator.forward"] * 2  # G's phase, then D's
    for name, expected in eager.items():
        assert (compiled[name] - expected).norm() < 1e-4 * expected.norm(), name
