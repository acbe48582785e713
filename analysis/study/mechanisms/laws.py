"""Whether the arms of a lattice have the laws of the pool that they stand for: delivered doses, law by law."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from medsweep.mechanism import CELLS, Cause, Mechanism

ON: Final = (0.8, 1.25)
"""Range of a law's delivered dose, as a share of the explained arm's, in a cell that should have it."""
OFF: Final = (-0.2, 0.2)
"""The same in a cell that should not."""


BIAS: Final = "law_bias_px"
"""The one law of labels that goes either way."""
SHOWN: Final = "law_look_shown"
"""Column that says whether the look of a pool is stranger than that of real patients by chance."""
LOOK: Final = "look"
VARIETY: Final = "variety"
"""Cells that have the look, or the number of patients, of the explained arm and nothing else of it."""
_WITHOUT: Final[Mapping[Cause, tuple[Cause, ...]]] = {"labels": (LOOK, VARIETY), "look": (VARIETY,)}
"""By cause, the cells that ``causes`` makes without it; what is measured of it there comes from something else."""


@dataclass(frozen=True)
class Law:
    """One measure of a pool, by the name of its column; ``name`` is for people."""

    column: str
    cause: Cause
    name: str
    resolution: float
    """How near a cell must be to its target for the difference to be below what the measurement resolves."""
    power: int = 1
    """Values are compared after raising to it."""
    unit: str = ""
    always: bool = True
    """Whether a dose is not known without it."""
    only_less: bool = False
    """Whether more of it than new real slices have counts as what they have."""

    def same(self, a: float, b: float, floor: float = 0.0) -> bool:
        """Whether two sizes are no further apart than a measurement can tell, or than ``floor``."""
        return self.apart(a, b) <= max(self.resolution, floor)

    def apart(self, a: float, b: float) -> float:
        """How far two sizes lie apart, in the power in which sizes add up."""
        return abs(a**self.power - b**self.power)

    def without(self, size: float, other: float, real: float) -> float:
        """``size`` less what ``other`` has more than ``real``, in the power in which sizes add up."""
        left = size**self.power - other**self.power + real**self.power
        return left if self.power == 1 else max(left, 0.0) ** (1 / self.power)

    def text(self, size: float) -> str:
        """``0.43 px``."""
        return f"{size:.2f} {self.unit}".rstrip()


LAWS: Final = (
    # the zeros of two groups of unseen patients differ by so much
    Law(BIAS, "labels", "bias of masks", 0.2, unit="px"),
    # an excess variance; that of a judge on unseen slices, .9 px squared, is known to a tenth or so
    Law("law_random_px", "labels", "random error of masks", 0.2, power=2, unit="px"),
    Law("law_flips", "labels", "flipped classes", 0.05, always=False),
    Law("law_lost", "labels", "lost components", 0.05, always=False),
    Law("law_invented", "labels", "invented components", 0.05, always=False),
    Law("law_look", "look", "error of the look", 0.05),
    Law("law_class_quantiles", "look", "intensities by class", 0.05, unit="SD", always=False),
    Law("law_vendi_share", "variety", "Vendi share", 0.1, only_less=True),
)
"""What a cell must deliver. Laws that are not ``always`` measured are checked where they are."""
BY_COLUMN: Final[Mapping[str, Law]] = {law.column: law for law in LAWS}


@dataclass(frozen=True)
class Dose:
    """A law in one cell of the lattice beside that of new real slices and of the explained arm; means over runs.

    Laws are freed of what is the judge's or that of few patients, where ``delivery_of`` knows it.
    """

    cell: str
    law: str
    """Name of the column."""
    cause: Cause
    ceiling: float
    explained: float
    value: float
    runs: int
    floor: float = 0.0
    """How far new real slices of as few patients as the explained arm's lie from the ceiling."""
    shown: bool = True
    """Whether the explained arm differs from new real slices by more than real patients do by chance."""

    @property
    def on(self) -> bool:
        """Whether the cell should have the law of the explained arm."""
        return self.cause in CELLS[self.cell]

    @property
    def share(self) -> float:
        """(cell - ceiling) / (explained - ceiling); NaN where both are equal."""
        whole = self.explained - self.ceiling
        return (self.value - self.ceiling) / whole if whole else math.nan

    @property
    def nothing(self) -> bool:
        """Whether the explained arm has no more of the law than the error of a measurement, or than few patients have.

        Few patients are new real slices of as few as the explained arm's.
        """
        return not self.shown or BY_COLUMN[self.law].same(self.explained, self.ceiling, self.floor)

    @property
    def delivered(self) -> bool:
        """Whether the share is in its range, or the cell so near its target that no measurement parts them."""
        low, high = ON if self.on else OFF
        # what is not shown is not planted either
        target = self.explained if self.on and self.shown else self.ceiling
        floor = self.floor if self.nothing else 0.0
        return low <= self.share <= high or BY_COLUMN[self.law].same(self.value, target, floor)


@dataclass(frozen=True)
class Untold:
    """A law of labels of the explained arm that may as well be what its look does to a judge; means over runs."""

    law: str
    """Name of the column."""
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Delivery:
    """All doses of a lattice, by name what was not measured, and what of labels is not told apart from the look."""

    doses: tuple[Dose, ...]
    missing: tuple[str, ...] = ()
    untold: tuple[Untold, ...] = ()

    def of(self, cause: Cause, *, on: bool) -> tuple[Dose, ...]:
        """Doses of the cause's laws in the cells that should have them, or in the others."""
        return tuple(dose for dose in self.doses if dose.cause == cause and dose.on == on)


def delivery_of(pools: pd.DataFrame, arms: Mechanism) -> Delivery | None:
    """Doses from the laws of the arms' pools; None where there is no lattice, or no pool has any law.

    Laws are averaged over the folds and seeds that the cell, the ceiling and the explained arm share. The shares are of
    these means, since in one run there may be next to nothing to divide by.

    Where ``causes`` made the lattice, the masks of the cell ``look`` are those of its real slices. A judge sees masks
    less well in images that look otherwise, so all that the cell has of a law of labels is the judge's. That is taken
    from each arm that has the look.

    The cell ``variety`` has slices of few patients as they are, so all that it has of a law of labels or of the look
    tells these few from the others. That is taken from each cell with them. The explained arm may have other patients,
    so nothing is taken from it, and it has nothing of a law that is no larger than this.

    Nor has it anything of a law of labels whose interval leaves 0 out in fewer than half of the runs. A judge shows as
    much on held-out slices that are given the look of its pool.

    Args:
        pools: columns arm, fold, seed, metric and value.
        arms: the section of the sweep.
    """
    if not arms.lattice or arms.ceiling is None:
        return None
    bounds = [f"{law}_{end}" for law in BY_COLUMN for end in ("low", "high")]
    laws = pools[pools["metric"].isin([*BY_COLUMN, SHOWN, *bounds])].dropna(subset=["value"])
    if not laws["metric"].isin(BY_COLUMN).any():
        return None
    values = laws.pivot_table(index=["fold", "seed"], columns=["metric", "arm"], values="value")
    doses, missing = [], []
    for law in LAWS:
        # `always` laws of the explained arm decide what there is to deliver
        found = {cell: _dose(values, law, cell, arms) for cell in CELLS}
        doses += [dose for dose in found.values() if dose is not None]
        without = [cell for cell, dose in found.items() if dose is None]
        if without and law.always:
            missing.append(_missing(values, law, arms, without))
    return Delivery(tuple(doses), tuple(missing), tuple(_untold(values, arms.explain)))


def _dose(values: pd.DataFrame, law: Law, cell: str, arms: Mechanism) -> Dose | None:
    known = _WITHOUT.get(law.cause, ()) if arms.causes else ()
    names = (arms.ceiling, arms.explain, arms.lattice[cell], *(arms.lattice[one] for one in known))
    columns = [(law.column, arm) for arm in names]
    if any(column not in values for column in columns):
        return None
    shared = values[list(dict.fromkeys(columns))].dropna()
    if shared.empty:
        return None
    ceiling, explained, value, *others = (float(shared[column].mean()) for column in columns)
    of = dict(zip(known, others, strict=True))
    if LOOK in of:
        explained = law.without(explained, of[LOOK], ceiling)
    for cause, other in of.items():
        value = law.without(value, other, ceiling) if cause in CELLS[cell] else value
    if law.only_less:
        explained, value = min(explained, ceiling), min(value, ceiling)
    floor = law.apart(of[VARIETY], ceiling) if VARIETY in of else 0.0
    shown = _is_shown(values, law, arms.explain)
    return Dose(cell, law.column, law.cause, ceiling, explained, value, len(shared), floor, shown)


def _is_shown(values: pd.DataFrame, law: Law, arm: str) -> bool:
    """In half of the runs or more, or where nobody asked. Fewer components wrong than in real slices is no error."""
    if law.cause == LOOK:
        return (SHOWN, arm) not in values or bool(values[SHOWN, arm].mean() >= 0.5)
    bounds = _bounds(values, law, arm)
    if law.cause != "labels" or bounds is None:
        return True
    below = (bounds["high"] < 0) & (law.column == BIAS)
    return bool(((bounds["low"] > 0) | below).mean() >= 0.5)


def _bounds(values: pd.DataFrame, law: Law, arm: str) -> pd.DataFrame | None:
    """Size of a law with its interval, ``value``, ``low`` and ``high`` of each run; None where no run has one."""
    columns = {"value": (law.column, arm), "low": (f"{law.column}_low", arm), "high": (f"{law.column}_high", arm)}
    if any(column not in values for column in columns.values()):
        return None
    runs = pd.DataFrame({name: values[column] for name, column in columns.items()}).dropna()
    return None if runs.empty else runs


def _untold(values: pd.DataFrame, arm: str) -> Iterator[Untold]:
    """Laws of labels that are not shown though they could be larger than a measurement resolves, under a look."""
    if (SHOWN, arm) not in values or not _is_shown(values, BY_COLUMN["law_look"], arm):
        return
    for law in LAWS:
        runs = _bounds(values, law, arm) if law.cause == "labels" else None
        if runs is None or _is_shown(values, law, arm):
            continue
        mean = runs.mean()
        most = max(mean["high"], -mean["low"] if law.column == BIAS else 0.0, 0.0)
        if not law.same(most, 0.0):
            yield Untold(law.column, float(mean["value"]), float(mean["low"]), float(mean["high"]))


def _missing(values: pd.DataFrame, law: Law, arms: Mechanism, cells: Sequence[str]) -> str:
    """The law with the arms that lack it."""
    named = [str(arms.ceiling), arms.explain, *(arms.lattice[cell] for cell in cells)]
    without = [arm for arm in dict.fromkeys(named) if (law.column, arm) not in values]
    return f"{law.column} of {', '.join(without) if without else 'the same folds and seeds'}"
