"""The one training loop: steps, reports, checkpoints, divergence. Every trainer is a ``Learner`` driven by it."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from medsweep.errors import UserError
from medsweep.trainers.training.checkpoint import has_form_of, load_state, save_state
from medsweep.trainers.training.host_memory import kept_memory
from medsweep.trial import DivergedError, Progress, Trial

BEAT_SECONDS = 5.0
"""Time without a report after which a training says how far it is."""


class Learner(Protocol):
    """Something that improves step by step and whose whole state can be saved (weights, RNG, data order)."""

    def step(self, number: int) -> Mapping[str, float | Tensor]:
        """Do optimisation step ``number`` (1, 2, ...) and return its named scalars.

        Those that are 0-dimensional tensors are read once per report, since every reading waits for the device.

        Raises:
            DivergedError: a value that training needs is no longer finite, or the model has collapsed.
        """

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on: tensors and JSON values in nested dicts and lists."""

    def load_state_dict(self, state: dict[str, Any]) -> Sequence[str]:
        """Return to what ``state_dict`` returned; a line says each thing that could not be returned to."""

    def pictures(self, step: int, folder: Path) -> Mapping[str, Path]:
        """PNG files for this report, written below ``folder``; an empty mapping where there is nothing to show."""


def train(learner: Learner, total_steps: int, trial: Trial, *, report_every_steps: int) -> Iterator[Progress]:
    """Run ``learner`` from its newest checkpoint to ``total_steps``, yielding the mean of each report window.

    A report window never spans a checkpoint, so a resumed run reports the same numbers at the same steps. Where reports
    are far apart in time, beats between them tell the steps.

    Raises:
        DivergedError: a scalar of a step is NaN or infinite.
        UserError: the checkpoint was left by code whose state has other keys.
    """
    torch.set_num_threads(trial.threads)
    done = 0
    if (checkpoint := trial.restore()) is not None:
        done, folder = checkpoint
        state = load_state(folder, trial.device)
        if not has_form_of(state, learner.state_dict()):
            raise UserError(
                f"the checkpoint of step {done} was left by another version of medsweep and cannot be continued; "
                f"delete {folder} and run again, which starts this training anew"
            )
        for text in learner.load_state_dict(state):
            trial.note(f"continued from step {done}: {text}")
    window: list[Mapping[str, float | Tensor]] = []
    with kept_memory():
        last_yield = time.monotonic()
        for number in range(done + 1, total_steps + 1):
            window.append(learner.step(number))
            if number % report_every_steps and number != total_steps:
                if time.monotonic() - last_yield >= BEAT_SECONDS:
                    yield Progress(step=number, total=total_steps, beat=True)
                    last_yield = time.monotonic()
                continue
            metrics = window_mean(read(window, last=number))
            pictures = learner.pictures(number, trial.output)
            yield Progress(step=number, total=total_steps, metrics=metrics, pictures=pictures)
            window, last_yield = [], time.monotonic()
            if number < total_steps and trial.checkpoint_due():
                trial.checkpoint(number, lambda folder: save_state(folder, learner.state_dict()))


def read(window: Sequence[Mapping[str, float | Tensor]], last: int) -> list[dict[str, float]]:
    """The scalars of neighbouring steps, of which step ``last`` is the last, as numbers; all tensors in one reading.

    Raises:
        DivergedError: one of them is NaN or infinite.
    """
    tensors = [value for scalars in window for value in scalars.values() if isinstance(value, Tensor)]
    numbers = iter(torch.stack(tensors).tolist() if tensors else [])
    found = [
        {name: next(numbers) if isinstance(value, Tensor) else value for name, value in scalars.items()}
        for scalars in window
    ]
    for number, scalars in enumerate(found, start=last - len(window) + 1):
        for name, value in scalars.items():
            if not math.isfinite(value):
                raise DivergedError(f"{name} became {value} at step {number}")
    return found


def window_mean(window: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each scalar over the steps of a window that gave it."""
    names = dict.fromkeys(name for scalars in window for name in scalars)
    values_of = {name: [scalars[name] for scalars in window if name in scalars] for name in names}
    return {name: sum(values) / len(values) for name, values in values_of.items()}
