"""Do errors of masks accumulate through C-SG? Contrasts of {mask} x {image}, misfits by source, and the verdict."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from medsweep.accumulation import Accumulation
from medsweep.analysis.records import Estimate
from medsweep.analysis.study.contrasts import ContrastTest, ContrastTester, Weights
from medsweep.analysis.study.mechanisms.accumulation_verdict import AccumulationVerdict, Findings, decide
from medsweep.analysis.study.mechanisms.misfit import Misfits, Slopes, misfits_of, slopes_of


@dataclass(frozen=True)
class AccumulationStudy:
    """The contrasts by question, the misfits, their slopes, and the verdict."""

    arms: Accumulation
    tests: Mapping[str, tuple[ContrastTest, ...]]
    """By question; each a family of its own, empty where its arms are not there."""
    misfits: Misfits | None
    """None where no pool was assessed."""
    slopes: Slopes | None
    """None with fewer than two runs."""
    verdict: AccumulationVerdict
    lost: tuple[str, ...]
    """Contrasts left out since an arm of them is dead."""

    def cost(self, name: str) -> Estimate | None:
        """The estimate of a contrast by its name."""
        return next((test.estimate for family in self.tests.values() for test in family if test.name == name), None)


def accumulation_of(arms: Accumulation, tester: ContrastTester, samples: pd.DataFrame) -> AccumulationStudy:
    """All that the arms can tell. Of dead arms it leaves out contrasts, and tells misfits.

    Args:
        arms: the section of the sweep.
        tester: of contrasts of these arms.
        samples: see ``misfits_of``; may be empty.
    """
    asked = questions(arms, higher_is_better=tester.reduced.metric.higher_is_better)
    lost = tuple(name for family in asked.values() for name, weights in family.items() if tester.loses(weights))
    tests = {question: tester.family(family) for question, family in asked.items()}
    misfits = misfits_of(samples, arms, tester.level)
    slopes = None if misfits is None else slopes_of(samples, arms, misfits.judge, tester.level)
    verdict = decide(_findings(tests, misfits), tester.rules.margin)
    return AccumulationStudy(arms, tests, misfits, slopes, verdict, lost)


def _findings(tests: Mapping[str, tuple[ContrastTest, ...]], misfits: Misfits | None) -> Findings:
    told = [test for family in tests.values() for test in family]
    return Findings(
        new=None if misfits is None else misfits.new,
        step=None if misfits is None else misfits.step,
        interaction=next((test.estimate for test in told if test.name == "interaction"), None),
        one_run=any(test.test.conditional for test in told) or (misfits is not None and misfits.runs < 2),
        judges_differ=misfits is not None and misfits.judges_differ,
        missed=math.nan if misfits is None else misfits.missed,
    )


def questions(arms: Accumulation, *, higher_is_better: bool = True) -> dict[str, dict[str, Weights]]:
    """Weights of arms for every question that the arms can answer, such that a positive value is a cost.

    With new real slices O, their masks painted E1, M-SG masks painted E2, and real images warped to these W: the
    ``image part`` is (O - E1 + W - E2) / 2, the ``mask part`` (O - W + E1 - E2) / 2, and both add up to O - E2. The
    ``interaction``, (W - E2) - (O - E1), is what images cost more where masks are generated. ``memorised masks``,
    (E0 - E1) - (Q - O), is what new masks cost C-SG more than new slices cost the U-Net by themselves.
    """
    new, warped, painted, generated = arms.new_real, arms.warped, arms.new_masks, arms.generated_masks
    known, same = arms.known_masks, arms.same_real
    found: dict[str, dict[str, Weights]] = {
        "chain": {f"{painted} to {generated}": {painted: 1.0, generated: -1.0}},
        "parts": {},
        "memorised": {},
    }
    if new is not None:
        steps = {"shortfall": {new: 1.0, generated: -1.0}, f"{new} to {painted}": {new: 1.0, painted: -1.0}}
        found["chain"] = {**steps, **found["chain"]}
    if new is not None and warped is not None:
        found["parts"] = {
            "image part": {new: 0.5, painted: -0.5, warped: 0.5, generated: -0.5},
            "mask part": {new: 0.5, warped: -0.5, painted: 0.5, generated: -0.5},
            "interaction": {warped: 1.0, generated: -1.0, new: -1.0, painted: 1.0},
        }
    if new is not None and known is not None and same is not None:
        found["memorised"] = {"memorised masks": {known: 1.0, painted: -1.0, same: -1.0, new: 1.0}}
    sign = 1.0 if higher_is_better else -1.0
    return {
        question: {name: {arm: sign * weight for arm, weight in one.items()} for name, one in family.items()}
        for question, family in found.items()
    }
