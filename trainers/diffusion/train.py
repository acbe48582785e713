"""The diffusion stage: fit one network on the training patients of one fold and leave it ready for sampling."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from medsweep.data.fitted_on import write_fitted_on
from medsweep.trainers.diffusion.config import DiffusionConfig
from medsweep.trainers.diffusion.learner import DiffusionLearner
from medsweep.trainers.diffusion.sampler import load_denoiser, misfits
from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.generation.device import applied, device_settings, write_settings
from medsweep.trainers.generation.start import cases_seen_by, folder_to_begin_from, write_began_from
from medsweep.trainers.training.loop import train
from medsweep.trial import Progress, Trial


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
