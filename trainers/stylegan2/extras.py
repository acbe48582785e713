"""Terms of the losses that are off by default: LeCam, spectra, mismatched pairs, a frozen segmenter."""

from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medsweep.data.fitted_on import require_within
from medsweep.trainers.segmentation.network import load_segmenter
from medsweep.trainers.stylegan2 import losses, spectral
from medsweep.trainers.stylegan2.config import GanConfig
from medsweep.trainers.stylegan2.feed import Feed, Masks, Pair
from medsweep.trainers.stylegan2.judge import Judge
from medsweep.trainers.training.accumulation import Random, Scalars


class Extras:
    """The optional terms of one training and their running means. A term of weight 0 costs and draws nothing."""

    def __init__(self, config: GanConfig, modalities: int, segmenter: nn.Module | None):
        self._config, self._modalities, self._segmenter = config, modalities, segmenter
        self._anchors = losses.LecamAnchors() if config.lecam_weight else None
        self._spectrum = spectral.RunningSpectrum() if config.spectrum_weight else None

    def of_generator(self, fake: Tensor, masks: Masks | None, feed: Feed) -> tuple[Tensor | float, Scalars]:
        """What is added to G's loss, and its parts as scalars."""
        total: Tensor | float = 0.0
        scalars: Scalars = {}
        config = self._config
        if config.focal_frequency_weight or self._spectrum is not None:
            image, real = fake[:, : self._modalities], feed.real_images()
            if config.focal_frequency_weight:
                scalars["focal_frequency"] = spectral.focal_frequency(image, real)
                total = total + config.focal_frequency_weight * scalars["focal_frequency"]
            if self._spectrum is not None:
                self._spectrum.update(real)
                scalars["spectrum"] = spectral.spectrum_distance(image, self._spectrum.log_power_CB)
                total = total + config.spectrum_weight * scalars["spectrum"]
        if self._segmenter is not None and masks is not None:
            labels = self._labels(masks.rows, feed).to(fake.device)
            scalars["segmenter"] = losses.segmenter_cross_entropy(self._segmenter(fake), labels)
            total = total + config.segmenter_weight * scalars["segmenter"]
        return total, {name: value.detach() for name, value in scalars.items()}

    def wrong(self, real: Pair) -> Pair | None:
        """Real images beside masks of others; None where no term reads them."""
        return real.shuffled() if self._config.mismatch_weight and real.condition is not None else None

    def of_discriminator(
        self, wrong: Pair | None, real_N: Tensor, fake_N: Tensor, judge: Judge, random: Random
    ) -> tuple[Tensor | float, Scalars]:
        """What is added to D's loss, and its parts as scalars; ``wrong`` is what the method of that name gave."""
        total: Tensor | float = 0.0
        scalars: Scalars = {}
        config = self._config
        if self._anchors is not None:
            self._anchors.update(real_N.detach(), fake_N.detach())
            scalars["lecam"] = losses.lecam(real_N, fake_N, self._anchors)
            total = total + config.lecam_weight * scalars["lecam"]
        if wrong is not None:
            scalars["mismatch"] = losses.mismatch_loss(judge.scores(wrong, random))
            total = total + config.mismatch_weight * scalars["mismatch"]
        return total, {name: value.detach() for name, value in scalars.items()}

    @staticmethod
    def _labels(rows: NDArray[Any], feed: Feed) -> Tensor:
        return torch.from_numpy(feed.data.labels[rows]).long()

    def state_dict(self) -> dict[str, Any]:
        """Running means."""
        kept = {"anchors": self._anchors, "spectrum": self._spectrum}
        return {name: part.state_dict() for name, part in kept.items() if part is not None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Return to what ``state_dict`` returned."""
        if self._anchors is not None:
            self._anchors.load_state_dict(state["anchors"])
        if self._spectrum is not None:
            self._spectrum.load_state_dict(state["spectrum"])


def frozen_segmenter(folder: Path, patients: tuple[str, ...], device: str) -> nn.Module:
    """The reference segmenter of the fold, for the cross-entropy of its verdict on generated images.

    Raises:
        UserError: it was trained on a patient outside the fold's training group.
    """
    require_within("reference segmenter", folder, patients)
    return load_segmenter(folder, device).requires_grad_(False)
