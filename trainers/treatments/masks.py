"""Treatments of masks. Images are read by relabelling and changed by none.

Shapes: n samples, C modalities, K classes, R resolution in pixels.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.ndimage import label

from medsweep.config import LATER
from medsweep.errors import UserError, nearest
from medsweep.identity import derive_seed
from medsweep.mechanism import Cause
from medsweep.trainers.measures.mask_validity import STEPS, postprocess
from medsweep.trainers.measures.structures import signed_distance
from medsweep.trainers.treatments.base import Masks, MaskTreatment, Numbers, Pairs, TreatmentContext
from medsweep.trainers.treatments.boundaries import with_moved_boundaries
from medsweep.trainers.treatments.measured_labels import measured_corruption

Flags = NDArray[np.bool_]


class Relabel(MaskTreatment):
    """Replace each mask by what the reference segmenter sees in the image."""

    kind: Literal["relabel"]
    needs_reference: ClassVar[bool] = True

    def new_masks(self, pairs: Pairs, context: TreatmentContext, seed: int) -> Masks:
        import torch

        from medsweep.trainers.segmentation.network import load_segmenter, predict

        if context.reference is None:
            raise UserError("relabel needs the reference segmenter, and the trial has no input 'reference'")
        model = load_segmenter(context.reference, context.device)
        probabilities_nKRR = predict(model, torch.from_numpy(pairs.images), whole_batches=True)
        return probabilities_nKRR.argmax(dim=1).numpy().astype(np.uint8)


class _SomeMasks(MaskTreatment):
    """May change the masks of some samples alone."""

    share: float = Field(default=1.0, gt=0, le=1)
    """Probability that a sample is changed."""

    @property
    def spoils_a_share(self) -> bool:
        return self.share < 1


class CorruptLabels(_SomeMasks):
    """Move the boundaries of masks by ``bias_px`` everywhere, then by a smooth random amount of SD ``random_px``."""

    kind: Literal["corrupt-labels"]
    bias_px: float = 0.0
    """Above 0 the classes grow. A fraction of a pixel is rounded up or down at random, so that it holds in the mean."""
    classes: tuple[str, ...] = ()
    """Classes that grow or shrink by ``bias_px`` as one region, with boundaries inside it where they were; none means
    the whole foreground."""
    random_px: float = Field(default=0.0, ge=0)
    """SD of the displacement of every boundary between classes."""
    smooth_px: float = Field(default=8.0, gt=0)
    """SD of the Gaussian that smooths the random displacement."""
    law: Annotated[Literal["measured"] | None, LATER] = None
    """``measured``: all of these by the label law of a pool, and components with wrong classes, too many or too few."""

    @property
    def laws(self) -> frozenset[Cause]:
        return frozenset({"labels"} if self.law is not None else ())

    @model_validator(mode="after")
    def _parameters_are_read(self) -> "CorruptLabels":
        if self.law is not None:
            # by value: a trial's config, read again, has set every field
            names = ("bias_px", "classes", "random_px", "share", "smooth_px")
            given = [name for name in names if getattr(self, name) != type(self).model_fields[name].default]
            if given:
                raise ValueError(f"law: measured says all of how masks are corrupted; remove {', '.join(given)}")
            return self
        if self.bias_px == 0 and self.random_px == 0:
            raise ValueError("bias_px and random_px are both 0, which changes nothing; set one of them")
        if self.random_px == 0 and self.smooth_px != 8:
            raise ValueError(f"smooth_px ({self.smooth_px:g}) is read with a random_px above 0 alone; remove it")
        if self.bias_px == 0 and self.classes:
            raise ValueError(f"classes {list(self.classes)} are read with bias_px alone; remove them")
        return self

    def new_masks(self, pairs: Pairs, context: TreatmentContext, seed: int) -> Masks:
        if self.law is not None:
            return measured_corruption(context).masks(pairs.masks, seed)
        moved, K = class_indices(self.classes, context.data.classes), len(context.data.classes)
        random = (self.random_px, self.smooth_px)
        corrupted = pairs.masks.copy()
        for sample, mask in enumerate(pairs.masks):
            if _chosen(self.share, seed, sample):
                rng = np.random.default_rng(derive_seed("corrupt", seed, sample))
                corrupted[sample] = with_moved_boundaries(mask, moved, self.bias_px, random, classes=K, rng=rng)
        return corrupted

    def effect(self, before: Pairs, after: Pairs, context: TreatmentContext) -> dict[str, float]:
        """Adds ``boundary_shift``; under a measured law also what was ``asked``, planted and ``delivered``.

        ``delivered_bias_px`` and ``delivered_random_px`` are mean and SD of ``displacements`` from the masks before.
        """
        moved = class_indices(self.classes, context.data.classes)
        told = super().effect(before, after, context) | boundary_shift(before.masks, after.masks, moved)
        return told if self.law is None else told | measured_corruption(context).told(before.masks, after.masks)


class FlipClasses(_SomeMasks):
    """Give wrong classes to a share of the masks, with boundaries where they were."""

    kind: Literal["flip-classes"]
    share: float = Field(gt=0, le=1)
    """Probability that a sample is changed."""
    classes: tuple[str, str] | None = None
    """Two classes to exchange; None gives every component (8 neighbours) another foreground class, all equally
    likely."""

    def new_masks(self, pairs: Pairs, context: TreatmentContext, seed: int) -> Masks:
        classes = context.data.classes
        exchanged = None if self.classes is None else class_indices(self.classes, classes)
        if exchanged is None and len(classes) < 3:
            raise UserError(f"flip-classes needs two foreground classes to choose from, the data have {classes[1:]}")
        flipped = pairs.masks.copy()
        for sample, mask in enumerate(pairs.masks):
            rng = np.random.default_rng(derive_seed("flip", seed, sample))
            if rng.random() >= self.share:
                continue
            if exchanged is not None:
                first, second = exchanged
                flipped[sample][mask == first], flipped[sample][mask == second] = second, first
                continue
            for index in range(1, len(classes)):
                pieces, count = label(mask == index, np.ones((3, 3)))
                others = [other for other in range(1, len(classes)) if other != index]
                heirs = np.array([index, *rng.choice(others, count)], np.uint8)
                flipped[sample][pieces > 0] = heirs[pieces[pieces > 0]]
        return flipped


class Mismatch(_SomeMasks):
    """Give samples the mask of any earlier sample: both image and mask look right, but they do not belong together.

    Later samples are never taken, so the head of a pool stays what it is. The first sample is never changed.
    """

    kind: Literal["mismatch"]

    def new_masks(self, pairs: Pairs, context: TreatmentContext, seed: int) -> Masks:
        mixed = pairs.masks.copy()
        for sample in range(1, len(mixed)):
            if _chosen(self.share, seed, sample):
                rng = np.random.default_rng(derive_seed("mismatch", seed, sample))
                mixed[sample] = pairs.masks[rng.integers(sample)]
        return mixed


class Postprocess(MaskTreatment):
    """Repair masks by the steps of ``medsweep.trainers.measures.mask_validity.postprocess``."""

    kind: Literal["postprocess"]
    steps: tuple[str, ...] = Field(min_length=1)
    """What is done to the masks, in this order."""
    min_area_px: int = Field(default=10, ge=1)
    """Components below this many pixels are what ``min-area`` takes away."""

    @model_validator(mode="after")
    def _steps_are_known(self) -> "Postprocess":
        for step in self.steps:
            if step not in STEPS:
                raise ValueError(f"unknown mask repair {step!r}; {nearest(step, STEPS)}")
        if len(set(self.steps)) < len(self.steps):
            raise ValueError(f"steps {list(self.steps)} name one twice; name each once")
        if "min-area" not in self.steps and self.min_area_px != 10:
            raise ValueError(f"min_area_px ({self.min_area_px}) is read by the step min-area alone; remove it")
        return self

    def new_masks(self, pairs: Pairs, context: TreatmentContext, seed: int) -> Masks:
        return postprocess(pairs.masks, self.steps, len(context.data.classes), self.min_area_px)[0]


AnyMaskTreatment = Relabel | CorruptLabels | FlipClasses | Mismatch | Postprocess
"""Every kind of this file; a kind that is missing here is unknown to sweep files."""


def class_indices(names: Sequence[str], classes: Sequence[str]) -> list[int]:
    """Class indices of ``names``; of the whole foreground where there is no name.

    Raises:
        UserError: a name is none of ``classes``, or is given twice.
    """
    for name in names:
        if name not in classes:
            raise UserError(
                f"a treatment names the class {name!r}, which the data do not have; {nearest(name, classes)}"
            )
    if len(set(names)) < len(names):
        raise UserError(f"a treatment names a class twice in {list(names)}; name each once")
    return [classes.index(name) for name in names] or list(range(1, len(classes)))


def _chosen(share: float, seed: int, sample: int) -> bool:
    """Whether a sample is changed; those of a smaller share are among those of a larger one."""
    return np.random.default_rng(derive_seed("chosen", seed, sample)).random() < share


def boundary_shift(before_nRR: Iterable[Masks], after_nRR: Iterable[Masks], moved: Sequence[int]) -> dict[str, float]:
    """How far the boundary of the union of classes ``moved`` went, outwards above 0, over samples that show it.

    Measured both ways, so that what grows somewhere and shrinks elsewhere comes out even: at the outermost pixels of
    the new region by the signed distance of the old one, and the reverse. Exact for straight boundaries along the grid.
    ``boundary_bias_px`` is the mean over pixels, ``boundary_sd_px`` the SD; ``vanished`` counts samples whose region is
    gone, which have no boundary left to measure. Without any boundary the first two are left out.
    """
    shifts: list[Numbers] = []
    vanished = 0
    for mask_before, mask_after in zip(before_nRR, after_nRR, strict=True):
        before, after = np.isin(mask_before, moved), np.isin(mask_after, moved)
        if not before.any() or before.all():
            continue
        vanished += not after.any()
        if after.any() and not after.all():
            old, new = signed_distance(before), signed_distance(after)
            shifts += [0.5 - old[new == 0.5], new[old == 0.5] - 0.5]
    if not shifts:
        return {"vanished": vanished}
    pooled = np.concatenate(shifts)
    return {"vanished": vanished, "boundary_bias_px": float(pooled.mean()), "boundary_sd_px": float(pooled.std())}
