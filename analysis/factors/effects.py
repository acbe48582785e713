"""What each factor does: main effects and two-factor interactions with intervals over patients and over runs.

Every effect is a linear combination of a patient's arm means, so that a one-sample t over patients gives its interval
(for balanced cells that of a mixed model with patient and patient x effect random), and the same combination of fold
means, or the two-way test, gives the one that holds for the method.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from medsweep.analysis.factors.dependence import FactorTrend, PartialDependence, dependence, ordered
from medsweep.analysis.factors.design import (
    EffectMethod,
    FactorContrast,
    FactorLayout,
    LeftOut,
    effect_name,
    labels,
    layout,
)
from medsweep.analysis.factors.least_squares import alias_sets, factor_contrasts
from medsweep.analysis.factors.terms import ArmScores, Term
from medsweep.analysis.records import ArmInfo
from medsweep.analysis.stats.method_tests import FTest
from medsweep.analysis.stats.p_adjustment import holm
from medsweep.analysis.table.reduction import Reduced
from medsweep.analysis.table.score_array import scores_of

__all__ = ["FactorEffect", "FactorStudy", "NoFactors", "Term", "factor_effects"]

Kind = Literal["full factorial", "incomplete factorial", "fractional factorial", "scattered arms"]


@dataclass(frozen=True)
class FactorEffect:
    """A main effect or an interaction over ``n`` patients with a finite score in its ``arms``.

    ``levels`` per factor are those compared, over ``contexts`` combinations of the other factors (0 for least
    squares). Two levels have one term, high minus low, and an interaction of two such half the difference of the
    simple effects; more levels have each one's deviation, and the F tests hold them together. ``p_holm`` and
    ``p_holm_runs`` are over all effects of the study.
    """

    name: str
    factors: tuple[str, ...]
    method: EffectMethod
    levels: tuple[tuple[str, ...], ...]
    contexts: int
    arms: tuple[str, ...]
    n: int
    terms: tuple[Term, ...]
    patients: FTest
    runs: FTest | None
    aliases: tuple[str, ...]
    p_holm: float = math.nan
    p_holm_runs: float = math.nan

    @property
    def interaction(self) -> bool:
        """Of two factors."""
        return len(self.factors) == 2


@dataclass(frozen=True)
class FactorStudy:
    """All that the arms show of the factors; ``aliases`` are sets of effects whose columns coincide.

    ``left_out`` are arms that are no cells, ``not_estimable`` effects that the cells cannot show, both with a reason.
    """

    design: Kind
    level: float
    family: str
    arms: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    effects: tuple[FactorEffect, ...]
    not_estimable: tuple[LeftOut, ...]
    aliases: tuple[tuple[str, ...], ...]
    ordered: tuple[FactorTrend, ...]
    dependence: tuple[PartialDependence, ...]


@dataclass(frozen=True)
class NoFactors:
    """Why there is no study of factors."""

    reason: str


def without_runs(study: FactorStudy | NoFactors, names: Collection[str]) -> FactorStudy | NoFactors:
    """The study without tests over runs of the named effects, which another test of the report answers."""
    if isinstance(study, NoFactors):
        return study

    def told(effect: FactorEffect) -> FactorEffect:
        terms = tuple(replace(term, runs=None) for term in effect.terms)
        return replace(effect, terms=terms, runs=None, p_holm_runs=math.nan) if effect.name in names else effect

    return replace(study, effects=tuple(told(effect) for effect in study.effects))


def factor_effects(
    reduced: Reduced, arms: Sequence[ArmInfo], level: float, test_over_train: float | None = None
) -> FactorStudy | NoFactors:
    """Effects of the factors that the ``arms`` vary, with intervals at ``level``.

    When not to use it: to compare with the control, which is no cell of the factors. Effects by least squares, and
    polynomials of a search, take what they cannot separate for zero; a search's arms were chosen by their results.
    See ``contrast_test`` for ``test_over_train``.
    """
    design = layout(arms, _twins(reduced, arms))
    if isinstance(design, str):
        return NoFactors(design)
    data = ArmScores(
        wide=reduced.wide[list(design.arms)].sort_index().to_numpy(dtype=np.float64),
        scores=scores_of(reduced, design.arms),
        level=level,
        test_over_train=test_over_train,
    )
    contrasts, failed = factor_contrasts(design)
    few = [contrast for contrast in contrasts if data.finite_patients(contrast.weights).sum() < 2]
    failed += [
        LeftOut(effect_name(design, contrast.factors), "fewer than two patients with finite scores") for contrast in few
    ]
    contrasts = [contrast for contrast in contrasts if contrast not in few]
    if not contrasts:
        return NoFactors("; ".join(f"{contrast.name}: {contrast.reason}" for contrast in failed))
    mains = [contrast for contrast in contrasts if len(contrast.factors) == 1]
    return FactorStudy(
        design=_kind(design, contrasts),
        level=level,
        family=f"the {len(contrasts)} main effects and two-factor interactions that the arms can show, Holm",
        arms=design.arms,
        left_out=design.left_out,
        effects=_adjusted([_effect(design, contrast, data) for contrast in contrasts]),
        not_estimable=tuple(failed),
        aliases=tuple(
            tuple(effect_name(design, e) for e in members) for members in alias_sets(design) if len(members) > 1
        ),
        ordered=tuple(trend for contrast in mains if (trend := ordered(design, contrast, data)) is not None),
        dependence=tuple(curve for contrast in mains if (curve := dependence(design, contrast, data)) is not None),
    )


def _twins(reduced: Reduced, arms: Sequence[ArmInfo]) -> set[str]:
    """Arms without synthetic images whose scores are those of another such arm: one and the same training."""
    columns: dict[bytes, list[str]] = {}
    for arm in arms:
        if arm.count == 0:
            columns.setdefault(reduced.wide[arm.name].to_numpy(dtype=np.float64).tobytes(), []).append(arm.name)
    return {name for names in columns.values() if len(names) > 1 for name in names}


def _kind(design: FactorLayout, contrasts: Sequence[FactorContrast]) -> Kind:
    if len(design.arms) == np.prod([len(factor.levels) for factor in design.factors]):
        return "full factorial"
    methods = {contrast.method for contrast in contrasts}
    if "polynomial" in methods:
        return "scattered arms"
    balanced = all(
        len(set(np.bincount(design.codes[:, i], minlength=len(factor.levels)))) == 1
        for i, factor in enumerate(design.factors)
    )
    return "fractional factorial" if methods == {"least squares"} and balanced else "incomplete factorial"


def _effect(design: FactorLayout, contrast: FactorContrast, data: ArmScores) -> FactorEffect:
    used = np.flatnonzero(np.abs(contrast.weights).max(axis=0) > 1e-9)
    names = labels(design, contrast)
    return FactorEffect(
        name=effect_name(design, contrast.factors),
        factors=tuple(design.factors[i].name for i in contrast.factors),
        method=contrast.method,
        levels=tuple(
            tuple(design.factors[i].levels[code] for code in codes)
            for i, codes in zip(contrast.factors, contrast.levels, strict=True)
        ),
        contexts=contrast.contexts,
        arms=tuple(design.arms[i] for i in used),
        n=int(data.finite_patients(contrast.weights).sum()),
        terms=tuple(data.term(name, row) for name, row in zip(names, contrast.weights, strict=True)),
        patients=data.over_patients(contrast.weights),
        runs=data.over_runs(contrast.weights),
        aliases=tuple(effect_name(design, effect) for effect in contrast.aliases),
    )


def _adjusted(effects: Sequence[FactorEffect]) -> tuple[FactorEffect, ...]:
    """Holm over the effects, at each level of analysis; NaN where there are no runs to test over."""
    patients = holm([effect.patients.p for effect in effects])
    runs = holm([math.nan if effect.runs is None else effect.runs.p for effect in effects])
    return tuple(
        replace(effect, p_holm=p, p_holm_runs=p_runs) for effect, p, p_runs in zip(effects, patients, runs, strict=True)
    )
