"""At one of several looks: what has no verdict yet, and how a look reads."""

from collections.abc import Sequence

import pandas as pd

from medsweep.analysis.records import ArmInfo
from medsweep.analysis.stats.arm_family import ArmTest, arm_tests
from medsweep.analysis.stats.equivalence import Verdict
from medsweep.analysis.stats.sequential import Look
from medsweep.analysis.study.contrasts import ContrastTester, contrasts_of
from medsweep.analysis.study.dead import DeadArm, compared
from medsweep.analysis.study.evidence import judge
from medsweep.analysis.table.arms import control_of
from medsweep.analysis.table.reduction import AnalysisRules, metric_named, reduce
from medsweep.analysis.table.validation import validated
from medsweep.metrics import SCORES


def rules_at(rules: AnalysisRules, look: Look | None) -> AnalysisRules:
    """The rules at the level of a look, so that intervals hold at all looks together."""
    return rules if look is None else rules.model_copy(update={"alpha": look.alpha})


def undecided(
    table: pd.DataFrame,
    rules: AnalysisRules,
    arms: Sequence[ArmInfo],
    dead: Sequence[DeadArm],
    test_over_train: float | None,
) -> tuple[str, ...]:
    """What ``analyse`` would call inconclusive, from the primary metric alone: arms and contrasts.

    What would hold for the trained networks alone counts as well, since the next look has more of them. The effects of
    a factorial take the place of the arms.

    Raises:
        UserError: as ``analyse``.
    """
    metric = metric_named(rules.primary, SCORES)
    table, arms, dead = compared(table, arms, metric.name, dead)
    control, names = control_of(arms), [arm.name for arm in arms]
    reduced = reduce(validated(table, names, metric.name), rules, names, metric)
    tester = ContrastTester(reduced, control, rules, [one.arm for one in dead], test_over_train)
    verdicts = {one.name: _of_method(one.test, one.verdict) for one in contrasts_of(tester, arms)}
    if rules.kind == "arms":
        others = [name for name in names if name != control]
        tests = zip(others, arm_tests(reduced, control, rules, test_over_train), strict=True)
        reached = {name: test and _of_method(test, judge(test, rules.margin, metric).verdict) for name, test in tests}
        verdicts = {name: verdict or Verdict.INCONCLUSIVE for name, verdict in reached.items()} | verdicts
    return tuple(name for name, verdict in verdicts.items() if verdict == Verdict.INCONCLUSIVE)


def _of_method(test: ArmTest, verdict: Verdict) -> Verdict:
    return Verdict.INCONCLUSIVE if test.conditional else verdict


def look_title(look: Look) -> str:
    """``look 2 of 4, at 12 of at most 25 seeds``."""
    return f"look {look.number} of {look.looks}, at {look.seeds} of at most {look.most} seeds"


def look_sentence(look: Look) -> str:
    """For the scope of the verdicts."""
    return (
        f"This is {look_title(look)}: intervals and verdicts are at alpha {look.alpha:.2g}, so that all looks together "
        f"keep {look.overall:g}."
    )


def look_method(look: Look) -> str:
    """For the methods section."""
    names = {"obrien-fleming": "O'Brien and Fleming's", "pocock": "Pocock's"}
    return (
        f"Group-sequential analysis: {look.looks} looks were planned, and the sweep ends at the first at which "
        f"nothing is inconclusive. A spending function of {names[look.spending]} kind (Lan and DeMets 1983) over the "
        f"share of the seeds gives look {look.number} the nominal level {look.alpha:.2g} of {look.overall:g}. p values "
        "and repeated confidence intervals are held against that, those of equivalence too (significance-level "
        "approach, Jennison and Turnbull 2000)."
    )
