"""D behind the distortions: what it scores, and how often pairs are distorted."""

from typing import Any

import torch
from torch import Tensor

from medsweep.trainers.stylegan2.augment import AdaController, first_p, make_augment
from medsweep.trainers.stylegan2.config import GanConfig
from medsweep.trainers.stylegan2.data import TrainingSet
from medsweep.trainers.stylegan2.feed import Pair
from medsweep.trainers.stylegan2.masks import background
from medsweep.trainers.stylegan2.networks import Discriminator
from medsweep.trainers.training.accumulation import Random


class Judge:
    """Scores pairs as D sees them: image and mask of a pair are moved alike, before masks are averaged down."""

    def __init__(self, config: GanConfig, d: Discriminator, data: TrainingSet, device: str):
        around = data.surroundings()[: 0 if config.variant == "m-sg" else None]
        fill_C = torch.cat([around, torch.from_numpy(background(data.channels.shape[1]))])
        self._d = d
        self._distort = make_augment(config, len(around), fill_C.to(device)[:, None, None])
        self._p = torch.tensor(first_p(config), device=device)
        self._controller: AdaController | None = None
        if config.augment == "ada":
            self._controller = AdaController(config.ada_target, config.ada_kimg, config.batch_size, device=device)

    @property
    def p(self) -> Tensor:
        """Probability of each distortion, 0-dimensional."""
        return self._p if self._controller is None else self._controller.p

    def scores(self, pair: Pair, random: Random) -> Tensor:
        """Scores (N,) of distorted pairs."""
        x, condition = pair.x, pair.condition
        joint = x if condition is None else torch.cat([x, condition], dim=1)
        joint = self._distort(joint, random, self.p)
        return self._d(joint[:, : x.shape[1]], None if condition is None else joint[:, x.shape[1] :])

    def watch(self, real_score_N: Tensor, step: int) -> None:
        """Let the adapted p follow D's scores of real pairs."""
        if self._controller is not None:
            self._controller.observe(real_score_N)
            self._controller.update(step)

    def state_dict(self) -> dict[str, Any]:
        """The adapted p and what it rests on."""
        return {} if self._controller is None else self._controller.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Return to what ``state_dict`` returned."""
        if self._controller is not None:
            self._controller.load_state_dict(state)
