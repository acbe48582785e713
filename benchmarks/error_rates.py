"""Error rates of the verdict over simulated sweeps with a known truth.

A score is patient (SD .08) + patient x arm (.01) + run + residual (.02). There are 40 patients, a control
and six arms, or fewer, or 24.
A run is arm x fold x seed. Some rows add what a sweep meets: one generator per arm and fold (SD .006) behind all its
runs, runs that spread more in some arms, and structures missed in 3 % of all scores. The peer is the test of a careful
user: each pair's own error, the two-way t of Hillis 2007 on a held-out set or the paired t of fold means, with Holm.

    python benchmarks/error_rates.py [--tables N] [--rows TEXT] [--limit HOURS]

Each table is judged by the functions behind the report. A shift of all arms moves both ends of every interval by as
much, so that one judgement serves all true differences; rows with missed structures are judged anew. Prints one line
per row (Markdown, in %) as it is known, and the rows that fail what is required: at most 7 % of tables with any false
claim, and 93 % coverage at least. Too few networks on one held-out set cannot meet either, which the report says in
place of a winner; those rows are exempt, and what they count is said of the trained networks alone. The exit status is
1 if any other row fails.
"""

import argparse
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medsweep.analysis.records import Array, mean_estimate
from medsweep.analysis.stats.arm_family import ArmTest, family_of
from medsweep.analysis.stats.method_tests import two_way
from medsweep.analysis.stats.p_adjustment import holm
from medsweep.analysis.stats.run_error import few_networks
from medsweep.analysis.study.evidence import judge
from medsweep.analysis.table.reduction import AnalysisRules
from medsweep.analysis.table.score_array import ScoreArray
from medsweep.metrics import SCORES

SIX = 7
"""Six arms and the control."""
PATIENTS = 40
RULES = AnalysisRules(margin=0.01)
GAINS = (0.01, 0.02)
GENERATOR_SD = 0.006
MISSED = 0.03


@dataclass(frozen=True)
class Row:
    """One line: folds (1 is a held-out set), seeds, the SD of runs in each arm, and what else is simulated."""

    name: str
    folds: int
    seeds: int
    run_sds: tuple[float, ...]
    one_generator: bool = False
    missed: bool = False

    @property
    def exempt(self) -> bool:
        """Whether the report names no winner there, or runs cannot tell what the generator did."""
        return self.folds == 1 and (few_networks(self.seeds, len(self.run_sds)) or self.one_generator)

    @property
    def arms(self) -> tuple[str, ...]:
        """Names, the control first."""
        return ("control", *(f"arm {i}" for i in range(1, len(self.run_sds))))

    @property
    def fold_of(self) -> NDArray[np.int64]:
        """Fold that tests each patient."""
        return np.arange(PATIENTS) % self.folds


def rows() -> list[Row]:
    """Every line of the table."""
    alike = [
        Row(f"{_design(folds, seeds)}, run SD {sd:g}", folds, seeds, (sd,) * SIX)
        for folds, seeds in ((1, 1), (1, 2), (1, 3), (1, 5), (5, 1), (5, 5))
        for sd in (0.0, 0.003, 0.006, 0.012)
    ]
    special = []
    for folds in (1, 5):
        where = _design(folds, 5)
        special += [
            Row(f"{where}, one generator per arm", folds, 5, (0.006,) * 7, one_generator=True),
            Row(f"{where}, arms .012, control .003", folds, 5, (0.003, *(0.012,) * 6)),
            Row(f"{where}, one arm .012, rest .003", folds, 5, (*(0.003,) * 6, 0.012)),
            Row(f"{where}, control .012, arms .003", folds, 5, (0.012, *(0.003,) * 6)),
            Row(f"{where}, run SD 0.006, 3 % missed", folds, 5, (0.006,) * 7, missed=True),
        ]
    # where one arm is compared with the control, nothing is pooled
    single = [
        Row(f"{_design(folds, seeds)}, one arm, run SD 0.006", folds, seeds, (0.006,) * 2)
        for folds, seeds in ((2, 1), (3, 1), (5, 1), (5, 5), (1, 2), (1, 3), (1, 5))
    ]
    # two seeds, and folds, of few arms: nowhere else is so little pooled
    few = [
        Row(f"{_design(folds, seeds)}, {words}, run SD {sd:g}", folds, seeds, (sd,) * (arms + 1))
        for folds, seeds, arms, words, sd in (
            (1, 2, 1, "one arm", 0.012), (1, 2, 2, "two arms", 0.006), (1, 2, 2, "two arms", 0.012),
            (1, 3, 1, "one arm", 0.012), (3, 1, 2, "two arms", 0.006), (1, 2, 3, "three arms", 0.006),
            (1, 2, 3, "three arms", 0.012),
        )
    ]  # fmt: skip
    large = Row("5 folds, 5 seeds, 24 arms, run SD 0.012", 5, 5, (0.012,) * 25)
    return [*alike, *special, *single, *few, large]


def _design(folds: int, seeds: int) -> str:
    where = "held-out set" if folds == 1 else f"{folds} folds"
    return f"{where}, {seeds} seed{'s' if seeds > 1 else ''}"


def simulate(row: Row, rng: np.random.Generator) -> Array:
    """Scores A x P x R without any difference between arms."""
    arms, seeds = len(row.run_sds), row.seeds
    scores = 0.8 + rng.normal(0, 0.08, PATIENTS)[None, :, None] + rng.normal(0, 0.01, (arms, PATIENTS, 1))
    runs = rng.normal(0, 1, (arms, row.folds, seeds)) * np.array(row.run_sds)[:, None, None]
    if row.one_generator:
        runs += rng.normal(0, GENERATOR_SD, (arms, row.folds, 1))
    scores = scores + runs[:, row.fold_of] + rng.normal(0, 0.02, (arms, PATIENTS, seeds))
    return np.where(rng.random(scores.shape) < MISSED, -math.inf, scores) if row.missed else scores


def table_of(row: Row, scores_APR: Array) -> ScoreArray:
    """The scores as the analysis reads them; a missed structure scores 0."""
    order = np.argsort(row.fold_of, kind="stable")
    counts = np.bincount(row.fold_of) * row.seeds
    return ScoreArray(
        arms=row.arms,
        folds=tuple(range(row.folds)),
        seeds=(tuple(range(row.seeds)),) * row.folds,
        starts=tuple(np.cumsum([0, *counts[:-1]]).tolist()),
        patient=np.repeat(order, row.seeds),
        values=np.maximum(scores_APR[:, order], 0.0).reshape(len(row.run_sds), -1),
    )


def ends(row: Row, scores_APR: Array) -> list[Array]:
    """Low, high, narrow low and narrow high of every arm, 4 x arms each: by the scores as they are, and by the two
    that claim, these with their wide interval and bounded ones."""
    tests = [_present(test) for test in family_of(table_of(row, scores_APR), row.arms[0], RULES)]
    kinds = [
        [test.whole for test in tests],
        [test.whole.widened for test in tests],
        [test.bounded or test.whole for test in tests],
    ]
    return [np.array([(b.low, b.high, b.narrow_low, b.narrow_high) for b in bounds]).T for bounds in kinds]


def shown(kinds: list[Array]) -> tuple[Array, Array]:
    """Low and high end of every arm that the verdict goes by, from ``ends``."""
    _, wide, bounded = kinds
    return np.maximum(wide[0], bounded[0]), np.minimum(wide[1], bounded[1])


def _present(test: ArmTest | None) -> ArmTest:
    if test is None:
        raise ValueError("a simulated sweep has runs to compare")
    return test


def outcomes(row: Row, scores_APR: Array) -> list[float]:
    """What one table adds to the columns of ``HEAD``."""
    null = ends(row, scores_APR)
    low, high = shown(null)
    covered = (null[0][0] <= 0) & (null[0][1] >= 0)
    power = []
    for gain in GAINS:
        better = low + gain
        if row.missed:
            arms = np.array([0.0, *[gain] * (len(row.run_sds) - 1)])
            better = shown(ends(row, scores_APR + arms[:, None, None]))[0]
        power.append(float((better > 0).mean()))
    inside = (null[0][2] > -2 * RULES.margin) & (null[0][3] < 0)
    false = (low > 0) | (high < 0)
    return [
        float(false.any()), float(false.mean()), float(covered.mean()), float(covered.all()), float(inside.mean()),
        float(inside.any()), *power, peer_power(row, scores_APR, GAINS[0]),
    ]  # fmt: skip


def peer_power(row: Row, scores_APR: Array, gain: float) -> float:
    """Share of the arms for which a pair's own test with Holm shows the gain."""
    differences = np.maximum(scores_APR, 0.0)[1:] - np.maximum(scores_APR, 0.0)[0] + gain
    if row.folds > 1:
        means = [[d[row.fold_of == fold].mean() for fold in range(row.folds)] for d in differences]
        estimates = [mean_estimate(np.array(mean), 0.95) for mean in means]
    elif row.seeds > 1:
        estimates = [two_way(d, 0.95) for d in differences]
    else:
        estimates = [mean_estimate(d[:, 0], 0.95) for d in differences]
    adjusted = holm([estimate.p for estimate in estimates])
    return float(np.mean([p < 0.05 and one.value > 0 for p, one in zip(adjusted, estimates, strict=True)]))


HEAD = (
    "any claimed", "each", "coverage, each", "coverage, all", "false equivalence, each", "any",
    "power .01", "power .02", "peer .01",
)  # fmt: skip


def measure(text: str, tables: int, hours: float) -> Iterator[tuple[Row, list[float]]]:
    """Rates of every row whose name holds the text, as they are known; none begins after the hours.

    The random numbers of a row are the same whatever else is measured.
    """
    begun = time.monotonic()
    for number, row in enumerate(rows()):
        if text not in row.name:
            continue
        if time.monotonic() - begun > 3600 * hours:
            print(f"not measured within {hours:g} hours: {row.name}")
            continue
        rng = np.random.default_rng([number, len(row.name)])
        yield row, np.mean([outcomes(row, simulate(row, rng)) for _ in range(tables)], axis=0).tolist()


def check(row: Row) -> None:
    """Stop where the report's verdicts are not those of the ends counted here."""
    shifts_A = np.array([0.0, 0.03, -0.03, *[0.0] * len(row.run_sds)])[: len(row.run_sds)]
    scores = simulate(row, np.random.default_rng(0)) + shifts_A[:, None, None]
    low, high = shown(ends(row, scores))
    claimed = (low > 0) | (high < 0)
    tests = [_present(test) for test in family_of(table_of(row, scores), row.arms[0], RULES)]
    judged = [judge(test, RULES.margin, SCORES["dice"]).evidence.different for test in tests]
    if judged != claimed.tolist():
        raise SystemExit(f"{row.name}: the report shows {judged}, the ends counted here {claimed.tolist()}")


def failures(row: Row, rates: list[float], tables: int) -> list[str]:
    """What the row does not meet; a rate may pass a limit by twice its standard error."""
    if row.exempt:
        return []
    wrong = []
    if rates[0] > 0.07 + 2 * math.sqrt(0.07 * 0.93 / tables):
        wrong.append(f"{row.name}: any claimed in {100 * rates[0]:.1f} %, at most 7")
    if rates[2] < 0.93 - 2 * math.sqrt(0.07 * 0.93 / tables) and not row.missed:
        wrong.append(f"{row.name}: coverage {100 * rates[2]:.1f} %, at least 93")
    return wrong


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tables", type=int, default=2000, help="simulated sweeps of a row")
    parser.add_argument("--rows", default="", help="only rows whose name holds this text")
    parser.add_argument("--limit", type=float, default=24.0, help="hours after which no row begins")
    options = parser.parse_args()
    print(f"| {' | '.join(('design', *HEAD))} |\n|{'---|' * (len(HEAD) + 1)}")
    missed = []
    for row, rates in measure(options.rows, options.tables, options.limit):
        check(row)
        print(f"| {row.name} | {' | '.join(f'{100 * rate:.1f}' for rate in rates)} |", flush=True)
        missed += failures(row, rates, options.tables)
    print(
        f"\n{options.tables:,} tables of a row; standard error of 5 %: {100 * math.sqrt(0.0475 / options.tables):.2f}"
    )
    print(f"{time.process_time():.0f} s of CPU")
    print("\n".join(missed) if missed else "every requirement is met")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
