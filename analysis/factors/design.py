"""Which effects of the factors the arms can show, each as weights over arms; found from the design, before any score.

An effect is read off the largest set of arms that is balanced for it: a factor's levels are compared in those
combinations of the other factors in which all of them exist, an interaction's blocks likewise. So cells that are
excluded, and factors that mean something under one level of another only, need no assumption. Where no such set
exists (fractions, searches), least squares over all cells takes the interactions that it cannot separate for zero.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Final, Literal

import numpy as np

from medsweep.analysis.records import ArmInfo, Array
from medsweep.analysis.table.score_array import Codes

MOST_SUBSETS_OF: Final = 6
"""Levels up to which every subset is tried; above, those subsets that some combination of the others shows."""
CROSS: Final = "\N{MULTIPLICATION SIGN}"
MINUS: Final = "\N{MINUS SIGN}"

EffectMethod = Literal["matched cells", "least squares", "polynomial"]


@dataclass(frozen=True)
class Factor:
    """A field with two or more levels among the cells, low to high; ``values`` where all levels are numbers."""

    name: str
    levels: tuple[str, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class LeftOut:
    """An arm that is no cell of the design, or an effect that the arms cannot show, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class FactorLayout:
    """``codes``: arms x factors, the level of each cell."""

    factors: tuple[Factor, ...]
    arms: tuple[str, ...]
    codes: Codes
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True)
class FactorContrast:
    """One effect: T display contrasts as T x A weights over the layout's arms.

    ``levels`` per factor as codes; ``contexts`` combinations of the other factors over which it is averaged (0 for
    least squares). ``cells``, contexts x levels of the factors, holds arms of a matched set. ``means``, L x A, are the
    mean responses of a main effect at the L values of ``grid``, or at its levels where that is empty.
    """

    factors: tuple[int, ...]
    method: EffectMethod
    levels: tuple[tuple[int, ...], ...]
    contexts: int
    weights: Array
    cells: Codes | None
    means: Array | None
    grid: tuple[float, ...] = ()
    aliases: tuple[tuple[int, ...], ...] = ()


def layout(arms: Sequence[ArmInfo], twins: Collection[str] = ()) -> FactorLayout | str:
    """The cells among ``arms``, or why there are none.

    Cells are the arms that set the same fields as most arms do; the control often sets fewer. ``twins`` are arms
    without synthetic images that scored exactly as another one: other factors mean nothing to them.
    """
    groups: dict[frozenset[str], list[ArmInfo]] = {}
    for arm in arms:
        groups.setdefault(frozenset(arm.levels), []).append(arm)
    fields, cells = max(groups.items(), key=lambda group: len(group[1]))
    left_out, members, seen = [], [], set()
    for arm in arms:
        levels = tuple(_key(arm.levels[name]) for name in sorted(fields)) if arm in cells else ()
        if arm not in cells:
            which = "the control, which belongs to no cell" if arm.control else "sets other fields than the factors"
            left_out.append(LeftOut(arm.name, which))
        elif arm.name in twins:
            left_out.append(LeftOut(arm.name, "without synthetic images the other factors change nothing"))
        elif levels in seen:
            left_out.append(LeftOut(arm.name, "has the levels of an earlier arm"))
        else:
            seen.add(levels)
            members.append(arm)
    in_order = dict.fromkeys(name for arm in members for name in arm.levels)
    names = [name for name in in_order if len({_key(arm.levels[name]) for arm in members}) >= 2]
    if not names:
        return "no field has two levels among arms that set the same fields"
    factors, columns = zip(*(_factor(name, members) for name in names), strict=True)
    return FactorLayout(factors, tuple(arm.name for arm in members), np.stack(columns, axis=1), tuple(left_out))


def _key(value: object) -> tuple[str, object]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number", float(value)
    return type(value).__name__, str(value)


def level_text(value: object) -> str:
    """A level as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


def _factor(name: str, arms: Sequence[ArmInfo]) -> tuple[Factor, Codes]:
    """Numbers ascending, no before yes, names in the order in which they first occur."""
    level_of = {_key(arm.levels[name]): arm.levels[name] for arm in reversed(arms)}
    order = list(dict.fromkeys(_key(arm.levels[name]) for arm in arms))
    numeric = all(kind == "number" for kind, _ in order)
    if numeric or all(kind == "bool" for kind, _ in order):
        order.sort(key=lambda key: float(str(key[1])) if numeric else str(key[1]) == "True")
    values = tuple(float(str(value)) for _, value in order) if numeric else ()
    factor = Factor(name, tuple(level_text(level_of[key]) for key in order), values)
    return factor, np.array([order.index(_key(arm.levels[name])) for arm in arms], dtype=np.int64)


def effects_of(design: FactorLayout) -> list[tuple[int, ...]]:
    """All main effects, then all two-factor interactions."""
    k = range(len(design.factors))
    return [*((i,) for i in k), *combinations(k, 2)]


def effect_name(design: FactorLayout, effect: Sequence[int]) -> str:
    """``gan.pipeline × synthesise.count``."""
    return f" {CROSS} ".join(design.factors[i].name for i in effect)


def matched(design: FactorLayout, effect: tuple[int, ...]) -> FactorContrast | None:
    """The largest balanced set of arms for the effect of one or two factors; None where there is none.

    Largest by arms, then by levels; of equals the first in the order of levels.
    """
    others = [i for i in range(len(design.factors)) if i not in effect]
    contexts: dict[tuple[int, ...], dict[tuple[int, ...], int]] = {}
    for arm, row in enumerate(design.codes.tolist()):
        cell = tuple(row[i] for i in effect)
        contexts.setdefault(tuple(row[i] for i in others), {})[cell] = arm
    size = (0, 0)
    chosen: tuple[tuple[int, ...], ...] = ()
    whole: list[dict[tuple[int, ...], int]] = []
    for levels in _level_sets(design, effect, list(contexts.values())):
        compared = list(product(*levels))
        having = [context for context in contexts.values() if all(cell in context for cell in compared)]
        if having and (len(compared) * len(having), len(compared)) > size:
            size, chosen, whole = (len(compared) * len(having), len(compared)), levels, having
    if not whole:
        return None
    cells = np.array([[context[cell] for cell in product(*chosen)] for context in whole], dtype=np.int64)
    means = np.zeros((cells.shape[1], len(design.arms)))
    np.add.at(means, (np.arange(cells.shape[1])[None, :], cells), 1 / len(whole))
    shown = display(tuple(map(len, chosen))) @ means
    return FactorContrast(
        effect, "matched cells", chosen, len(whole), shown, cells, means if len(effect) == 1 else None
    )


def _level_sets(
    design: FactorLayout, effect: tuple[int, ...], contexts: Sequence[Mapping[tuple[int, ...], int]]
) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Candidate sets of two or more levels per factor; all levels first, and alone where every context has them."""
    everything = tuple(tuple(range(len(design.factors[i].levels))) for i in effect)
    yield everything
    if all(len(context) == np.prod([len(levels) for levels in everything]) for context in contexts):
        return
    choices = []
    for place, levels in enumerate(everything):
        if len(levels) <= MOST_SUBSETS_OF:
            sets = {chosen for size in range(2, len(levels) + 1) for chosen in combinations(levels, size)}
        else:
            sets = {tuple(sorted({cell[place] for cell in context})) for context in contexts}
        choices.append(
            sorted((chosen for chosen in sets if len(chosen) >= 2), key=lambda chosen: (-len(chosen), chosen))
        )
    yield from product(*choices)


def display(sizes: tuple[int, ...]) -> Array:
    """Contrasts shown for an effect over its cells, rows of weights.

    Two levels: high minus low; a 2 x 2 interaction: half the difference of the two simple effects, so that all
    effects share one scale (twice the coefficient under sum-to-zero coding). More levels: each minus the mean, for an
    interaction what is left of each cell after rows and columns.
    """
    if sizes == (2,):
        return np.array([[-1.0, 1.0]])
    if sizes == (2, 2):
        return np.array([[1.0, -1.0, -1.0, 1.0]]) / 2
    codings = [np.eye(size) - 1 / size for size in sizes]
    if len(codings) == 1:
        return codings[0]
    return np.kron(*codings).astype(np.float64)


def labels(design: FactorLayout, contrast: FactorContrast) -> tuple[str, ...]:
    """What each display contrast compares."""
    if contrast.grid:
        return tuple(f"{value:.3g} {MINUS} mean" for value in contrast.grid)
    names = [
        [design.factors[i].levels[code] for code in codes]
        for i, codes in zip(contrast.factors, contrast.levels, strict=True)
    ]
    first, *others = names
    if not others and len(first) == 2:
        return (f"{first[1]} {MINUS} {first[0]}",)
    if not others:
        return tuple(f"{level} {MINUS} mean" for level in first)
    (second,) = others
    if len(first) == len(second) == 2:
        return (f"half of ({first[1]} {MINUS} {first[0]}) at {second[1]} against {second[0]}",)
    return tuple(f"{a}, {b}" for a in first for b in second)
