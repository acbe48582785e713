"""What the commands print of a sweep with sequential seeds."""

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from medsweep.analysis.stats.sequential import error_of_peeking
from medsweep.analysis.study.looks import look_title
from medsweep.durations import people_hours
from medsweep.study.power import stopping

if TYPE_CHECKING:
    from medsweep.study.looks import Looks, LookState
    from medsweep.study.session import Session


def progress_sentence(at: "LookState") -> str:
    """Where the sweep is."""
    title = look_title(at.look)
    if at.waits:
        return f"{title}: {at.waits}"
    if not at.undecided:
        return f"{title}: everything has a verdict, so no more seeds are needed"
    return f"{title}: the last one; without a verdict: {', '.join(at.undecided)}"


def plan_table(session: "Session", looks: "Looks", at: "LookState") -> RenderableType:
    """The looks from the one at hand on: their levels, their costs, and where the sweep is likely to end."""
    if not at.waits:
        return Text(progress_sentence(at))
    number = at.look.number
    rest, hours = looks.looks[number - 1 :], [cost.hours.middle for cost in session.look_costs()]
    chances = stopping(session.sweep, session.plan, session.store, looks.looks, number)
    known = {} if isinstance(chances, str) else chances
    names = [_name(difference) for difference in known]
    heads = ("seeds", "alpha", "cost to here", *(f"ends here if {name}" for name in names))
    table = Table("look", *(Column(head, justify="right") for head in heads), box=None, pad_edge=False)
    for row, look in enumerate(rest):
        shares = (f"{each[row]:.0%}" for each in known.values())
        table.add_row(str(look.number), str(look.seeds), f"{look.alpha:.2g}", people_hours(hours[row]), *shares)
    expected = [
        f"{people_hours(sum(share * cost for share, cost in zip(each, hours, strict=True)))} if {name}"
        for name, each in zip(names, known.values(), strict=True)
    ]
    seeds = [look.seeds / look.most for look in looks.looks]
    error = error_of_peeking(seeds, [at.look.overall] * len(seeds))
    lines = [
        f"cost: {people_hours(hours[0])} to look {number}, {people_hours(hours[-1])} at most"
        + (f"; expected {', '.join(expected)}" if expected else f"; expected unknown ({chances})"),
        "  expected by simulation from the SDs above, with every arm alike",
        f"  {len(seeds)} looks at alpha {at.look.overall:g} each would claim a difference in {error:.0%} where "
        f"there is none, at these levels in {at.look.overall:.0%}",
        progress_sentence(at),
    ]
    return Group(table, Text("\n".join(lines)))


def _name(difference: float) -> str:
    return "no arm differs" if difference == 0 else f"all differ by {difference:g}"
