"""The answer to the sweep's question: for every arm, the verdict on the method, or on these trained networks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from medsweep.analysis.records import Estimate
from medsweep.analysis.stats.arm_family import ArmTest, arm_tests
from medsweep.analysis.stats.effects import Effect
from medsweep.analysis.stats.equivalence import Verdict
from medsweep.analysis.stats.power import Power, power_of
from medsweep.analysis.stats.wilcoxon import Wilcoxon
from medsweep.analysis.study.evidence import Judged, judge
from medsweep.analysis.study.wording import answer_detail, answer_lead, answer_short
from medsweep.analysis.table.reduction import AnalysisRules, Reduced


@dataclass(frozen=True)
class Answer:
    """One arm against the control on the primary metric.

    ``test`` carries the verdict; None where no patient has a score in both arms. ``effect`` and ``wilcoxon`` describe
    the patients of these trained networks. ``short`` is one sentence behind the ``lead``, ``detail`` the whole story.
    """

    arm: str
    test: ArmTest | None
    judged: Judged | None
    effect: Effect
    wilcoxon: Wilcoxon
    power: Power
    lead: str
    detail: str
    short: str = ""

    @property
    def verdict(self) -> Verdict:
        """What the test shows; inconclusive without one."""
        return Verdict.INCONCLUSIVE if self.judged is None else self.judged.verdict

    @property
    def conditional(self) -> bool:
        """Whether the verdict holds for these trained networks alone, and not for the method."""
        return self.test is not None and self.test.conditional

    @property
    def sentence(self) -> str:
        """The verdict, then what it rests on."""
        return f"{self.lead} {self.detail}"

    @property
    def estimate(self) -> Estimate:
        """The difference to be quoted, with the simultaneous interval and the p adjusted over all arms."""
        if self.judged is None:
            return self.effect.mean
        return self.judged.bounds.quoted

    @property
    def inside(self) -> bool:
        """Whether the difference is confined to the margin."""
        return self.judged is not None and self.judged.evidence.inside

    @property
    def narrow(self) -> tuple[float, float]:
        """The interval behind the test of equivalence."""
        if self.judged is None:
            return self.effect.mean.low, self.effect.mean.high
        return self.judged.bounds.narrow_low, self.judged.bounds.narrow_high


def answer_all(
    reduced: Reduced,
    effects: Sequence[Effect],
    wilcoxon: Sequence[Wilcoxon],
    control: str,
    rules: AnalysisRules,
    *,
    test_over_train: float | None = None,
) -> tuple[Answer, ...]:
    """Answers in the order of ``effects``; see ``arm_tests`` for the ratio."""
    answers = []
    tests = arm_tests(reduced, control, rules, test_over_train)
    for effect, signed_ranks, test in zip(effects, wilcoxon, tests, strict=True):
        judged = None if test is None else judge(test, rules.margin, reduced.metric)
        answer = Answer(
            arm=effect.arm,
            test=test,
            judged=judged,
            effect=effect,
            wilcoxon=signed_ranks,
            power=power_of(effect, margin=rules.margin, alpha=rules.alpha, comparisons=len(effects)),
            lead="",
            detail="",
        )
        answers.append(_in_words(answer, control, reduced, rules))
    return tuple(answers)


def _in_words(answer: Answer, control: str, reduced: Reduced, rules: AnalysisRules) -> Answer:
    return replace(
        answer,
        lead=answer_lead(answer.arm, control, answer.verdict, conditional=answer.conditional),
        detail=answer_detail(answer.test, answer.judged, reduced.metric, rules),
        short=answer_short(answer.test, answer.judged, reduced.metric),
    )
