"""A segment stage in which what may happen to a trial happens, told by its settings."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from medsweep.data.slices import SliceSet
from medsweep.trainers.segmentation import train
from medsweep.trainers.segmentation.config import SegmentConfig
from medsweep.trial import Progress, PrunedError, Trial

STOPS: list[KeyboardInterrupt] = []
"""Of this process; each stops one training that is meant to take 16 steps."""
BROKEN_RATE, PRUNED_RATE = 0.002, 0.003


def troubled_segment(config: SegmentConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """The segment stage, which is stopped, fails or is pruned after step 8."""
    for progress in train.run(config, inputs, trial):
        yield progress
        if progress.step == 8 and config.steps == 16 and STOPS:
            raise STOPS.pop()
        if progress.step == 8 and config.learning_rate == BROKEN_RATE:
            patient = SliceSet.open(inputs["prepare"]).patients[0]
            raise RuntimeError(f"cannot read /secret/place of {patient}: broken")
        if progress.step == 8 and config.learning_rate == PRUNED_RATE:
            raise PrunedError("worse than the median at step 8")
