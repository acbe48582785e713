"""From the tests of one arm to its verdict: which way it differs, and whether that stays inside the margin."""

from collections.abc import Iterable
from dataclasses import dataclass

from medsweep.analysis.stats.arm_family import ArmTest
from medsweep.analysis.stats.arm_tests import Bounds
from medsweep.analysis.stats.equivalence import Evidence, Verdict, verdict
from medsweep.metric_record import Metric


@dataclass(frozen=True)
class Judged:
    """The verdict on one arm, and the ``bounds`` that show it: by the scores as they are, or by bounded ones."""

    evidence: Evidence
    verdict: Verdict
    bounds: Bounds
    bounded: bool


def judge(test: ArmTest, margin: float, metric: Metric, weights: Iterable[float] = (1.0, -1.0)) -> Judged:
    """What either test shows is shown; a difference is confined to the margin where no test leaves room for more.

    Beside bounded scores, those as they are show it by their wide interval alone, so that both together seldom err.

    Harm counts before benefit where the two tests contradict each other. Both ends of every interval fall or stay when
    a score of the arm gets worse, so the verdict never turns milder (``arm_tests``, with one exception).

    The verdict rests on the intervals as computed. Those that are quoted end where the ``weights`` of the arms leave no
    larger difference of the metric.
    """
    tests = [test.whole] if test.bounded is None else [test.whole, test.bounded]
    evidence = _evidence([test.whole] if test.bounded is None else [test.whole.widened, test.bounded], margin, metric)
    reached = verdict(evidence)
    preferred = list(reversed(tests)) if test.infinite else tests
    shown = next((one for one in preferred if verdict(_evidence([one], margin, metric)) == reached), preferred[0])
    reach = metric.reach * sum(max(weight, 0.0) for weight in weights)
    return Judged(evidence, reached, shown.clipped(reach), bounded=shown is test.bounded)


def _evidence(tests: list[Bounds], margin: float, metric: Metric) -> Evidence:
    better = metric.higher_is_better
    low = max(one.low if better else -one.high for one in tests)
    high = min(one.high if better else -one.low for one in tests)
    worst = min(one.narrow_low if better else -one.narrow_high for one in tests)
    best = max(one.narrow_high if better else -one.narrow_low for one in tests)
    sign = -1 if high < 0 else int(low > 0)
    inside = (worst > -margin or sign > 0) and (best < margin or sign < 0)
    return Evidence(different=sign != 0, inside=inside, sign=sign)
