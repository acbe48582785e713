"""``swap-bands``: coarse structure of one side of a pair of images and fine structure of the other, with one mask.

Shapes: n samples, C modalities, K classes, R resolution in pixels.
"""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from medsweep.errors import UserError
from medsweep.trainers.treatments.base import Images, ImageTreatment, Masks, Numbers, Pairs, TreatmentContext
from medsweep.trainers.treatments.images import blur, class_moments

Side = Literal["real", "pool"]


class SwapBands(ImageTreatment):
    """Add the low band of one side to the high band of the other: the pool's image, and the real one of its mask.

    Inside each class of the mask the high band gets the RMS that this band has on the side of the low one.
    """

    kind: Literal["swap-bands"]
    needs_real_masks: ClassVar[bool] = True
    low: Side
    """Which of the two images gives the low frequencies."""
    high: Side
    """Which of them gives the high ones."""
    cutoff: float = Field(default=0.25, gt=0, lt=1)
    """Share of the Nyquist frequency at which the Gaussian low-pass is at half height."""

    def new_images(self, pairs: Pairs, context: TreatmentContext, seed: int) -> Images:
        sides = {"pool": pairs.images, "real": _source_images(self.kind, pairs, context)}
        return swap_bands(sides[self.low], sides[self.high], pairs.masks, low_pass_px(self.cutoff))


def low_pass_px(cutoff: float) -> float:
    """SD in pixels of the Gaussian whose transfer function is 1/2 at ``cutoff`` times the Nyquist frequency."""
    cycles_per_pixel = cutoff / 2
    return float(np.sqrt(np.log(2) / 2) / (np.pi * cycles_per_pixel))


def swap_bands(low_nCRR: Images, high_nCRR: Images, masks_nRR: Masks, sigma_px: float) -> Images:
    """L low + g (high - L high), L a Gaussian of SD ``sigma_px``, g one factor per sample, modality and class.

    g is the RMS of (low - L low) over that of (high - L high) among the pixels of the class; 1 where the latter is 0.
    """
    smooth_nCRR = blur(low_nCRR, sigma_px)
    rest_nCRR, fine_nCRR = low_nCRR - smooth_nCRR, high_nCRR - blur(high_nCRR, sigma_px)
    swapped = np.empty_like(smooth_nCRR)
    for sample, mask in enumerate(masks_nRR):
        classes = int(mask.max()) + 1
        wanted_KC, own_KC = (_rms(band[sample : sample + 1], mask[None], classes) for band in (rest_nCRR, fine_nCRR))
        gain_KC = np.divide(wanted_KC, own_KC, out=np.ones_like(own_KC), where=own_KC > 0)
        swapped[sample] = smooth_nCRR[sample] + gain_KC[mask].transpose(2, 0, 1) * fine_nCRR[sample]
    return swapped


def _rms(images: Images, masks: Masks, classes: int) -> Numbers:
    mean_KC, sd_KC = class_moments(images, masks, classes)
    rms_KC: Numbers = np.hypot(mean_KC, sd_KC)
    return rms_KC


def _source_images(kind: str, pairs: Pairs, context: TreatmentContext) -> Images:
    """The real image of every sample, (n, C, R, R).

    Raises:
        UserError: samples have no source, or a mask is not that of its source.
    """
    if pairs.rows is None:
        raise UserError(
            f"{kind} needs the real slice that each mask comes from, and the masks of this pool are generated; "
            "use gan.pipeline: c-sg, or begin with real slices"
        )
    other_n = (pairs.masks != context.data.masks[pairs.rows]).any(axis=(1, 2))
    if other_n.any():
        raise UserError(
            f"{kind} needs the masks of real slices as they are, and {int(other_n.sum())} of {len(other_n)} differ "
            f"from their source; take synthesise.perturb away, and put {kind} before treatments that change masks"
        )
    return context.data.image_rows(pairs.rows)
