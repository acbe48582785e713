"""Which contrasts a study asks for: the effects of a factorial, and those that its rules name."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medsweep.analysis.factors.design import effect_name, layout
from medsweep.analysis.factors.least_squares import factor_contrasts
from medsweep.analysis.records import ArmInfo, Array, Estimate
from medsweep.analysis.stats.arm_family import ArmTest, contrast_tests
from medsweep.analysis.stats.arm_tests import Setting
from medsweep.analysis.stats.equivalence import Verdict
from medsweep.analysis.study.evidence import Judged, judge
from medsweep.analysis.table.reduction import AnalysisRules, Reduced
from medsweep.analysis.table.score_array import scores_of
from medsweep.errors import UserError, nearest

Weights = Mapping[str, float]
"""Of arms by name; they add up to 0."""


@dataclass(frozen=True)
class ContrastTest:
    """A weighted sum of arms with its verdict, in a family of contrasts, as an arm has it against the control.

    Superior and inferior are meant for the arms with positive weights.
    """

    name: str
    weights: Weights
    test: ArmTest
    judged: Judged

    @property
    def verdict(self) -> Verdict:
        """What the test shows."""
        return self.judged.verdict

    @property
    def estimate(self) -> Estimate:
        """With the interval and p of the family."""
        return self.judged.bounds.quoted


@dataclass(frozen=True)
class ContrastTester:
    """The scores of arms, and how contrasts of them are judged."""

    reduced: Reduced
    """Scores of the primary metric, without the ``dead`` arms."""
    control: str
    rules: AnalysisRules
    dead: Collection[str] = ()
    """Arms without a score."""
    test_over_train: float | None = None
    """See ``analyse``."""

    @property
    def level(self) -> float:
        """Of intervals."""
        return 1 - self.rules.alpha

    def loses(self, weights: Weights) -> bool:
        """Whether an arm of the contrast is dead."""
        return bool(set(weights) & set(self.dead))

    def family(self, asked: Mapping[str, Weights]) -> tuple[ContrastTest, ...]:
        """Contrasts by name, with intervals that hold for all of them at once. Those of dead arms are left out.

        Raises:
            UserError: one names an unknown arm, or weights do not add up to 0.
        """
        living = {name: by_arm for name, by_arm in asked.items() if not self.loses(by_arm)}
        if not living:
            return ()
        reduced, rules = self.reduced, self.rules
        names = [str(arm) for arm in reduced.wide]
        weights = {name: _weights(name, by_arm, names) for name, by_arm in living.items()}
        setting = Setting(len(weights), rules.alpha, rules.equivalence, correlation=0.0)
        tests = contrast_tests(
            scores_of(reduced), weights, self.control, rules, setting=setting, test_over_train=self.test_over_train
        )
        return tuple(
            ContrastTest(name, by_arm, test, judge(test, rules.margin, reduced.metric, by_arm.values()))
            for (name, by_arm), test in zip(living.items(), tests, strict=True)
            if test is not None
        )


def contrasts_of(tester: ContrastTester, arms: Sequence[ArmInfo]) -> tuple[ContrastTest, ...]:
    """What the rules ask of the living ``arms``, as one family; empty where they ask for none.

    A 2^k factorial reads every effect off all its runs, so that a cause is found with as many runs as all cells have
    together, not with those of one arm.

    Raises:
        UserError: a factorial has no factor of two levels, a contrast names an unknown arm, or weights do not add up
            to 0.
    """
    effects = _living_effects(arms, tester.dead) if tester.rules.kind == "factorial" else {}
    return tester.family({**effects, **tester.rules.contrasts})


def _weights(name: str, by_arm: Weights, arms: list[str]) -> Array:
    for arm in by_arm:
        if arm not in arms:
            raise UserError(f"analysis.contrasts: {name}: no arm is called {arm!r}; {nearest(arm, arms)}")
    weights = np.array([float(by_arm.get(arm, 0.0)) for arm in arms])
    if abs(weights.sum()) > 1e-9 or not weights.any():
        total = f"{weights.sum():g}"
        raise UserError(
            f"analysis.contrasts: {name}: weights must add up to 0 and not all be 0, they add up to {total}"
        )
    return weights


def lost_contrasts(rules: AnalysisRules, arms: Sequence[ArmInfo], dead: Collection[str]) -> list[str]:
    """Contrasts that a dead arm is part of, and the effects of a factorial of all ``arms`` that are lost with it."""
    if not dead:
        return []
    lost = [name for name, weights in rules.contrasts.items() if set(weights) & set(dead)]
    if rules.kind == "factorial":
        living = _living_effects([arm for arm in arms if arm.name not in dead], dead)
        lost = [*(name for name in factorial_effects(arms) if name not in living), *lost]
    return lost


def _living_effects(arms: Sequence[ArmInfo], dead: Collection[str]) -> dict[str, Weights]:
    """``factorial_effects`` of arms that are left; none where ``dead`` arms break the grid."""
    try:
        return factorial_effects(arms)
    except UserError:
        if not dead:
            raise
        return {}


def factorial_effects(arms: Sequence[ArmInfo]) -> dict[str, Weights]:
    """Main effects and two-factor interactions of the factors of two levels, high minus low, as weights of arms.

    Raises:
        UserError: there is none.
    """
    design = layout(arms)
    if isinstance(design, str):
        raise UserError(f"analysis.kind: factorial: {design}")
    effects: dict[str, Weights] = {}
    for contrast in factor_contrasts(design)[0]:
        if all(len(design.factors[i].levels) == 2 for i in contrast.factors):
            (row,) = contrast.weights
            weights = {arm: float(weight) for arm, weight in zip(design.arms, row, strict=True) if abs(weight) > 1e-12}
            effects[effect_name(design, contrast.factors)] = weights
    if not effects:
        raise UserError("analysis.kind: factorial: no factor has exactly two levels among the arms")
    return effects
