"""Single cases: sample pairs, what networks see in test patients, the worst cases, raw scores, and the cohort."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Final

from medsweep.analysis.figures.scores import DOTS, draw_scores
from medsweep.analysis.report.document import Block, Figure, Prose
from medsweep.analysis.report.results import descriptions
from medsweep.analysis.report.table import DASH, Columns, Table, folded, table_of
from medsweep.analysis.report.topic import Material, Topic, brought
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.cases import CohortClass, WorstCase
from medsweep.analysis.study.wording import counted, counted_between, number
from medsweep.identity import short

OVERLAYS: Final = 3
"""Pictures of what networks see: the control's, then those behind the largest losses."""


def worst(analysis: Analysis) -> Table:
    """The patients of each arm that lost most."""
    digits = analysis.primary.metric.digits
    caption = (
        f"Worst cases: the patients whose {analysis.primary.metric.title} in one run lies farthest on the worse side "
        f"of the mean under {analysis.control}; of {analysis.control} its own worst scores. Patients are numbered in "
        "the order of their names in the results table."
    )
    columns: Columns[WorstCase] = {
        "arm": lambda one: one.arm,
        "patient": lambda one: str(one.patient),
        "fold": lambda one: str(one.fold),
        "seed": lambda one: str(one.seed),
        "score": lambda one: number(one.value, digits),
        "control": lambda one: number(one.control, digits),
        "loss": lambda one: DASH if one.arm == analysis.control else number(one.loss, digits),
        "trial": lambda one: short(one.digest) or DASH,
    }
    return folded(table_of("worst", caption, analysis.worst, columns, text=("trial",)))


def _overlays(material: Material) -> Iterator[Figure]:
    """Of the control, then of the trials with the largest losses, each once."""
    control = material.analysis.control
    order = sorted(material.analysis.worst, key=lambda one: (one.arm != control, -one.loss))
    shown: dict[str, WorstCase] = {}
    for one in order:
        if one.digest in material.context.overlays and one.arm not in {other.arm for other in shown.values()}:
            shown.setdefault(one.digest, one)
    for place, (digest, _) in enumerate(list(shown.items())[:OVERLAYS], start=1):
        yield brought(f"overlay-{place}", material.context.overlays[digest])


def _samples(material: Material) -> Iterator[Block | None]:
    for place, grid in enumerate(material.context.grids, start=1):
        yield brought(f"grid-{place}", grid)
    yield from _overlays(material)
    yield worst(material.analysis)


def _scores_picture(material: Material) -> Figure:
    analysis, metric = material.analysis, material.analysis.primary.metric
    caption = (
        f"Raw scores: {metric.title} of each patient (rings) under each arm, mean over classes and runs; box: "
        "quartiles and median; line: to the last score within 1.5 box lengths."
    )
    if analysis.primary.n > DOTS:
        caption += f" {DOTS} of {analysis.primary.n} patients drawn, evenly spread by rank."
    medians = [f"{arm.arm} {number(arm.median, metric.digits)}" for arm in analysis.primary.descriptions]
    alt = f"Dots and boxes of {metric.title} per arm; medians: {', '.join(medians)}."
    return material.picture("scores", partial(draw_scores, analysis), caption, alt)


def _flow(analysis: Analysis) -> Prose:
    """The way from the table's patients to the n of the tests, in one line."""
    steps = [step for step in analysis.primary.flow if step.unit == "patients"]
    text = f"{steps[0].before} patients in the results" if steps else ""
    for step in steps:
        if step.after < step.before:
            text += f" \N{RIGHTWARDS ARROW} {step.after} ({step.before - step.after} left out: {step.rule})"
    folds, seeds = len(analysis.folds), analysis.seeds
    runs = f"{counted(folds, 'fold')} x {counted_between(analysis.fewest_seeds, seeds, 'seed')}"
    averaged = f"{runs} are averaged inside the patient, never stacked" if folds * seeds > 1 else "one run of each arm"
    return Prose(
        (
            f"{text} \N{RIGHTWARDS ARROW} n = {analysis.primary.n} in every arm. The patient is the unit: {averaged}, "
            "and no slice is a case.",
        )
    )


def _scores(material: Material) -> Iterator[Block | None]:
    yield _flow(material.analysis)
    yield _scores_picture(material)
    yield folded(descriptions(material.analysis.primary))


def cohort(analysis: Analysis) -> Table:
    """Patients and volumes of each class."""

    def ml(value: float) -> str:
        return DASH if math.isnan(value) else f"{value:.3g}"

    caption = "The test patients: how many show each class in their reference, and its volume there."
    columns: Columns[CohortClass] = {
        "class": lambda one: one.name,
        "patients": lambda one: str(one.patients),
        "without it": lambda one: str(one.without),
        "median, ml": lambda one: ml(one.median_ml),
        "smallest, ml": lambda one: ml(one.smallest_ml),
        "largest, ml": lambda one: ml(one.largest_ml),
    }
    return table_of("cohort", caption, analysis.cohort, columns)


SAMPLES = Topic("samples", "Samples, overlays and worst cases", _samples)
SCORES = Topic("scores", "Scores of every arm", _scores)
COHORT = Topic("cohort", "Patients", lambda material: (cohort(material.analysis),), folded=True)
