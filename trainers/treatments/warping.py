"""``warp-real``: real slices warped until their masks are those of the pool.

Shapes: n samples, N real slices, C modalities, K classes, R resolution in pixels.
"""

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import center_of_mass, gaussian_filter, map_coordinates, shift

from medsweep.data.folds import unused_patients
from medsweep.errors import UserError
from medsweep.trainers.measures.structures import signed_distance
from medsweep.trainers.treatments.base import Images, Masks, Numbers, Pairs, Treatment, TreatmentContext, real_pairs
from medsweep.trial import PoolDryError

SMOOTH_PX = (2.0, 1.4, 1.0)
"""SD of the Gaussian that smooths each step, coarse to fine; smoothing their sum instead would never reach a mask."""
ITERATIONS = 40
"""Steps at most with each of them."""
BAND_PX = 2.0
"""How far from the boundary of a class its distances pull, as the SD of a Gaussian."""
FAINT = 1e-3
"""Weight of standing still, which wins far from all boundaries."""
TRIES = 5
"""Real slices that are warped to one mask at most."""
LEAST_DICE = 0.95
GOAL_DICE = 0.99
"""Where a warp ends; the least one still leaves a misfit of some tenths of a pixel."""
LEAST_ACCEPTED = 0.8


class WarpReal(Treatment):
    """Put real images of left-out training patients in place of the pool's, each warped to the mask of its sample.

    Real slices are tried by the overlap of their mask after centring, up to ``TRIES``, until the warped mask has a Dice
    of ``LEAST_DICE`` in each class. Where none has, the sample gets the nearest try with its warped mask.
    """

    kind: Literal["warp-real"]
    seconds: ClassVar[float] = 900.0

    @property
    def takes_left_out(self) -> bool:
        return True

    def drawn_patients(self, context: TreatmentContext) -> tuple[str, ...]:
        return unused_patients(self.kind, context.data.patients, context.fold)

    def apply(self, pairs: Pairs, context: TreatmentContext, seed: int) -> Pairs:
        """Warped pairs.

        Raises:
            PoolDryError: fewer than ``LEAST_ACCEPTED`` of the samples were accepted.
            UserError: no training patient is left out, or none of them has a slice with foreground.
        """
        patients, data = self.drawn_patients(context), context.data
        rows = data.rows(patients, foreground_only=True)
        if len(rows) == 0:
            raise UserError(f"none of the {len(patients)} left-out patients has a slice with foreground to warp")
        real = real_pairs(data, rows)
        warped, sources = Pairs(np.empty_like(pairs.images), pairs.masks.copy()), np.empty(len(pairs.masks), np.int64)
        nearest_nT = nearest_masks(pairs.masks, real.masks, len(data.classes))
        accepted = 0
        for sample, target in enumerate(pairs.masks):
            place, pair, dice = nearest_try(real, nearest_nT[sample], target)
            warped.images[sample], warped.masks[sample], sources[sample] = *pair, rows[place]
            if dice >= LEAST_DICE:
                warped.masks[sample] = target
                accepted += 1
        if accepted < LEAST_ACCEPTED * len(pairs.masks):
            raise PoolDryError(
                f"warp-real reached a Dice of {LEAST_DICE:g} in {accepted} of {len(pairs.masks)} masks, and at least "
                f"{LEAST_ACCEPTED:.0%} are needed; give more left-out patients (lower data.patients)"
            )
        return warped._replace(rows=sources)

    def effect(self, before: Pairs, after: Pairs, context: TreatmentContext) -> dict[str, float]:
        """Adds the share of samples ``accepted``, and how many ``slices`` were warped to some mask."""
        assert after.rows is not None, "warped slices have sources"
        kept_n = (before.masks == after.masks).all(axis=(1, 2))
        told = {"accepted": float(kept_n.mean()), "slices": len(set(after.rows.tolist()))}
        return super().effect(before, after, context) | told


def nearest_try(real: Pairs, places: NDArray[np.int64], target_RR: Masks) -> tuple[int, tuple[Images, Masks], float]:
    """Place, warped pair and Dice of the first real slice of ``places`` that is accepted, else of the best one."""
    tries = []
    for place in places:
        pair = warp(real.images[place], real.masks[place], target_RR)
        tries.append((int(place), pair, least_dice(pair[1], target_RR)))
        if tries[-1][2] >= LEAST_DICE:
            break
    return max(tries, key=lambda one: one[2])


def nearest_masks(targets_nRR: Masks, masks_NRR: Masks, classes: int) -> NDArray[np.int64]:
    """The ``TRIES`` real masks nearest to each target, nearest first, (n, T).

    By mean Dice, over the classes that either shows, of masks whose foreground is centred in the frame.
    """
    ours, theirs = (
        np.stack([centred(mask) for mask in masks]).reshape(len(masks), -1) for masks in (targets_nRR, masks_NRR)
    )
    dice_nN, shown_nN = np.zeros((2, len(ours), len(theirs)))
    for index in range(1, classes):
        one_nP, other_NP = ((masks == index).astype(np.float32) for masks in (ours, theirs))
        pixels_nN = one_nP.sum(axis=1)[:, None] + other_NP.sum(axis=1)[None]
        dice_nN += np.divide(2 * one_nP @ other_NP.T, pixels_nN, out=np.zeros_like(pixels_nN), where=pixels_nN > 0)
        shown_nN += pixels_nN > 0
    return np.argsort(-dice_nN / np.maximum(shown_nN, 1), axis=1, kind="stable")[:, :TRIES]


def centred(mask_RR: Masks) -> Masks:
    """The mask moved by whole pixels until its foreground is around the middle; what leaves the frame is lost."""
    moved: Masks = shift(
        mask_RR, np.floor(np.array(mask_RR.shape) // 2 - _center(mask_RR) + 0.5), order=0, prefilter=False
    )
    return moved


def least_dice(mask_RR: Masks, target_RR: Masks) -> float:
    """Smallest Dice over the foreground classes that either mask shows; 1 where neither shows any."""
    shown = np.setdiff1d(np.union1d(mask_RR, target_RR), [0])
    both = [(mask_RR == index, target_RR == index) for index in shown]
    return min((float(2 * (a & b).sum() / (a.sum() + b.sum())) for a, b in both), default=1.0)


def warp(image_CRR: Images, mask_RR: Masks, target_RR: Masks) -> tuple[Images, Masks]:
    """The image and mask moved along the displacement from ``demons``; values beyond the border are the nearest."""
    places_2RR = np.indices(mask_RR.shape) + demons(mask_RR, target_RR)
    # cubic, since linear interpolation would smooth the image
    image = np.stack([map_coordinates(plane, places_2RR, order=3, mode="nearest") for plane in image_CRR])
    shown = np.unique(mask_RR)
    distances = [signed_distance(mask_RR == index) for index in shown]
    # distances are known between pixels, so boundaries move by less than a pixel
    moved = [_looked_up(distance, places_2RR) for distance in distances]
    return image.astype(np.float32), shown[np.argmax(moved, axis=0)]


def demons(mask_RR: Masks, target_RR: Masks) -> Numbers:
    """Displacement (2, R, R) in pixels: the mask looked up at p + u(p) is to be the target.

    Thirion's demons (1998) on the signed distances of all classes, from the shift that brings the centres of both
    foregrounds together. Each step s is ``_pull``, smoothed by a Gaussian; u becomes s + u(p + s), since composed
    steps fold less than added ones (Vercauteren et al. 2009, section 2.2). Ends at ``GOAL_DICE``, else with the
    best step.
    """
    labels, grid_2RR = np.unique(mask_RR), np.indices(mask_RR.shape)
    distances, wanted = ([signed_distance(shown == index) for index in labels] for shown in (mask_RR, target_RR))
    field_2RR: Numbers = np.ones((2, *mask_RR.shape)) * (_center(mask_RR) - _center(target_RR))[:, None, None]
    best = (-1.0, field_2RR)
    for smooth_px in SMOOTH_PX:
        for _ in range(ITERATIONS):
            moved = [_looked_up(distance, grid_2RR + field_2RR) for distance in distances]
            dice = least_dice(labels[np.argmax(moved, axis=0)], target_RR)
            best = max(best, (dice, field_2RR), key=lambda one: one[0])
            if dice >= GOAL_DICE:
                return field_2RR
            step_2RR = gaussian_filter(_pull(moved, wanted), (0, smooth_px, smooth_px), mode="nearest")
            field_2RR = step_2RR + np.stack([_looked_up(part, grid_2RR + step_2RR) for part in field_2RR])
    return best[1]


def _pull(moved: list[Numbers], wanted: list[Numbers]) -> Numbers:
    """Mean over classes of (t - m) grad m / (|grad m|^2 + (t - m)^2), (2, R, R), m a moved and t a wanted distance.

    Each class counts near its own wanted boundary, so that a large one does not drown a small one.
    """
    force_2RR, weight_RR = np.zeros((2, *moved[0].shape)), np.full(moved[0].shape, FAINT)
    for distance, goal in zip(moved, wanted, strict=True):
        if not (np.isfinite(distance).all() and np.isfinite(goal).all()):
            continue
        gap, gradient_2RR = goal - distance, np.array(np.gradient(distance))
        norm_RR, near_RR = (gradient_2RR**2).sum(axis=0) + gap**2, np.exp(-((goal / BAND_PX) ** 2) / 2)
        force_2RR += near_RR * np.divide(gap * gradient_2RR, norm_RR, out=np.zeros_like(force_2RR), where=norm_RR > 0)
        weight_RR += near_RR
    pull: Numbers = force_2RR / weight_RR
    return pull


def _looked_up(plane_RR: Numbers, places_2RR: Numbers) -> Numbers:
    """Linear, which is what distances are between pixels; values beyond the border are the nearest."""
    values: Numbers = map_coordinates(plane_RR, places_2RR, order=1, mode="nearest")
    return values


def _center(mask_RR: Masks) -> Numbers:
    """Centre of the foreground in pixels (2,); of the frame where there is none."""
    return np.array(center_of_mass(mask_RR > 0)) if mask_RR.any() else _middle(mask_RR.shape)


def _middle(shape: tuple[int, ...]) -> Numbers:
    return (np.array(shape) - 1) / 2
