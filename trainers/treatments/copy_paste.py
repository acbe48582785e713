"""``copy-paste``: structures of one training patient pasted into a slice of another (Ghiasi et al. 2021, "Simple
Copy-Paste", arXiv 2012.07177), a peer of generators that learns nothing.

Shapes: n samples, C modalities, R resolution in pixels.
"""

from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import affine_transform, center_of_mass, gaussian_filter

from medsweep.data.folds import patients_of, split
from medsweep.errors import UserError, nearest
from medsweep.identity import derive_seed
from medsweep.trainers.treatments.base import Images, Masks, Pairs, TreatmentContext, real_pairs
from medsweep.trainers.treatments.real_slices import RealSlices, chosen_rows


class Slice(NamedTuple):
    """An image, (C, R, R), and its mask, (R, R)."""

    image: Images
    mask: Masks


class CopyPaste(RealSlices):
    """Replace the pool by real training slices into which structures of other training patients are pasted.

    Slices come in a shuffled order, all of them before any comes again. Each gets the structures of one random slice of
    another patient, moved, scaled, and laid over what is there.
    """

    kind: Literal["copy-paste"]
    into: Literal["all", "foreground", "empty"] = "all"
    """Slices that are pasted into: ``foreground`` those that show a structure, ``empty`` those that show none."""
    structures: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Names of the classes that are pasted; None takes all but the background."""
    blend_px: float = Field(default=1.0, ge=0)
    """SD of the Gaussian that softens the edge between both images; 0 cuts hard. Masks have no soft edge."""
    max_shift: float = Field(default=0.1, ge=0, lt=1)
    """Shift at most, as a share of the side, along either axis."""
    max_scale: float = Field(default=1.25, ge=1)
    """Structures grow or shrink by up to this factor, either way equally often."""

    def drawn_patients(self, context: TreatmentContext) -> tuple[str, ...]:
        return split(context.data.patients, context.fold).train

    def apply(self, pairs: Pairs, context: TreatmentContext, seed: int) -> Pairs:
        """Pasted slices; ``pairs`` is not read. Sample i depends on ``seed`` and i alone.

        Raises:
            UserError: an unknown structure, no slice to take or to paste into, or no other patient to take from.
        """
        data = context.data
        labels = self._labels(data.classes)
        donors, targets = self._donor_rows(context, labels), self._target_rows(context)
        owners, donor_owners = data.owners, data.owners[donors]
        images, masks = [], []
        for sample, row in enumerate(chosen_rows(targets, context.size, seed)):
            rng = np.random.default_rng(derive_seed("copy-paste", seed, sample))
            others = donors[donor_owners != owners[row]]
            if len(others) == 0:
                raise UserError(
                    f"copy-paste finds no patient with {self._asked()} beside {owners[row]!r} to take it from; take "
                    "more training patients or other structures"
                )
            pair = real_pairs(data, np.array([row, rng.choice(others)]))
            new = self._pasted(pair, labels, rng)
            images.append(new.image)
            masks.append(new.mask)
        return Pairs(np.stack(images), np.stack(masks))

    def effect(self, before: Pairs, after: Pairs, context: TreatmentContext) -> dict[str, float]:
        """Adds ``blend_px``, and how much ``foreground`` there is beside ``real_foreground``, as shares of all pixels.

        The latter is of all slices of the training patients.
        """
        real_NRR = context.data.masks[context.data.rows(context.train)]
        shares = {"foreground": float(np.mean(after.masks > 0)), "real_foreground": float(np.mean(real_NRR > 0))}
        return super().effect(before, after, context) | shares | {"blend_px": self.blend_px}

    def _pasted(self, pair: Pairs, labels: tuple[int, ...], rng: np.random.Generator) -> Slice:
        target, donor = (Slice(image, mask) for image, mask in zip(pair.images, pair.masks, strict=True))
        taken = donor._replace(mask=np.where(np.isin(donor.mask, labels), donor.mask, np.uint8(0)))
        move_px = target.mask.shape[0] * self.max_shift * rng.uniform(-1, 1, 2)
        return paste(target, taken, move_px, self.max_scale ** rng.uniform(-1, 1), self.blend_px)

    def _labels(self, classes: tuple[str, ...]) -> tuple[int, ...]:
        asked = classes[1:] if self.structures is None else self.structures
        for name in asked:
            if name not in classes[1:]:
                raise UserError(f"copy-paste: no structure is called {name!r}; {nearest(name, classes[1:])}")
        return tuple(classes.index(name) for name in asked)

    def _asked(self) -> str:
        return "a structure" if self.structures is None else " or ".join(self.structures)

    def _donor_rows(self, context: TreatmentContext, labels: tuple[int, ...]) -> NDArray[np.int64]:
        rows = context.data.rows(context.train, foreground_only=True)
        return np.array([row for row in rows if np.isin(context.data.masks[row], labels).any()], np.int64)

    def _target_rows(self, context: TreatmentContext) -> NDArray[np.int64]:
        data = context.data
        rows, shown = data.rows(context.train), data.rows(context.train, foreground_only=True)
        chosen = {"all": rows, "foreground": shown, "empty": np.setdiff1d(rows, shown)}[self.into]
        if len(chosen) == 0:
            raise UserError(
                f"copy-paste into {self.into} slices finds none among the {len(patients_of(context.train))} training "
                "patients; set into: all"
            )
        return chosen


def paste(target: Slice, donor: Slice, move_px: NDArray[np.float64], factor: float, blend_px: float) -> Slice:
    """Lay all structures of a donor over a slice, scaled by ``factor`` about their centre and moved (rows, columns).

    The donor's image is interpolated linearly and its mask by nearest neighbour. Near an edge of what is pasted both
    images are mixed by a Gaussian of ``blend_px``, which leaves the mask's edge where it is. What leaves the frame is
    lost.
    """
    centre = np.array(center_of_mass(donor.mask > 0))
    shared = {"matrix": np.full(2, 1 / factor), "offset": centre - (centre + move_px) / factor, "prefilter": False}
    moved_RR = affine_transform(donor.mask, order=0, mode="constant", **shared)
    moved_CRR = np.stack([affine_transform(plane, order=1, mode="nearest", **shared) for plane in donor.image])
    inside_RR = (moved_RR > 0).astype(np.float32)
    weight_RR = gaussian_filter(inside_RR, blend_px) if blend_px > 0 else inside_RR
    image = weight_RR * moved_CRR + (1 - weight_RR) * target.image
    return Slice(image.astype(np.float32), np.where(moved_RR > 0, moved_RR, target.mask).astype(np.uint8))
