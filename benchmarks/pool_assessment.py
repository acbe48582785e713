"""An assessment of a pool: ours against the plain way, on the same slices, pool and U-Net, in one process.

The peer embeds pool and real slices anew for every pool, as one does without a record of the real side: the judge runs
over them once for masks and once for features, images are read again for each measure, classes come from ``argmax``
over a softmax, features from ``std``, surfaces from distance transforms, spectra image by image. Measures of features
are the same code on both sides. Sides take turns; times are CPU seconds of one thread.

    OMP_NUM_THREADS=1 python benchmarks/pool_assessment.py [--rounds N] [--samples N] [--patients N]

Prints seconds per pool, our share that all pools of a fold and judge have in common, the ratio, and the largest
relative difference of any metric.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.config import DataConfig, PrepareConfig
from medsweep.data.folds import Fold, split
from medsweep.data.phantom import PhantomConfig
from medsweep.data.prepare import run as prepare
from medsweep.data.slices import SliceSet
from medsweep.data.source import inspect_source
from medsweep.trainers.assessment.abnormality import abnormality
from medsweep.trainers.assessment.agreement import IN_USE, MEASURES
from medsweep.trainers.assessment.config import AssessConfig
from medsweep.trainers.assessment.evidence import PoolEvidence
from medsweep.trainers.assessment.floors import halves_apart, neighbours_between
from medsweep.trainers.assessment.masks import describe, mean_hd95_between
from medsweep.trainers.assessment.metrics import Metrics, pool_metrics
from medsweep.trainers.assessment.real_side import RealSide, generator, halvings, real_rows
from medsweep.trainers.assessment.variety import curve
from medsweep.trainers.assessment.views import RandomFeatures, View
from medsweep.trainers.diagnosis.layers import observed_layers
from medsweep.trainers.measures.neighbours import authenticity, between_owners, nearest_other
from medsweep.trainers.measures.texture import class_local_sd
from medsweep.trainers.pool import Pool
from medsweep.trainers.segmentation.config import SegmentSettings, resolve
from medsweep.trainers.segmentation.network import feature_layers, load_segmenter
from medsweep.trainers.segmentation.train import run as segment

FOLD = Fold(index=0, of=4)
CONFIG = AssessConfig(fold=FOLD, seed=0)
BATCH = 64


def batches(images: NDArray[np.floating], rows: NDArray[np.int64]) -> list[torch.Tensor]:
    """Images of some rows, ``BATCH`` at a time."""
    return [torch.from_numpy(np.array(images[rows[i : i + BATCH]], np.float32)) for i in range(0, len(rows), BATCH)]


def mean_and_std(maps: torch.Tensor) -> torch.Tensor:
    """Mean and SD over space."""
    return torch.cat([maps.mean(dim=(2, 3)), maps.flatten(2).std(dim=2, correction=0)], dim=1)


@torch.no_grad()
def plain_view(judge: torch.nn.Module, images: NDArray[np.floating], rows: NDArray[np.int64], count: int) -> View:
    """What is seen in some images, one thing after the other."""
    scores = [judge(x).softmax(dim=1) for x in batches(images, rows)]
    predicted = torch.cat([score.argmax(dim=1).to(torch.uint8) for score in scores]).numpy()
    kept: list[torch.Tensor] = []
    first = observed_layers(judge)["encoder 1"]
    layers = [judge.get_submodule(name) for name in (first, *feature_layers(judge))]
    hooks = [layer.register_forward_hook(lambda _m, _i, out: kept.append(mean_and_std(out))) for layer in layers]
    features, top = [], []
    for x in batches(images, rows):
        kept.clear()
        judge(x)
        top.append(kept[0])
        features.append(torch.cat(kept[1:], dim=1))
    for hook in hooks:
        hook.remove()
    network, seen = RandomFeatures(images.shape[1]), []
    for x in batches(images, rows[:count]):
        pooled, maps = [], x
        for weight in network.buffers():
            maps = functional.leaky_relu(functional.conv2d(maps, weight, padding=1), 0.2)
            pooled.append(mean_and_std(maps))
            maps = functional.avg_pool2d(maps, 2)
        seen.append(torch.cat(pooled, dim=1))
    power, laplacian = zip(*(texture(np.array(images[row], np.float64)) for row in rows), strict=True)
    layers_ND, random_ND, first_ND = (torch.cat(parts).numpy() for parts in (features, seen, top))
    local_sd = class_local_sd(np.array(images[rows], np.float32), predicted, scores[0].shape[1])
    spectra = np.mean(power, axis=0), np.mean(laplacian, axis=0)
    return View(layers_ND, random_ND, predicted, *spectra, local_sd=local_sd, first=first_ND)


def texture(image: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Radial power and Laplacian variance of one image."""
    side = image.shape[-1]
    cycles = np.fft.fftfreq(side, d=1 / side)
    ring = np.rint(np.hypot(cycles[:, None], cycles)).astype(int).ravel()
    power = np.abs(np.fft.fft2(image)) ** 2
    rings = np.array([np.bincount(ring, plane.ravel()) / np.bincount(ring) for plane in power])
    edges = image[:, :-2, 1:-1] + image[:, 2:, 1:-1] + image[:, 1:-1, :-2] + image[:, 1:-1, 2:]
    return rings[:, : side // 2 + 1], np.square(edges - 4 * image[:, 1:-1, 1:-1]).mean(axis=(1, 2))


def plain_agreement(masks: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int) -> pd.DataFrame:
    """``agreement`` with a distance transform for each surface."""
    columns: dict[str, list[float]] = {}
    for label in range(classes):
        for mask, seen in zip(masks, predicted, strict=True):
            a, b = (x == label if label else x > 0 for x in (mask, seen))
            row = (np.nan, np.nan, np.nan, 1.0 if a.any() else np.nan)
            if (a & b).any():
                edges = [x & ~ndimage.binary_erosion(x) for x in (a, b)]
                to = [ndimage.distance_transform_edt(~edge) for edge in edges]
                own, other = to[1][edges[0]], to[0][edges[1]]
                both = np.concatenate([own, other])
                signs = np.concatenate([np.where(b[edges[0]], -1, 1), np.where(a[edges[1]], 1, -1)])
                row = (max(np.percentile(d, 95) for d in (own, other)), both.mean(), (signs * both).mean(), 0.0)
            overlap = 2 * (a & b).sum() / (a.sum() + b.sum()) if (a | b).any() else np.nan
            for name, value in zip(MEASURES, (overlap, *row), strict=True):
                columns.setdefault(f"class_{label}/{name}" if label else name, []).append(float(value))
    return pd.DataFrame(columns)


def plain_real(data: SliceSet, train: tuple[str, ...], judge: torch.nn.Module, width: int) -> RealSide:
    """The real side, which the plain way works out again for every pool."""
    rows = real_rows(data, train)
    view, masks = plain_view(judge, data.images, rows, len(rows)), np.array(data.masks[rows])
    owners, deepest = data.index["patient"].to_numpy()[rows], view.layers[:, :width]
    halves = [(deepest[a], deepest[b]) for a, b in halvings(CONFIG, owners, train)]
    agreement = plain_agreement(masks, view.predicted, len(data.classes))
    return RealSide(
        layers=view.layers,
        bottleneck=width,
        random=view.random,
        power=view.power,
        laplacian=view.laplacian,
        variety=curve(deepest, owners, generator(CONFIG, "variety")),
        texture_floor=halves_apart(
            (data.image_rows(rows[owners == one]) for one in sorted(set(owners))),
            generator(CONFIG, "texture"),
            CONFIG.halvings,
        ),
        neighbour_floor=neighbours_between(deepest, halvings(CONFIG, owners, train)),
        shapes=describe(masks, len(data.classes)),
        agreement=agreement.assign(patient=owners, group=IN_USE, unseen=False),
        between_patients=mean_hd95_between(masks, owners),
        nearest=nearest_other(deepest),
        authenticity=float(np.mean([authenticity(a, nearest_other(a), b) for a, b in halves])),
        between_owners=between_owners(deepest, owners),
        local_sd=view.local_sd,
        first=view.first,
        watched=deepest[:0],
        left_out=deepest[:0],
        left_out_owners=pd.DataFrame({"patient": owners[:0]}),
        abnormality=abnormality(masks, owners, masks, owners, len(data.classes)),
    )


class PlainEvidence(PoolEvidence):
    """A pool seen the plain way."""

    @cached_property
    def view(self) -> View:
        """What is seen in the pool."""
        return plain_view(self.segmenter, self.pool.images, np.arange(len(self.pool)), self.matched)


def cohort(folder: Path, patients: int, samples: int) -> tuple[SliceSet, torch.nn.Module, Pool]:
    """Prepared slices of 64 px, a U-Net of default size after a few steps, and a pool of jittered real slices."""
    made = FakeTrial(folder / "prepare")
    phantom = PhantomConfig(patients=patients, seed=7, shape=(64, 60, 30), spacing_mm=(1.8, 1.8, 3.0))
    asked = DataConfig(dataset="phantom", phantom=phantom, resolution=64)
    source = inspect_source(asked, made.scratch)
    drain(prepare(PrepareConfig(**dict(asked), source=source.fingerprint), {}, made))
    data, fitted = SliceSet.open(made.output), FakeTrial(folder / "segment")
    settings = SegmentSettings(steps=60)
    fit = resolve(settings, fold=FOLD, seed=0, count=0, candidates=0, unit="slices", resolution=64)
    drain(segment(fit, {"prepare": made.output}, fitted))
    rng = np.random.default_rng(0)
    rows = rng.choice(data.rows(split(data.patients, FOLD).train, foreground_only=True), samples)
    images = data.image_rows(rows)
    images += rng.normal(0, 0.05, images.shape).astype(np.float32)
    masks = np.array([np.roll(data.masks[row], tuple(rng.integers(-2, 3, 2)), (0, 1)) for row in rows])
    return data, load_segmenter(fitted.output, "cpu"), Pool(images=images, masks=masks, slices_per_patient=20)


def timed(work: Callable[[], Metrics]) -> tuple[float, Metrics]:
    """CPU seconds and result."""
    begun = time.process_time()
    result = work()
    return time.process_time() - begun, result


def main() -> None:
    """Time both sides in turn and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rounds", 3), ("samples", 800), ("patients", 130)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data, judge, pool = cohort(Path(folder), options.patients, options.samples)
        train = split(data.patients, FOLD).train
        begun = time.process_time()
        real = RealSide.of(CONFIG, data, train, judge, fitted_on=train)
        shared = time.process_time() - begun

        def ours() -> Metrics:
            return pool_metrics(PoolEvidence(CONFIG, data, train, pool, real, judge))

        def plain() -> Metrics:
            again = plain_real(data, train, judge, real.bottleneck)
            evidence = PlainEvidence(CONFIG, data, train, pool, again, judge)
            return pool_metrics(evidence)

        print(f"{options.samples} samples, {len(real.layers)} real slices of 64 px, {options.rounds} rounds")
        rounds = [(timed(ours), timed(plain)) for _ in range(options.rounds)]
    our_seconds, peer_seconds = (statistics.median(pair[side][0] for pair in rounds) for side in (0, 1))
    found, expected = rounds[0][0][1], rounds[0][1][1]
    assert found.keys() == expected.keys()
    difference = max(abs(found[name] - expected[name]) / max(abs(expected[name]), 1e-6) for name in found)
    print(
        f"ours {our_seconds:.2f} s per pool and {shared:.2f} s once, plain {peer_seconds:.2f} s per pool, plain / ours "
        f"{peer_seconds / our_seconds:.2f}, metrics differ by {difference:.0e} (relative)"
    )


if __name__ == "__main__":
    main()
