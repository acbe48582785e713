"""The gan stage: fit one generator on the training patients of one fold and leave it ready for sampling."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from medsweep.data.fitted_on import require_within, write_fitted_on
from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.generation.device import DeviceSettings, applied, device_settings, write_settings
from medsweep.trainers.generation.start import cases_seen_by, folder_to_begin_from, write_began_from
from medsweep.trainers.segmentation.network import load_segmenter
from medsweep.trainers.stylegan2.config import GanConfig
from medsweep.trainers.stylegan2.graphs import CudaRecorder
from medsweep.trainers.stylegan2.learner import GanLearner
from medsweep.trainers.stylegan2.sampler import load_generator, misfits
from medsweep.trainers.training.loop import train
from medsweep.trial import Progress, Trial


def run(config: GanConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Train on ``inputs["prepare"]`` and write the averaged generator, its card, two grids and the patients it saw.

    It begins from the generator in ``inputs["start"]`` or of ``config.start``, where there is one. With
    ``segmenter_weight`` above 0 ``inputs["reference"]`` is the fold's reference segmenter.

    Raises:
        UserError: the prepared slices, or the generator to begin from, do not fit the configuration, the segmenter saw
            other patients, or that generator saw patients who are held out.
        DivergedError: training left the finite numbers, or the generator collapsed.
    """
    torch.set_num_threads(trial.threads)  # before the device settings are made, which report them
    settings = settings_of(config, trial)
    data = TrainingSet.load(config, inputs["prepare"], trial.device)
    start = folder_to_begin_from(config, inputs, misfits)
    segmenter = None
    if config.segmenter_weight:
        require_within("reference segmenter", inputs["reference"], data.patients)
        segmenter = load_segmenter(inputs["reference"], trial.device).requires_grad_(False)
    with applied(settings):
        learner = GanLearner(
            config,
            data,
            trial.device,
            segmenter=segmenter,
            device_settings=settings,
            micro_batches=trial.micro_batches,
            recorder=CudaRecorder() if settings.cuda_graphs else None,
            start=None if start is None else load_generator(start, trial.device),
        )
        yield from train(learner, config.total_steps, trial, report_every_steps=config.report_every_steps)
    learner.sampler.save(trial.output)
    learner.grids.write_samples(trial.output / "samples.png")
    learner.grids.write_real(trial.output / "real.png")
    write_fitted_on(trial.output, data.patients)
    if start is not None:
        write_began_from(trial.output, cases_seen_by(start))
    write_settings(trial.output, settings)


def settings_of(config: GanConfig, trial: Trial) -> DeviceSettings:
    """How the trial uses its device; a batch that had to be cut is not recorded, and the manifest says so."""
    graphs = config.cuda_graphs
    settings = device_settings(trial.device, config.resolution, compiled=config.compiled, cuda_graphs=graphs)
    if not graphs or trial.micro_batches == 1:
        return settings
    trial.note(f"no CUDA graphs, since the batch is worked in {trial.micro_batches} micro-batches to fit into memory")
    return replace(settings, cuda_graphs=False)
