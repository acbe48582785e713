"""What pool metrics are computed from: features of a pool beside those of real slices, and what the judge sees.

Shapes: N real slices, n samples of the pool, C modalities, D features, R resolution in pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import nn

from medsweep.data.folds import patients_of, split, unused_patients
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.trainers.assessment.abnormality import NOBODY, abnormality
from medsweep.trainers.assessment.agreement import ALL_SEEN, BY_CONSTRUCTION, agreement
from medsweep.trainers.assessment.config import AssessConfig
from medsweep.trainers.assessment.inception import Extractor, features_by_chunks
from medsweep.trainers.assessment.look_law import Labelled, LookLaw, look_law
from medsweep.trainers.assessment.masks import evenly_spread, mean_iou
from medsweep.trainers.assessment.real_side import LOOKED_AT, RealSide, generator, halvings, real_rows
from medsweep.trainers.assessment.variety import SAMPLES
from medsweep.trainers.assessment.views import View, look
from medsweep.trainers.law import FEWEST_LEFT_OUT, NOBODY_LEFT_OUT, TOO_FEW_LEFT_OUT, JudgedMasks
from medsweep.trainers.measures.look_map import FrequencyGains, LookMap
from medsweep.trainers.measures.spectra import Spectra
from medsweep.trainers.pool import FEATURES, Pool, numbered

COMPONENTS = 64
"""Principal components of the decoder's features at most."""

ZERO_SLICES = 500
"""Unseen real slices, evenly spread, that a judge's own zero is taken from at most."""
TUNED_ON = 128
"""Unseen real slices on which errors of masks are tuned until the judge reads what it read of the pool, at most."""

Indices = NDArray[np.int64]
Images = NDArray[np.float32]


@dataclass(frozen=True)
class FeatureSets:
    """Features of the real foreground slices of the training patients (N, D), whose they are (N,), and the pool's."""

    real: NDArray[np.floating]
    owners: NDArray[np.object_]
    pool: NDArray[np.floating]
    halves: list[tuple[Indices, Indices]]
    """Slices of a random half of the patients and of the other half, shuffled."""

    @property
    def matched(self) -> int:
        """Samples that every half and the pool have."""
        return matched(len(self.pool), self.halves)

    def save(self, folder: Path) -> None:
        """Write ``FEATURES``: float32 ``pool`` (n, D) and ``real`` (N, D), as ``SliceSet.rows`` orders the slices."""
        sets = {"pool": self.pool, "real": self.real}
        save_file({name: np.ascontiguousarray(x, np.float32) for name, x in sets.items()}, folder / FEATURES)


@dataclass(frozen=True)
class PoolEvidence:
    """A pool beside the real foreground slices of the training patients; what metrics share is worked out once.

    What belongs to a sample does not depend, not even in the last bit, on how many others the pool holds.
    """

    config: AssessConfig
    data: SliceSet
    train: Sequence[str]
    """Training patients."""
    pool: Pool
    real: RealSide
    """Of the same patients and the same segmenter."""
    segmenter: nn.Module
    """The judge."""
    inception: Extractor | None = None

    @cached_property
    def rows(self) -> Indices:
        """The N real slices, by their row in the slice set, ascending."""
        return real_rows(self.data, self.train)

    @cached_property
    def real_masks(self) -> NDArray[np.uint8]:
        """Real masks, (N, R, R)."""
        return np.array(self.data.masks[self.rows])

    @cached_property
    def masks(self) -> NDArray[np.uint8]:
        """The pool's masks, (n, R, R)."""
        return np.array(self.pool.masks)

    @cached_property
    def view(self) -> View:
        """What is seen in the pool; the random network sees as many samples as the distances need."""
        return look(self.segmenter, self.pool.images, np.arange(len(self.pool)), self.matched)

    @cached_property
    def iou(self) -> NDArray[np.float64]:
        """``mean_iou`` of each sample's mask with what the segmenter sees, (n,)."""
        return mean_iou(self.masks, self.view.predicted, classes=len(self.data.classes))

    @cached_property
    def agreement(self) -> pd.DataFrame:
        """``agreement`` of each sample's mask with what the segmenter sees, n rows."""
        return agreement(self.masks, self.view.predicted, len(self.data.classes))

    @cached_property
    def abnormality(self) -> pd.DataFrame:
        """``abnormality`` of each sample's mask beside real ones in use, n rows; not of its own patient's."""
        rows = self.pool.rows
        owners = np.full(len(self.pool), NOBODY, object) if rows is None else self.data.owners[rows]
        return abnormality(self.masks, owners, self.real_masks, self.owners, len(self.data.classes))

    @cached_property
    def left_out(self) -> dict[str, str]:
        """What is not told of the agreement, ``consistency`` or ``excess`` over unseen reals, and why."""
        if self.config.relabelled:
            return dict.fromkeys(("consistency", "excess"), BY_CONSTRUCTION)
        return {} if self.real.agreement["unseen"].any() else {"excess": ALL_SEEN}

    @cached_property
    def laws_left_out(self) -> dict[str, str]:
        """Which laws are not told, ``labels`` or ``variety``, and why."""
        reasons = {"labels": next(iter(self.left_out.values()))} if self.left_out else {}
        if not self.config.left_out:
            return reasons | {"variety": NOBODY_LEFT_OUT}
        found = self.real.left_out_owners["patient"].nunique()
        return reasons if found >= FEWEST_LEFT_OUT else reasons | {"variety": TOO_FEW_LEFT_OUT.format(found)}

    @cached_property
    def unseen_rows(self) -> Indices:
        """Real slices that the judge was not fitted on, by their row in the slice set; ``ZERO_SLICES`` at most."""
        watched = real_rows(self.data, split(self.data.patients, self.config.fold).validation)
        rows: Indices = np.concatenate([self.rows, watched])[self.real.agreement["unseen"].to_numpy()]
        return rows[evenly_spread(len(rows), ZERO_SLICES)]

    @cached_property
    def unseen_as_pool(self) -> Images:
        """The images of ``unseen_rows`` with the look of the pool."""
        return self.as_pool(self.data.image_rows(self.unseen_rows))

    @cached_property
    def unseen_judged(self) -> JudgedMasks:
        """What the judge sees in ``unseen_as_pool``."""
        seen = look(self.segmenter, self.unseen_as_pool, np.arange(len(self.unseen_rows)), 1).predicted
        return JudgedMasks(self.unseen_rows, seen)

    @property
    def some_judged(self) -> JudgedMasks:
        """``TUNED_ON`` of ``unseen_judged``, evenly spread."""
        rows, seen = self.unseen_judged.rows, self.unseen_judged.seen
        some = evenly_spread(len(rows), TUNED_ON)
        return JudgedMasks(rows[some], seen[some])

    @cached_property
    def to_real_look(self) -> LookMap:
        """From the look of the pool to that of the slices in use; masks and classes play no part."""
        rows = self.rows[evenly_spread(len(self.rows), LOOKED_AT)]
        return LookMap.between(np.array(self.pool.images[:LOOKED_AT], np.float32), self.data.image_rows(rows))

    def as_pool(self, images_NCRR: Images) -> Images:
        """Real images with the look of the pool; masks and classes play no part.

        The rule leads to the pool from the very slices whose images or masks its samples have, where there are such
        slices, and so carries little of who these patients are. Else it leads from the slices in use.
        """
        pool = np.array(self.pool.images[:LOOKED_AT], np.float32)
        if self.pool.rows is None:
            rows = self.rows[evenly_spread(len(self.rows), LOOKED_AT)]
        else:
            rows = self.pool.rows[:LOOKED_AT]
        real = self.data.image_rows(rows)
        smooth = FrequencyGains.between(real, pool)
        return LookMap.between(smooth(real), pool)(smooth(images_NCRR))

    @cached_property
    def evened(self) -> NDArray[np.float32]:
        """Features (n, D) at the bottleneck of the first ``SAMPLES`` of the pool, given the look of real slices."""
        images = self.to_real_look(np.array(self.pool.images[:SAMPLES], np.float32))
        return look(self.segmenter, images, np.arange(len(images)), 1).layers[:, : self.real.bottleneck]

    @cached_property
    def groups(self) -> Indices:
        """Whose real slice each sample was made from, (n,); where masks are generated, each stands for itself."""
        return np.arange(len(self.pool)) if self.pool.rows is None else self.pool.groups(self.data.owners)

    @cached_property
    def planted_sides(self) -> tuple[Labelled, Labelled]:
        """The pool, and the real slices that measured looks are planted in: of patients left out where there are any.

        ``LOOKED_AT`` of each at most, with what the judge sees in them.
        """
        rows = self.rows
        if self.config.left_out:
            rows = real_rows(self.data, unused_patients("assess", self.data.patients, self.config.fold))
        rows = rows[evenly_spread(len(rows), LOOKED_AT)]
        real, count = self.data.image_rows(rows), min(len(self.pool), LOOKED_AT)
        seen = look(self.segmenter, real, np.arange(len(real)), 1).predicted
        pool = np.array(self.pool.images[:count], np.float32)
        return (
            Labelled(pool, self.view.predicted[:count], self.groups[:count]),
            Labelled(real, seen, numbered(self.data.owners[rows])),
        )

    @cached_property
    def look_law(self) -> LookLaw:
        """``look_law`` of the two ``planted_sides``.

        Its floor is of as few patients as the pool has slices of, or as there are in use, where those are fewer.
        """
        pool, real = self.planted_sides
        few = len(patients_of(self.train))
        if self.pool.rows is not None:
            few = min(few, len(np.unique(pool.groups)))
        draws, rng = self.config.bootstraps, generator(self.config, "look")
        return look_law(pool, real, len(self.data.classes), few, draws=draws, rng=rng)

    @cached_property
    def planted_look(self) -> LookMap:
        """From the look of real slices to that of the pool, in each class that the judge sees in both.

        It changes nothing where the pool looks no stranger than as few real patients do by chance.
        """
        pool, real = self.planted_sides
        classes = len(self.data.classes)
        if not self.look_law.shown:
            return LookMap.unchanged(len(self.data.modalities), classes)
        return LookMap.between(real.images, pool.images, (real.labels, pool.labels), classes)

    @cached_property
    def spectra(self) -> Spectra:
        """Radial power spectra of both sides."""
        return Spectra(self.real.power, self.view.power)

    @cached_property
    def owners(self) -> NDArray[np.object_]:
        """Whose the real slices are, (N,)."""
        owners_N: NDArray[np.object_] = self.data.owners[self.rows]
        return owners_N

    @cached_property
    def halves(self) -> list[tuple[Indices, Indices]]:
        """Random halves of the training patients, as ``FeatureSets`` wants them."""
        return halvings(self.config, self.owners, self.train)

    @cached_property
    def matched(self) -> int:
        """Samples that every half and the pool have.

        Raises:
            UserError: fewer than two.
        """
        count = matched(len(self.pool), self.halves)
        if count < 2:
            raise UserError(
                f"assess needs 2 samples on each side, got {len(self.pool)} synthetic ones; ask for a larger pool"
            )
        return count

    @cached_property
    def all_layers(self) -> FeatureSets:
        """Features at the segmenter's bottleneck and at each stage of its decoder."""
        return FeatureSets(self.real.layers, self.owners, self.view.layers, self.halves)

    @cached_property
    def bottleneck(self) -> FeatureSets:
        """Features at the segmenter's bottleneck, which come first of all layers."""
        width = self.real.bottleneck
        return replace(self.all_layers, real=self.real.layers[:, :width], pool=self.view.layers[:, :width])

    @cached_property
    def random_network(self) -> FeatureSets:
        """Features of a network with random weights."""
        return replace(self.all_layers, real=self.real.random, pool=self.view.random)

    @cached_property
    def inception_network(self) -> FeatureSets | None:
        """2048 features per modality of Inception-v3, where it was asked for."""
        if self.inception is None or self.real.inception is None or self.real.window is None:
            return None
        device, rows = next(self.segmenter.parameters()).device, np.arange(len(self.pool))
        own = features_by_chunks(self.inception, self.real.window, self.pool.images, rows, device)
        return replace(self.all_layers, real=self.real.inception, pool=own)


def matched(samples: int, halves: Sequence[tuple[Indices, Indices]]) -> int:
    """Samples that every half of the patients has, and a pool of so many ``samples``."""
    return min(samples, *(len(half) for pair in halves for half in pair))


def principal_components(sets: FeatureSets) -> FeatureSets | None:
    """Both sides on the first principal components of the real side alone, after each feature has SD 1 there.

    min(64, N // 4, rank) components, those of most variance; features that are constant on the real side are left
    out. None where no component is left.
    """
    real_ND = sets.real.astype(np.float64)
    centre_D, scale_D = real_ND.mean(axis=0), real_ND.std(axis=0)
    # A constant float32 column may have an SD of its rounding
    varies_D = scale_D > 1e-6 * np.abs(centre_D)
    if not varies_D.any():
        return None
    z_ND, pool_nD = ((x[:, varies_D] - centre_D[varies_D]) / scale_D[varies_D] for x in (real_ND, sets.pool))
    _, size_K, axes_KD = np.linalg.svd(z_ND, full_matrices=False)
    rank = int((size_K > size_K[0] * max(z_ND.shape) * np.finfo(np.float64).eps).sum())
    axes_KD = axes_KD[: min(COMPONENTS, len(z_ND) // 4, rank)]
    if not len(axes_KD):
        return None
    return replace(sets, real=z_ND @ axes_KD.T, pool=pool_nD @ axes_KD.T)
