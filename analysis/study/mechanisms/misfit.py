"""How far masks and images of each source disagree, beside unseen reals, and whether that grows with odd masks.

Shapes: n samples of a source, N unseen real slices of P patients, D draws, G runs (a fold and a seed, each with
generators of its own).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from medsweep.accumulation import Accumulation
from medsweep.analysis.records import Array, Estimate, mean_estimate, t_estimate

MEASURE: Final = "hd95_px"
"""The misfit that the decision is about."""
DRAWS: Final = 500
UNSEEN: Final = "real, unseen"
"""What the source of real slices is called that the judge has not seen."""
LEFT_OUT, CONTROL = "left-out", "control"
JUDGES: Final = (LEFT_OUT, CONTROL)
"""The one that decides where both judge comes first."""
RUN: Final = ["fold", "seed"]
MEANS: Final = ("dice", "hd95_px", "assd_px", "bias_px", "missed", "nearest_px", "log_density")
"""Columns of ``samples`` whose mean is told of each source."""

NO_SAMPLES: Final = pd.DataFrame(columns=["arm", *RUN, "judge", "patient", "in_use", "unseen", *MEANS])
Draws = Mapping[tuple[int, int], Array]
"""Values by run, each (D,); the last one is the value itself."""


@dataclass(frozen=True)
class WiderInterval:
    """A value between the wider ends of two intervals: over samples and unseen patients, and over runs."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Source:
    """What one judge says of the masks of one arm, or of real slices."""

    name: str
    arm: str
    judge: str
    n: int
    runs: int
    means: Mapping[str, float]
    """``MEANS``, each over the samples that define it, mean over runs; a missed one counts in ``missed`` and ``dice``
    alone."""
    excess: WiderInterval | None
    """Of ``MEASURE`` over unseen reals of the same judge and run; None where a side has none."""


@dataclass(frozen=True)
class Misfits:
    """All sources by judge, and what one source has more than another."""

    judge: str
    """Whose view the decision takes."""
    sources: tuple[Source, ...]
    new: WiderInterval | None
    """Excess of C-SG on new masks."""
    step: WiderInterval | None
    """That on generated masks, minus this, and minus ``odd`` where it is known."""
    odd: WiderInterval | None
    """Misfit of real images warped to generated masks, minus that of new real ones: what a judge sees worse where masks
    are odd. None without these arms."""
    missed: float
    """Share of masks that the judge does not find in images of C-SG, of new or of generated masks, whichever are more,
    minus that in unseen reals; NaN without these."""
    judges_differ: bool
    """Whether another judge has an interval of either that does not meet this one's."""
    runs: int


@dataclass(frozen=True)
class Slopes:
    """Least squares of the misfit of each class, clustered by run."""

    on: int
    clusters: int
    beta: Estimate
    """Misfit per px of ``nearest_px``, at equal source, area and class."""
    beyond: Estimate | None
    """Misfit of generated masks minus the mean of perturbed ones at equal ``nearest_px``; None without the latter."""
    dose: Estimate | None
    """Misfit per px of perturbation, over new and perturbed masks; None without perturbed ones."""


def names_of(section: Accumulation) -> dict[str, str]:
    """What the report calls each arm of the section, in the order of its table."""
    cells = {
        "known_masks": "C-SG, known masks",
        "new_masks": "C-SG, new masks",
        "generated_masks": "C-SG, M-SG masks",
        "pairs": "B-SG pairs",
        "new_real": "new real",
        "same_real": "same real",
        "warped": "real, warped to M-SG masks",
    }
    found = {getattr(section, cell): name for cell, name in cells.items() if getattr(section, cell) is not None}
    sizes = sorted(section.perturbed.items(), key=lambda one: one[1])
    return found | {arm: f"C-SG, masks perturbed by {size:g} px" for arm, size in sizes}


def misfits_of(samples: pd.DataFrame, section: Accumulation, level: float) -> Misfits | None:
    """What ``samples`` say; None where they are empty.

    Args:
        samples: one row per sample and judge, and per real slice and judge (``arm`` empty): arm, fold, seed, judge,
            patient, in_use, unseen, then the columns of ``scores.parquet``.
        section: arms by cell.
        level: of intervals.
    """
    judges = [one for one in JUDGES if (samples.loc[samples["arm"] == section.new_masks, "judge"] == one).any()]
    judges += [one for one in JUDGES if one not in judges and (samples["judge"] == one).any()]
    if not judges:
        return None
    odd = _odd(samples[samples["judge"] == CONTROL], section)
    told = {judge: _judged(samples[samples["judge"] == judge], section, judge, odd, level) for judge in judges}
    judge, (_, new, step) = judges[0], told[judges[0]]
    others = [told[one][1:] for one in judges[1:]]
    differ = any(_apart(mine, theirs) for pair in others for mine, theirs in zip((new, step), pair, strict=True))
    runs = len(samples.loc[samples["arm"] == section.generated_masks, RUN].drop_duplicates())
    sources = tuple(one for found, _, _ in told.values() for one in found)
    return Misfits(judge, sources, new, step, _interval(odd, level), _missed(told[judge][0], section), differ, runs)


def _missed(sources: Sequence[Source], section: Accumulation) -> float:
    """See ``Misfits.missed``; ``sources`` are of one judge."""
    painted = [one.means["missed"] for one in sources if one.arm in (section.new_masks, section.generated_masks)]
    unseen = [one.means["missed"] for one in sources if one.name == UNSEEN]
    return max(painted) - unseen[0] if painted and unseen else math.nan


def _odd(samples: pd.DataFrame, section: Accumulation) -> Draws:
    """``Misfits.odd`` by run; the judge of real pictures of patients left out is the control."""
    zeros = _zeros(samples[(samples["arm"] == "") & samples["unseen"].astype(bool)])
    warped, new = (_excesses(samples[samples["arm"] == arm], zeros) for arm in (section.warped, section.new_real))
    return {run: warped[run] - new[run] for run in warped if run in new}


def _apart(one: WiderInterval | None, other: WiderInterval | None) -> bool:
    return one is not None and other is not None and (one.low > other.high or other.low > one.high)


def _judged(
    samples: pd.DataFrame, section: Accumulation, judge: str, odd: Draws, level: float
) -> tuple[list[Source], WiderInterval | None, WiderInterval | None]:
    """Sources of one judge, excess on new masks, and the step from there to generated ones, freed of ``odd``."""
    real = samples[samples["arm"] == ""]
    zeros = _zeros(real[real["unseen"]])
    reals = {UNSEEN: real[real["unseen"]], "real, in use": real[real["in_use"]]}
    sources = [_source(name, "", judge, rows, None) for name, rows in reals.items() if len(rows)]
    excesses: dict[str, Draws] = {}
    for arm, name in names_of(section).items():
        rows = samples[samples["arm"] == arm]
        if len(rows):
            excesses[arm] = _excesses(rows, zeros)
            sources.append(_source(name, arm, judge, rows, _interval(excesses[arm], level)))
    new, generated = (excesses.get(arm, {}) for arm in (section.new_masks, section.generated_masks))
    step = {
        run: generated[run] - new[run] - odd.get(run, 0.0)
        for run in generated
        if run in new and (run in odd or not odd)
    }
    return sources, _interval(new, level), _interval(step, level)


def _source(name: str, arm: str, judge: str, rows: pd.DataFrame, excess: WiderInterval | None) -> Source:
    by_run = rows.groupby(RUN)[list(MEANS)].mean()
    means = {str(measure): float(value) for measure, value in by_run.mean().items()}
    return Source(name, arm, judge, len(rows), len(by_run), means, excess)


def _zeros(unseen: pd.DataFrame) -> dict[tuple[int, int], Array]:
    """Mean misfit of unseen reals by run, (D + 1,): over drawn patients, then over all as they are.

    A patient has one weight in all runs of a draw, since runs share patients.
    """
    patients = np.unique(unseen["patient"].to_numpy(str))
    weights_DP = _weights(len(patients), np.random.default_rng(len(patients)))
    zeros = {}
    for run, rows in _by_run(unseen):
        of_patient = rows.groupby("patient")[MEASURE]
        sums_P, sizes_P = (
            np.array(one.reindex(patients, fill_value=0.0)) for one in (of_patient.sum(), of_patient.size())
        )
        zeros[run] = (weights_DP @ sums_P) / (weights_DP @ sizes_P)
    return zeros


def _excesses(rows: pd.DataFrame, zeros: Draws) -> Draws:
    """Mean misfit of a source minus that of unseen reals, by run, over drawn samples."""
    found = {}
    for run, own in _by_run(rows):
        if run in zeros:
            values_n = own[MEASURE].to_numpy(np.float64)
            weights_Dn = _weights(len(values_n), np.random.default_rng([*run, len(values_n)]))
            found[run] = weights_Dn @ values_n / weights_Dn.sum(axis=1) - zeros[run]
    return found


def _by_run(rows: pd.DataFrame) -> Iterator[tuple[tuple[int, int], pd.DataFrame]]:
    told = rows.dropna(subset=[MEASURE])
    for fold, seed in sorted(set(zip(told["fold"].astype(int), told["seed"].astype(int), strict=True))):
        yield (fold, seed), told[(told["fold"] == fold) & (told["seed"] == seed)]


def _weights(size: int, rng: np.random.Generator) -> Array:
    """Weights of the Bayesian bootstrap (Rubin 1981), (D + 1, size); equal ones in the last row."""
    return np.concatenate([rng.standard_exponential((DRAWS, size)), np.ones((1, size))])


def _interval(draws: Draws, level: float) -> WiderInterval | None:
    """The mean over runs, between the wider ends of the bootstrap and of the t interval over runs."""
    if not draws:
        return None
    runs_GD = np.stack(list(draws.values()))
    mean_D, over_runs = runs_GD.mean(axis=0), mean_estimate(runs_GD[:, -1], level)
    low, high = np.quantile(mean_D[:-1], [(1 - level) / 2, (1 + level) / 2])
    return WiderInterval(
        float(mean_D[-1]), float(np.nanmin([low, over_runs.low])), float(np.nanmax([high, over_runs.high]))
    )


def slopes_of(samples: pd.DataFrame, section: Accumulation, judge: str, level: float) -> Slopes | None:
    """c = s_source + beta a + log area + class on new, perturbed and generated masks; None with fewer than two runs.

    c is the HD95 of a class, a the HD95 of the mask to the nearest one of other people, both in px. Standard errors are
    clustered by run with G - 1 degrees of freedom (Liang and Zeger 1986).
    """
    arms = [section.new_masks, *section.perturbed, section.generated_masks]
    rows = _by_class(samples[(samples["judge"] == judge) & samples["arm"].isin(arms)])
    if rows["run"].nunique() < 2 or rows["arm"].nunique() < 2:
        return None
    sources = [arm for arm in arms if (rows["arm"] == arm).any()]
    columns: dict[str, Array] = {arm: np.array(rows["arm"] == arm, np.float64) for arm in sources}
    weights = _contrast(sources, section)
    fit = _clustered({**columns, "a": rows["a"].to_numpy(np.float64), **_covariates(rows)}, rows)
    dose = None
    if any(arm in section.perturbed for arm in sources):
        planned = rows[rows["arm"] != section.generated_masks]
        sizes = np.array(planned["arm"].map({section.new_masks: 0.0, **section.perturbed}), np.float64)
        one: dict[str, Array] = {"1": np.ones(len(planned)), "size": sizes, **_covariates(planned)}
        dose = _clustered(one, planned)({"size": 1.0}, level)
    return Slopes(
        len(rows), rows["run"].nunique(), fit({"a": 1.0}, level), None if weights is None else fit(weights, level), dose
    )


def _contrast(sources: Sequence[str], section: Accumulation) -> dict[str, float] | None:
    perturbed = [arm for arm in sources if arm in section.perturbed]
    if not perturbed or section.generated_masks not in sources:
        return None
    return {section.generated_masks: 1.0, **dict.fromkeys(perturbed, -1.0 / len(perturbed))}


def _by_class(samples: pd.DataFrame) -> pd.DataFrame:
    """A row per sample and class with a distance: arm, run, class, c, a and log area."""
    prefixes = sorted(name.removesuffix(f"/{MEASURE}") for name in map(str, samples) if name.endswith(f"/{MEASURE}"))
    parts = [
        pd.DataFrame(
            {
                "arm": samples["arm"],
                "run": samples["fold"].astype(str) + "/" + samples["seed"].astype(str),
                "class": prefix,
                "c": samples[f"{prefix}/{MEASURE}"],
                "a": samples["nearest_px"],
                "area": samples[f"{prefix}/area_px"],
            }
        )
        for prefix in prefixes
    ]
    rows = pd.concat(parts, ignore_index=True).dropna()
    return rows.assign(area=np.log(rows["area"].clip(lower=1)))


def _covariates(rows: pd.DataFrame) -> dict[str, Array]:
    """Log area, and each class but the first."""
    classes = sorted(rows["class"].unique())
    area = rows["area"].to_numpy(np.float64)
    return {"area": area, **{name: (rows["class"] == name).to_numpy(np.float64) for name in classes[1:]}}


def _clustered(columns: Mapping[str, Array], rows: pd.DataFrame) -> Callable[[Mapping[str, float], float], Estimate]:
    """The fit of c on these columns: it gives the estimate of a weighted sum of coefficients at a level."""
    from statsmodels.regression.linear_model import OLS  # here, since few reports have such a section

    names, groups = list(columns), rows["run"].astype("category").cat.codes.to_numpy()
    fit = OLS(rows["c"].to_numpy(np.float64), np.column_stack([columns[name] for name in names])).fit(
        cov_type="cluster", cov_kwds={"groups": groups}, use_t=True
    )

    def estimate(weights: Mapping[str, float], level: float) -> Estimate:
        test = fit.t_test(np.array([weights.get(name, 0.0) for name in names]))
        return t_estimate(test.effect.item(), test.sd.item(), len(np.unique(groups)) - 1, level)

    return estimate
