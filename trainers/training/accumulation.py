"""Gradient accumulation that gives a batch worked in micro-batches the gradient and random numbers of the whole.

A loss that is a mean over N samples is sum_m (n_m / N) loss_m over micro-batches of n_m samples. The gradients of the
micro-batches, weighted by their share, therefore add up to its gradient, to rounding. Only the graph of one micro-batch
is in memory at a time.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

Scalars = dict[str, Tensor]


@dataclass(frozen=True)
class MicroBatch:
    """Samples ``start`` to ``stop`` of a batch of ``whole``."""

    start: int
    stop: int
    whole: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def rows(self) -> slice:
        """Where its samples are in the batch."""
        return slice(self.start, self.stop)

    @property
    def share(self) -> float:
        """Its share of the batch."""
        return len(self) / self.whole


def split_batch(samples: int, count: int, group: int = 1) -> tuple[MicroBatch, ...]:
    """``count`` neighbouring micro-batches of a batch, equal to within one ``group``. Groups stay whole."""
    groups, rest = divmod(samples, group)
    assert rest == 0, f"{samples} samples are not whole groups of {group}"
    assert 1 <= count <= groups, f"{samples} samples in groups of {group} cannot be cut in {count}"
    borders = [number * groups // count * group for number in range(count + 1)]
    return tuple(MicroBatch(start, stop, samples) for start, stop in pairwise(borders))


@dataclass(frozen=True)
class MicroBatchRandom:
    """A generator from which each call draws the numbers of a whole batch and returns those of one micro-batch.

    A call that asks for k times the samples of the micro-batch draws k batches, one behind the other, and gets its rows
    of each.
    """

    generator: torch.Generator
    micro_batch: MicroBatch


Random = torch.Generator | MicroBatchRandom
"""Where random numbers per sample come from."""


def uniform(shape: Sequence[int], random: Random, device: torch.device, dim: int = 0) -> Tensor:
    """Numbers from [0, 1); ``dim`` of the shape counts samples."""
    return _draw(torch.rand, shape, random, device, dim)


def normal(shape: Sequence[int], random: Random, device: torch.device, dim: int = 0) -> Tensor:
    """Numbers from N(0, 1); ``dim`` of the shape counts samples."""
    return _draw(torch.randn, shape, random, device, dim)


def _draw(draw: Callable[..., Tensor], shape: Sequence[int], random: Random, device: torch.device, dim: int) -> Tensor:
    if isinstance(random, torch.Generator):
        return draw(*shape, generator=random, device=device)
    micro_batch = random.micro_batch
    batches, rest = divmod(shape[dim], len(micro_batch))
    assert rest == 0, f"{shape[dim]} samples are no whole number of micro-batches of {len(micro_batch)}"
    whole_shape = (*shape[:dim], batches * micro_batch.whole, *shape[dim + 1 :])
    numbers = draw(*whole_shape, generator=random.generator, device=device)
    per_batch = numbers.unflatten(dim, (batches, micro_batch.whole))
    rows: Tensor = per_batch.narrow(dim + 1, micro_batch.start, len(micro_batch)).flatten(dim, dim + 1)
    return rows


def replay(micro_batches: Sequence[MicroBatch], generator: torch.Generator) -> Iterator[tuple[MicroBatch, Random]]:
    """Each micro-batch with the random numbers that its samples get where the batch is worked whole.

    Every micro-batch draws from the same state of ``generator``, which is left as the whole batch would have left it.
    """
    if len(micro_batches) == 1:
        yield micro_batches[0], generator
        return
    state = generator.get_state()
    for micro_batch in micro_batches:
        generator.set_state(state)
        yield micro_batch, MicroBatchRandom(generator, micro_batch)


def accumulate(
    loss_of: Callable[[MicroBatch, Random], tuple[Tensor, Scalars]],
    micro_batches: Sequence[MicroBatch],
    generator: torch.Generator,
) -> Scalars:
    """Add the gradient of the whole batch's loss to all that it depends on; returns the whole batch's means.

    ``loss_of`` returns the mean loss of one micro-batch, and detached means over its samples to report. It must keep
    nothing that has a graph, since each graph is freed before the next is built.
    """
    means: Scalars = {}
    for micro_batch, random in replay(micro_batches, generator):
        loss, scalars = loss_of(micro_batch, random)
        (loss * micro_batch.share).backward()
        del loss  # frees the graph before the next forward pass
        for name, value in scalars.items():
            means[name] = means.get(name, 0.0) + value * micro_batch.share
    return means


class SharedTensor:
    """A tensor that all micro-batches read through ``leaf``, so that its own graph is gone through only once."""

    def __init__(self, value: Tensor):
        self._value = value
        self.leaf = value.detach().requires_grad_()

    def backward(self) -> None:
        """Pass on the sum of the gradients that the micro-batches left at ``leaf``, where something learns from it."""
        if self._value.requires_grad:
            self._value.backward(self.leaf.grad)
