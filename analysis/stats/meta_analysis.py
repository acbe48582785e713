"""What do several data sets say together? Random-effects meta-analysis of mean differences, few studies said plainly.

The input is a list of small records, one per data set and label (an arm, or a count), from any number of sweeps. Data
sets are the units: none is pooled with another patient by patient.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import scipy

from medsweep.analysis.records import Array, Estimate, decimals_of, t_estimate
from medsweep.analysis.stats.omnibus import NoOmnibus, Omnibus, friedman, ranks_of

FEW: Final = 6
"""Data sets up to which the note on few studies is given."""


@dataclass(frozen=True)
class StudyEffect:
    """One data set's mean difference (arm minus control) with its standard error above 0, over ``n`` patients."""

    dataset: str
    label: str
    effect: float
    se: float
    n: int


@dataclass(frozen=True)
class WeightedStudy:
    """A study with its share of the weight, the shares of one ``Meta`` summing to 1, and its own normal interval."""

    study: StudyEffect
    weight: float
    low: float
    high: float


@dataclass(frozen=True)
class Meta:
    """One label over k data sets, in units of the metric.

    ``estimate``: the random-effects mean with the Hartung-Knapp interval (t, k - 1 df), its variance never below the
    classical one. ``tau2`` is the variance between data sets, ``i2`` its share of the total in 0 .. 1. ``prediction``
    is for the mean difference of a new data set, NaN below 3 data sets. ``note`` says what few data sets leave open.
    """

    label: str
    k: int
    n: int
    level: float
    estimate: Estimate
    q: float
    q_p: float
    i2: float
    tau2: float
    prediction_low: float
    prediction_high: float
    studies: tuple[WeightedStudy, ...]
    note: str


@dataclass(frozen=True)
class DatasetRanks:
    """Consensus ranking of labels over data sets (1 is best), and Friedman's test on them: exploratory extras.

    ``left_out``: labels that some data set lacks.
    """

    labels: tuple[str, ...]
    mean_ranks: tuple[float, ...]
    best: tuple[int, ...]
    omnibus: Omnibus | NoOmnibus
    left_out: tuple[str, ...]
    note: str


def synthesise_all(studies: Sequence[StudyEffect], *, level: float) -> tuple[Meta, ...]:
    """One ``Meta`` per label, labels in their first order."""
    labels = dict.fromkeys(study.label for study in studies)
    return tuple(synthesise([study for study in studies if study.label == label], level=level) for label in labels)


def synthesise(studies: Sequence[StudyEffect], *, level: float) -> Meta:
    """Random-effects mean of one label's k studies y_i with variances v_i (DerSimonian and Laird 1986).

    Weights w_i = 1 / (v_i + tau2) give mu = sum w_i y_i / sum w_i. Its variance after Hartung and Knapp 2001 and Sidik
    and Jonkman 2002 is s / sum w_i with s = sum w_i (y_i - mu)^2 / (k - 1), and t has k - 1 df. Where the studies agree
    by luck s < 1, and the interval would be narrower than that of one common effect: hence max(1, s) (Rover, Knapp and
    Friede 2015). tau2 after Paule and Mandel 1982, never negative. The prediction interval is
    mu +- t_(k-2) sqrt(tau2 + se^2) (Higgins, Thompson and Spiegelhalter 2009).

    Assumes independent data sets, near-normal means, and variances as known: a study of few patients is trusted too
    much. Not for folds, seeds or counts of one data set, which are no independent studies.
    """
    ordered = sorted(studies, key=lambda study: study.dataset)
    y = np.array([study.effect for study in ordered], dtype=np.float64)
    v = np.array([study.se for study in ordered], dtype=np.float64) ** 2
    k, df = len(ordered), len(ordered) - 1
    q = _q(0.0, y, v)
    tau2 = _paule_mandel(y, v) if df else 0.0
    weight = 1 / (v + tau2)
    mean, variance = _mean(y, weight), float(1 / weight.sum())
    scale = _q(tau2, y, v) / df if df else math.nan
    estimate = t_estimate(mean, math.sqrt(variance * max(1.0, scale)), df, level)
    shares, z = weight / weight.sum(), float(scipy.stats.norm.ppf(0.5 + level / 2))
    half = float(scipy.stats.t.ppf(0.5 + level / 2, k - 2)) * math.sqrt(tau2 + estimate.se**2) if k >= 3 else math.nan
    return Meta(
        label=studies[0].label,
        k=k,
        n=sum(study.n for study in ordered),
        level=level,
        estimate=estimate,
        q=q,
        q_p=float(scipy.stats.chi2.sf(q, df)) if df else math.nan,
        i2=max(0.0, (q - df) / q) if q > 0 else 0.0,
        tau2=tau2,
        prediction_low=mean - half,
        prediction_high=mean + half,
        studies=tuple(
            WeightedStudy(study, share, study.effect - z * study.se, study.effect + z * study.se)
            for study, share in zip(ordered, shares.tolist(), strict=True)
        ),
        note=few_studies(k, level),
    )


def few_studies(k: int, level: float) -> str:
    """What k data sets leave open; empty above 6."""
    if k > FEW:
        return ""
    if k == 1:
        return "One data set: there is nothing to combine, and no interval over data sets."
    factor = float(scipy.stats.t.ppf(0.5 + level / 2, k - 1))
    text = (
        f"{k} data sets: {k - 1} degree{'s' if k > 2 else ''} of freedom, {factor:.1f} standard errors to each side; "
    )
    if k == 2:
        return text + "the variance between data sets is all but unknown, and no prediction interval exists."
    return text + "the variance between data sets and the prediction interval are hardly known."


def friedman_over_datasets(
    studies: Sequence[StudyEffect], *, higher_is_better: bool, control: str | None = None
) -> DatasetRanks:
    """Labels ranked inside each data set by mean difference; ``control`` joins as a label of difference 0.

    A labelled extra: with 6 data sets and 7 labels it is almost powerless, it drops the size of differences and their
    standard errors, and a mean rank depends on which labels take part. The meta-analysis is the answer.
    """
    labels = list(dict.fromkeys(study.label for study in studies))
    frame = pd.DataFrame([(study.dataset, study.label, study.effect) for study in studies])
    wide = frame.pivot(index=0, columns=1, values=2)[labels].sort_index().astype(np.float64)
    if control is not None:
        wide.insert(0, control, 0.0)
    whole = wide.loc[:, wide.notna().all()].round(decimals_of(wide.to_numpy(dtype=np.float64)))
    ranks = ranks_of(whole, higher_is_better=higher_is_better)
    omnibus = (
        friedman(whole, higher_is_better=higher_is_better)
        if whole.shape[1] >= 2
        else NoOmnibus("fewer than two labels occur in every data set")
    )
    return DatasetRanks(
        labels=tuple(map(str, whole.columns)),
        mean_ranks=tuple(ranks.mean(axis=0).tolist()),
        best=tuple((ranks == ranks.min(axis=1, keepdims=True, initial=np.inf)).sum(axis=0).tolist()),
        omnibus=omnibus,
        left_out=tuple(str(label) for label in wide.columns if label not in whole.columns),
        note=f"exploratory: {len(whole)} data sets as blocks; sizes and standard errors of differences are not used",
    )


def _mean(y: Array, weight: Array) -> float:
    return float((weight * y).sum() / weight.sum())


def _paule_mandel(y: Array, v: Array) -> float:
    from statsmodels.stats.meta_analysis import combine_effects  # here, since few reports are of several data sets

    # statsmodels divides by Q, which is 0 for equal effects, and a tolerance below its default sends tau2 back to 0
    with np.errstate(divide="ignore", invalid="ignore"):
        return max(float(combine_effects(y, v, method_re="iterated").tau2), 0.0)


def _q(tau2: float, y: Array, v: Array) -> float:
    """Generalised Q: sum (y_i - mu)^2 / (v_i + tau2), falling in tau2."""
    weight = 1 / (v + tau2)
    return float((weight * (y - _mean(y, weight)) ** 2).sum())
