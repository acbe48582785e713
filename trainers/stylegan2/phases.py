"""The four phases of StyleGAN2 training (Karras et al. 2020): G, path lengths, D, and R1 on real pairs."""

import torch
from torch import Tensor

from trainers.stylegan2 import losses
from trainers.stylegan2.config import GanConfig
from trainers.stylegan2.extras import Extras
from trainers.stylegan2.feed import Feed, Masks, Pair
from trainers.stylegan2.judge import Judge
from trainers.stylegan2.players import Players

PATH_LENGTH_DECAY = 0.01

Scalars = dict[str, Tensor]


class Phases:
    """Each phase draws its own latents, takes one optimiser step, and returns named 0-dimensional tensors."""

    def __init__(
        self, config: GanConfig, players: Players, *, feed: Feed, judge: Judge, extras: Extras, gamma_C: Tensor
    ):
        self._config, self._players, self._feed = config, players, feed
        self._judge, self._extras, self._gamma_C = judge, extras, gamma_C
        self.mean_path_length = torch.zeros((), device=gamma_C.device)

    def generator(self) -> Scalars:
        """Non-saturating loss of G, with the optional terms."""
        players, feed = self._players, self._feed
        players.d.requires_grad_(False)
        masks = feed.masks()
        w_NLD = feed.styles(players.g, self._config.batch_size, track=True)
        fake = players.g.synthesise(w_NLD, _condition(masks), feed.random)
        loss = losses.generator_loss(self._judge.scores(Pair(fake, _condition(masks)), feed.random))
        more, scalars = self._extras.of_generator(fake, masks, feed)
        players.d.requires_grad_(True)
        norm = players.descend_g(loss + more)
        return {"loss_g": loss.detach(), "grad_norm_g": norm} | scalars

    def path_length(self) -> Scalars:
        """Path length penalty on half a batch, times its interval."""
        config, players, feed = self._config, self._players, self._feed
        half = max(1, config.batch_size // 2)
        masks = feed.masks(half)
        w_NLD = feed.styles(players.g, half)
        images = players.g.synthesise(w_NLD, _condition(masks), feed.random)
        lengths_N = losses.path_lengths(images, w_NLD, feed.random)
        self.mean_path_length.lerp_(lengths_N.detach().mean(), PATH_LENGTH_DECAY)
        penalty = config.path_length_weight * losses.path_length_penalty(lengths_N, self.mean_path_length)
        players.descend_g(penalty * config.path_length_every_steps)
        return {"path_length": self.mean_path_length.clone()}

    def discriminator(self, real: Pair, step: int) -> Scalars:
        """Logistic loss of D, with the optional terms; real and generated never share a batch statistic."""
        players, feed = self._players, self._feed
        with torch.no_grad():
            w_NLD = feed.styles(players.g, len(real.x))
            fake = players.g.synthesise(w_NLD, real.condition, feed.random)
        both = None if real.condition is None else torch.cat([real.condition, real.condition])
        scores = self._judge.scores(Pair(torch.cat([real.x, fake]), both), feed.random)
        real_N, fake_N = scores.chunk(2)
        loss = losses.discriminator_loss(real_N, fake_N)
        more, scalars = self._extras.of_discriminator(real, real_N, fake_N, self._judge, feed)
        norm = players.descend_d(loss + more)
        self._judge.watch(real_N.detach(), step)
        gap, sign = (real_N.mean() - fake_N.mean()).detach(), real_N.detach().sign().mean()
        return {"loss_d": loss.detach(), "grad_norm_d": norm, "real_sign": sign, "score_gap": gap} | scalars

    def r1(self, real: Pair) -> Scalars:
        """R1 with respect to the pair before its distortion, times its interval; C-SG's condition has no penalty."""
        x = real.x.detach().requires_grad_(True)
        score_N = self._judge.scores(Pair(x, real.condition), self._feed.random)
        penalty = losses.r1_penalty(score_N, x, self._gamma_C)
        self._players.descend_d(penalty * self._config.r1_every_steps)
        return {"r1": penalty.detach()}


def _condition(masks: Masks | None) -> Tensor | None:
    return None if masks is None else masks.condition
