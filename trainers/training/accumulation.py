"""A batch worked in parts, one after the other, with the gradient and the random numbers of the whole.

A loss that is a mean over N samples is sum_p (n_p / N) loss_p over parts of n_p samples, so the gradients of the parts,
weighted by their share, add up to its gradient, to rounding, while the graph of one part alone is in memory.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

Scalars = dict[str, Tensor]


@dataclass(frozen=True)
class Part:
    """Samples ``start`` to ``stop`` of a batch of ``whole``."""

    start: int
    stop: int
    whole: int

    @property
    def rows(self) -> slice:
        """Where they are in the batch."""
        return slice(self.start, self.stop)

    @property
    def share(self) -> float:
        """Which share of the batch they are."""
        return (self.stop - self.start) / self.whole


def cut(samples: int, parts: int, group: int = 1) -> tuple[Part, ...]:
    """``parts`` neighbouring parts of a batch, equal to within one ``group``, and no group is torn apart."""
    groups, rest = divmod(samples, group)
    assert rest == 0, f"{samples} samples are not whole groups of {group}"
    assert 1 <= parts <= groups, f"{samples} samples in groups of {group} cannot be cut in {parts}"
    borders = [number * groups // parts * group for number in range(parts + 1)]
    return tuple(Part(start, stop, samples) for start, stop in pairwise(borders))


@dataclass(frozen=True)
class PartRandom:
    """A generator from which each call takes the numbers of a whole batch and gives those of one part.

    Where a call asks for k times the part's samples, k batches lie one behind the other, and it is given the part of
    each.
    """

    generator: torch.Generator
    part: Part


Random = torch.Generator | PartRandom
"""Where random numbers per sample come from."""


def uniform(shape: Sequence[int], random: Random, device: torch.device, dim: int = 0) -> Tensor:
    """Numbers from [0, 1); ``dim`` of the shape counts samples."""
    return _drawn(torch.rand, shape, random, device, dim)


def normal(shape: Sequence[int], random: Random, device: torch.device, dim: int = 0) -> Tensor:
    """Numbers from N(0, 1); ``dim`` of the shape counts samples."""
    return _drawn(torch.randn, shape, random, device, dim)


def _drawn(draw: Callable[..., Tensor], shape: Sequence[int], random: Random, device: torch.device, dim: int) -> Tensor:
    if isinstance(random, torch.Generator):
        return draw(*shape, generator=random, device=device)
    part = random.part
    batches, rest = divmod(shape[dim], part.stop - part.start)
    assert rest == 0, f"{shape[dim]} samples are no whole number of parts of {part.stop - part.start}"
    drawn = draw(
        *shape[:dim], batches * part.whole, *shape[dim + 1 :], generator=random.generator, device=device
    ).unflatten(dim, (batches, part.whole))
    return drawn.narrow(dim + 1, part.start, part.stop - part.start).flatten(dim, dim + 1)


def replay(parts: Sequence[Part], generator: torch.Generator) -> Iterator[tuple[Part, Random]]:
    """Each part with its random numbers: those that its samples get where the batch is worked whole.

    Every part draws from the same state of ``generator``, which is left as the whole batch would have left it.
    """
    if len(parts) == 1:
        yield parts[0], generator
        return
    state = generator.get_state()
    for part in parts:
        generator.set_state(state)
        yield part, PartRandom(generator, part)


@contextmanager
def rewound(generator: torch.Generator) -> Iterator[None]:
    """What is drawn inside will be drawn again after it."""
    state = generator.get_state()
    try:
        yield
    finally:
        generator.set_state(state)


Work = Callable[[Part, Random], tuple[Tensor, Scalars]]
"""The mean loss of one part, and detached means over its samples to report."""


def accumulate(work: Work, parts: Sequence[Part], generator: torch.Generator) -> Scalars:
    """Add the gradient of the whole batch's loss to all that ``work`` depends on; returns the whole batch's means.

    Each graph is gone before the next is built, so ``work`` must keep nothing that has one.
    """
    means: Scalars = {}
    for part, random in replay(parts, generator):
        loss, told = work(part, random)
        (loss * part.share).backward()
        del loss
        for name, value in told.items():
            means[name] = means.get(name, 0.0) + value * part.share
    return means


class Shared:
    """A tensor that all parts read ``leaf`` in place of: its own graph is gone through once, for all of them."""

    def __init__(self, value: Tensor):
        self._value = value
        self.leaf = value.detach().requires_grad_()

    def backward(self) -> None:
        """Pass on the sum of the gradients that the parts left at ``leaf``."""
        self._value.backward(self.leaf.grad)
