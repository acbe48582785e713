"""The history of a search: what each suggestion came to, and the best so far."""

from pathlib import Path

import pandas as pd
from matplotlib.ticker import MaxNLocator

from medsweep.analysis.figures.style import ACCENT, INK, QUIET, Drawn, figure, look, save


def draw_search(history: pd.DataFrame, label: str, stem: Path) -> Drawn:
    """The first objective by suggestion, with a step line for the best feasible one so far.

    Told apart by shape: a ring was measured, a triangle breaks a constraint, a cross at the foot was stopped early, a
    plus there has no result.

    Args:
        history: in the order told, columns ``outcome``, ``feasible``, ``value`` and ``best`` (NaN where there is none).
        label: of the objective, with its unit.
        stem: path of the files without their endings.
    """
    numbers = pd.Series(range(len(history)), index=history.index)
    measured, feasible = history["value"].notna(), history["feasible"].astype(bool)
    pruned = ~measured & (history["outcome"] == "pruned")
    with look():
        drawing = figure(2.8)
        axes = drawing.subplots()
        drawing.subplots_adjust(left=0.1, right=0.98, bottom=0.17, top=0.88)
        axes.step(numbers, history["best"], where="post", color=INK, lw=1.2, zorder=1, label="best so far")
        for name, mask, shape in (
            ("measured", measured & feasible, "o"),
            ("breaks a constraint", measured & ~feasible, "^"),
        ):
            if mask.any():
                axes.plot(numbers[mask], history["value"][mask], shape, ms=5, mfc="none", mec=ACCENT, label=name)
        foot = axes.get_xaxis_transform()
        for name, mask, shape in (("stopped early", pruned, "x"), ("no result", ~measured & ~pruned, "+")):
            if mask.any():
                axes.plot(numbers[mask], [0.03] * int(mask.sum()), shape, ms=6, mec=QUIET, transform=foot, label=name)
        axes.set(xlabel="arms in the order told", ylabel=label, xlim=(-0.5, max(len(history), 1) - 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(ncols=5, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
        return save(drawing, stem, history)
