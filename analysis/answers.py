"""The answer to the sweep's question: for every arm, the verdict that patients and runs both support."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.effects import Effect
from analysis.equivalence import Verdict, verdict, weaker
from analysis.levels import PatientLevel, RunLevel, patient_level, run_level
from analysis.posthoc import Wilcoxon, holm
from analysis.power import Power, power_of
from analysis.tables import AnalysisPlan, Reduced
from analysis.variance import method_test
from analysis.wording import answer_detail, answer_lead


@dataclass(frozen=True)
class Answer:
    """One arm against the control on the primary metric.

    ``verdict`` is the weaker of the two levels, axis by axis; ``runs`` is None where one run per arm leaves nothing
    to test over runs.
    """

    arm: str
    patients: PatientLevel
    runs: RunLevel | None
    verdict: Verdict
    power: Power
    lead: str
    detail: str

    @property
    def sentence(self) -> str:
        """The verdict, then what it rests on."""
        return f"{self.lead} {self.detail}"


def answer_all(
    reduced: Reduced,
    effects: Sequence[Effect],
    wilcoxon: Sequence[Wilcoxon],
    control: str,
    plan: AnalysisPlan,
    *,
    test_over_train: float | None = None,
) -> tuple[Answer, ...]:
    """Answers in the order of ``effects``; Holm over all arms at both levels; see ``method_test`` for the ratio."""
    patients = [patient_level(reduced, e, w, control, plan) for e, w in zip(effects, wilcoxon, strict=True)]
    tests = [method_test(reduced, effect.arm, control, 1 - plan.alpha, test_over_train) for effect in effects]
    adjusted = holm([math.nan if test is None else test.estimate.p for test in tests])
    runs = [
        None if test is None else run_level(test, p, reduced.metric, plan)
        for test, p in zip(tests, adjusted, strict=True)
    ]
    return tuple(_answer(reduced, p, r, control, plan) for p, r in zip(patients, runs, strict=True))


def _answer(
    reduced: Reduced, patients: PatientLevel, runs: RunLevel | None, control: str, plan: AnalysisPlan
) -> Answer:
    effect = patients.effect
    evidence = patients.evidence if runs is None else weaker(patients.evidence, runs.evidence)
    found = verdict(evidence)
    comparisons = reduced.wide.shape[1] - 1
    return Answer(
        arm=effect.arm,
        patients=patients,
        runs=runs,
        verdict=found,
        power=power_of(effect, margin=plan.margin, alpha=plan.alpha, comparisons=comparisons),
        lead=answer_lead(effect.arm, control, found),
        detail=answer_detail(patients, runs, found, reduced.metric),
    )
