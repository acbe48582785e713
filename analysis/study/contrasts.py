"""Which contrasts a study asks for: the effects of a factorial, and those that its rules name."""

from collections.abc import Collection, Mapping, Sequence

from medsweep.analysis.factors.design import effect_name, layout
from medsweep.analysis.factors.least_squares import factor_contrasts
from medsweep.analysis.records import ArmInfo
from medsweep.analysis.stats.contrast_family import ContrastTest, contrast_family
from medsweep.analysis.table.reduction import AnalysisRules, Reduced
from medsweep.errors import UserError


def contrasts_of(
    reduced: Reduced,
    arms: Sequence[ArmInfo],
    rules: AnalysisRules,
    test_over_train: float | None = None,
    dead: Collection[str] = (),
) -> tuple[ContrastTest, ...]:
    """All of them as one family; empty where none is asked for. Those of ``dead`` arms are left out.

    Raises:
        UserError: a factorial has no factor of two levels, or a contrast names an unknown arm.
    """
    lost = lost_contrasts(rules, dead)
    asked: dict[str, Mapping[str, float]] = {name: one for name, one in rules.contrasts.items() if name not in lost}
    if rules.kind == "factorial":
        try:
            asked = {**factorial_effects(arms), **asked}
        except UserError:
            if not dead:
                raise
    return contrast_family(reduced, asked, rules, test_over_train) if asked else ()


def lost_contrasts(rules: AnalysisRules, dead: Collection[str]) -> list[str]:
    """Contrasts that a dead arm is part of."""
    return [name for name, weights in rules.contrasts.items() if set(weights) & set(dead)]


def factorial_effects(arms: Sequence[ArmInfo]) -> dict[str, Mapping[str, float]]:
    """Main effects and two-factor interactions of the factors of two levels, high minus low, as weights of arms.

    Raises:
        UserError: there is none.
    """
    design = layout(arms)
    if isinstance(design, str):
        raise UserError(f"analysis.kind: factorial: {design}")
    effects: dict[str, Mapping[str, float]] = {}
    for contrast in factor_contrasts(design)[0]:
        if all(len(design.factors[i].levels) == 2 for i in contrast.factors):
            (row,) = contrast.weights
            weights = {arm: float(weight) for arm, weight in zip(design.arms, row, strict=True) if abs(weight) > 1e-12}
            effects[effect_name(design, contrast.factors)] = weights
    if not effects:
        raise UserError("analysis.kind: factorial: no factor has exactly two levels among the arms")
    return effects
