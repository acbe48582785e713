"""A first sweep file for some data: commented, sized to the data and the machine, and valid as it is written."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal

from medsweep.study.default_budget import kimg, steps

Size = Literal["demo", "cpu", "gpu"]

LEAST_PATIENTS: Final = 4
"""Patients below which nothing can be learned from some and tested on others by turns."""

MOST_PX: Final = {"demo": 32, "cpu": 64, "gpu": 256}
"""Side up to which slices keep their pixels."""

WORDS: Final = {
    "demo": "minutes on two CPU cores: one fold, one pipeline, short trainings",
    "cpu": "sized to a machine without a GPU",
    "gpu": "sized to a machine with a GPU",
}


@dataclass(frozen=True)
class Found:
    """What a first sweep must know of its data."""

    dataset: str
    """What the sweep writes as ``data.dataset``."""
    patients: int
    slices: int
    """Slices of all patients that show a class."""
    side: int
    """Larger side of the largest slice, in pixels."""
    root: Path | None = None
    """None makes up a cohort."""
    leave_out: Sequence[str] = ()
    """Cases that cannot be used."""


def name_of(found: Found) -> str:
    """Name of the sweep, which is also that of its file.

    >>> name_of(Found("My Hips!", 8, 100, 64))
    'my-hips-first'
    """
    return f"{re.sub(r'[^a-z0-9]+', '-', found.dataset.lower()).strip('-')[:50] or 'my'}-first"


def side_of(found: Found, size: Size) -> int:
    """Resolution: the power of two that holds the largest slice, within what the machine can train at."""
    return min(MOST_PX[size], max(32, 1 << math.ceil(math.log2(max(found.side, 1)))))


def sweep_text(found: Found, size: Size) -> str:
    """The whole file."""
    side, folds = side_of(found, size), min(5, found.patients)
    trained = found.patients - math.ceil(found.patients / folds)
    slices = max(8, round(found.slices * trained / found.patients))
    counts = sorted({_round(slices)} if size == "demo" else {_round(slices / 4), _round(slices)})
    pipelines = ["b-sg"] if size == "demo" else ["b-sg", "mc-sg"]
    few = max(1, trained // 4)
    sections = [
        _head(found, size, pipelines),
        _data(found, side),
        _replicates(size, folds, trained, found.patients),
        "control: {synthesise.count: 0}        # real patients alone; every arm is held against it",
        "factors:                              # every combination is an arm\n"
        f"  gan.pipeline: [{', '.join(pipelines)}]\n"
        f"  synthesise.count: [{', '.join(map(str, counts))}]    # slices added to about {slices} real ones\n"
        "arms:\n"
        f"  {few} real patient{'s' * (few > 1)}: {{synthesise.count: 0, data.patients: {few}}}"
        "    # must come out inferior",
        _fixed(side, found.slices, size),
    ]
    if size == "gpu":
        sections.append(
            "resources:                            # what one trial holds\n"
            "  gan: {cpus: 4, gpus: 1}\n  synthesise: {gpus: 0.25}\n  assess: {gpus: 0.25}\n"
            "  segment: {cpus: 2, gpus: auto}"
        )
    sections.append(
        "analysis:                             # fixed before anything is seen\n"
        "  primary: dice\n"
        "  margin: 0.01                        # a difference in the primary that does not matter"
        + ("\n  seeds: paired                       # U-Nets of one seed begin alike in all arms" * (size == "demo"))
    )
    return "\n\n".join(sections) + "\n"


def _head(found: Found, size: Size, pipelines: Sequence[str]) -> str:
    schema = Path(str(files("medsweep") / "sweeps" / "schema.json"))
    generators = " or ".join(name.upper() for name in pipelines)
    return (
        f"# yaml-language-server: $schema={schema}\n"
        f"# A first sweep on {found.dataset}, {WORDS[size]}.\n"
        "# medsweep explain FIELD tells what a field means, medsweep plan FILE what the sweep costs.\n"
        f"sweep: {name_of(found)}\n"
        "question: >-\n"
        f"  Do synthetic image-mask pairs from {generators} help a 2D U-Net on {found.dataset}, and how many?"
    )


def _data(found: Found, side: int) -> str:
    lines = ["data:", f"  dataset: {found.dataset}"]
    if found.root is None:
        lines += [
            f"  phantom: {{patients: {found.patients}}}           # made up; for files write  root: FOLDER  instead",
        ]
    else:
        lines.append(f"  root: {json.dumps(str(found.root))}")
    if found.leave_out:
        lines.append(f"  leave_out: {json.dumps(list(found.leave_out))}    # these cannot be used")
    lines.append(f"  resolution: {side}                      # side of the square slices in pixels")
    return "\n".join(lines)


def _replicates(size: Size, folds: int, trained: int, patients: int) -> str:
    told = f"about {trained} of {patients} patients train"
    if size == "demo":
        return f"replicates: {{folds: {folds}, only: [0], seeds: 5}}    # one fold: {told}"
    seeds = 3 if size == "gpu" else 1
    return f"replicates: {{folds: {folds}, seeds: {seeds}}}    # every patient is tested once, {told}"


def _fixed(side: int, slices: int, size: Size) -> str:
    gpu = size == "gpu"
    shown = 2.0 if size == "demo" else kimg(side, slices, gpu=gpu)
    preset = "" if gpu else "    preset: tiny                      # narrow networks, for CPUs\n"
    unet = "" if gpu else "    batch_size: 16\n    learning_rate: 0.01\n    channels: [8, 16, 32]\n"
    return (
        "fixed:                                # settings of all arms\n"
        f"  gan:\n{preset}"
        f"    {f'kimg: {shown:g}':<34}# thousands of real slices that a generator is shown\n"
        "  segment:\n"
        f"    steps: {300 if size == 'demo' else steps(side, slices, gpu=gpu)}\n"
        f"{unet}"
        "    augment: rigid                    # spatial adds left-right flips"
    )


def _round(count: float) -> int:
    """To one significant digit, at least 8."""
    digits = 10 ** max(0, math.floor(math.log10(max(count, 1))))
    return max(8, int(round(count / digits) * digits))
