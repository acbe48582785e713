"""The section ``mechanism:`` of a sweep file: which arms tell why a synthetic arm costs what it costs."""

import itertools
from collections.abc import Iterator
from typing import Final, Literal

from pydantic import Field

from medsweep.config import Config

Cause = Literal["labels", "look", "variety"]
CAUSES: Final[tuple[Cause, ...]] = ("labels", "look", "variety")
"""What a pool of new real slices can be given of a synthetic one: misfit of mask and image, look, lost variety."""
ALL_CAUSES: Final = "all three"


def cell_of(causes: tuple[Cause, ...]) -> str:
    """What the lattice calls the pool that has these causes, as ``labels + look``."""
    return ALL_CAUSES if len(causes) == len(CAUSES) else " + ".join(causes)


CELLS: Final[dict[str, tuple[Cause, ...]]] = {
    cell_of(some): some for size in (1, 2, 3) for some in itertools.combinations(CAUSES, size)
}
"""Cells of the lattice beside the ceiling, each with the causes that are on."""


def at_dose(arm: str, dose: int) -> str:
    """Name of an arm at another dose."""
    return f"{arm}, {dose}"


class Mechanism(Config):
    """Arms by their part in the explanation of one synthetic arm; all are arms of the sweep."""

    explain: str
    """The synthetic arm whose cost is explained."""
    exposure: str | None = None
    """The same number of the same real slices again; harm is against it."""
    ceiling: str | None = None
    """As many new real slices, of patients that are left out; shortfall is against it."""
    ladder: tuple[str, ...] = ()
    """Arms in an order in which each differs from the one before in one thing; the last is ``explain``."""
    steps: dict[Cause, str] = Field(default={})
    """Arm of the ladder whose step is about a cause alone: ``labels`` where only misfit is added, ``look`` where only
    the images are exchanged. It is a second opinion on the share of the cause."""
    causes: tuple[Cause, ...] = ()
    """All three, and the arms of ``lattice`` are made from that of ``ceiling``, with laws as measured in the pool of
    ``explain``."""
    doses: tuple[int, ...] = ()
    """Counts of samples at which the levels and the ladder are run; all else is at the last."""
    lattice: dict[str, str] = Field(default={})
    """Arm of each of the seven cells ``labels``, ``look``, ``variety``, ``labels + look``, ..., ``all three``: new
    real slices with these laws of ``explain``. The eighth cell is ``ceiling``."""

    @property
    def planted(self) -> tuple[str, ...]:
        """The arms of the lattice: new real slices into which laws of ``explain`` are planted."""
        return tuple(self.lattice.values())

    def at_lower_doses(self, arm: str | None) -> dict[str, int]:
        """What an arm is called at each of ``doses`` but the last, with that dose; empty for no arm."""
        return {} if arm is None else {at_dose(arm, dose): dose for dose in self.doses[:-1]}

    def places(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Every arm that is named, with its keys inside the section."""
        for role in ("explain", "exposure", "ceiling"):
            arm = getattr(self, role)
            if arm is not None:
                yield (role,), arm
        for place, arm in enumerate(self.ladder):
            yield ("ladder", place), arm
        for cause, arm in self.steps.items():
            yield ("steps", cause), arm
        for cell, arm in self.lattice.items():
            yield ("lattice", cell), arm
