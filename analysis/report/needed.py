"""What it would take to answer: seeds and patients from the spread that was seen."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from medsweep.analysis.report.document import Block, Bullets
from medsweep.analysis.report.table import Columns, Table, table_of
from medsweep.analysis.report.topic import Material, Topic
from medsweep.analysis.stats.power import (
    ASSUMABLE,
    ASSUMED,
    TARGET,
    Size,
    Spread,
    method_detectable,
    patient_arm,
    patients_for_equivalence,
    patients_needed,
    seeds_needed,
)
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.wording import amount, counted, number

MORE: Final = (1, 2, 4)
"""Factors by which the table multiplies seeds and patients."""
WIDER: Final = 2.0
"""Times by which the verdicts' intervals may exceed the plan before the report says so."""


def spread_of(analysis: Analysis) -> Spread | None:
    """SDs of the middle arm; None where one of them was neither seen nor can be assumed."""
    seen = {
        "differences": _middle(answer.power.sd for answer in analysis.answers),
        "run": _middle(arm.run for arm in analysis.components),
        "residual": _middle(arm.residual for arm in analysis.components),
    }
    measured = {name: value for name, value in seen.items() if value is not None}
    if "differences" not in measured or (len(measured) < len(seen) and analysis.primary.metric.name not in ASSUMABLE):
        return None
    return replace(ASSUMED, **measured, measured=tuple(measured))


def _middle(values: Iterable[float]) -> float | None:
    """The median, which one arm that fails does not move."""
    finite = [value for value in values if math.isfinite(value)]
    return float(np.median(finite)) if finite else None


def size_of(analysis: Analysis) -> Size:
    """The design as it was run."""
    tested = sum(run.n for run in analysis.runs) / (len(analysis.arms) * analysis.primary.n)
    return Size(analysis.primary.n, len(analysis.folds), analysis.seeds, max(tested, 1.0), len(analysis.answers))


def designs(analysis: Analysis, size: Size, spread: Spread) -> Table:
    """The smallest difference that larger designs would find."""
    metric, arm = analysis.primary.metric, patient_arm(size, spread)
    step = analysis.rules.alpha / size.comparisons
    rows = [
        replace(size, seeds=more * size.seeds, scores=more * size.scores, patients=people * size.patients)
        for people in MORE
        for more in MORE
    ]
    caption = (
        f"Smallest true difference in {metric.title} that this design and larger ones find with power {TARGET:g}, "
        "whatever network is trained and whoever is tested; normal approximation, Bonferroni over the arms."
    )
    columns: Columns[Size] = {
        "patients": lambda one: str(one.patients),
        "seeds": lambda one: str(one.seeds),
        "networks per arm": lambda one: str(one.runs),
        "difference found": lambda one: number(method_detectable(one, spread, arm, step), metric.digits + 1),
    }
    return table_of("needed", caption, rows, columns)


def sentences(analysis: Analysis, size: Size, spread: Spread) -> tuple[str, ...]:
    """What a difference of one margin, and what equivalence would take."""
    margin, alpha, digits = analysis.rules.margin, analysis.rules.alpha, analysis.primary.metric.digits + 1
    bound = amount(f"{margin:g}", analysis.primary.metric)
    seeds, patients = (count(size, spread, margin, alpha) for count in (seeds_needed, patients_needed))
    with_seeds = (
        f"{counted(seeds, 'seed')} with these {size.patients} patients"
        if seeds
        else (f"no number of seeds with these {size.patients} patients")
    )
    with_patients = (
        f"{counted(patients, 'patient')} with {counted(size.seeds, 'seed')}"
        if patients
        else (f"no number of patients with {counted(size.seeds, 'seed')}")
    )
    stated = [
        f"{getattr(spread, name):.2g} {label}{'' if name in spread.measured else ' (assumed)'}"
        for name, label in (("differences", "of differences"), ("run", "of retraining"), ("residual", "residual"))
    ]
    equivalent = patients_for_equivalence(spread.differences, margin, alpha)
    told = [
        f"To find a difference of {bound} with power {TARGET:g}: {with_seeds}, or {with_patients}.",
        f"To show that an arm without any difference is equivalent within {bound}: {counted(equivalent, 'patient')}, "
        "for these trained networks.",
        f"From SDs, of the middle arm: {', '.join(stated)}.",
    ]
    planned = method_detectable(size, spread, patient_arm(size, spread), alpha / size.comparisons)
    seen = _middle((answer.estimate.high - answer.estimate.low) / 2 for answer in analysis.answers)
    if seen is not None and seen > WIDER * planned:
        wider = (
            f"The intervals of the verdicts reach {number(seen, digits)} to either side, {seen / planned:.0f} times "
            "what a plan from the spread says, since runs are few or an arm failed. Mend that first. Then it takes "
            "what follows, or more."
        )
        told.insert(0, wider)
    return tuple(told)


def _blocks(material: Material) -> Iterator[Block | None]:
    analysis, spread = material.analysis, spread_of(material.analysis)
    if spread is None or analysis.primary.n < 2 or spread.differences == 0:
        yield Bullets(("It cannot be told: these results do not show the spread that it depends on.",))
        return
    size = size_of(analysis)
    yield Bullets(sentences(analysis, size, spread))
    yield designs(analysis, size, spread)


TOPIC = Topic("needed", "What it would take to answer", _blocks)
