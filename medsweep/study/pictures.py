"""Grids of the first synthetic pairs of each arm, for people who want to see what was made."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from medsweep.errors import UserError
from medsweep.files import file_name
from medsweep.study.arm_names import find_arms
from medsweep.study.chains import network_of
from medsweep.trainers.pool import Pool
from medsweep.trainers.training.pictures import grid_png
from medsweep.trial import COMPLETE

if TYPE_CHECKING:
    from medsweep.study.session import Session

COLUMNS: Final = 4


def write_samples(session: "Session", arms: Sequence[str], out: Path, count: int) -> Iterator[Path]:
    """Write ``OUT/ARM.png`` for each of ``arms`` (none: of all) that has a published pool, of its first replicate.

    Raises:
        UserError: no such arm, an arm without a pool, or no pool is published.
    """
    plan, store = session.plan, session.store
    chosen = find_arms(plan, arms)
    pools = {
        (arm, replicate): pool
        for (arm, replicate), leaf in plan.leaves.items()
        if arm in chosen and (pool := network_of(plan, leaf).inputs.get("pool")) is not None
    }
    if bare := [arm for arm in chosen if arms and not any(name == arm for name, _ in pools)]:
        raise UserError(f"arm {bare[0]!r} of {plan.sweep} has no synthetic pairs: it trains on real slices alone")
    published = {key: pool for key, pool in pools.items() if session.decisions[pool].outcome == COMPLETE}
    if not published:
        raise UserError(f"no pool of {', '.join(arms) or plan.sweep} is published yet; medsweep run first")
    drawn: set[str] = set()
    for (arm, _), digest in published.items():
        if arm not in drawn:
            drawn.add(arm)
            stage = plan.trials[digest].stage
            store.verify(stage, digest)
            pairs = Pool.open(store.output(stage, digest))
            yield grid_png(out / f"{file_name(arm)}.png", pairs.images[:count], pairs.masks[:count], COLUMNS)
