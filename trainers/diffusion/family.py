"""The family of diffusion models as the sweep, the planner and the synthesis know it."""

from typing import Final

from medsweep.trainers.diffusion import cost
from medsweep.trainers.diffusion.config import DiffusionConfig, DiffusionSettings, resolve
from medsweep.trainers.generators import GeneratorFamily
from medsweep.trial import Later, Stage

DIFFUSION: Final = GeneratorFamily(
    stage=Stage(
        name="diffusion",
        version=1,
        config=DiffusionConfig,
        run=Later("medsweep.trainers.diffusion.train", "run"),
        hours=cost.hours,
        gpu_hours=cost.gpu_hours,
        divides=lambda config: config.batch_size,
        probe=cost.probe,
        guessed_mib=20,
        length="diffusion.kimg",
    ),
    settings=DiffusionSettings,
    resolve=resolve,
    needs_reference=lambda config: False,
    emits_images=lambda config: True,
    load=Later("medsweep.trainers.diffusion.sampler", "load_denoiser"),
    misfits=Later("medsweep.trainers.diffusion.sampler", "misfits"),
    stepwise=True,
)
