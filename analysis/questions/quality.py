"""Does a better generator help the segmenter? Every measure of pools against the gain of the arms that use them.

One point per generator (distinct pool). Ranks are taken inside each data set, since neither the measures nor the gains
are comparable between data sets. Exploratory throughout: generators are few and were not drawn at random.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from medsweep.analysis.questions.utility import (
    KEYS,
    PERMUTATIONS,
    GeneratorPoint,
    GeneratorSample,
    MetricComparison,
    MetricUtility,
    compare,
    is_quality,
    judge,
    obstacle,
)
from medsweep.analysis.stats.p_adjustment import holm

RESAMPLES: Final = 2000
COMPARED: Final = (
    ("frechet", "frechet_inception"),
    ("frechet_decoder", "frechet_inception"),
    ("frechet", "frechet_random"),
)
"""Frechet distance on segmenter features against FID (Inception features) and against a network never trained."""


@dataclass(frozen=True)
class NotJudged:
    """A measure or comparison that the generators do not allow, and why."""

    name: str
    n: int
    reason: str


@dataclass(frozen=True)
class QualityStudy:
    """All measures against benefit; floors, counts and limits are no measures of quality and are left out."""

    level: float
    generators: tuple[GeneratorPoint, ...]
    datasets: tuple[tuple[str, int], ...]
    metrics: tuple[MetricUtility, ...]
    comparisons: tuple[MetricComparison, ...]
    not_judged: tuple[NotJudged, ...]
    note: str


def quality_of(
    table: pd.DataFrame,
    *,
    higher_is_better: bool,
    level: float,
    compared: Sequence[tuple[str, str]] = COMPARED,
    resamples: int = RESAMPLES,
) -> QualityStudy:
    """Every measure against utility, from one row per generator as ``generator_table`` makes it.

    Assumes generators independent and exchangeable inside a data set; those of one fold share its patients, those of
    one replicate the control run, which ``rho_matched`` takes out. Percentile intervals are too narrow for a handful of
    generators, and |rho| is biased upwards near 0. An association over generators is no proof that a measure guides
    the choice of one, the less so where doses or treatments differ between them.
    """
    table = table.sort_values(["dataset", "generator"], ignore_index=True)
    names = [str(name) for name in table.columns if name not in KEYS]
    toward = 1.0 if higher_is_better else -1.0
    sample = GeneratorSample(table, (toward * table["utility"]).to_numpy(dtype=np.float64), level, resamples)
    judged, refused = _judge_all(sample, [name for name in names if is_quality(name)])
    comparisons, not_compared = _compare_all(sample, names, compared)
    adjusted = holm([measure.p for measure in judged])
    return QualityStudy(
        level=level,
        generators=sample.generators(names),
        datasets=tuple((str(name), int(n)) for name, n in table.groupby("dataset").size().items()),
        metrics=tuple(dataclasses.replace(measure, p_holm=p) for measure, p in zip(judged, adjusted, strict=True)),
        comparisons=tuple(comparisons),
        not_judged=(*refused, *not_compared),
        note=_note(len(table), table["dataset"].nunique(), judged),
    )


def _judge_all(sample: GeneratorSample, names: Sequence[str]) -> tuple[list[MetricUtility], list[NotJudged]]:
    """In the order of ``names``; measures of the same generators share their draws."""
    shared: dict[tuple[str, ...], list[str]] = {}
    refused = []
    for name in names:
        subset = sample.of([name])
        reason = obstacle(subset, [name])
        if reason:
            refused.append(NotJudged(name, subset.n, reason))
        else:
            shared.setdefault(subset.identity, []).append(name)
    judged = {subset.metric: subset for group in shared.values() for subset in judge(sample.of(group), group)}
    return [judged[name] for name in names if name in judged], refused


def _compare_all(
    sample: GeneratorSample, names: Sequence[str], compared: Sequence[tuple[str, str]]
) -> tuple[list[MetricComparison], list[NotJudged]]:
    comparisons, refused = [], []
    for pair in compared:
        lacking = [name for name in pair if name not in names]
        both = sample.of([name for name in pair if name in names])
        reason = f"{' and '.join(lacking)} not measured" if lacking else obstacle(both, pair)
        if reason:
            refused.append(NotJudged(" against ".join(pair), 0 if lacking else both.n, reason))
        else:
            comparisons.append(compare(both, *pair))
    return comparisons, refused


def _note(generators: int, datasets: int, judged: Sequence[MetricUtility]) -> str:
    """What the number of generators allows."""
    text = f"exploratory: {generators} generators of {datasets} data set{'' if datasets == 1 else 's'}"
    if not judged:
        return f"{text}; no measure can be judged."
    smallest = len(judged) * max(
        1 / (1 + PERMUTATIONS), 2 / math.factorial(min(max(measure.n for measure in judged), 20))
    )
    text += f", {len(judged)} measures, Holm over all of them"
    if datasets == 1 and smallest > 0.05:
        return f"{text}; the smallest p it allows is {min(smallest, 1.0):.2g}, so no measure can be shown to matter."
    return f"{text}."
