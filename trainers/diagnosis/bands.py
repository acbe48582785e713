"""Which band of a synthetic image the network stumbles over: the loss on four images of one mask.

Shapes: N pairs, P patients, G groups of pixels, C modalities, R resolution in pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from medsweep.trainers.diagnosis.losses import Row, boundary_distance, parts_of, pixel_entropy
from medsweep.trainers.diagnosis.probes import Aligned, Slices
from medsweep.trainers.measures.resampling import percentile_interval, resampled
from medsweep.trainers.segmentation.network import predict
from medsweep.trainers.treatments.bands import low_pass_px
from medsweep.trainers.treatments.images import blur

CUTOFF: Final = 0.25
"""Share of the Nyquist frequency at which the bands part, as ``swap-bands`` has it by default."""
DRAWS: Final = 1000

Array = NDArray[np.float64]
Images = NDArray[np.float32]


def band_rows(
    model: nn.Module, pairs: Aligned, classes: Sequence[str], rng: np.random.Generator, draws: int = DRAWS
) -> list[Row]:
    """Effects of ``band_effects`` with their intervals, of all pixels, boundary, rest and each class.

    ``NAME_low`` and ``NAME_high`` are the ends of a percentile interval of 95 % over ``draws`` of source patients with
    replacement (Efron 1979); NaN with fewer than two patients. The share of a gap whose interval holds 0 is NaN.
    """
    entropies = {
        name: pixel_entropy(predict(model, torch.from_numpy(images), whole_batches=True).double().numpy(), pairs.masks)
        for name, images in four_images(pairs.real, pairs.synthetic).items()
    }
    patients, of_N = np.unique(pairs.groups, return_inverse=True)
    drawn_DP = resampled(len(patients), draws, rng)
    rows: list[Row] = []
    for group, part_NRR in parts_of(pairs.masks, boundary_distance(pairs.masks), classes).items():
        pixels_P = np.bincount(of_N, part_NRR.sum(axis=(1, 2)))
        sums = {name: np.bincount(of_N, (x * part_NRR).sum(axis=(1, 2))) for name, x in entropies.items()}
        if not pixels_P.sum():
            continue
        told = band_effects({name: np.array(sum_P.sum() / pixels_P.sum()) for name, sum_P in sums.items()})
        with np.errstate(invalid="ignore"):
            over = band_effects({name: drawn_DP @ sum_P / (drawn_DP @ pixels_P) for name, sum_P in sums.items()})
        alone = (np.nan, np.nan)
        ends = {name: percentile_interval(values) if len(patients) > 1 else alone for name, values in over.items()}
        if not (ends["band_gap"][0] > 0 or ends["band_gap"][1] < 0):
            told["high_band_share"], ends["high_band_share"] = np.array(np.nan), (np.nan, np.nan)
        for name, value in told.items():
            low, high = ends[name]
            rows += [(name, group, float(value)), (f"{name}_low", group, low), (f"{name}_high", group, high)]
    return rows


def four_images(real_NCRR: Images, synthetic_NCRR: Images) -> dict[str, Images]:
    """Images by the side of their low and then their high band, ``real synthetic`` and so on.

    Bands are whole, with their power: a synthetic high band that is too weak stays so in a real image.
    """
    sides = {"real": real_NCRR, "synthetic": synthetic_NCRR}
    smooth = {name: blur(images, low_pass_px(CUTOFF)) for name, images in sides.items()}
    return {
        f"{low} {high}": images if low == high else smooth[low] + (images - smooth[high])
        for low in sides
        for high, images in sides.items()
    }


def with_real_high_band(halves: Sequence[Slices]) -> list[Slices]:
    """The same samples with the high band of the real images of their masks; empty where some have none."""
    return [
        replace(half, images=four_images(half.real, half.images)["synthetic real"])
        for half in halves
        if half.real is not None and all(one.real is not None for one in halves)
    ]


def band_effects(loss: Mapping[str, Array]) -> dict[str, Array]:
    """Main effects, synthetic minus real, of each band on a loss; the gap between pure images is their sum.

    ``band_interaction`` is the effect of the high band on a synthetic low band minus that on a real one.
    """
    on_real = loss["real synthetic"] - loss["real real"]
    on_synthetic = loss["synthetic synthetic"] - loss["synthetic real"]
    gap, high = loss["synthetic synthetic"] - loss["real real"], (on_real + on_synthetic) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.true_divide(high, gap)
    return {
        "high_band_effect": high,
        "low_band_effect": gap - high,
        "band_interaction": on_synthetic - on_real,
        "band_gap": gap,
        "high_band_share": share,
    }
