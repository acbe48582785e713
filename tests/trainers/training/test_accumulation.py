"""A batch in parts: where it is split_batch, which random numbers its samples get, and that gradients add up."""

import pytest
import torch

from helpers.graph_memory import GraphMemory
from medsweep.trainers.training.accumulation import (
    SharedTensor,
    accumulate,
    normal,
    replay,
    split_batch,
    uniform,
)


def rng():
    return torch.Generator().manual_seed(3)


CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("samples", "parts", "group", "sizes"),
    [
        (8, 1, 4, [8]),
        (8, 2, 4, [4, 4]),
        (12, 2, 4, [4, 8]),
        (7, 3, 1, [2, 2, 3]),
        (20, 3, 2, [6, 6, 8]),
        (5, 5, 1, [1] * 5),
    ],
)
def test_parts_cover_the_batch_in_whole_groups(samples, parts, group, sizes):
    found = split_batch(samples, parts, group)
    assert [part.stop - part.start for part in found] == sizes
    assert [row for part in found for row in range(samples)[part.rows]] == list(range(samples))
    assert sum(part.share for part in found) == pytest.approx(1)


@pytest.mark.parametrize(("samples", "parts", "group"), [(8, 3, 4), (6, 1, 4), (4, 0, 1)])
def test_impossible_parts_are_our_own_mistake(samples, parts, group):
    with pytest.raises(AssertionError):
        split_batch(samples, parts, group)


def some_draws(random, samples):
    """As a discriminator's step draws: for the generated samples, then for real and generated ones together."""
    return [
        normal((samples, 1, 5, 5), random, CPU),
        uniform((6, 2 * samples), random, CPU, dim=1).unflatten(1, (2, samples)).permute(2, 0, 1),
        normal((3, samples), random, CPU, dim=1).T,
    ]


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_samples_get_the_numbers_that_they_get_in_the_whole_batch(parts):
    whole, generator = rng(), rng()
    expected = some_draws(whole, 10)
    found = [some_draws(random, part.stop - part.start) for part, random in replay(split_batch(10, parts), generator)]
    for one, several in zip(expected, zip(*found, strict=True), strict=True):
        assert torch.equal(torch.cat(several), one)
    assert torch.equal(generator.get_state(), whole.get_state())


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_gradients_and_means_are_those_of_the_whole(parts):
    x_ND = torch.randn(7, 4, dtype=torch.float64, generator=rng())
    first, last = (torch.nn.Linear(4, 4, dtype=torch.float64) for _ in range(2))

    def loss_of(hidden, rows):
        return (last(hidden) - x_ND[rows]).square().sum(dim=1).mean()

    loss_of(first(x_ND).tanh(), slice(None)).backward()
    expected = [layer.weight.grad.clone() for layer in (first, last)]
    for layer in (first, last):
        layer.zero_grad()
    hidden = SharedTensor(first(x_ND).tanh())

    def work(part, random):
        loss = loss_of(hidden.leaf[part.rows], part.rows)
        return loss, {"loss": loss.detach()}

    means = accumulate(work, split_batch(7, parts), rng())
    hidden.backward()
    for layer, gradient in zip((first, last), expected, strict=True):
        torch.testing.assert_close(layer.weight.grad, gradient)
    torch.testing.assert_close(means["loss"], loss_of(first(x_ND).tanh(), slice(None)).detach())


def test_one_graph_is_gone_before_the_next_is_built():
    weight, held = torch.ones(6, requires_grad=True), []
    with GraphMemory() as memory:

        def work(part, random):
            held.append(memory.now)
            loss = weight[part.rows].exp().square().sum()
            return loss, {"loss": loss.detach()}

        accumulate(work, split_batch(6, 3), rng())
    assert held == [0, 0, 0]
    assert memory.peak > 0
