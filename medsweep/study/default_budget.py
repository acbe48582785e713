"""How long generators and U-Nets train where a sweep names no budget: by resolution, device and number of slices.

On a GPU each slice is shown as often as in the published trainings, on CPUs as often as hours allow. What is chosen is
written into the settings of every arm, so that it is in the config and the digest of each trial.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from medsweep.data.source import DataSource
from medsweep.study.stages import StudySweep
from medsweep.sweep.file import write_level
from medsweep.trainers.synthesis.pipelines import OUR_FAMILIES

GENERATORS: Final = tuple(OUR_FAMILIES)
"""Sections whose ``kimg`` is chosen; what a package brings along has defaults of its own."""
SLICES_PER_PATIENT = 20
"""Where nothing tells how many slices a patient has."""

WIDTHS = frozenset({"preset", "channel_base", "channel_max"})
"""Fields of ``gan`` that say how wide its networks are."""

WIDE = "generators hold no GPU and have the wide networks of gan.preset auto; gan.preset: tiny has those for CPUs"


@dataclass(frozen=True)
class DefaultBudget:
    """Fields that the planner chose, by dotted name, and what they were chosen by."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    slices: int = 0
    resolution: int = 0
    factors: frozenset[str] = frozenset()
    """What factors set, so that the choice holds for few arms or none."""
    wide: bool = False
    """Whether generators without a GPU have the networks of one, since the sweep names neither preset nor widths."""

    def applied(self, sweep: StudySweep) -> StudySweep:
        """The sweep as if its file had said so under ``fixed:``."""
        if not self.fields:
            return sweep
        fixed: dict[str, Any] = dict(sweep.file.fixed)
        for dotted, value in self.fields.items():
            write_level(fixed, dotted, value)
        file = sweep.file.model_copy(update={"fixed": fixed})
        return replace(sweep, file=file, base=sweep.with_levels(dict(self.fields), ("fixed",)))

    def sentences(self, read: frozenset[str]) -> tuple[str, ...]:
        """What was chosen of the sections that trials read, and what had better be chosen."""
        wide = (WIDE,) if self.wide and "gan" in read else ()
        names = [name for name in self.fields if name.split(".")[0] in read and name not in self.factors]
        chosen = [f"{name} {_text(self.fields[name])}" for name in names]
        if not chosen:
            return wide
        by = f"{self.resolution} px and about {self.slices} slices"
        text = f"the sweep names no training budget, so it is {', '.join(chosen)} by {by}; set your own under fixed:"
        return (text, *wide)


def default_budget(sweep: StudySweep, source: DataSource) -> DefaultBudget:
    """What a sweep that names no ``kimg`` of its generators, or no ``segment.steps``, trains with on these patients.

    The preset of generators is chosen where neither it nor ``gan.kimg`` is named, since a sweep that names its budget
    was priced with the networks it had.
    """
    said = {name: set(_section(sweep.file.fixed.get(name))) for name in (*GENERATORS, "segment")}
    factors = frozenset(sweep.file.factors)
    resolution = sweep.base.data.resolution
    slices = slices_in_use(source, sweep.base.data.patients)
    fields: dict[str, Any] = {}
    for name in GENERATORS:
        if "kimg" in said[name]:
            continue
        gpu = _on_gpu(sweep, name)
        if name == "gan" and not gpu and "preset" not in said[name] and not {"gan.kimg", "gan.preset"} & factors:
            fields["gan.preset"] = "tiny"
        fields[f"{name}.kimg"] = kimg(resolution, slices, gpu=gpu)
    if "steps" not in said["segment"]:
        fields["segment.steps"] = steps(resolution, slices, gpu=_on_gpu(sweep, "segment"))
    named = said["gan"] | {dotted.removeprefix("gan.") for dotted in factors if dotted.startswith("gan.")}
    wide = not _on_gpu(sweep, "gan") and "gan.preset" not in fields and not named & WIDTHS
    return DefaultBudget(fields, slices, resolution, factors, wide)


def slices_in_use(source: DataSource, patients: int | None) -> int:
    """Slices with a class of the patients that a sweep may train on; a guess where the data do not tell."""
    every = source.slices or SLICES_PER_PATIENT * len(source.patients)
    if patients is None or patients >= len(source.patients):
        return every
    return max(1, round(every * patients / len(source.patients)))


def kimg(resolution: int, slices: int, *, gpu: bool) -> float:
    """Thousands of real images that a generator is shown.

    GPU: each slice 2,000 times, as 1,000 slices are in 2,000 kimg, at most 2,000 kimg at 256 px and half at half the
    side. CPU: each slice 40 times, at most 24 kimg up to 64 px, and a quarter at twice the side.
    """
    if gpu:
        most = 2000 * min(1.0, resolution / 256)
        return _round(min(max(2.0 * slices, most / 10), most))
    most = max(24 * min(1.0, (64 / resolution) ** 2), 1.0)
    return _round(min(max(0.04 * slices, 2.0), most))


def steps(resolution: int, slices: int, *, gpu: bool) -> int:
    """Optimisation steps of a U-Net: 20 for each slice on a GPU, 2 on CPUs, within bounds by the side."""
    if gpu:
        most = 20_000 * min(1.0, resolution / 256)
        return int(_round(min(max(20.0 * slices, most / 10), most)))
    most = max(1200 * min(1.0, 64 / resolution), 300)
    return int(_round(min(max(2.0 * slices, 300), most)))


def _on_gpu(sweep: StudySweep, stage: str) -> bool:
    held = sweep.file.resources.get(stage)
    return held is not None and held.most_gpus > 0


def _section(written: object) -> Mapping[str, Any]:
    return written if isinstance(written, dict) else {}


def _round(value: float) -> float:
    """Two significant digits."""
    digits = 1 - math.floor(math.log10(value))
    return round(value, digits)


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)
