"""``imitate``: gives images the whole look of others, which is class quantiles, radial spectrum and local SD.

Shapes: n samples, C modalities, K classes, R resolution in pixels, Q quantile levels, B rings, F frequencies.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from medsweep.trainers.measures.look_map import LookMap
from medsweep.trainers.measures.spectra import Spectra, mean_power, radial_psd
from medsweep.trainers.measures.texture import class_local_sd, local_moments, local_sd_log_ratio
from medsweep.trainers.pool import LOOK_MAP
from medsweep.trainers.treatments.base import Images, Masks, Numbers, Pairs, TreatmentContext
from medsweep.trainers.treatments.images import (
    GAINS,
    Imitation,
    class_quantiles,
    match_class_histograms,
    match_spectrum,
    require_shown,
)

ROUNDS = 4
POWER_LIMIT, KS_LIMIT = 0.1, 0.05
LOOK_GAINS = (0.0, GAINS[1])
"""No lower bound: a smooth target takes away nearly all of a high frequency, which a class quantile put back."""
SLACK = 0.05
"""Values nearer than this, on the scale of prepared slices, count as equal in ``ImageLook.ks``. Air is often one
value, and any ripple in it would else count as a change of all of it."""
LEAST_ASKED = 0.05
"""Two groups of real slices can be as far apart; where less is asked, no share of it is told."""


@dataclass(frozen=True)
class ImageLook:
    """What is imitated of a set of images: all are means over the set."""

    quantiles: Numbers
    """As ``class_quantiles``, (K, C, Q)."""
    power: Numbers
    """As ``mean_power``, (C, B)."""
    psd: Numbers
    """As ``radial_psd``, (C, F)."""
    local_sd: Numbers
    """As ``class_local_sd``, (K, C)."""

    @classmethod
    def of(cls, pairs: Pairs, classes: int) -> "ImageLook":
        """The look of a set."""
        images, masks = pairs.images, pairs.masks
        quantiles = class_quantiles(images, masks, classes)
        return cls(quantiles, mean_power(images), radial_psd(images), class_local_sd(images, masks, classes))

    def power_error(self, other: "ImageLook") -> float:
        """Mean of |log P_other - log P_self| above a quarter of Nyquist, in nats."""
        return Spectra(self.psd, other.psd).spectral_differences()["radial_psd_log_error"]

    def ks(self, other: "ImageLook") -> float:
        """Largest Kolmogorov-Smirnov distance, over classes and modalities, of values that may differ by ``SLACK``."""
        shown_KC = ~np.isnan(self.quantiles[..., 0] + other.quantiles[..., 0])
        pairs = zip(self.quantiles[shown_KC], other.quantiles[shown_KC], strict=True)
        return max((max(_above(one, two), _above(two, one)) for one, two in pairs), default=0.0)

    def distance(self, other: "ImageLook") -> float:
        """Mean of ``power_error`` and of |log ratio of local SD|, in nats."""
        return (self.power_error(other) + local_sd_log_ratio(other.local_sd, self.local_sd)) / 2


class Imitate(Imitation):
    """Give each image the class quantiles, the radial spectrum and, in each class, the local SD of the target.

    A round is quantiles, spectrum, local SD, quantiles, spectrum. Each sample has up to ``ROUNDS`` of them, until its
    own log power error and class KS are below ``POWER_LIMIT`` and ``KS_LIMIT``.

    That makes images alike, and sharpens them where masks say so. So where the trial reads the ``law`` of the pool, all
    images are changed by one rule instead, ``LookMap``, that leads from real slices to the pool. It changes nothing
    where the pool looks no stranger than real patients do by chance.
    """

    kind: Literal["imitate"]

    def new_images(self, pairs: Pairs, context: TreatmentContext, seed: int) -> Images:
        classes = context.data.classes
        if context.law is not None and self.imitates_pool:
            return LookMap.open(context.law / LOOK_MAP)(pairs.images, pairs.masks)
        target = ImageLook.of(self.target_pairs(context), len(classes))
        require_shown(self.kind, pairs.masks, target.quantiles[:, 0, 0], classes)
        return imitate(pairs, target)

    def effect(self, before: Pairs, after: Pairs, context: TreatmentContext) -> dict[str, float]:
        """Adds what is left, as ``log_power_error`` and ``class_ks``, and which share was ``delivered``.

        With d the ``distance`` of training slices to a set, the share is (d(after) - d(before)) / (d(target) -
        d(before)), d(target) = 0 where training slices are the target. It is left out where the divisor is below
        ``LEAST_ASKED``.
        """
        classes = len(context.data.classes)
        real = ImageLook.of(context.real, classes)
        target = ImageLook.of(self.target_pairs(context), classes)
        came, made = ImageLook.of(before, classes), ImageLook.of(after, classes)
        told = {"log_power_error": target.power_error(made), "class_ks": target.ks(made)}
        start = real.distance(came)
        changed = not np.array_equal(before.images, after.images)
        if changed and abs(asked := real.distance(target) - start) >= LEAST_ASKED:
            told["delivered"] = (real.distance(made) - start) / asked
        return super().effect(before, after, context) | told


def imitate(pairs: Pairs, target: ImageLook) -> Images:
    """Images with the look of ``target``, (n, C, R, R); a sample does not depend on the others."""
    imitating = pairs.images.copy()
    for sample, mask in enumerate(pairs.masks):
        one = Pairs(pairs.images[sample : sample + 1], mask[None])
        for _ in range(ROUNDS):
            one = one._replace(images=_round(one, target))
            look = ImageLook.of(one, len(target.local_sd))
            if target.power_error(look) < POWER_LIMIT and target.ks(look) < KS_LIMIT:
                break
        imitating[sample] = one.images[0]
    return imitating


def match_local_sd(images_nCRR: Images, masks_nRR: Masks, target_KC: Numbers) -> Images:
    """Multiply deviations from the local mean by min(target / own local SD, 3) in each class and modality."""
    mean_nCRR, _ = local_moments(images_nCRR)
    matched = np.empty_like(images_nCRR)
    for sample, mask in enumerate(masks_nRR):
        own_KC = class_local_sd(images_nCRR[sample : sample + 1], mask[None], len(target_KC))
        usable_KC = (own_KC > 0) & (target_KC > 0)
        gain_KC = np.clip(np.divide(target_KC, own_KC, out=np.ones_like(own_KC), where=usable_KC), *LOOK_GAINS)
        deviation_CRR = images_nCRR[sample] - mean_nCRR[sample]
        matched[sample] = mean_nCRR[sample] + gain_KC[mask].transpose(2, 0, 1) * deviation_CRR
    return matched


def _round(pairs: Pairs, target: ImageLook) -> Images:
    images, masks = pairs.images, pairs.masks
    images = _values_and_spectrum(images, masks, target)
    images = match_local_sd(images, masks, target.local_sd)
    return _values_and_spectrum(images, masks, target)


def _values_and_spectrum(images: Images, masks: Masks, target: ImageLook) -> Images:
    matched = match_class_histograms(images, masks, target.quantiles)
    return match_spectrum(matched, target.power, LOOK_GAINS)


def _above(one_Q: Numbers, other_Q: Numbers) -> float:
    """Largest F_one(x) - F_other(x + ``SLACK``) of two ascending sets of quantiles."""
    share = (np.arange(len(one_Q)) + 1) / len(one_Q)
    return float((share - np.searchsorted(other_Q, one_Q + SLACK, "right") / len(other_Q)).max())
