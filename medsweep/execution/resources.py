"""What a trial should hold, from what is known of its memory. Pure: told by numbers, tested with made-up ones."""

from typing import NamedTuple

from medsweep.sweep.file import Resources

SHARES = (0.125, 0.25, 0.5, 1.0)
"""Parts of a GPU that trials hold. Few, because Ray keeps processes for reuse by what they hold."""
SPARE = 1.1
"""Memory set aside over the peak that was seen: allocators keep more than they use, and shapes of batches vary."""
CONTEXT_MIB = 600.0
"""What the driver of a GPU takes for every process before its first tensor; torch's allocator does not see it."""


class Grant(NamedTuple):
    """What a trial is given: what it holds, and the parts that its batches are worked in."""

    held: Resources
    micro_batches: int


def share_for(peak_mib: float, total_mib: float) -> float:
    """The smallest part of a GPU of ``total_mib`` that holds a process whose allocator peaked at ``peak_mib``."""
    need = peak_mib * SPARE + CONTEXT_MIB
    return next((share for share in SHARES if share * total_mib >= need), SHARES[-1])


def allocator_share(share: float, total_mib: float) -> float:
    """The part of a GPU that torch may allocate in a process that holds ``share`` of it: all but its context."""
    return 1.0 if share >= 1.0 else max(share - CONTEXT_MIB / total_mib, share / 2)


def next_grant(given: Grant, stated: Resources, most_parts: int) -> Grant | None:
    """What to give after running out of memory: a larger part of a GPU, then batches in twice as many parts.

    Without a GPU it is twice the host memory, once, where the stage states any. None where there is no more to give.
    """
    held, parts = given
    gpus = held.most_gpus
    if gpus == 0:
        doubled = 2 * stated.memory_gib
        return Grant(held.model_copy(update={"memory_gib": doubled}), parts) if held.memory_gib < doubled else None
    larger = [share for share in SHARES if gpus < share]
    if larger:
        return Grant(held.model_copy(update={"gpus": larger[0]}), parts)
    return Grant(held, min(2 * parts, most_parts)) if parts < most_parts else None
