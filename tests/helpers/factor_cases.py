"""Designs with a known truth, for the tests of factors."""

import itertools

import numpy as np

from helpers.score_arrays import crossed, reduced_of
from medsweep.analysis.factors.effects import factor_effects
from medsweep.analysis.records import ArmInfo

CONTROL = ArmInfo("control", {"n": 0}, 0, None, control=True)


def cells(rows, names="abcdefg"):
    """One arm with images per row of levels, behind a control that is no cell."""
    arms = [ArmInfo(" ".join(map(str, row)), dict(zip(names, row, strict=False)), 5) for row in rows]
    return [CONTROL, *arms]


def grid(*levels):
    return cells(itertools.product(*levels))


def study(arms, y, **settings):
    return factor_effects(reduced_of(y, [arm.name for arm in arms]), arms, 0.95, **settings)


def effect(found, name):
    return next(one for one in found.effects if one.name == name)


def shifted(arms, rule, seed=0, **settings):
    """Scores in which an arm's level is ``rule`` of its levels."""
    shifts = [0.0 if arm.control else rule(*arm.levels.values()) for arm in arms]
    return crossed(np.random.default_rng(seed), len(arms), shifts=shifts, **settings)


TWO = grid(["b-sg", "mc-sg"], [False, True])
