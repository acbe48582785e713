"""Error rates of the decision on causes, over simulated lattices with known shares.

A score is patient (SD .08) + patient x arm (.033) + run of an arm (.0095) + residual (.032), the components of a trial
run on a made-up cohort. There are 24 patients of one held-out set, a control, the explained arm and the eight cells of
the lattice. Doses are delivered and instruments see every cause, so that only the statistics can err.

    python benchmarks/mechanism_rates.py [--sweeps N] [--rows TEXT]

Each sweep is judged by the functions behind the report: contrasts in their families, then the decision. Prints a line
per row (Markdown, in %, the half-width in the metric) as it is known. The exit status is 1 if a row misses what is
required: all shares covered in 93 % of sweeps, a cause without a share named in at most 5 % and any in at most 8 %, and
one cause of .05 named as the largest in 95 % at five seeds or more; each by more than twice its standard error.
"""

import argparse
import itertools
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from medsweep.analysis.records import Array, Estimate
from medsweep.analysis.stats.arm_family import contrast_tests
from medsweep.analysis.stats.arm_tests import Setting
from medsweep.analysis.study.evidence import judge
from medsweep.analysis.study.mechanisms.causes import CauseVerdict, Costs, decide
from medsweep.analysis.study.mechanisms.instruments import Instruments
from medsweep.analysis.study.mechanisms.laws import LAWS, Delivery, Dose
from medsweep.analysis.study.mechanisms.mechanism import Weights, costs_by_question, questions
from medsweep.analysis.table.reduction import AnalysisRules
from medsweep.analysis.table.score_array import ScoreArray
from medsweep.mechanism import CAUSES, CELLS, Cause, Mechanism
from medsweep.metrics import SCORES

PATIENTS = 24
RUN, PATIENT_ARM, RESIDUAL = 0.0095, 0.033, 0.032
RULES = AnalysisRules(margin=0.01)
SECTION = Mechanism(explain="explained", ceiling="ceiling", lattice={cell: cell for cell in CELLS})
ARMS = ("control", "explained", "ceiling", *CELLS)
QUESTIONS = {
    name: family if name in ("levels", "shares") else {} for name, family in questions(SECTION, "control").items()
}
"""Families that the decision to name a cause reads; each is judged without the others."""
DELIVERED = Delivery(
    tuple(
        Dose(cell, law.column, law.cause, ceiling=0.0, explained=1.0, value=float(law.cause in causes), runs=5)
        for cell, causes in CELLS.items()
        for law in LAWS
    )
)
SURE = Estimate(1.0, 0.0, math.inf, 0.0, 1.0, 1.0, 0.95)
SEEN = Instruments(bias=SURE, boundary_loss=2.0, domain_auc=1.0, auc_floor=(0.4, 0.6), vendi=0.1)


@dataclass(frozen=True)
class Row:
    """What is planted: cost of each cause alone, and what both of labels and look cost beyond that."""

    name: str
    seeds: int
    planted: Mapping[Cause, float]
    interaction: float = 0.0

    def means(self) -> dict[str, float]:
        """Mean score of every arm."""
        found = {"control": 0.8, "ceiling": 0.85}
        for cell, on in CELLS.items():
            both = self.interaction if {"labels", "look"} <= set(on) else 0.0
            found[cell] = 0.85 - sum(self.planted.get(cause, 0.0) for cause in on) - both
        return found | {"explained": found["all three"]}

    def truth(self) -> dict[Cause, float]:
        """Share of each cause."""
        means = self.means()
        return {cause: _value(QUESTIONS["shares"][cause], means) for cause in CAUSES}


def _value(weights: Weights, means: Mapping[str, float]) -> float:
    return math.fsum(weight * means[arm] for arm, weight in weights.items())


def rows() -> list[Row]:
    """Every line of the table."""
    planted: list[tuple[str, Mapping[Cause, float], float]] = [
        ("nothing", {}, 0.0),
        ("labels .05", {"labels": 0.05}, 0.0),
        ("labels .05, look .02, both .04", {"labels": 0.05, "look": 0.02}, -0.03),
        ("each .02", dict.fromkeys(CAUSES, 0.02), 0.0),
    ]
    return [
        Row(f"{name}, {seeds} seeds", seeds, costs, both)
        for (name, costs, both), seeds in itertools.product(planted, (3, 5, 8))
    ]


def simulate(row: Row, rng: np.random.Generator) -> Array:
    """Scores A x P x R."""
    means = row.means()
    level = np.array([means[arm] for arm in ARMS])[:, None, None]
    patient = rng.normal(0, 0.08, (1, PATIENTS, 1)) + rng.normal(0, PATIENT_ARM, (len(ARMS), PATIENTS, 1))
    run = rng.normal(0, RUN, (len(ARMS), 1, row.seeds))
    return np.asarray(level + patient + run + rng.normal(0, RESIDUAL, (len(ARMS), PATIENTS, row.seeds)))


def judged(row: Row, scores_APR: Array) -> tuple[Costs, CauseVerdict]:
    """Costs and verdict, as the report has them."""
    table = ScoreArray(
        arms=ARMS,
        folds=(0,),
        seeds=(tuple(range(row.seeds)),),
        starts=(0,),
        patient=np.repeat(np.arange(PATIENTS), row.seeds),
        values=scores_APR.reshape(len(ARMS), -1),
    )
    found: dict[str, dict[str, Estimate]] = {}
    for question, family in QUESTIONS.items():
        weights = {name: np.array([one.get(arm, 0.0) for arm in ARMS]) for name, one in family.items()}
        setting = Setting(max(len(weights), 1), RULES.alpha, RULES.equivalence, correlation=0.0)
        tests = contrast_tests(table, weights, "control", RULES, setting=setting)
        bounds = {test.arm: judge(test, RULES.margin, SCORES["dice"]).bounds for test in tests if test is not None}
        found[question] = {name: one.quoted for name, one in bounds.items()}
    costs = costs_by_question(found, one_run=False, runs=row.seeds)
    return costs, decide(costs, DELIVERED, SEEN, RULES.margin)


HEAD = (
    "each share covered", "all three covered", "a cause without a share is named", "any is named",
    "planted causes named, each", "labels named and largest", "half-width of a share",
)  # fmt: skip


def outcome(row: Row, scores_APR: Array) -> list[float]:
    """What one sweep adds to the columns of ``HEAD``."""
    costs, verdict = judged(row, scores_APR)
    truth = row.truth()
    inside = [costs.shares[cause].low <= truth[cause] <= costs.shares[cause].high for cause in CAUSES]
    named = {finding.causes[0] for finding in verdict.findings if finding.named}
    wrong = [cause in named for cause in CAUSES if abs(truth[cause]) < 1e-12]
    right = [cause in named for cause in CAUSES if truth[cause] > 1e-12]
    largest = max(CAUSES, key=lambda cause: costs.shares[cause].value)
    half = float(np.mean([(one.high - one.low) / 2 for one in costs.shares.values()]))
    return [
        float(np.mean(inside)), float(all(inside)), _mean(wrong), float(any(wrong)), _mean(right),
        float("labels" in named and largest == "labels"), half,
    ]  # fmt: skip


def _mean(flags: list[bool]) -> float:
    return float(np.mean(flags)) if flags else math.nan


def failures(row: Row, rates: list[float], sweeps: int) -> list[str]:
    """What the row does not meet by more than twice its standard error."""
    limits = [(1, 0.93, "all three covered", 1), (2, 0.05, "a cause without a share", -1), (3, 0.08, "any", -1)]
    if row.planted == {"labels": 0.05} and row.seeds >= 5:
        limits.append((5, 0.95, "labels named and largest", 1))
    return [
        f"{row.name}: {what} {100 * rates[place]:.1f} %, required {100 * limit:g}"
        for place, limit, what, sign in limits
        if sign * (limit - rates[place]) > 2 * math.sqrt(limit * (1 - limit) / sweeps)
    ]


def main() -> int:
    """Print the table; 1 if a row misses what is required."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=400)
    parser.add_argument("--rows", default="", help="rows whose name has this text")
    asked = parser.parse_args()
    print(f"| planted | {' | '.join(HEAD)} |\n|{'---|' * (len(HEAD) + 1)}")
    wrong: list[str] = []
    for number, row in enumerate(rows()):
        if asked.rows not in row.name:
            continue
        rng = np.random.default_rng([number, row.seeds])
        found = np.array([outcome(row, simulate(row, rng)) for _ in range(asked.sweeps)])
        rates = found.mean(axis=0).tolist()
        cells = ["" if math.isnan(rate) else f"{100 * rate:.1f}" for rate in rates[:-1]]
        if row.planted.get("labels", 0.0) < 0.05:
            cells[5] = ""
        print(f"| {row.name} | {' | '.join(cells)} | {rates[-1]:.4f} |", flush=True)
        wrong += failures(row, rates, asked.sweeps)
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
