"""Effects by least squares where no balanced set of arms shows them: fractions, searches, arms unlike in many fields.

What the arms cannot tell apart is found from the design matrix itself, as columns that span the same space.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final, Literal

import numpy as np

from medsweep.analysis.factors.design import (
    Factor,
    FactorContrast,
    FactorLayout,
    LeftOut,
    display,
    effect_name,
    effects_of,
    matched,
)
from medsweep.analysis.records import Array

EffectKey = tuple[int, ...]
Scale = Literal["linear", "log2"]

FEW_LEVELS: Final = 5
"""Numeric levels from which a factor may be a smooth one, as in a search."""
GRID: Final = 5
"""Values of a smooth factor at which its mean response is given."""


def factor_contrasts(design: FactorLayout) -> tuple[list[FactorContrast], list[LeftOut]]:
    """All estimable main effects and two-factor interactions, and the others with the reason."""
    effects = effects_of(design)
    contrasts = {effect: contrast for effect in effects if (contrast := matched(design, effect)) is not None}
    smooth = {i for i, factor in enumerate(design.factors) if _smooth(factor, contrasts.get((i,)))}
    for effect in [effect for effect in contrasts if smooth & set(effect)]:
        del contrasts[effect]
    missing = [effect for effect in effects if effect not in contrasts]
    failed = {effect: NO_BLOCK for effect in missing}
    if any(len(effect) == 1 for effect in missing):
        solved, failed = least_squares(design, missing, smooth)
        contrasts |= solved
    left_out = [LeftOut(effect_name(design, effect), reason) for effect, reason in failed.items()]
    return [contrasts[effect] for effect in effects if effect in contrasts], left_out


NO_BLOCK: Final = "no two levels of one factor are crossed with two of the other while all else is the same"


def _smooth(factor: Factor, contrast: FactorContrast | None) -> bool:
    """Many numeric levels, most of which no other arm repeats with all else the same."""
    many = len(factor.values) >= FEW_LEVELS
    return many and (contrast is None or 2 * len(contrast.levels[0]) < len(factor.values))


def scale_of(values: Sequence[float]) -> Scale:
    """The scale on which the median lies nearer to the middle of the range; linear for levels that are not positive."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.min() <= 0:
        return "linear"

    def lean(x: Array) -> float:
        return float(abs((np.median(x) - x.min()) / np.ptp(x) - 0.5))

    return "log2" if lean(np.log2(numbers)) < lean(numbers) - 1e-9 else "linear"


def scaled(values: Sequence[float]) -> Array:
    """The values on the scale that ``scale_of`` names."""
    numbers = np.asarray(values, dtype=np.float64)
    return np.log2(numbers) if scale_of(values) == "log2" else numbers


def _curve(design: FactorLayout, i: int) -> tuple[Array, Array, tuple[float, ...]]:
    """A smooth factor over A arms: x in units of its range about its mean, the grid in the same units, its values."""
    values = design.factors[i].values
    x = scaled(values)[design.codes[:, i]]
    grid = np.linspace(x.min(), x.max(), GRID)
    shown = 2**grid if scale_of(values) == "log2" else grid
    return (x - x.mean()) / np.ptp(x), (grid - x.mean()) / np.ptp(x), tuple(shown.tolist())


def _powers(x: Array, at: Array, degree: int) -> Array:
    """Columns x, x^2 at ``at``, both centred over the arms."""
    columns: Array = np.stack([at**power - (x**power).mean() for power in range(1, degree + 1)], axis=1)
    return columns


def columns_of(design: FactorLayout, effect: EffectKey, smooth: Collection[int] = (), degree: int = 2) -> Array:
    """Sum-to-zero columns of a main effect or an interaction over the arms, A x D.

    A two-level factor has -1 and +1; a smooth one its powers up to ``degree``.
    """
    columns = np.ones((len(design.arms), 1))
    for i in effect:
        if i in smooth:
            x, _, _ = _curve(design, i)
            coded = _powers(x, x, degree)
        else:
            size = len(design.factors[i].levels)
            coding = np.array([[-1.0], [1.0]]) if size == 2 else np.vstack([np.eye(size - 1), -np.ones(size - 1)])
            coded = coding[design.codes[:, i]]
        columns = (columns[:, :, None] * coded[:, None, :]).reshape(len(columns), -1)
    return columns


def alias_sets(design: FactorLayout, smooth: Collection[int] = ()) -> list[tuple[EffectKey, ...]]:
    """Main effects and two-factor interactions in sets whose columns span one and the same space, mains first.

    A constant column is confounded with the mean and stands in no set; interactions of smooth factors are not asked.
    """
    effects = [effect for effect in effects_of(design) if len(effect) == 1 or not set(smooth) & set(effect)]
    sets: list[tuple[Array, list[EffectKey]]] = []
    for effect in effects:
        span = _projection(columns_of(design, effect, smooth))
        if span is None:
            continue
        for other, members in sets:
            if np.abs(span - other).max() < 1e-8:
                members.append(effect)
                break
        else:
            sets.append((span, [effect]))
    return [tuple(members) for _, members in sets]


def _projection(columns: Array) -> Array | None:
    """Projection onto the centred columns; None for constant ones and for those that saturate the arms."""
    left, sizes, _ = np.linalg.svd(columns - columns.mean(axis=0), full_matrices=False)
    rank = int((sizes > 1e-9 * max(sizes.max(initial=0.0), 1.0)).sum())
    if rank == 0:
        return None
    span: Array = left[:, :rank] @ left[:, :rank].T
    return span


def least_squares(
    design: FactorLayout, missing: Sequence[EffectKey], smooth: Collection[int]
) -> tuple[dict[EffectKey, FactorContrast], dict[EffectKey, str]]:
    """The effects among ``missing`` that least squares over all cells can show, and why it cannot show the others.

    The model has one effect of every alias set: main effects, interactions of two-level factors, and parabolas of
    smooth factors. Where the cells are too few it does without interactions, then without the bend of parabolas.
    """
    sets = alias_sets(design, smooth)
    leader = {effect: members[0] for members in sets for effect in members}
    heads = [members[0] for members in sets]
    mains = [head for head in heads if len(head) == 1]
    solved: dict[EffectKey, FactorContrast] = {}
    two_level = {i for i, factor in enumerate(design.factors) if len(factor.levels) == 2}
    simple = [head for head in heads if len(head) == 1 or two_level.issuperset(head)]
    for model, degree in ((simple, 2), (mains, 2), (mains, 1)):
        if (solution := _solve(design, model, smooth, degree)) is not None:
            solved = solution
            break
    shown: dict[EffectKey, FactorContrast] = {}
    failed: dict[EffectKey, str] = {}
    for effect in missing:
        head = leader.get(effect)
        if len(effect) > 1 and set(effect) & set(smooth):
            failed[effect] = "a field whose levels no arm repeats is taken as additive"
        elif head is None:
            failed[effect] = "it is the same in all arms"
        elif head != effect:
            failed[effect] = f"confounded with {effect_name(design, head)}: their columns coincide"
        elif effect not in solved:
            failed[effect] = "too few arms to separate it from the other effects"
        else:
            others = next(members[1:] for members in sets if members[0] == effect)
            shown[effect] = replace(solved[effect], aliases=others)
    return shown, failed


def _solve(
    design: FactorLayout, model: Sequence[EffectKey], smooth: Collection[int], degree: int
) -> dict[EffectKey, FactorContrast] | None:
    """Every effect of the model; None where its columns are not independent, or leave a parabola no arm to spare."""
    blocks = [columns_of(design, effect, smooth, degree) for effect in model]
    matrix = np.column_stack([np.ones(len(design.arms)), *blocks])
    spare = 2 if smooth and degree > 1 else 0
    if matrix.shape[1] + spare > len(design.arms) or np.linalg.matrix_rank(matrix) < matrix.shape[1]:
        return None
    rows = np.linalg.pinv(matrix)
    contrasts, start = {}, 1
    for effect, block in zip(model, blocks, strict=True):
        coefficients = rows[start : start + block.shape[1]]
        start += block.shape[1]
        contrasts[effect] = _contrast_of(design, effect, rows[0], coefficients, smooth=smooth, degree=degree)
    return contrasts


def _contrast_of(
    design: FactorLayout, effect: EffectKey, mean_A: Array, rows: Array, *, smooth: Collection[int], degree: int
) -> FactorContrast:
    """From the rows that read coefficients off the arms to the contrasts shown."""
    levels = tuple(tuple(range(len(design.factors[i].levels))) for i in effect)
    if len(effect) > 1:
        return FactorContrast(effect, "least squares", levels, 0, 2 * rows, None, None)
    (i,) = effect
    if i in smooth:
        x, grid, values = _curve(design, i)
        means = mean_A + _powers(x, grid, degree) @ rows
        return FactorContrast(effect, "polynomial", levels, 0, display((GRID,)) @ means, None, means, values)
    size = len(levels[0])
    coding = np.array([[-1.0], [1.0]]) if size == 2 else np.vstack([np.eye(size - 1), -np.ones(size - 1)])
    means = mean_A + coding @ rows
    return FactorContrast(effect, "least squares", levels, 0, display((size,)) @ means, None, means)
