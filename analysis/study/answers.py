"""The answer to the sweep's question: for every arm, the verdict that patients and runs both support."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from medsweep.analysis.records import Estimate
from medsweep.analysis.stats.effects import Effect
from medsweep.analysis.stats.equivalence import Verdict, verdict, weaker
from medsweep.analysis.stats.method_tests import method_tests
from medsweep.analysis.stats.p_adjustment import holm
from medsweep.analysis.stats.power import Power, power_of
from medsweep.analysis.stats.wilcoxon import Wilcoxon
from medsweep.analysis.study.evidence import PatientEvidence, RunEvidence, patient_evidence, run_evidence
from medsweep.analysis.study.wording import answer_detail, answer_short
from medsweep.analysis.table.reduction import AnalysisRules, Reduced


@dataclass(frozen=True)
class Answer:
    """One arm against the control on the primary metric.

    ``verdict`` is the weaker of the two levels, axis by axis; ``runs`` is None where one run per arm leaves nothing
    to test over runs. ``short`` is one sentence behind the ``lead``, ``detail`` the whole story.
    """

    arm: str
    patients: PatientEvidence
    runs: RunEvidence | None
    verdict: Verdict
    power: Power
    lead: str
    detail: str
    short: str = ""

    @property
    def sentence(self) -> str:
        """The verdict, then what it rests on."""
        return f"{self.lead} {self.detail}"

    @property
    def estimate(self) -> Estimate:
        """The difference to be quoted: with runs as random where there are any, else over patients alone."""
        return self.patients.effect.mean if self.runs is None else self.runs.test.estimate

    @property
    def inside(self) -> bool:
        """Whether both levels confine the difference to the margin."""
        return self.patients.evidence.inside and (self.runs is None or self.runs.evidence.inside)

    @property
    def narrow(self) -> tuple[float, float]:
        """The 1 - 2 alpha interval of ``estimate``, the one behind the test of equivalence."""
        equivalence = self.patients.equivalence
        return (equivalence.low, equivalence.high) if self.runs is None else (self.runs.low, self.runs.high)


def answer_all(
    reduced: Reduced,
    effects: Sequence[Effect],
    wilcoxon: Sequence[Wilcoxon],
    control: str,
    rules: AnalysisRules,
    *,
    test_over_train: float | None = None,
) -> tuple[Answer, ...]:
    """Answers in the order of ``effects``; Holm over all arms; see ``method_tests`` for the ratio."""
    tests = method_tests(reduced, control, 1 - rules.alpha, test_over_train)
    adjusted = holm([math.nan if test is None else test.estimate.p for test in tests])
    runs = [
        None if test is None else run_evidence(test, p, reduced.metric, rules)
        for test, p in zip(tests, adjusted, strict=True)
    ]
    answers = []
    for effect, signed_ranks, over_runs in zip(effects, wilcoxon, runs, strict=True):
        patients = patient_evidence(reduced, effect, signed_ranks, control, rules, runs=over_runs)
        weakest = verdict(patients.evidence if over_runs is None else weaker(patients.evidence, over_runs.evidence))
        answers.append(
            Answer(
                arm=effect.arm,
                patients=patients,
                runs=over_runs,
                verdict=weakest,
                power=power_of(effect, margin=rules.margin, alpha=rules.alpha, comparisons=len(effects)),
                lead=f"{effect.arm} against {control}: {weakest}.",
                detail=answer_detail(patients, over_runs, weakest, reduced.metric, reduced.seeds),
                short=answer_short(patients, over_runs, reduced.metric, reduced.seeds),
            )
        )
    return tuple(answers)
