"""What an assessment measured of a pool for others to plant: its laws, and which of them it cannot tell.

Shapes: N real slices, R resolution in pixels.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from medsweep.errors import UserError
from medsweep.files import write_json

LAW: Final = "law.json"
JUDGED: Final = "judged.npz"
PREFIX: Final = "law_"
"""What the names of metrics of laws begin with."""
FEWEST_LEFT_OUT: Final = 5
"""Patients left out below whom the variety of a pool is not told."""

NOBODY_LEFT_OUT: Final = "no training patients are left out; set data.patients below the training group"
TOO_FEW_LEFT_OUT: Final = (
    f"variety is told by {FEWEST_LEFT_OUT} or more training patients that are left out, and there are {{}}; lower "
    "data.patients"
)


@dataclass(frozen=True)
class PoolLaw:
    """The laws of a pool."""

    values: Mapping[str, float]
    """By metric without ``PREFIX``, such as ``bias_px`` and ``patients``, with intervals; what is unknown is absent."""
    left_out: Mapping[str, str]
    """``labels`` or ``variety``, where it is not told, and why."""

    @classmethod
    def of(cls, metrics: Mapping[str, float], left_out: Mapping[str, str]) -> "PoolLaw":
        """That of the metrics of a pool."""
        values = {name.removeprefix(PREFIX): value for name, value in metrics.items() if name.startswith(PREFIX)}
        return cls(values, left_out)

    def save(self, folder: Path) -> None:
        """Write ``LAW`` into ``folder``."""
        write_json(folder / LAW, {"values": dict(self.values), "left_out": dict(self.left_out)})

    @classmethod
    def open(cls, folder: Path) -> "PoolLaw":
        """What ``save`` wrote into the folder of an assess trial."""
        return cls(**json.loads((folder / LAW).read_text()))

    def value(self, name: str, *, of: str, asked_by: str) -> float:
        """A measured value of the law ``of`` labels or variety.

        Raises:
            UserError: it was not measured; ``asked_by`` says for whom, in words.
        """
        if name in self.values:
            return self.values[name]
        reason = self.left_out.get(of, "the pool and the unseen real slices do not define it")
        raise UserError(f"{asked_by} takes {PREFIX}{name} of the pool, which was not measured: {reason}")


@dataclass(frozen=True)
class JudgedMasks:
    """N real slices that a judge was not fitted on, and what it sees in them once they look as a pool does."""

    rows: NDArray[np.int64]
    """In the slice set, (N,)."""
    seen: NDArray[np.uint8]
    """Class of each pixel, (N, R, R)."""

    def save(self, folder: Path) -> None:
        """Write ``JUDGED`` into ``folder``."""
        np.savez_compressed(folder / JUDGED, rows=self.rows, seen=self.seen)

    @classmethod
    def open(cls, folder: Path) -> "JudgedMasks":
        """What ``save`` wrote into the folder of an assess trial."""
        with np.load(folder / JUDGED) as kept:
            return cls(kept["rows"], kept["seen"])
