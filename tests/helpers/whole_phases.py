"""The four phases as their paper has them, on the whole batch at once: what parts are measured against."""

import torch
from torch.nn import functional

from medsweep.trainers.stylegan2 import losses
from medsweep.trainers.stylegan2.batches import PairBatch, pairs_of
from medsweep.trainers.stylegan2.phases import PATH_LENGTH_DECAY


class WholePhases:
    """Takes the place of ``GanLearner.phases``; nothing is cut into parts."""

    def __init__(self, learner):
        self.config, self.networks, self.batches = learner.config, learner.networks, learner.batches
        self.scored, self.optional = learner.discriminator, learner.optional
        self.gamma_C, self.mean_path_length = learner.phases._gamma_C, learner.phases.mean_path_length

    def _down(self, side, loss):
        network, adam = getattr(self.networks, side), getattr(self.networks, f"adam_{side}")
        network.zero_grad()
        loss.backward()
        slopes = [weight.grad for weight in network.parameters() if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm(slopes)
        adam.step()
        return norm

    def _loss_of_g(self, fake, real):
        fake_N = self.scored.scores(fake, self.batches.random)
        if real is None:
            return losses.generator_loss(fake_N)
        return functional.softplus(self.scored.scores(real, self.batches.random).detach() - fake_N).mean()

    def generator(self):
        g, d, batches = self.networks.g, self.networks.d, self.batches
        d.requires_grad_(False)
        masks = batches.masks()
        condition = masks.condition
        real = None
        if self.config.loss == "relativistic":
            real = batches.real() if condition is None else pairs_of(batches.data, masks.rows, self.config)
        w_NLD = batches.styles(g, self.config.batch_size, track=True)
        fake = g.synthesise(w_NLD, condition, g.noise(len(w_NLD), batches.random))
        loss = self._loss_of_g(PairBatch(fake, condition), real)
        more, scalars = self.optional.of_generator(fake, masks, batches)
        d.requires_grad_(True)
        return {"loss_g": loss.detach(), "grad_norm_g": self._down("g", loss + more)} | scalars

    def path_length(self):
        half = max(1, self.config.batch_size // 2)
        masks = self.batches.masks(half)
        w_NLD = self.batches.styles(self.networks.g, half)
        noise = self.networks.g.noise(half, self.batches.random)
        images = self.networks.g.synthesise(w_NLD, masks.condition, noise)
        lengths_N = losses.path_lengths(images, w_NLD, self.batches.random)
        self.mean_path_length.lerp_(lengths_N.detach().mean(), PATH_LENGTH_DECAY)
        target = losses.path_length_target(self.mean_path_length, lengths_N.detach().mean(), PATH_LENGTH_DECAY)
        penalty = self.config.path_length_weight * losses.path_length_penalty(lengths_N, target)
        self._down("g", penalty * self.config.path_length_every_steps)
        return {"path_length": self.mean_path_length.clone()}

    def discriminator(self, real, step):
        real_N, fake_N = self.scored.scores(self._both(real), self.batches.random).chunk(2)
        loss = losses.discriminator_loss(real_N, fake_N)
        if self.config.loss == "relativistic":
            loss = functional.softplus(fake_N - real_N).mean()
        wrong = self.optional.mismatched(real)
        more, scalars = self.optional.of_discriminator(wrong, real_N, fake_N, self.scored, self.batches.random)
        norm = self._down("d", loss + more)
        self.scored.observe(real_N.detach(), step)
        gap, sign = (real_N.mean() - fake_N.mean()).detach(), real_N.detach().sign().mean()
        return {"loss_d": loss.detach(), "grad_norm_d": norm, "real_sign": sign, "score_gap": gap} | scalars

    @torch.no_grad()
    def _both(self, real):
        w_NLD = self.batches.styles(self.networks.g, len(real.x))
        noise = self.networks.g.noise(len(w_NLD), self.batches.random)
        fake = self.networks.g.synthesise(w_NLD, real.condition, noise)
        condition = None if real.condition is None else torch.cat([real.condition, real.condition])
        return PairBatch(torch.cat([real.x, fake]), condition)

    def r1(self, real):
        relativistic = self.config.loss == "relativistic"
        pairs = self._both(real) if relativistic else real
        x = pairs.x.detach().requires_grad_(True)
        scores_N = self.scored.scores(PairBatch(x, pairs.condition), self.batches.random)
        penalties_N = losses.slope_penalties(scores_N, x, self.gamma_C)
        if not relativistic:
            self._down("d", penalties_N.mean() * self.config.r1_every_steps)
            return {"r1": penalties_N.mean().detach()}
        real_N, fake_N = penalties_N.chunk(2)
        self._down("d", (real_N.mean() + fake_N.mean()) * self.config.r1_every_steps)
        return {"r1": real_N.mean().detach(), "r2": fake_N.mean().detach()}
