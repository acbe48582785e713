"""What a trial should hold, from what is known of its memory. Pure: told by numbers, tested with made-up ones."""

from medsweep.sweep import Resources

SHARES = (0.125, 0.25, 0.5, 1.0)
"""Parts of a GPU that trials hold. Few, because Ray keeps processes for reuse by what they hold."""


def larger_share(held: Resources) -> Resources | None:
    """What to hold after running out of memory: the next larger part of a GPU, or twice the host memory.

    None where there is no more to give: a whole GPU, or a CPU stage whose ``memory_gib`` nobody stated.
    """
    larger = [share for share in SHARES if 0 < held.gpus < share]
    if larger:
        return held.model_copy(update={"gpus": larger[0]})
    if held.gpus == 0 and held.memory_gib > 0:
        return held.model_copy(update={"memory_gib": 2 * held.memory_gib})
    return None
