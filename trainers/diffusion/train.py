"""The diffusion stage: fit one network on the training patients of one fold and leave it ready for sampling."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch

from medsweep.data.fitted_on import write_fitted_on
from medsweep.trainers.diffusion.config import DiffusionConfig, DiffusionSettings, resolve
from medsweep.trainers.diffusion.learner import DiffusionLearner
from medsweep.trainers.diffusion.network import DenoiserArchitecture, macs
from medsweep.trainers.diffusion.sampler import load_denoiser, misfits
from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.generation.device import applied, device_settings, write_settings
from medsweep.trainers.generation.prices import CPU_FLOPS, GPU_FLOPS, NOMINAL_CLASSES, NOMINAL_MODALITIES
from medsweep.trainers.generation.start import cases_seen_by, folder_to_begin_from, write_began_from
from medsweep.trainers.generators import GeneratorFamily
from medsweep.trainers.training.loop import train
from medsweep.trial import Progress, Stage, Trial

SECONDS_PER_STEP = 0.05
"""What a step on a CPU costs beside its convolutions."""
GPU_SECONDS_PER_STEP = 0.02
"""What a step on a GPU cannot fall below. A guess."""


def run(config: DiffusionConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Train on ``inputs["prepare"]`` and write the averaged network, its card, two grids and the patients it saw.

    It begins from the network in ``inputs["start"]`` or of ``config.start``, where there is one.

    Raises:
        UserError: the prepared slices, or the network to begin from, do not fit the configuration, or that network saw
            patients who are held out.
        DivergedError: the loss is no longer finite.
    """
    torch.set_num_threads(trial.threads)  # before the device settings are made, which report them
    settings = device_settings(trial.device, config.resolution)
    data = TrainingSet.load(config, inputs["prepare"], trial.device)
    start = folder_to_begin_from(config, inputs, misfits)
    with applied(settings):
        learner = DiffusionLearner(
            config,
            data,
            trial.device,
            channels_last=settings.channels_last,
            micro_batches=trial.micro_batches,
            start=None if start is None else load_denoiser(start, trial.device),
        )
        yield from train(learner, config.total_steps, trial, report_every_steps=config.report_every_steps)
    learner.sampler.save(trial.output)
    learner.grids.write_samples(trial.output / "samples.png")
    learner.grids.write_real(trial.output / "real.png")
    write_fitted_on(trial.output, data.patients)
    if start is not None:
        write_began_from(trial.output, cases_seen_by(start))
    # it computes in float32 everywhere
    write_settings(trial.output, replace(settings, half_from=None))


def flops_per_slice(config: DiffusionConfig) -> float:
    """Floating-point operations of training per slice shown, two per multiply-add: forward, and twice that backward."""
    return 6 * macs(DenoiserArchitecture.of(config, NOMINAL_MODALITIES, NOMINAL_CLASSES))


def hours(config: DiffusionConfig) -> float:
    """Hours of one CPU core for the whole training."""
    return config.total_steps * (SECONDS_PER_STEP + config.batch_size * flops_per_slice(config) / CPU_FLOPS) / 3600


def gpu_hours(config: DiffusionConfig) -> float:
    """Hours alone on one GPU for the whole training; no GPU was ever timed."""
    seconds_per_step = max(GPU_SECONDS_PER_STEP, config.batch_size * flops_per_slice(config) / GPU_FLOPS)
    return config.total_steps * seconds_per_step / 3600


def probe(config: DiffusionConfig) -> DiffusionConfig:
    """Two steps of the same training; what memory does not depend on is neutral."""
    neutral = DiffusionSettings()
    same = {name: getattr(neutral, name) for name in ("noise_mean", "noise_sd", "unmasked_share", "ema_kimg")}
    fields = dict(config) | same | {"learning_rate": neutral.learning_rate, "mask_clip_px": 1.0}
    fields |= {"seed": 0, "start": None, "kimg": 2 * config.batch_size / 1000, "report_every_steps": 1}
    return DiffusionConfig(**fields)


DIFFUSION: Final = GeneratorFamily(
    stage=Stage(
        name="diffusion",
        version=1,
        config=DiffusionConfig,
        run=run,
        hours=hours,
        gpu_hours=gpu_hours,
        divides=lambda config: config.batch_size,
        probe=probe,
        guessed_mib=20,
        length="diffusion.kimg",
    ),
    settings=DiffusionSettings,
    resolve=resolve,
    needs_reference=lambda config: False,
    emits_images=lambda config: True,
    load=load_denoiser,
    misfits=misfits,
    stepwise=True,
)
