"""The discriminator behind the augmentation: what it scores, and how often pairs are distorted."""

from typing import Any

import torch
from torch import Tensor

from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.generation.masks import background
from medsweep.trainers.stylegan2.augment.kinds import AUGMENT_KINDS
from medsweep.trainers.stylegan2.batches import PairBatch
from medsweep.trainers.stylegan2.config import GanConfig
from medsweep.trainers.stylegan2.optimisation import OptimisedNetworks
from medsweep.trainers.training.accumulation import Random


class AugmentedDiscriminator:
    """Scores pairs as D sees them. Image and mask of a pair are moved alike, before masks are averaged down."""

    def __init__(self, config: GanConfig, networks: OptimisedNetworks, data: TrainingSet, device: str):
        around = data.surroundings()[: 0 if config.variant == "m-sg" else None]
        fill_C = torch.cat([around, torch.from_numpy(background(data.channels.shape[1]))])
        kind = AUGMENT_KINDS[config.augment]
        self._networks = networks
        self._distort = kind.make(len(around), fill_C.to(device)[:, None, None])
        self._controller = kind.controller(config, device) if kind.controller else None
        self.p = self._controller.p if self._controller else torch.tensor(kind.first_p(config), device=device)
        """Probability of each distortion, 0-dimensional; a controller changes it in place."""

    def scores(self, pairs: PairBatch, random: Random) -> Tensor:
        """Scores (N,) of distorted pairs."""
        x, condition = pairs.x, pairs.condition
        joint = self._distort(x if condition is None else torch.cat([x, condition], dim=1), random, self.p)
        return self._networks.score(joint[:, : x.shape[1]], None if condition is None else joint[:, x.shape[1] :])

    def observe(self, real_score_N: Tensor, step: int) -> None:
        """Let the adapted p follow D's scores of real pairs."""
        if self._controller is not None:
            self._controller.observe(real_score_N, step)

    def state_dict(self) -> dict[str, Any]:
        """The adapted p and what it rests on."""
        return {} if self._controller is None else self._controller.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self._controller is not None:
            self._controller.load_state_dict(state)
