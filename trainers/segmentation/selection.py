"""The best weights of a training by the Dice of the fold's validation patients, kept beside the last ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.trainers.measures.structures import Counts, dice
from medsweep.trainers.segmentation.predictions import segment_volume


@dataclass
class BestWeights:
    """Weights at the step with the highest validation Dice so far; the earlier of two equals."""

    data: SliceSet
    patients: Sequence[str]
    """The fold's validation patients."""
    step: int = 0
    """0 before anything was scored."""
    dice: float = -1.0
    weights: dict[str, Tensor] | None = None

    def offer(self, model: nn.Module, step: int) -> float:
        """Score the weights of ``model`` and keep a copy if they are the best; returns their Dice, in [0, 1].

        The mode of the model is as before afterwards.

        Raises:
            UserError: no validation patient has foreground.
        """
        training = model.training
        value = validation_dice(model.eval(), self.data, self.patients)
        model.train(training)
        if value > self.dice:
            self.step, self.dice = step, value
            self.weights = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
        return value

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"step": self.step, "dice": self.dice, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Return to what ``state_dict`` returned."""
        self.step, self.dice, self.weights = state["step"], state["dice"], state["weights"]


@torch.no_grad()
def validation_dice(model: nn.Module, data: SliceSet, patients: Sequence[str]) -> float:
    """Mean Dice over patients and the foreground classes that their references have, on the original grid.

    Raises:
        UserError: there is no such class.
    """
    values = []
    for patient in sorted(patients):
        reference_ZHW, predicted_ZHW = data.reference(patient), segment_volume(model, data, patient)
        for label in range(1, len(data.classes)):
            counts = Counts.of(reference_ZHW == label, predicted_ZHW == label)
            if counts.n_ref:
                values.append(dice(counts))
    if not values:
        raise UserError(
            f"segment.validate_every_steps needs foreground in the {len(patients)} validation patients, there is none; "
            "raise replicates.validation or set segment.validate_every_steps to 0"
        )
    return float(np.mean(values))
