"""The four phases of StyleGAN2 training (Karras et al. 2020): G, path lengths, D, and R1 on real pairs.

Each phase draws latents, masks and real pairs for the whole batch, and works it in parts that are whole groups of the
batch standard deviation (see ``training.accumulation``). With parts, random numbers and gradients are
those of the whole batch.
"""

from typing import TypeVar

import torch
from torch import Tensor

from medsweep.trainers.stylegan2 import losses
from medsweep.trainers.stylegan2.config import GanConfig, divides
from medsweep.trainers.stylegan2.extras import Extras
from medsweep.trainers.stylegan2.feed import Feed, Masks, Pair
from medsweep.trainers.stylegan2.judge import Judge
from medsweep.trainers.stylegan2.players import Players
from medsweep.trainers.training.accumulation import Part, Random, Scalars, Shared, accumulate, cut, replay, rewound

PATH_LENGTH_DECAY = 0.01

T = TypeVar("T", Masks, Pair)


class Phases:
    """Each phase draws its own latents, takes one optimiser step, and returns named 0-dimensional tensors."""

    def __init__(
        self,
        config: GanConfig,
        players: Players,
        *,
        feed: Feed,
        judge: Judge,
        extras: Extras,
        gamma_C: Tensor,
        micro_batches: int = 1,
    ):
        assert micro_batches <= divides(config), f"{micro_batches} parts, {divides(config)} are allowed"
        self._config, self._players, self._feed = config, players, feed
        self._judge, self._extras, self._gamma_C = judge, extras, gamma_C
        self._parts = cut(config.batch_size, micro_batches, config.group)
        half = max(1, config.batch_size // 2)
        self._parts_of_half = cut(half, min(micro_batches, half))
        self.mean_path_length = torch.zeros((), device=gamma_C.device)

    def generator(self) -> Scalars:
        """Non-saturating loss of G, with the optional terms."""
        players, feed = self._players, self._feed
        masks = feed.masks()
        styles = Shared(feed.styles(players.g, self._config.batch_size, track=True))

        def work(part: Part, random: Random) -> tuple[Tensor, Scalars]:
            shown = _of(masks, part)
            fake = players.g.synthesise(styles.leaf[part.rows], _condition(shown), random)
            loss = losses.generator_loss(self._judge.scores(Pair(fake, _condition(shown)), random))
            more, scalars = self._extras.of_generator(fake, shown, feed)
            return loss + more, {"loss_g": loss.detach()} | scalars

        players.clear_g()
        players.d.requires_grad_(False)
        means = accumulate(work, self._parts, feed.random)
        players.d.requires_grad_(True)
        styles.backward()
        return means | {"grad_norm_g": players.descend_g()}

    def path_length(self) -> Scalars:
        """Path length penalty on half a batch, times its interval.

        The running mean takes in all lengths before any is penalised; in parts they are therefore worked out twice.
        """
        config, players, feed, parts = self._config, self._players, self._feed, self._parts_of_half
        masks = feed.masks(parts[0].whole)
        styles = Shared(feed.styles(players.g, parts[0].whole))

        def lengths(part: Part, random: Random) -> Tensor:
            w_NLD = styles.leaf[part.rows]
            images = players.g.synthesise(w_NLD, _condition(_of(masks, part)), random)
            return losses.path_lengths(images, w_NLD, random)

        def work(part: Part, random: Random) -> tuple[Tensor, Scalars]:
            lengths_N = lengths(part, random)
            if len(parts) == 1:
                self._take_in(lengths_N.detach())
            penalty = config.path_length_weight * losses.path_length_penalty(lengths_N, self.mean_path_length)
            return penalty * config.path_length_every_steps, {}

        if len(parts) > 1:
            with rewound(feed.random):
                each = [lengths(part, random).detach() for part, random in replay(parts, feed.random)]
            self._take_in(torch.cat(each))
        players.clear_g()
        accumulate(work, parts, feed.random)
        styles.backward()
        players.descend_g()
        return {"path_length": self.mean_path_length.clone()}

    def _take_in(self, lengths_N: Tensor) -> None:
        self.mean_path_length.lerp_(lengths_N.mean(), PATH_LENGTH_DECAY)

    def discriminator(self, real: Pair, step: int) -> Scalars:
        """Logistic loss of D, with the optional terms; real and generated never share a batch statistic."""
        players, feed = self._players, self._feed
        with torch.no_grad():
            w_NLD = feed.styles(players.g, len(real.x))
        wrong, seen = self._extras.wrong(real), []

        def work(part: Part, random: Random) -> tuple[Tensor, Scalars]:
            x, condition = real.of(part).x, real.of(part).condition
            with torch.no_grad():
                fake = players.g.synthesise(w_NLD[part.rows], condition, random)
            both = None if condition is None else torch.cat([condition, condition])
            real_N, fake_N = self._judge.scores(Pair(torch.cat([x, fake]), both), random).chunk(2)
            loss = losses.discriminator_loss(real_N, fake_N)
            more, scalars = self._extras.of_discriminator(_of(wrong, part), real_N, fake_N, self._judge, random)
            seen.append(real_N.detach())
            gap, sign = (real_N.mean() - fake_N.mean()).detach(), real_N.detach().sign().mean()
            return loss + more, {"loss_d": loss.detach(), "real_sign": sign, "score_gap": gap} | scalars

        players.clear_d()
        means = accumulate(work, self._parts, feed.random)
        norm = players.descend_d()
        self._judge.watch(torch.cat(seen), step)
        return means | {"grad_norm_d": norm}

    def r1(self, real: Pair) -> Scalars:
        """R1 with respect to the pair before its distortion, times its interval; C-SG's condition has no penalty."""

        def work(part: Part, random: Random) -> tuple[Tensor, Scalars]:
            x = real.of(part).x.detach().requires_grad_(True)
            score_N = self._judge.scores(Pair(x, real.of(part).condition), random)
            penalty = losses.r1_penalty(score_N, x, self._gamma_C)
            return penalty * self._config.r1_every_steps, {"r1": penalty.detach()}

        self._players.clear_d()
        means = accumulate(work, self._parts, self._feed.random)
        self._players.descend_d()
        return means


def _of(batch: T | None, part: Part) -> T | None:
    return None if batch is None else batch.of(part)


def _condition(masks: Masks | None) -> Tensor | None:
    return None if masks is None else masks.condition
