"""The four phases of StyleGAN2 training (Karras et al. 2020): G, path lengths, D, and R1 on real pairs.

With the relativistic loss G and D compare generated pairs with real ones, and R1 is joined by R2 (Huang et al. 2024).
The paper penalises in every step and with weights of its own; here both penalties are as lazy as R1 is.

Each phase draws latents, masks and real pairs for the whole batch. It works the batch in micro-batches that are whole
groups of the batch standard deviation, with the random numbers and gradients of the whole (``training.accumulation``).
"""

import torch
from torch import Tensor

from medsweep.trainers.stylegan2 import losses
from medsweep.trainers.stylegan2.augmented_discriminator import AugmentedDiscriminator
from medsweep.trainers.stylegan2.batches import Batches, PairBatch
from medsweep.trainers.stylegan2.config import GanConfig
from medsweep.trainers.stylegan2.cost import divides
from medsweep.trainers.stylegan2.graphs import GraphedPhase, MainPhase, Recorder
from medsweep.trainers.stylegan2.optimisation import OptimisedNetworks
from medsweep.trainers.stylegan2.optional_losses import OptionalLosses
from medsweep.trainers.training.accumulation import (
    MicroBatch,
    Random,
    Scalars,
    SharedTensor,
    accumulate,
    replay,
    split_batch,
)
from medsweep.trainers.training.descent import descend

PATH_LENGTH_DECAY = 0.01
REAL_SCORES = "real_scores"


class Phases:
    """Each phase draws its own latents, takes one optimiser step, and returns named 0-dimensional tensors.

    With a ``recorder`` the two main phases become graphs (``graphs``), which leaves no room for several micro-batches.
    """

    def __init__(
        self,
        config: GanConfig,
        networks: OptimisedNetworks,
        *,
        batches: Batches,
        discriminator: AugmentedDiscriminator,
        optional: OptionalLosses,
        gamma_C: Tensor,
        micro_batches: int = 1,
        recorder: Recorder | None = None,
    ):
        assert micro_batches <= divides(config), f"{micro_batches} micro-batches, {divides(config)} are allowed"
        self._config, self._networks, self._batches = config, networks, batches
        self._discriminator, self._optional, self._gamma_C = discriminator, optional, gamma_C
        self._relativistic = config.loss == "relativistic"
        self._micro_batches = split_batch(config.batch_size, micro_batches, config.group)
        half = max(1, config.batch_size // 2)
        self._micro_batches_of_half = split_batch(half, min(micro_batches, half))
        self.mean_path_length = torch.zeros((), device=gamma_C.device)
        self._descend_g: MainPhase = self._descended_g
        self._descend_d: MainPhase = self._descended_d
        self._graphed: list[GraphedPhase] = []
        if recorder is not None:
            assert micro_batches == 1, "micro-batches go back to a random state, which cannot be recorded"
            graphed_g = GraphedPhase(self._descended_g, networks.adam_g, batches, recorder)
            graphed_d = GraphedPhase(self._descended_d, networks.adam_d, batches, recorder)
            self._descend_g, self._descend_d, self._graphed = graphed_g, graphed_d, [graphed_g, graphed_d]

    def forget_graphs(self) -> None:
        """Record anew, since weights, moments or running means have come to lie elsewhere."""
        for phase in self._graphed:
            phase.forget()

    def _generated(self, w_NLD: Tensor, condition: Tensor | None, random: Random) -> Tensor:
        """Images of G with fresh noise."""
        networks = self._networks
        return networks.synthesise(w_NLD, condition, networks.g.noise(len(w_NLD), random))

    def generator(self) -> Scalars:
        """Non-saturating or relativistic loss of G, with the optional terms."""
        return self._descend_g(None)

    def _descended_g(self, real: PairBatch | None) -> Scalars:
        networks, batches = self._networks, self._batches
        masks = batches.masks()
        beside = batches.real_beside(masks) if self._relativistic else None
        styles = SharedTensor(batches.styles(networks.g, self._config.batch_size, track=True))

        def loss_of(micro_batch: MicroBatch, random: Random) -> tuple[Tensor, Scalars]:
            shown = masks.of(micro_batch)
            fake = self._generated(styles.leaf[micro_batch.rows], shown.condition, random)
            loss = self._loss_of_g(PairBatch(fake, shown.condition), beside and beside.of(micro_batch), random)
            optional_loss, scalars = self._optional.of_generator(fake, shown, batches)
            return loss + optional_loss, {"loss_g": loss.detach()} | scalars

        networks.adam_g.zero_grad()
        networks.d.requires_grad_(False)
        means = accumulate(loss_of, self._micro_batches, batches.random)
        networks.d.requires_grad_(True)
        styles.backward()
        return means | {"grad_norm_g": descend(networks.adam_g)}

    def _loss_of_g(self, fake: PairBatch, beside: PairBatch | None, random: Random) -> Tensor:
        fake_N = self._discriminator.scores(fake, random)
        if beside is None:
            return losses.generator_loss(fake_N)
        with torch.no_grad():  # G has no part in the scores of real pairs
            real_N = self._discriminator.scores(beside, random)
        return losses.relativistic_loss(fake_N, real_N)

    def path_length(self) -> Scalars:
        """Path length penalty on half a batch, times its interval."""
        config, networks, batches = self._config, self._networks, self._batches
        micro_batches = self._micro_batches_of_half
        masks = batches.masks(micro_batches[0].whole)
        styles = SharedTensor(batches.styles(networks.g, micro_batches[0].whole))

        def lengths(micro_batch: MicroBatch, random: Random) -> Tensor:
            w_NLD = styles.leaf[micro_batch.rows]
            images = self._generated(w_NLD, masks.of(micro_batch).condition, random)
            return losses.path_lengths(images, w_NLD, random)

        def track(lengths_N: Tensor) -> Tensor:
            """Move the running mean towards these lengths; returns what they are drawn to."""
            self.mean_path_length.lerp_(lengths_N.mean(), PATH_LENGTH_DECAY)
            return losses.path_length_target(self.mean_path_length, lengths_N.mean(), PATH_LENGTH_DECAY)

        def loss_of(micro_batch: MicroBatch, random: Random) -> tuple[Tensor, Scalars]:
            lengths_N = lengths(micro_batch, random)
            aim = track(lengths_N.detach()) if target is None else target
            penalty = config.path_length_weight * losses.path_length_penalty(lengths_N, aim)
            return penalty * config.path_length_every_steps, {}

        # The running mean takes in the lengths of the whole batch before any of them is penalised, so several
        # micro-batches are worked twice: once for their lengths alone, and once for the penalty.
        target: Tensor | None = None
        if len(micro_batches) > 1:
            state = batches.random.get_state()
            lengths_by_micro_batch = [lengths(*item).detach() for item in replay(micro_batches, batches.random)]
            batches.random.set_state(state)
            target = track(torch.cat(lengths_by_micro_batch))
        networks.adam_g.zero_grad()
        accumulate(loss_of, micro_batches, batches.random)
        styles.backward()
        descend(networks.adam_g)
        return {"path_length": self.mean_path_length.clone()}

    def discriminator(self, real: PairBatch, step: int) -> Scalars:
        """Logistic or relativistic loss of D, with the optional terms; no batch statistic is of real and generated."""
        scalars = self._descend_d(real)
        self._discriminator.observe(scalars.pop(REAL_SCORES), step)  # counts on the host
        return scalars

    def _descended_d(self, real: PairBatch | None) -> Scalars:
        assert real is not None
        networks, batches = self._networks, self._batches
        with torch.no_grad():
            w_NLD = batches.styles(networks.g, len(real.x))
        mismatched = self._optional.mismatched(real)
        real_scores: list[Tensor] = []

        def loss_of(micro_batch: MicroBatch, random: Random) -> tuple[Tensor, Scalars]:
            both = self._with_generated(real.of(micro_batch), w_NLD[micro_batch.rows], random)
            real_N, fake_N = self._discriminator.scores(both, random).chunk(2)
            loss_of_scores = losses.relativistic_loss if self._relativistic else losses.discriminator_loss
            loss = loss_of_scores(real_N, fake_N)
            optional_loss, scalars = self._optional.of_discriminator(
                mismatched and mismatched.of(micro_batch), real_N, fake_N, self._discriminator, random
            )
            real_scores.append(real_N.detach())
            gap, sign = (real_N.mean() - fake_N.mean()).detach(), real_N.detach().sign().mean()
            return loss + optional_loss, {"loss_d": loss.detach(), "real_sign": sign, "score_gap": gap} | scalars

        networks.adam_d.zero_grad()
        means = accumulate(loss_of, self._micro_batches, batches.random)
        return means | {"grad_norm_d": descend(networks.adam_d), REAL_SCORES: torch.cat(real_scores)}

    @torch.no_grad()
    def _with_generated(self, real: PairBatch, w_NLD: Tensor, random: Random) -> PairBatch:
        """Real pairs, and then as many generated ones for the same masks."""
        condition = real.condition
        fake = self._generated(w_NLD, condition, random)
        return PairBatch(torch.cat([real.x, fake]), None if condition is None else torch.cat([condition, condition]))

    def r1(self, real: PairBatch) -> Scalars:
        """R1 with respect to the pair before its distortion, times its interval; a condition has no penalty.

        With the relativistic loss also R2, on fresh generated pairs.
        """
        w_NLD: Tensor | None = None
        if self._relativistic:
            with torch.no_grad():
                w_NLD = self._batches.styles(self._networks.g, len(real.x))

        def loss_of(micro_batch: MicroBatch, random: Random) -> tuple[Tensor, Scalars]:
            pairs = real.of(micro_batch)
            if w_NLD is not None:
                pairs = self._with_generated(pairs, w_NLD[micro_batch.rows], random)
            x = pairs.x.detach().requires_grad_(True)
            score_N = self._discriminator.scores(PairBatch(x, pairs.condition), random)
            penalties_N = losses.slope_penalties(score_N, x, self._gamma_C).split(len(micro_batch))
            means = dict(zip(("r1", "r2"), (penalty_N.mean() for penalty_N in penalties_N), strict=False))
            penalty = torch.stack(list(means.values())).sum()
            return penalty * self._config.r1_every_steps, {name: mean.detach() for name, mean in means.items()}

        self._networks.adam_d.zero_grad()
        means = accumulate(loss_of, self._micro_batches, self._batches.random)
        descend(self._networks.adam_d)
        return means
