"""What every metric is, one record each: the words and the direction that results, searches, reports and docs use.

A new metric needs its record here and the function that computes it. ``tools/metrics_page.py`` writes the tables of
``docs/reference/metrics.md`` from the records.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from typing import Final

from medsweep.metric_record import Metric, Place
from medsweep.pool_metrics import POOLS

REGION: Final = "region_"
"""What the names of metrics of regions (unions of classes) begin with."""
_CLASS: Final = re.compile(r"class_\d+/")


def unknown_metric(name: str, *, higher_is_better: bool) -> Metric:
    """The record of somebody's own score, of which only the direction is known."""
    worst = -math.inf if higher_is_better else math.inf
    return Metric(
        name, name, "higher" if higher_is_better else "lower", "any", "", "", "", shown=("scores",), worst=worst
    )


def _score(name: str, title: str, meaning: str, source: str, *, mm: bool = False) -> Metric:
    """A distance in mm, or a share from 0 to 1, of one structure of one patient."""
    places: tuple[Place, ...] = ("scores", "search")
    if mm:
        return Metric(name, title, "lower", "0 up", meaning, source, name, places, "mm", math.inf, 2)
    return Metric(name, title, "higher", "0 to 1", meaning, source, name, places, worst=0.0)


def _of_regions(metric: Metric) -> Metric:
    title, at, tolerance = metric.title.partition(" at ")
    return dataclasses.replace(
        metric,
        name=f"{REGION}{metric.name}",
        title=f"{title} of regions{at}{tolerance}",
        meaning=f"`{metric.name}` of each union of classes that the data set calls a region.",
        shown=("scores",),
    )


# fmt: off
_STRUCTURES: Final = (
    _score("dice", "Dice", "Overlap of prediction A and reference B, 2 |A and B| / (|A| + |B|), in voxels.",
           "Dice 1945"),
    _score("hd95_mm", "HD95", "Larger of the two directed 95th percentiles of the distances between the surfaces.",
           "Huttenlocher et al. 1993", mm=True),
    _score("assd_mm", "ASSD", "Mean distance to the other surface, over the voxels of both surfaces.",
           "Heimann et al. 2009", mm=True),
    _score("surface_dice", "Surface Dice at 2 mm", "Share of both surfaces that lies within 2 mm of the other.",
           "Nikolov et al. 2018"),
)

STRUCTURE_METRICS: Final = tuple(metric.name for metric in _STRUCTURES)
"""What is scored for each structure of each patient, in the order of the tables; regions have the prefix."""
SCORES: Final[Mapping[str, Metric]] = {
    metric.name: metric for metric in (*_STRUCTURES, *map(_of_regions, _STRUCTURES))
}
"""Metrics of segmentations, by name. Each can be the primary metric of an analysis."""
# fmt: on

METRICS: Final[Mapping[str, Metric]] = {**SCORES, **POOLS}


def record_of(name: str) -> Metric | None:
    """The record of a metric by the name it has in results; None where there is none."""
    return METRICS.get(_CLASS.sub("class_K/", name))


def shown_in(place: Place) -> tuple[str, ...]:
    """Names of the metrics shown there, in the order of the records."""
    return tuple(metric.name for metric in METRICS.values() if place in metric.shown)


def without_record(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the names that no record describes, each once."""
    return tuple(name for name in dict.fromkeys(names) if record_of(name) is None)
