"""Terms of the losses that are off by default: LeCam, spectra, mismatched pairs, a frozen segmenter."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.stylegan2 import losses
from medsweep.trainers.stylegan2.augmented_discriminator import AugmentedDiscriminator
from medsweep.trainers.stylegan2.batches import Batches, MaskBatch, PairBatch
from medsweep.trainers.stylegan2.config import GanConfig
from medsweep.trainers.training.accumulation import Random, Scalars


class OptionalLosses:
    """The optional terms of one training and their running means. A term of weight 0 costs and draws nothing."""

    def __init__(self, config: GanConfig, modalities: int, segmenter: nn.Module | None, data: TrainingSet):
        self._config, self._modalities, self._segmenter = config, modalities, segmenter
        self._relativistic = config.loss == "relativistic"
        if segmenter is not None:  # it knows slices as they are stored
            self._labels = torch.from_numpy(data.labels).to(data.images.device)
            self._middle_C11, self._unit_C11 = data.intensity.affine(data.images.device)
        self._anchors, self._log_power = losses.RunningMean(), losses.RunningMean()

    def of_generator(self, fake: Tensor, masks: MaskBatch, batches: Batches) -> tuple[Tensor | float, Scalars]:
        """What is added to G's loss, and its terms as scalars."""
        config = self._config
        terms: dict[str, tuple[float, Tensor]] = {}
        if config.focal_frequency_weight or config.spectrum_weight:
            image, real = fake[:, : self._modalities], batches.real_images()
            if config.focal_frequency_weight:
                terms["focal_frequency"] = config.focal_frequency_weight, losses.focal_frequency(image, real)
            if config.spectrum_weight:
                # Batches as large as the generated ones, so that both sides have the same bias of a small batch.
                mean_log_power = self._log_power.update(losses.radial_log_power(real))
                terms["spectrum"] = config.spectrum_weight, losses.spectrum_distance(image, mean_log_power)
        if self._segmenter is not None:
            logits = self._segmenter(fake * self._unit_C11 + self._middle_C11)
            cross_entropy = functional.cross_entropy(logits.float(), self._labels[masks.rows].long())
            terms["segmenter"] = config.segmenter_weight, cross_entropy
        return _weighted(terms)

    def mismatched(self, real: PairBatch) -> PairBatch | None:
        """Real images beside masks of others; None where no term reads them."""
        if not self._config.mismatch_weight or real.condition is None:
            return None
        return PairBatch(real.x, real.condition.roll(1, dims=0))

    def of_discriminator(
        self,
        mismatched: PairBatch | None,
        real_N: Tensor,
        fake_N: Tensor,
        discriminator: AugmentedDiscriminator,
        random: Random,
    ) -> tuple[Tensor | float, Scalars]:
        """What is added to D's loss, and its terms as scalars."""
        terms: dict[str, tuple[float, Tensor]] = {}
        if self._config.lecam_weight:
            anchors_2 = self._anchors.update(torch.stack([real_N.mean(), fake_N.mean()]))
            terms["lecam"] = self._config.lecam_weight, losses.lecam(real_N, fake_N, anchors_2)
        if mismatched is not None:
            scores_N = discriminator.scores(mismatched, random)
            wrong = losses.relativistic_loss(real_N, scores_N) if self._relativistic else losses.mismatch_loss(scores_N)
            terms["mismatch"] = self._config.mismatch_weight, wrong
        return _weighted(terms)

    def state_dict(self) -> dict[str, Any]:
        """Running means."""
        return {"anchors": self._anchors.value, "log_power": self._log_power.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for mean, name in ((self._anchors, "anchors"), (self._log_power, "log_power")):
            mean.value = None if state[name] is None else state[name].clone()


def _weighted(terms: dict[str, tuple[float, Tensor]]) -> tuple[Tensor | float, Scalars]:
    """The weighted sum of the terms, 0 where there are none, and each without its weight."""
    total: Tensor | float = 0.0
    for weight, term in terms.values():
        total = total + weight * term
    return total, {name: term.detach() for name, (_, term) in terms.items()}
