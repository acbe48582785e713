"""The gan stage: fit one generator on the training patients of one fold and leave it ready for sampling."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from medsweep.data.provenance import write_fitted_on
from medsweep.trial import Progress, Trial
from trainers.loop import train
from trainers.stylegan2.config import GanConfig
from trainers.stylegan2.data import TrainingSet
from trainers.stylegan2.learner import GanLearner


def run(config: GanConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Train on ``inputs["prepare"]`` and write the averaged generator, its card, two grids and the patients it saw.

    Raises:
        UserError: the prepared slices do not fit the configuration.
        DivergedError: training left the finite numbers, or the generator collapsed.
    """
    data = TrainingSet.load(config, inputs["prepare"], trial.device)
    learner = GanLearner(config, data, trial.device)
    yield from train(learner, config.total_steps, trial, report_every_steps=config.report_every_steps)
    learner.sampler.save(trial.output)
    learner.gallery.samples(trial.output / "samples.png")
    learner.gallery.real(trial.output / "real.png")
    write_fitted_on(trial.output, data.patients)
