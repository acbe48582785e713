"""Statistics: the analysis room against a plain pandas + scipy + scikit-posthocs script and against autorank.

20 arms, 500 patients, 5 seeds, one held-out set, in turn in one process. Against the plain script the contents are the
same: reduce the table, describe, Friedman, Nemenyi, Wilcoxon with Holm, t, BCa, Hodges-Lehmann, rank-biserial,
rank bootstrap, each arm over patients and runs, variance components; numbers that both sides share must agree. Against
autorank (optional: ``pip install --target DIR --no-deps autorank baycomp``, then ``--peers DIR``) they are autorank's:
the reduced table, what each arm scored, omnibus, mean ranks, critical difference and groups, one effect size per arm. A
second line adds the p of all pairs, which autorank has not.

Before that, the whole analysis of 20 arms x 500 patients x 10 seeds on 5 data sets, 10,000 bootstrap draws each, in a
process that has not done anything else: seconds, and peak memory with the tables in it.

    python benchmarks/statistical_tests.py [--rounds N] [--peers DIR] [--profile]
"""

import argparse
import cProfile
import pstats
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from medsweep.analysis.records import ArmInfo, Array, mean_estimate
from medsweep.analysis.stats.arm_family import arm_tests
from medsweep.analysis.stats.effects import RESAMPLES, patient_weights, rank_biserials
from medsweep.analysis.stats.mean_ranks import cliques, critical_difference, nemenyi
from medsweep.analysis.stats.method_tests import all_components
from medsweep.analysis.stats.omnibus import Omnibus, friedman
from medsweep.analysis.stats.rank_stability import ranking
from medsweep.analysis.study.analyse import Analysis, analyse
from medsweep.analysis.study.metric_study import differences_of, study_metric
from medsweep.analysis.table.reduction import AnalysisRules, Reduced, reduce
from medsweep.analysis.table.validation import validated

CONTROL = "real only"
PLAN = AnalysisRules()
NO_POOLS = pd.DataFrame(columns=["arm", "fold", "seed", "digest", "metric", "value"])
PATIENTS, SEEDS = 500, 5
TARGET_SECONDS, TARGET_MIB, TARGET_RATIO = 20, 1024, 5.0


def twenty_arms() -> list[ArmInfo]:
    """Real only; three generators at six counts; one of them filtered."""
    arms = [ArmInfo(CONTROL, {"synthesise.count": 0}, control=True)]
    for generator in ("b-sg", "mc-sg", "mc-sg, treated"):
        for count in (10, 20, 50, 100, 200, 500):
            levels = {"gan.pipeline": generator, "synthesise.count": count, "segment.min_iou": 0.0}
            arms.append(ArmInfo(f"{generator}, {count} patients", levels, count, generator))
    levels = {"gan.pipeline": "mc-sg", "synthesise.count": 100, "segment.min_iou": 0.7}
    return [*arms, ArmInfo("mc-sg, 100 patients, IoU filter 0.7", levels, 100, "mc-sg, IoU filter 0.7")]


def scores(arms: int, seeds: int, seed: int) -> Array:
    """Dice of arms x seeds x patients: patient, patient x arm, run and residual; later arms are a little better."""
    rng = np.random.default_rng(seed)
    patient_P, patient_arm_A1P = rng.normal(0.8, 0.06, PATIENTS), rng.normal(0, 0.01, (arms, 1, PATIENTS))
    run_AR1, residual_ARP = rng.normal(0, 0.003, (arms, seeds, 1)), rng.normal(0, 0.02, (arms, seeds, PATIENTS))
    effect_A11 = np.linspace(0, 0.01, arms)[:, None, None]
    y_ARP: Array = (patient_P + patient_arm_A1P + run_AR1 + residual_ARP + effect_A11).clip(0.01, 0.99)
    return y_ARP


def tidy(arms: list[ArmInfo], y_ARP: Array, dataset: str) -> pd.DataFrame:
    """The results table of one metric and class."""
    patients = [f"case-{i:03d}" for i in range(y_ARP.shape[2])]
    keys = [[arm.name for arm in arms], range(y_ARP.shape[1]), patients]
    rows = pd.MultiIndex.from_product(keys, names=["arm", "seed", "patient"]).to_frame(index=False)
    rows = rows.assign(dataset=dataset, fold=0, metric="dice", value=y_ARP.ravel(), status="ok", digest="")
    rows["class"] = "1"
    return rows


def ours(table: pd.DataFrame, arms: list[ArmInfo]) -> dict[str, Any]:
    """The contents of the plain script, from the analysis room."""
    patient_weights.cache_clear()
    names, level = [arm.name for arm in arms], 1 - PLAN.alpha
    reduced = reduce(validated(table, names, PLAN.primary), PLAN, names, PLAN.primary)
    study = study_metric(reduced, CONTROL, PLAN)
    ranks = ranking(reduced.wide, higher_is_better=True, level=level)
    tests = [test.whole.estimate for test in arm_tests(reduced, CONTROL, PLAN) if test is not None]
    components = all_components(reduced)
    assert isinstance(study.omnibus, Omnibus)
    assert study.nemenyi is not None
    effects = study.effects
    return {
        "mean ranks": study.omnibus.mean_ranks,
        "chi2": study.omnibus.chi2,
        "F p": study.omnibus.p,
        "W": study.omnibus.kendall_w,
        "Nemenyi p": study.nemenyi.p,
        "CD": study.nemenyi.critical_difference,
        "Holm p": [test.p_holm for test in study.wilcoxon],
        "mean CI": [(effect.mean.low, effect.mean.high) for effect in effects],
        "BCa": [(effect.bca.low, effect.bca.high) for effect in effects],
        "Hodges-Lehmann": [
            (effect.hodges_lehmann, effect.hodges_lehmann_ci.low, effect.hodges_lehmann_ci.high) for effect in effects
        ],
        "rank-biserial": [effect.rank_biserial for effect in effects],
        "wins": [(effect.wins, effect.ties, effect.losses) for effect in effects],
        "rank CI": [[arm.low for arm in ranks.arms], [arm.high for arm in ranks.arms]],
        "two-way": [test.value for test in tests],
        "components": [(sd.patient, sd.run, sd.residual) for sd in components],
    }


TOLERANCE = {"BCa": 2e-4, "rank CI": 2.0, "Nemenyi p": 1e-5, "CD": 1e-5}
"""Two bootstraps differ by their draws, two quadratures of the studentised range a little; all else to 1e-9."""


def disagreements(ours: dict[str, Any], plain: dict[str, Any]) -> list[str]:
    """Contents whose numbers differ by more than they may."""
    gaps = {name: float(np.abs(np.asarray(value) - np.asarray(plain[name])).max()) for name, value in ours.items()}
    return [f"{name} differs by {gap:.2g}" for name, gap in gaps.items() if not gap <= TOLERANCE.get(name, 1e-9)]


def ours_as_autorank(reduced: Reduced, *, pairs: bool) -> tuple[object, ...]:
    """Autorank's contents: what each arm scored with an interval, omnibus, mean ranks, CD and groups, effect sizes.

    With ``pairs`` also the p of every pair, which autorank does not report.
    """
    omnibus = friedman(reduced.wide, higher_is_better=True)
    assert isinstance(omnibus, Omnibus)
    difference = critical_difference(omnibus.k, omnibus.n, PLAN.alpha)
    groups = cliques(omnibus.arms, omnibus.mean_ranks, difference)
    post_hoc = nemenyi(reduced.wide, omnibus, higher_is_better=True, alpha=PLAN.alpha) if pairs else groups
    values_PA = reduced.wide.to_numpy()
    arms = [mean_estimate(values, 1 - PLAN.alpha) for values in values_PA.T]
    quartiles = np.quantile(values_PA, [0.25, 0.5, 0.75], axis=0)
    sizes = rank_biserials(np.column_stack(list(differences_of(reduced, CONTROL).values())))
    return omnibus, difference, post_hoc, arms, quartiles, sizes


def timed(work: Callable[[], object]) -> tuple[float, Any]:
    """CPU seconds of this process, over its threads, since others may use the machine; and the result."""
    begun = time.process_time()
    result = work()
    return time.process_time() - begun, result


def whole_sweep(profile: bool) -> None:
    """The scale target, before anything else has run."""
    arms = twenty_arms()
    profiler = cProfile.Profile()
    before, wall, cpu = peak_mib(), 0.0, 0.0
    for dataset in range(5):
        table = tidy(arms, scores(len(arms), 10, dataset), f"data set {dataset}")
        begun, used = time.perf_counter(), time.process_time()
        if profile:
            profiler.enable()
        study = analyse(table, NO_POOLS, PLAN, arms=arms)
        profiler.disable()
        wall, cpu = wall + time.perf_counter() - begun, cpu + time.process_time() - used
        assert isinstance(study, Analysis)
        assert len(study.answers) == len(arms) - 1
    print(
        f"whole analysis, {len(arms)} arms x {PATIENTS} patients x 10 seeds x 5 data sets, {RESAMPLES:,} draws: "
        f"{wall:.1f} s ({cpu:.1f} s of CPU; target {TARGET_SECONDS}), peak {peak_mib():.0f} MiB "
        f"({before:.0f} after imports; target {TARGET_MIB})"
    )
    if profile:
        pstats.Stats(profiler).sort_stats("cumtime").print_stats("analysis/", 40)
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def peak_mib() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_turn(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, Any]:
    """Run the sides in turn, print seconds and the ratio of the others to the first; returns the last results."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    results: dict[str, Any] = {}
    for _ in range(rounds):
        for name, side in sides.items():
            seconds, results[name] = timed(side)
            taken[name].append(seconds)
    first = next(iter(sides))
    for name, times in taken.items():
        ratios = [seconds / base for seconds, base in zip(times, taken[first], strict=True)]
        spread = f"{statistics.median(ratios):5.1f} x ({min(ratios):.1f} to {max(ratios):.1f})"
        print(f"  {name:28} {statistics.median(times):7.3f} s of CPU   {'' if name == first else spread}")
    return results


def side_by_side(ours: dict[str, Any], plain: dict[str, Any], autorank: dict[str, str]) -> None:
    """Who reports what; the whole analysis has more than the plain script."""
    print(f"\n{'reported':16} {'medsweep':9} {'plain script':13} autorank")
    for name in ["describe", *ours]:
        print(f"{name:16} {'yes':9} {'yes' if name in plain else 'no':13} {autorank.get(name) or 'no'}")
    beyond = ("answers", "sensitivity", "null", "dose", "factors", "paired", "pools", "quality", "limits", "trials")
    print("only in the whole analysis:", ", ".join(name for name in beyond if name in Analysis.__dataclass_fields__))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", help="folder with autorank and baycomp in it")
    parser.add_argument("--profile", action="store_true", help="also where the whole analysis spends its time")
    options = parser.parse_args()
    whole_sweep(options.profile)
    import statistical_tests_peer as peer

    arms = twenty_arms()
    y_ARP = scores(len(arms), SEEDS, 0)
    table = tidy(arms, y_ARP, "simulated")
    print(f"\nsame contents, {len(arms)} arms x {PATIENTS} patients x {SEEDS} seeds, {RESAMPLES:,} draws:")
    sides: dict[str, Callable[[], object]] = {
        "medsweep": lambda: ours(table, arms),
        "plain script": lambda: peer.plain_script(table, CONTROL, PLAN.margin, RESAMPLES),
        "medsweep, whole analysis": lambda: analyse(table, NO_POOLS, PLAN, arms=arms),
    }
    results = in_turn(sides, options.rounds)
    differing = disagreements(results["medsweep"], results["plain script"])
    print(f"  target {TARGET_RATIO:g} x; numbers: {differing or 'agree'}")
    if options.peers:
        sys.path.append(options.peers)
    module = peer.autorank_module()
    if module is None:
        print("autorank is not installed: not compared")
        return
    names = [arm.name for arm in arms]
    reduced = reduce(validated(table, names, "dice"), PLAN, names, "dice")
    print("\nautorank's contents, from the reduced table:")
    in_turn(
        {
            "medsweep": lambda: ours_as_autorank(reduced, pairs=False),
            "medsweep, and p of all pairs": lambda: ours_as_autorank(reduced, pairs=True),
            "autorank, Friedman": lambda: peer.autorank(module, reduced.wide, force_mode="nonparametric"),
            "autorank, its own choice": lambda: peer.autorank(module, reduced.wide),
        },
        options.rounds + 2,
    )
    side_by_side(results["medsweep"], results["plain script"], peer.AUTORANK)
    print("\nautorank, by running it:")
    for what, fact in peer.autorank_facts(module, reduced.wide, y_ARP).items():
        print(f"  {what}: {fact}")


if __name__ == "__main__":
    main()
