"""One step of adversarial training, and the whole state that the next step depends on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medsweep.identity import derive_seed
from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.generation.device import DeviceSettings
from medsweep.trainers.generation.sample_grids import SampleGrids
from medsweep.trainers.stylegan2.architecture import Architecture
from medsweep.trainers.stylegan2.augmented_discriminator import AugmentedDiscriminator
from medsweep.trainers.stylegan2.batches import Batches
from medsweep.trainers.stylegan2.config import GanConfig
from medsweep.trainers.stylegan2.diagnostics import Diagnostics
from medsweep.trainers.stylegan2.graphs import Recorder
from medsweep.trainers.stylegan2.optimisation import OptimisedNetworks
from medsweep.trainers.stylegan2.optional_losses import OptionalLosses
from medsweep.trainers.stylegan2.phases import Phases
from medsweep.trainers.stylegan2.sampler import GeneratorCard, Sampler
from medsweep.trainers.training.accumulation import Scalars

PICTURES_PER_RUN = 8


class GanLearner:
    """StyleGAN2 training: G before D, lazy R1 and path length penalties, averaged generator (Karras et al. 2020).

    ``device_settings`` says how the main phases compute; None is float32 in the ordinary memory layout throughout.
    ``micro_batches`` is at most what ``cost.divides`` allows; but for rounding nothing depends on it.
    ``recorder`` makes graphs of the main phases, which a batch in micro-batches cannot have. G begins with the weights
    of ``start``, where one is given, and D afresh, since D is not published.
    """

    def __init__(
        self,
        config: GanConfig,
        data: TrainingSet,
        device: str,
        *,
        segmenter: nn.Module | None = None,
        device_settings: DeviceSettings | None = None,
        micro_batches: int = 1,
        recorder: Recorder | None = None,
        start: Sampler | None = None,
    ):
        self.config, self._half_from = config, device_settings.half_from if device_settings else None
        modalities, classes = data.images.shape[1], data.channels.shape[1]
        architecture = Architecture.of(config, modalities, classes)
        purpose = ("gan", config.variant, config.fold.index, config.seed)
        self.networks = OptimisedNetworks(config, architecture, device, purpose)
        if start is not None:
            self.networks.begin_from(start.network)
        if device_settings is not None and device_settings.channels_last:
            self.networks.use_channels_last()
        if device_settings is not None and device_settings.compiled:
            self.networks.compile()
        self.batches = Batches(config, data, device, purpose)
        self.discriminator = AugmentedDiscriminator(config, self.networks, data, device)
        self.optional = OptionalLosses(config, modalities, segmenter, data)
        self.phases = Phases(
            config,
            self.networks,
            batches=self.batches,
            discriminator=self.discriminator,
            optional=self.optional,
            gamma_C=_r1_weights(config, architecture).to(device),
            micro_batches=micro_batches,
            recorder=recorder,
        )
        card = GeneratorCard(
            variant=config.variant,
            architecture=architecture,
            modalities=modalities,
            classes=classes,
            mask_form=config.mask_form,
            mask_clip_px=config.mask_clip_px,
            intensity=data.intensity,
        )
        self.sampler = Sampler(card, self.networks.mean_g)
        self.grids = SampleGrids(
            self.sampler,
            data,
            derive_seed(*purpose, "gallery"),
            paints=card.paints,
            makes_images=config.variant != "m-sg",
        )
        self._diagnostics = Diagnostics(
            config, self.networks, data, derive_seed(*purpose, "diagnostics"), sampler=self.sampler, grids=self.grids
        )
        self._done = 0

    def step(self, number: int) -> Scalars:
        """One step of G, one of D, each followed by its regularisation step where that is due.

        The scalars stay on the device. Nothing in a step waits for it, but for reports.
        """
        config, phases, self._done = self.config, self.phases, number
        self._set_main(True)
        scalars = phases.generator()
        if config.path_length_weight and (number - 1) % config.path_length_every_steps == 0:
            self._set_main(False)
            scalars |= phases.path_length()
            self._set_main(True)
        real = self.batches.real()
        scalars |= phases.discriminator(real, number)
        self._set_main(False)
        if config.r1_gamma and (number - 1) % config.r1_every_steps == 0:
            scalars |= phases.r1(real)
        self.networks.average(number * config.batch_size)
        if number % config.report_every_steps == 0:
            scalars |= self._diagnostics.scalars(number)
        return scalars | {"augment_p": self.discriminator.p.clone()}

    def _set_main(self, on: bool) -> None:
        """Whether a main phase comes next, which may run in half precision and compiled. A penalty may not."""
        self.networks.run_half(self._half_from if on else None)
        self.networks.run_compiled(on)

    def _stateful(self) -> dict[str, Any]:
        return {
            "networks": self.networks,
            "discriminator": self.discriminator,
            "optional": self.optional,
        }

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimisers, running means, the adapted p, data order and random generators."""
        states = {name: owner.state_dict() for name, owner in self._stateful().items()}
        states |= {"batches": self.batches.state_dict(), "step": self._done}
        return states | {"mean_path_length": self.phases.mean_path_length}

    def load_state_dict(self, state: dict[str, Any]) -> Sequence[str]:
        """Return to what ``state_dict`` returned; what of it cannot go on here is said."""
        for name, owner in self._stateful().items():
            owner.load_state_dict(state[name])
        self.phases.mean_path_length.copy_(state["mean_path_length"])
        self.phases.forget_graphs()
        self._done = state["step"]
        note = self.batches.load_state_dict(state["batches"], self._done)
        return [note] if note else []

    def pictures(self, step: int, folder: Path) -> Mapping[str, Path]:
        """A grid of samples at up to eight reports of the run."""
        if not self.grids.due(step, self.config.total_steps, self.config.report_every_steps, PICTURES_PER_RUN):
            return {}
        return {"samples": self.grids.write_samples(folder / "samples" / f"{step:06d}.png")}


def _r1_weights(config: GanConfig, architecture: Architecture) -> Tensor:
    """R1's gamma per channel of what D sees, (C,): mask channels weigh more."""
    masks = architecture.mask_channels
    gamma_of_masks = config.r1_gamma * config.r1_gamma_mask_ratio
    return torch.tensor([config.r1_gamma] * (architecture.channels - masks) + [gamma_of_masks] * masks)
