"""Trainings that are too short for their network to leave the background, told before they run."""

from collections.abc import Iterator, Sequence

from medsweep.study.stages import Settings, StudySweep
from medsweep.sweep.arms import Arm
from medsweep.trainers.segmentation.networks import NETWORKS


def short_trainings(sweep: StudySweep, compared: Sequence[Arm[Settings]]) -> Iterator[str]:
    """A line for each network and number of steps, with the first arm that has them."""
    told: set[tuple[str, int]] = set()
    for arm in compared:
        segment, dotted = arm.settings.segment, "segment.steps"
        fewest = NETWORKS[segment.network].fewest_steps
        if segment.steps >= fewest or (segment.network, segment.steps) in told:
            continue
        told.add((segment.network, segment.steps))
        own = ("arms", arm.name)
        place = sweep.place(
            (*own, dotted), ("control", dotted), ("factors", dotted), ("fixed", "segment", "steps"), own, ("fixed",)
        )
        text = (
            f"arm {arm.name!r} trains {segment.network} for {segment.steps} steps, and it needs about {fewest} to leave"
        )
        yield str(sweep.error(place, f"{text} the background; raise {dotted}, or take a network without a recipe"))
