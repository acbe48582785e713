"""One step of adversarial training, and the whole state that the next step depends on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medsweep.identity import derive_seed
from medsweep.trainers.stylegan2.config import GanConfig
from medsweep.trainers.stylegan2.data import TrainingSet
from medsweep.trainers.stylegan2.diagnostics import Diagnostics
from medsweep.trainers.stylegan2.extras import Extras
from medsweep.trainers.stylegan2.feed import Feed
from medsweep.trainers.stylegan2.gallery import Gallery
from medsweep.trainers.stylegan2.hardware import Hardware
from medsweep.trainers.stylegan2.judge import Judge
from medsweep.trainers.stylegan2.networks import Architecture
from medsweep.trainers.stylegan2.phases import Phases
from medsweep.trainers.stylegan2.players import Players
from medsweep.trainers.stylegan2.sampler import GeneratorCard, Sampler


class GanLearner:
    """StyleGAN2 training: G before D, lazy R1 and path length penalties, averaged generator (Karras et al. 2020).

    ``hardware`` says how the main phases compute; None is float32 in the ordinary memory layout throughout. Batches are
    worked in ``micro_batches`` parts, at most as many as ``config.divides`` allows; but for rounding nothing depends on
    it.
    """

    def __init__(
        self,
        config: GanConfig,
        data: TrainingSet,
        device: str,
        *,
        segmenter: nn.Module | None = None,
        hardware: Hardware | None = None,
        micro_batches: int = 1,
    ):
        self.config, self._half_from = config, hardware.half_from if hardware else None
        modalities, classes = data.images.shape[1], data.channels.shape[1]
        plan = Architecture.of(config, modalities, classes)
        purpose = ("gan", config.variant, config.fold.index, config.seed)
        self.players = Players(config, plan, device, purpose)
        if hardware is not None and hardware.channels_last:
            self.players.use_channels_last()
        self.feed = Feed(config, data, device, purpose)
        self.judge = Judge(config, self.players.d, data, device)
        self.extras = Extras(config, modalities, segmenter)
        gamma_C = _r1_weights(config, plan, modalities, classes).to(device)
        self.phases = Phases(
            config,
            self.players,
            feed=self.feed,
            judge=self.judge,
            extras=self.extras,
            gamma_C=gamma_C,
            micro_batches=micro_batches,
        )
        self._card = GeneratorCard(
            variant=config.variant,
            architecture=plan,
            modalities=modalities,
            classes=classes,
            mask_form=config.mask_form,
            mask_clip_px=config.mask_clip_px,
        )
        self.gallery = Gallery(self.sampler, data, derive_seed(*purpose, "gallery"))
        self._diagnostics = Diagnostics(config, self.players, self.gallery, data, derive_seed(*purpose, "diagnostics"))

    @property
    def sampler(self) -> Sampler:
        """The averaged generator."""
        return Sampler(self._card, self.players.mean_g)

    def step(self, number: int) -> Mapping[str, float]:
        """One step of G, one of D, each followed by its regularisation step where that is due.

        Raises:
            DivergedError: the generator emits one and the same picture, or something that is not a number.
        """
        config, phases = self.config, self.phases
        self.players.run_half(self._half_from)
        scalars = phases.generator()
        if config.path_length_weight and (number - 1) % config.path_length_every_steps == 0:
            self.players.run_half(None)
            scalars |= phases.path_length()
            self.players.run_half(self._half_from)
        real = self.feed.real()
        scalars |= phases.discriminator(real, number)
        self.players.run_half(None)
        if config.r1_gamma and (number - 1) % config.r1_every_steps == 0:
            scalars |= phases.r1(real)
        self.players.average(number * config.batch_size)
        if number % config.report_every_steps == 0:
            scalars |= self._diagnostics.look(number)
        scalars["augment_p"] = self.judge.p
        return dict(zip(scalars, torch.stack(list(scalars.values())).tolist(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimisers, running means, the adapted p, data order and random generators."""
        return {
            "players": self.players.state_dict(),
            "feed": self.feed.state_dict(),
            "judge": self.judge.state_dict(),
            "extras": self.extras.state_dict(),
            "mean_path_length": self.phases.mean_path_length,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Return to what ``state_dict`` returned."""
        for name, part in (("players", self.players), ("feed", self.feed), ("judge", self.judge)):
            part.load_state_dict(state[name])
        self.extras.load_state_dict(state["extras"])
        self.phases.mean_path_length.copy_(state["mean_path_length"])

    def pictures(self, step: int, folder: Path) -> Mapping[str, Path]:
        """A grid of samples at up to eight reports of the run."""
        if not self.gallery.due(step, self.config.total_steps, self.config.report_every_steps):
            return {}
        return {"samples": self.gallery.samples(folder / "samples" / f"{step:06d}.png")}


def _r1_weights(config: GanConfig, plan: Architecture, modalities: int, classes: int) -> Tensor:
    """R1's gamma per channel of what D judges, (C,): mask channels weigh more."""
    images = 0 if config.variant == "m-sg" else modalities
    weights = [config.r1_gamma] * images + [config.r1_gamma * config.r1_gamma_mask_ratio] * classes
    return torch.tensor(weights[: plan.channels])
