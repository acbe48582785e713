"""The family of StyleGAN2 as the sweep, the planner and the synthesis know it."""

from typing import Final

from medsweep.trainers.generators import GeneratorFamily
from medsweep.trainers.stylegan2 import cost
from medsweep.trainers.stylegan2.config import GanConfig, GanSettings
from medsweep.trainers.stylegan2.resolve import resolve
from medsweep.trial import Later, Stage

STYLEGAN2: Final = GeneratorFamily(
    stage=Stage(
        name="gan",
        version=3,
        config=GanConfig,
        run=Later("medsweep.trainers.stylegan2.train", "run"),
        hours=cost.hours,
        gpu_hours=cost.gpu_hours,
        divides=cost.divides,
        probe=cost.probe,
        guessed_mib=50,
        length="gan.kimg",
    ),
    settings=GanSettings,
    resolve=resolve,
    needs_reference=lambda config: config.segmenter_weight > 0,
    emits_images=lambda config: config.variant != "m-sg",
    load=Later("medsweep.trainers.stylegan2.sampler", "load_generator"),
    misfits=Later("medsweep.trainers.stylegan2.sampler", "misfits"),
)
