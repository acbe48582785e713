"""Corruption of masks by the label law that an assessment measured of a pool.

Shapes: n samples, R resolution in pixels.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from medsweep.identity import derive_seed
from medsweep.trainers.law import JudgedMasks, PoolLaw
from medsweep.trainers.measures.displacements import mean_and_sd
from medsweep.trainers.treatments.base import Masks, TreatmentContext
from medsweep.trainers.treatments.boundaries import with_moved_boundaries
from medsweep.trainers.treatments.label_errors import ComponentErrors

ROUNDS: Final = 5
SMOOTH_PX: Final = 8.0
"""Where a law has no random part, whose smoothness could be measured."""
LEAST_PX: Final = 0.05
"""Random amounts below this move no pixel."""


@dataclass(frozen=True)
class MeasuredCorruption:
    """What is planted so that boundaries move as the law says."""

    asked_bias_px: float
    asked_random_px: float
    smooth_px: float
    errors: ComponentErrors
    classes: int
    bias_px: float
    """Given to ``with_moved_boundaries``, which rounds it up or down in a whole sample."""
    random_px: float

    @classmethod
    def of(cls, law: PoolLaw, classes: int) -> "MeasuredCorruption":
        """What is asked for, planted as it is; what may as well be chance, with 0 in its interval, is not planted.

        Raises:
            UserError: the label law of the pool was not measured.
        """
        bias_px, random_px = (_shown(law, name) for name in ("bias_px", "random_px"))
        smooth_px = law.values.get("smooth_px", SMOOTH_PX)
        errors = ComponentErrors.shown(law)
        return cls(bias_px, random_px, smooth_px, errors, classes, bias_px, random_px)

    def tuned(self, real_NRR: Masks, seen_NRR: Masks) -> "MeasuredCorruption":
        """Amounts with which a judge reads of real masks what was asked for, found in ``ROUNDS``.

        ``seen_NRR`` is what it sees in these slices. Its own errors hide a part of what is planted, since boundaries
        are compared with the nearest of the other mask. Random displacement also grows masks a little, and the
        rounding of a bias is random displacement.
        """
        planted, bias_px, random_px = self, self.asked_bias_px, self.asked_random_px
        zero = mean_and_sd(seen_NRR, real_NRR)
        for _ in range(ROUNDS):
            moved = replace(planted, errors=ComponentErrors()).masks(real_NRR, seed=0)
            if zero is None or (read := mean_and_sd(seen_NRR, moved)) is None:
                break
            # what the rounding of the bias adds is not there to be scaled
            share = planted.bias_px % 1
            rounding = share * (1 - share)
            own = np.sqrt(max(read[1] ** 2 - zero[1] ** 2 - rounding, 0.0))
            wanted = np.sqrt(max(random_px**2 - rounding, 0.0))
            planted = replace(
                planted,
                bias_px=planted.bias_px + bias_px - (read[0] - zero[0]),
                random_px=float(planted.random_px * wanted / own) if own > 0 else float(wanted),
            )
        return planted

    def masks(self, masks_nRR: Masks, seed: int) -> Masks:
        """Corrupted masks, (n, R, R); a sample does not depend on the others."""
        corrupted, every = masks_nRR.copy(), list(range(1, self.classes))
        random = (self.random_px if self.random_px >= LEAST_PX else 0.0, self.smooth_px)
        for sample, mask in enumerate(masks_nRR):
            rng = np.random.default_rng(derive_seed("corrupt", seed, sample))
            moved = with_moved_boundaries(mask, every, self.bias_px, random, classes=self.classes, rng=rng)
            corrupted[sample] = self.errors.spoil(moved, self.classes, rng)
        return corrupted

    def told(self, before_nRR: Masks, after_nRR: Masks) -> dict[str, float]:
        """What treat.json says beside the usual."""
        asked = {"bias_px": self.asked_bias_px, "random_px": self.asked_random_px, **self.errors._asdict()}
        told = {f"asked_{name}": value for name, value in asked.items()}
        told |= {"planted_bias_px": self.bias_px, "planted_random_px": self.random_px, "smooth_px": self.smooth_px}
        if (got := mean_and_sd(before_nRR, after_nRR)) is not None:
            told |= {"delivered_bias_px": got[0], "delivered_random_px": got[1]}
        return told


def _shown(law: PoolLaw, name: str) -> float:
    """An amount of a law; 0 where its interval is known and has 0 in it."""
    value = law.value(name, of="labels", asked_by="corrupt-labels")
    chance = law.values.get(f"{name}_low", np.inf) <= 0 <= law.values.get(f"{name}_high", -np.inf)
    return 0.0 if chance else value


def measured_corruption(context: TreatmentContext) -> MeasuredCorruption:
    """That of the pool whose law is among the inputs."""
    folder, data = context.require_law("corrupt-labels"), context.data
    asked = MeasuredCorruption.of(PoolLaw.open(folder), len(data.classes))
    judged = JudgedMasks.open(folder)
    return asked.tuned(np.array(data.masks[judged.rows]), judged.seen)
