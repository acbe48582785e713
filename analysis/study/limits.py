"""What the numbers cannot say: one sentence for each limit that the data themselves reveal."""

import re
from collections.abc import Sequence
from typing import Final

import pandas as pd

from medsweep.analysis.records import ArmInfo
from medsweep.analysis.stats.run_error import few_networks
from medsweep.analysis.study import wording
from medsweep.analysis.study.answers import Answer
from medsweep.analysis.table.reduction import NO_SUCH_RUN, AnalysisRules, Reduced
from medsweep.errors import meant_by
from medsweep.metrics import SCORES, without_record

FAILED_BELOW: Final = 0.01
"""Share of valid masks below which a mask generator has failed, whatever its loss."""
SINGULAR: Final = re.compile(r"s(?= \(|$)")
"""What a unit of one lacks."""
FEW_PATIENTS: Final = 5
"""Patients of a held-out set below which they tell little; ``docs/explanation/error-rates.md`` has the rates."""


def limits_of(
    reduced: Reduced,
    answers: Sequence[Answer],
    pools: pd.DataFrame,
    rules: AnalysisRules,
    undescribed: Sequence[str],
) -> tuple[str, ...]:
    """Sentences on small n, failed runs and masks, missed structures, dropped cases, one generator and overlap.

    ``undescribed`` are scores in the results that have no record.
    """
    sentences = [
        _few_runs(reduced),
        _few_patients(reduced),
        *_few_that_differ(answers, rules),
        *_ranks_against_mean(answers, reduced, rules),
        *_missed_by_both(answers, reduced),
        _unequal_folds(reduced, answers, rules),
        _unequal_runs(reduced),
        *_diverged(reduced),
        _failed_masks(pools),
        _infinite(answers, reduced),
        _dropped(reduced),
        _one_generator(reduced, pools),
        _overlap(answers, rules),
        *_without_record(undescribed, pools),
    ]
    return tuple(sentence for sentence in sentences if sentence is not None)


def no_dose_zero(arms: Sequence[ArmInfo]) -> tuple[str, ...]:
    """A sentence where arms have doses and the control, from which they are counted, is none of 0."""
    control = next(arm for arm in arms if arm.control)
    if control.count == 0 or not any(arm.series is not None and not arm.control for arm in arms):
        return ()
    return (
        f"There are no dose curves, since {control.name} is no dose of 0: it has {control.count} synthetic patients "
        "or slices itself.",
    )


def _few_runs(reduced: Reduced) -> str | None:
    folds = len(reduced.folds)
    if folds == 1 and reduced.seeds == 2 and not few_networks(2, reduced.wide.shape[1]):
        return "2 seeds leave 1 degree of freedom for the spread of runs; the intervals over runs are unstable."
    if not 2 <= folds <= 3:
        return None
    return f"{folds} folds leave {folds - 1} degree{'s' if folds > 2 else ''} of freedom for tests over fold means."


def _few_patients(reduced: Reduced) -> str | None:
    if len(reduced.folds) > 1 or reduced.n >= FEW_PATIENTS:
        return None
    return (
        f"{reduced.n} patients hardly tell how differently an arm acts on patients; verdicts err more often than "
        "alpha says where it does."
    )


def _few_that_differ(answers: Sequence[Answer], rules: AnalysisRules) -> list[str]:
    """Where a difference is shown by so few patients that their signs alone could be chance."""
    told = []
    for answer in answers:
        moved = answer.effect.wins + answer.effect.losses
        chance = 2.0 ** (1 - moved)
        if answer.judged is None or not answer.judged.evidence.different or not answer.conditional:
            continue
        if chance > rules.alpha:
            told.append(
                f"{answer.arm}: only {moved} of {answer.effect.n} patients score differently, and by chance all of "
                f"them go one way in {wording.percent(round(chance, 4))} of tables (signed-rank "
                f"{wording.p_text(answer.wilcoxon.p)})."
            )
    return told


def _ranks_against_mean(answers: Sequence[Answer], reduced: Reduced, rules: AnalysisRules) -> list[str]:
    """Where most patients go one way, beyond chance, and the mean goes the other."""
    told = []
    for answer in answers:
        effect, value = answer.effect, answer.estimate.value
        gain = value if reduced.metric.higher_is_better else -value
        if not (answer.wilcoxon.p < rules.alpha and gain * effect.rank_biserial < 0):
            continue
        count, way, other, moved = effect.wins, "better", "worse", "lose"
        if effect.rank_biserial < 0:
            count, way, other, moved = effect.losses, "worse", "better", "gain"
        p = wording.p_text(answer.wilcoxon.p)
        told.append(
            f"{answer.arm} is {way} in {count} of {effect.n} patients (signed-rank {p}), and {other} in the mean, "
            f"which the verdict is about: a few patients {moved} much."
        )
    return told


def _missed_by_both(answers: Sequence[Answer], reduced: Reduced) -> list[str]:
    """Patients without a finite score in any network of either arm."""
    left: dict[int, list[str]] = {}
    for answer in answers:
        if answer.test is not None and answer.test.patients < reduced.n:
            left.setdefault(reduced.n - answer.test.patients, []).append(answer.arm)
    return [
        f"{', '.join(arms)}: {count} of {reduced.n} patients have an infinite score from every network of the arm and "
        "of the control, and no part in the difference."
        for count, arms in left.items()
    ]


def _unequal_runs(reduced: Reduced) -> str | None:
    counts = reduced.cells.drop_duplicates(["arm", "fold", "seed"]).groupby("arm").size()
    if counts.nunique() < 2:
        return None
    runs = ", ".join(f"{arm} {counts[arm]}" for arm in map(str, reduced.wide))
    return f"Arms differ in their number of runs ({runs}); each counts with all of its own."


def _diverged(reduced: Reduced) -> list[str]:
    runs = len(reduced.cells[["fold", "seed"]].drop_duplicates())
    return [
        f"{arm}: training diverged in {count} of {runs} runs, which score {reduced.metric.worst:g} "
        f"{reduced.metric.title} for every patient; its difference measures failure as well as quality."
        for arm, count in reduced.diverged.items()
        if count
    ]


def _failed_masks(pools: pd.DataFrame) -> str | None:
    """Pools of a generator that trained to its end and draws nothing like a mask."""
    shares = pools[pools["metric"] == "valid_share"].drop_duplicates(["arm", "digest"])
    counts = (
        shares.assign(failed=shares["value"] < FAILED_BELOW).groupby("arm", sort=False)["failed"].agg(["sum", "size"])
    )
    arms = [f"{arm} ({failed} of {made} pools)" for arm, failed, made in counts.itertuples() if failed]
    if not arms:
        return None
    return (
        f"In some pools fewer than {wording.percent(FAILED_BELOW)} of the generated masks look like real ones: "
        f"{', '.join(arms)}; the differences of these arms measure a mask generator that failed as well as its images."
    )


def _infinite(answers: Sequence[Answer], reduced: Reduced) -> str | None:
    arms = [answer.arm for answer in answers if answer.judged is not None and answer.judged.bounded]
    if not arms:
        return None
    bound = next(answer.test.bound for answer in answers if answer.test is not None)
    most = wording.amount(f"{bound:g}", reduced.metric)
    return (
        f"Differences of {', '.join(arms)} count each score at most {most} from the control's for the patient, so "
        "that a few failures do not hide the rest."
    )


def _dropped(reduced: Reduced) -> str | None:
    steps = [
        f"{_of_unit(step.before - step.after, step.unit)} ({step.rule})"
        for step in reduced.flow
        if step.after < step.before and step.rule != NO_SUCH_RUN
    ]
    return f"Left out for all arms: {'; '.join(steps)}." if steps else None


def _of_unit(count: int, unit: str) -> str:
    """``1 patient``, ``2 patients``, ``1 replicate (fold x seed)``."""
    return f"{count} {SINGULAR.sub('', unit) if count == 1 else unit}"


def _unequal_folds(reduced: Reduced, answers: Sequence[Answer], rules: AnalysisRules) -> str | None:
    """Where the mean over folds and that over patients lie apart by what matters."""
    sizes = reduced.cells.groupby("fold")["patient"].nunique()
    digits, arms = reduced.metric.digits + 1, []
    for answer in answers:
        if answer.test is None or answer.judged is None or answer.judged.bounded:
            continue
        over_folds, over_patients = answer.estimate.value, answer.effect.mean.value
        if abs(over_folds - over_patients) > rules.margin / 2:
            told = (wording.number(value, digits, sign=True) for value in (over_folds, over_patients))
            arms.append(f"{answer.arm} ({' and '.join(told)})")
    if not arms or len(sizes) < 2 or sizes.nunique() == 1:
        return None
    return (
        f"Folds of {sizes.min()} to {sizes.max()} patients count alike, so differences over folds are not those over "
        f"patients: {'; '.join(arms)}."
    )


def _one_generator(reduced: Reduced, pools: pd.DataFrame) -> str | None:
    arms = arms_of_one_generator(reduced, pools)
    if not arms:
        return None
    return f"Conditional on one generator per fold ({', '.join(arms)}): seeds vary the segmenter, not the images."


def arms_of_one_generator(reduced: Reduced, pools: pd.DataFrame) -> tuple[str, ...]:
    """Arms that draw on one pool in every seed of a fold: seeds then vary the segmenter alone."""
    if pools.empty or reduced.seeds < 2:
        return ()
    per_fold = pools.groupby(["arm", "fold"]).agg(pools=("digest", "nunique"), seeds=("seed", "nunique"))
    shared = per_fold[(per_fold["pools"] == 1) & (per_fold["seeds"] > 1)]
    return tuple(sorted({str(arm) for arm, _ in shared.index}))


def _overlap(answers: Sequence[Answer], rules: AnalysisRules) -> str | None:
    """Arms whose difference over fold means does not survive the correction for overlapping training sets."""
    arms = []
    for answer in answers:
        if answer.test is None or answer.test.kind != "folds" or answer.test.nadeau_bengio is None:
            continue
        corrected = answer.test.nadeau_bengio
        if answer.estimate.p < rules.alpha <= corrected.p:
            arms.append(f"{answer.arm} ({wording.p_text(corrected.p)})")
    if not arms:
        return None
    return f"Fold-mean differences that Nadeau and Bengio's correction for overlap does not uphold: {'; '.join(arms)}."


def _without_record(scores: Sequence[str], pools: pd.DataFrame) -> list[str]:
    """Metrics in the results that ``medsweep.metrics`` does not describe."""
    sentences = []
    if scores:
        names = [f"{name} ({meant})" if (meant := meant_by(name, SCORES)) else name for name in scores]
        sentences.append(f"Not compared, since nothing says which way is better: {', '.join(names)}.")
    measures = without_record(map(str, pools["metric"]))
    if measures:
        sentences.append(f"Measures of pools of which nothing says which way is better: {', '.join(measures)}.")
    return sentences
