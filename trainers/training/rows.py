"""The order in which a training draws its slices, and its random numbers, both part of its checkpoints."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from medsweep.identity import derive_seed
from medsweep.trainers.training.restore import random_state, restore_random

BATCHES_AHEAD = 1000
"""How many batches of rows are drawn and brought to the device at once, since every copy from the host waits."""


class SeededRows:
    """Rows of ``rows`` slices in batches, all drawn once before any is drawn again, and a generator on the device.

    No step waits for the device here, but for one in ``BATCHES_AHEAD`` that brings rows to it.
    """

    def __init__(self, rows: int, batch_size: int, device: str, purpose: tuple[str | int, ...]):
        self._slices, self._batch_size, self.device, self._purpose = rows, batch_size, device, purpose
        self.host_random = torch.Generator().manual_seed(derive_seed(*purpose, "host"))
        self.random = torch.Generator(device).manual_seed(derive_seed(*purpose, "device"))
        self._order = torch.empty(0, dtype=torch.int64, device=device)
        """Rows of the slices in the order in which they come next."""

    def next_rows(self) -> Tensor:
        """The next batch of rows, int64 (N,) on the device."""
        count = self._batch_size
        if len(self._order) < count:
            rounds = range(-(-BATCHES_AHEAD * count // self._slices))
            drawn = torch.cat([torch.randperm(self._slices, generator=self.host_random) for _ in rounds])
            self._order = torch.cat([self._order, drawn.to(self.device)])
        rows, self._order = self._order[:count], self._order[count:]
        return rows

    def state_dict(self) -> dict[str, Any]:
        """Data order and random generators."""
        return {
            "order": self._order,
            "host_random": self.host_random.get_state(),
            "random": random_state(self.random),
        }

    def load_state_dict(self, state: Mapping[str, Any], step: int) -> str | None:
        """Return to what ``state_dict`` returned after ``step``, and say what could not be returned to."""
        self._order = state["order"].to(self.device)
        self.host_random.set_state(state["host_random"])
        return restore_random(self.random, state["random"], derive_seed(*self._purpose, "device", step))
