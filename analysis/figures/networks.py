"""Inside the networks of a mechanism: influence of the pool over the training, and domain AUC by level."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medsweep.analysis.figures import style
from medsweep.analysis.figures.style import ACCENT, BAND, INK, QUIET, Drawn
from medsweep.analysis.study.mechanisms.instruments import Diagnosed
from medsweep.analysis.study.mechanisms.mechanism import MechanismStudy
from medsweep.mechanism import ALL_CAUSES

DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)), (0, (8, 2)), (0, (3, 1)))
MARKS = ("o", "s", "^", "v", "D", "x")


def draw_influence(study: MechanismStudy, stem: Path) -> Drawn:
    """Against the percentage of the steps, one line per arm; 1 is a training slice, the band other held-out ones."""
    arms = shown_arms(study)
    lines = {arm: [one for one in _of(study, arm, "influence", "pool") if one.when.isdigit()] for arm in arms}
    again = [one for one in _of(study, study.arms.explain, "influence", "held-out again") if one.when.isdigit()]
    with style.look():
        drawing = style.figure(3.2)
        drawing.set_layout_engine("constrained")
        axes = drawing.subplots()
        axes.axhline(1, color=INK, lw=0.7)
        axes.axhline(0, color=INK, lw=0.7, ls=(0, (1, 2)))
        if all(math.isfinite(one.estimate.low) for one in again) and again:
            at = [float(one.when) for one in again]
            low, high = zip(*((one.estimate.low, one.estimate.high) for one in again), strict=True)
            axes.fill_between(at, low, high, color=BAND, lw=0, zorder=0)
        for place, (arm, some) in enumerate(lines.items()):
            x = [int(one.when) + place - (len(lines) - 1) / 2 for one in some]
            axes.plot(x, [one.estimate.value for one in some], label=style.wrapped(arm, 24), **line_style(place))
            for x_one, one in zip(x, some, strict=True):
                if math.isfinite(one.estimate.low):
                    axes.plot(
                        [x_one, x_one], [one.estimate.low, one.estimate.high], color=line_style(place)["color"], lw=0.7
                    )
        axes.set_ylim(*_reach([one.estimate.value for some in lines.values() for one in some]))
        axes.set_xlabel("steps, %\nvalues far from the others may lie beyond the axis")
        axes.set_ylabel("influence, training slices = 1")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=7)
        rows = [
            {"arm": one.arm, "percent": int(one.when), "source": one.source, "influence": one.estimate.value}
            | style.ends(one.estimate)
            for one in (*(one for some in lines.values() for one in some), *again)
        ]
        return style.save(drawing, stem, rows)


def _reach(values: Sequence[float]) -> tuple[float, float]:
    """Ends of the axis: -1 to 2, and room for most means. What lies beyond is in the data file."""
    middle, half = np.nanquantile([*values, 0.0, 1.0], [0.1, 0.9]), 1.5
    return min(-1.0, float(middle[0]) - half), max(2.0, float(middle[1]) + half)


def draw_auc(study: MechanismStudy, stem: Path) -> Drawn:
    """Arms as lines over the levels of the network, from the input on; the band is real against real."""
    arms = shown_arms(study)
    lines = {arm: _of(study, arm, "domain_auc", "pool", whole=False) for arm in arms}
    floor = _of(study, study.arms.explain, "domain_auc", "train", whole=False)
    spread = {one.group: one for one in _of(study, study.arms.explain, "domain_auc_sd", "train", whole=False)}
    levels = list(dict.fromkeys(one.group for some in lines.values() for one in some))
    band = [(one.group, one.estimate.value, spread[one.group].estimate.value) for one in floor]
    with style.look():
        drawing = style.figure(3.2)
        drawing.set_layout_engine("constrained")
        axes = drawing.subplots()
        axes.axhline(0.5, color=INK, lw=0.7, ls=(0, (1, 2)))
        x = [levels.index(level) for level, _, _ in band]
        axes.fill_between(x, [m - sd for _, m, sd in band], [m + sd for _, m, sd in band], color=BAND, lw=0, zorder=0)
        axes.plot(x, [mean for _, mean, _ in band], color=QUIET, lw=0.7, label="training slices (floor)")
        for place, (arm, some) in enumerate(lines.items()):
            axes.plot(
                [levels.index(one.group) for one in some],
                [one.estimate.value for one in some],
                label=style.wrapped(arm, 24),
                **line_style(place),
            )
        axes.set_xticks(range(len(levels)), [style.wrapped(level, 11) for level in levels])
        axes.set_ylabel("domain AUC against held-out slices")
        axes.set_ylim(0, 1.05)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=7)
        rows = [
            {"arm": one.arm, "level": one.group, "source": one.source, "auc": one.estimate.value}
            | style.ends(one.estimate)
            for one in (*(one for some in lines.values() for one in some), *floor)
        ]
        return style.save(drawing, stem, rows)


def shown_arms(study: MechanismStudy) -> list[str]:
    """Those that were diagnosed, at lower doses the explained arm alone, and of the lattice all three alone.

    The others would be lines on lines.
    """
    section = study.arms
    wanted = [section.explain, *section.at_lower_doses(section.explain), section.exposure, section.ceiling]
    wanted += [*section.ladder, section.lattice.get(ALL_CAUSES)]
    seen = {one.arm for one in study.network}
    return [arm for arm in dict.fromkeys(wanted) if arm in seen and arm is not None]


def _of(study: MechanismStudy, arm: str, quantity: str, source: str, *, whole: bool = True) -> Sequence[Diagnosed]:
    """What is told of an arm, of the whole network or of its parts."""
    return [
        one
        for one in study.network
        if (one.arm, one.quantity, one.source) == (arm, quantity, source) and (one.group == "all") == whole
    ]


def line_style(place: int) -> dict[str, Any]:
    """The explained arm comes first and is thick; the others differ in dashes and marks, also in print."""
    first = place == 0
    return {
        "color": ACCENT if first else INK,
        "lw": 2.0 if first else 0.9,
        "ls": DASHES[place % len(DASHES)],
        "marker": MARKS[place % len(MARKS)],
        "ms": 4,
        "zorder": 4 if first else 3,
    }
