"""Error rates of the headline verdict over simulated sweeps with a known truth.

A score is patient (SD .08) + patient x arm (.01) + run (0 to .012) + residual (.02); a run is arm x fold x seed, 40
patients, 5 seeds. Three designs: one held-out set; 5-fold cross-validation; the same where each fold's training set
also moves every run of an arm by SD .006, whatever the seed. On request a fourth, (d): one held-out set where no
patient takes to one arm more than another. Each sweep has four arms that do not differ from the
control, and is judged again with all four moved by the margin. The peer is the published test of a careful user: the
two-way t of the held-out set with the degrees of freedom of Hillis 2007, the paired t of fold means.

    python benchmarks/error_rates.py [--simulations N] [--quick] [--checked N]
                                     [--designs abcd] [--patients N] [--seeds N] [--folds N]

Prints two tables (Markdown, in %) and every requirement that is missed. The exit status is 1 if any is. The
requirements are: a claim without a true difference in 3 to 7 % of sweeps, for each arm by itself and for the family of
four; 93 to 97 % coverage of the quoted interval; power no more than 5 points below the peer's; false equivalence at
the margin in 5 % at most.

Thousands of sweeps at a time are judged by the rule written out on arrays. The first ``--checked`` sweeps of each line
are also judged by the functions behind the report, and the first two by the whole analysis from a table; all verdicts
and intervals must be the same.
"""

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from unittest import mock

import numpy as np
import pandas as pd
from error_rates_rule import ARMS, CONTROL, PLAN, Design, Flags, Judged, judge, simulate

from medsweep.analysis.records import ArmInfo, Array
from medsweep.analysis.stats.effects import effects_of
from medsweep.analysis.stats.equivalence import Verdict
from medsweep.analysis.stats.power import Power
from medsweep.analysis.stats.wilcoxon import against_control
from medsweep.analysis.study.analyse import analyse
from medsweep.analysis.study.answers import Answer, answer_all
from medsweep.analysis.table.reduction import Reduced
from medsweep.metrics import SCORES

RUN_SDS = (0.0, 0.003, 0.006, 0.012)
CHUNK = 500
NO_POOLS = pd.DataFrame(columns=["arm", "fold", "seed", "digest", "metric", "value"])


def designs(patients: int, seeds: int, folds: int) -> tuple[Design, ...]:
    """The designs of the tables."""
    return (
        Design("(a) one held-out set", 1, patients, seeds),
        Design(f"(b) {folds}-fold cross-validation", folds, patients, seeds),
        Design("(c) the same, training set .006", folds, patients, seeds, training_set_sd=0.006),
        Design("(d) one held-out set, no patient x arm", 1, patients, seeds, patient_arm_sd=0.0),
    )


def no_power(*args: object, **kwargs: object) -> Power:
    """Stands in for the statement on power, which takes longer than everything else and decides nothing."""
    return Power("", 0, math.nan, math.nan, math.nan, math.nan)


def table_of(y_ARP: Array, design: Design) -> pd.DataFrame:
    """The cells of one sweep: arm, seed, patient, fold, value."""
    keys = [ARMS[: len(y_ARP)], range(design.seeds), [f"case-{i:03d}" for i in range(design.patients)]]
    cells = pd.MultiIndex.from_product(keys, names=["arm", "seed", "patient"]).to_frame(index=False)
    return cells.assign(fold=np.tile(design.fold_of, len(y_ARP) * design.seeds), value=y_ARP.ravel())


def by_report(y_ARP: Array, design: Design) -> tuple[Answer, ...]:
    """The answers of the report, from reduced arrays."""
    arms, cells = list(ARMS[: len(y_ARP)]), table_of(y_ARP, design)
    wide = cells.groupby(["patient", "arm"])["value"].mean().unstack("arm")[arms].round(12)
    none = dict.fromkeys(arms, 0)
    reduced = Reduced(SCORES["dice"], wide, cells, (), none, none)
    deltas = {arm: reduced.differences(arm, CONTROL) for arm in arms[1:]}
    effects = effects_of(deltas, higher_is_better=True, level=1 - PLAN.alpha, resamples=10)
    with mock.patch("medsweep.analysis.study.answers.power_of", no_power):
        return answer_all(reduced, effects, against_control(list(deltas.items())), CONTROL, PLAN)


def by_analysis(y_ARP: Array, design: Design) -> tuple[Answer, ...]:
    """The same by way of a shuffled results table and the whole analysis."""
    rows = table_of(y_ARP, design).assign(dataset="simulated", metric="dice", status="ok", digest="")
    rows["class"] = "1"
    infos = [ArmInfo(arm, {}, control=arm == CONTROL) for arm in ARMS[: len(y_ARP)]]
    return analyse(rows.sample(frac=1, random_state=0), NO_POOLS, PLAN, arms=infos).answers


def verdicts(judged: Judged, sweep: int, claimed: Flags) -> list[Verdict]:
    """The words for one sweep, by what is claimed."""
    words = []
    for arm in range(claimed.shape[1]):
        claim, positive = bool(claimed[sweep, arm]), bool(judged.positive[sweep, arm])
        if judged.equivalent[sweep, arm]:
            words.append(Verdict.NEGLIGIBLE if claim else Verdict.EQUIVALENT)
        else:
            words.append((Verdict.SUPERIOR if positive else Verdict.INFERIOR) if claim else Verdict.INCONCLUSIVE)
    return words


def check(y_SARP: Array, judged: Judged, design: Design, checked: int, analysed: int) -> None:
    """Stop where the report says anything else than the rule on arrays."""
    for sweep in range(checked):
        answers = by_analysis(y_SARP[sweep], design) if sweep < analysed else by_report(y_SARP[sweep], design)
        alone = by_report(y_SARP[sweep, :2], design)
        pairs = [
            ([answer.verdict for answer in answers], verdicts(judged, sweep, judged.in_family)),
            ([answer.verdict for answer in alone], verdicts(judged, sweep, judged.alone)[:1]),
        ]
        for reported, ruled in pairs:
            if reported != ruled:
                raise SystemExit(f"{design.name}, sweep {sweep}: the report says {reported}, the rule here {ruled}")
        report_intervals = np.array([(answer.estimate.low, answer.estimate.high) for answer in answers])
        rule_intervals = np.stack([judged.low, judged.high], axis=-1)[sweep]
        if not np.allclose(report_intervals, rule_intervals, rtol=0, atol=1e-9):
            raise SystemExit(
                f"{design.name}, sweep {sweep}: the report's intervals are {report_intervals.tolist()}, "
                f"the rule's {rule_intervals.tolist()}"
            )


@dataclass(frozen=True)
class Rates:
    """Shares of the sweeps of one line."""

    arm: float
    family: float
    coverage: float
    power: float
    peer_power: float
    equivalent: float
    peer_arm: float
    peer_family: float
    patients_arm: float
    patients_coverage: float


def batches(design: Design, run_sd: float, sweeps: int, checked: int) -> Iterator[list[float]]:
    """Rates of chunks of equal size, in the order of ``Rates``."""
    rng = np.random.default_rng([ord(design.name[1]), round(1000 * run_sd)])
    shift_A11 = np.array([0.0, *[PLAN.margin] * (len(ARMS) - 1)])[:, None, None]
    for begun in range(0, sweeps, CHUNK):
        y_SARP = simulate(design, run_sd, CHUNK, rng)
        null, moved = judge(y_SARP, design), judge(y_SARP + shift_A11, design)
        if begun == 0:
            check(y_SARP, null, design, checked, analysed=min(checked, 2))
            check(y_SARP + shift_A11, moved, design, checked, analysed=0)
        shares: list[Flags] = [
            null.alone,
            null.in_family.any(axis=1),
            (null.low <= 0) & (null.high >= 0),
            moved.alone & moved.positive,
            moved.peer & moved.positive,
            moved.equivalent,
            null.peer,
            null.peer_in_family.any(axis=1),
            null.patients_p < PLAN.alpha,
            np.abs(null.patients.value) <= null.patients.half(1 - PLAN.alpha),
        ]
        yield [float(share.mean()) for share in shares]


def misses(name: str, run_sd: float, rates: Rates) -> list[str]:
    """The requirements that the rates do not meet."""
    checks = {
        "claims, each arm": (rates.arm, 0.03, 0.07),
        "claims, family": (rates.family, 0.03, 0.07),
        "coverage": (rates.coverage, 0.93, 0.97),
        "power": (rates.power, rates.peer_power - 0.05, 1.0),
        "false equivalence": (rates.equivalent, 0.0, 0.05),
    }
    return [
        f"{name}, run SD {run_sd:g}: {what} {100 * rate:.2f} %, required {100 * low:.1f} to {100 * high:.1f} %"
        for what, (rate, low, high) in checks.items()
        if not low <= rate <= high
    ]


HEAD = ("claim, each arm", "any of 4", "coverage", "power", "peer's power", "false equivalence")
SECOND_HEAD = ("peer's claim, each arm", "any of 4", "patients alone: claim, each arm", "patients alone: coverage")


def head(columns: Sequence[str]) -> str:
    """The first two lines of a table."""
    names = ["design", "run SD", *columns]
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"


def row(name: str, run_sd: float, rates: Sequence[float]) -> str:
    """One line of a table."""
    return f"| {name} | {run_sd:g} | {' | '.join(f'{100 * rate:.1f}' for rate in rates)} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--simulations", type=int, default=20_000, help=f"sweeps of a line, in steps of {CHUNK}")
    parser.add_argument("--quick", action="store_true", help="2,000 sweeps, 10 of them checked")
    parser.add_argument("--checked", type=int, default=100, help="sweeps of a line that the report judges, too")
    parser.add_argument("--patients", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folds", type=int, default=5, help="of the cross-validations")
    parser.add_argument("--designs", default="abc", help="letters of the designs to run, of abcd")
    options = parser.parse_args()
    simulations, checked = (2000, 10) if options.quick else (options.simulations, options.checked)
    second, missed = [head(SECOND_HEAD)], []
    print(head(HEAD))
    all_designs = designs(options.patients, options.seeds, options.folds)
    chosen = [design for design in all_designs if design.name[1] in options.designs]
    for design in chosen:
        for run_sd in RUN_SDS:
            rates = np.mean(list(batches(design, run_sd, simulations, checked)), axis=0).tolist()
            print(row(design.name, run_sd, rates[:6]), flush=True)
            second.append(row(design.name, run_sd, rates[6:]))
            missed += misses(design.name, run_sd, Rates(*rates))
    print("", *second, sep="\n")
    error = 100 * math.sqrt(0.05 * 0.95 / simulations)
    print(
        f"\n{simulations:,} sweeps of a line, {checked} of them checked; standard error of a family's 5 %: {error:.2f}"
    )
    print(f"{time.process_time():.0f} s of CPU")
    print("\n".join(missed) if missed else "every requirement is met")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
