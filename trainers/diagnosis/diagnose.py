"""The diagnose stage: what a pool did to gradients, losses, features and statistics of the network trained on it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from medsweep.data.fitted_on import require_unseen, write_fitted_on
from medsweep.data.folds import split
from medsweep.data.slices import SliceSet
from medsweep.identity import derive_seed
from medsweep.trainers.diagnosis.bands import band_rows, with_real_high_band
from medsweep.trainers.diagnosis.config import TABLE, DiagnoseConfig
from medsweep.trainers.diagnosis.features import (
    domain_aucs,
    level_features,
    linear_cka,
    mean_shift,
    normalised_moments,
    running_moments,
)
from medsweep.trainers.diagnosis.gradients import (
    AGAIN,
    HELD_OUT,
    POOL,
    REAL_HIGH_BAND,
    TRAIN,
    Loss,
    Products,
    corrected_cosine,
    half_gradient,
    influence,
    noise_scale,
    norm_ratio,
)
from medsweep.trainers.diagnosis.layers import ALL
from medsweep.trainers.diagnosis.losses import Row as LossRow
from medsweep.trainers.diagnosis.losses import loss_rows
from medsweep.trainers.diagnosis.probes import Slices, Sources, joined
from medsweep.trainers.diagnosis.texture_map import TextureMap, texture_rows
from medsweep.trainers.pool import Pool
from medsweep.trainers.precision import exact
from medsweep.trainers.segmentation.network import load_segmenter
from medsweep.trainers.segmentation.optimisation import make_loss
from medsweep.trainers.segmentation.samples import gather
from medsweep.trainers.segmentation.snapshots import Snapshot, load_snapshots
from medsweep.trial import Progress, Trial

COLUMNS = ("when", "quantity", "group", "source", "value")
EARLY_PERCENT = 25
LATE_PERCENT = 50

Row = tuple[str, str, str, str, float]
"""In the order of ``COLUMNS``."""


def run(config: DiagnoseConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Stage function. Inputs: ``prepare``, ``network`` (a segment trial with snapshots), ``pool``, ``reference`` (the
    control's segmenter), and ``scores`` where the arm filters its pool.

    Leaves diagnose.parquet with the columns ``when`` (``early``: up to a quarter of the steps; ``late``: from half of
    them; or the percentage of a snapshot), quantity, group (part of the network or of the image), source and value.

    Raises:
        PoolDryError: the pool, or what the filter leaves of it, is smaller than the count.
        UserError: an input has seen a test or validation patient, or a source has too few slices.
    """
    torch.set_num_threads(trial.threads)
    data = SliceSet.open(inputs["prepare"])
    patients = split(data.patients, config.fold)
    for role in sorted(inputs):
        require_unseen(inputs[role], (*patients.test, *patients.validation))
    samples = gather(config.segment, data, patients.train, inputs, "cpu", whole_masks=True)
    chosen = samples.choice.rows if samples.choice is not None else np.zeros(0, np.int64)
    sources = Sources(data, patients, Pool.open(inputs["pool"]), chosen)
    loss = make_loss(config.segment, samples.pixels_per_class(len(data.classes)), torch.device(trial.device))
    model = load_segmenter(inputs["network"], trial.device)
    rows: list[Row] = []
    products: dict[int, Products] = {}
    wanted = [snapshot for snapshot in load_snapshots(inputs["network"]) if snapshot.percent in config.percents]
    for number, snapshot in enumerate(wanted, start=1):
        halves = sources.draw(np.random.default_rng(_seed(config, snapshot.percent)), again=config.again)
        if snapshot is wanted[-1] and (swapped := with_real_high_band(halves[POOL])):
            halves[REAL_HIGH_BAND] = swapped
        model.load_state_dict(dict(snapshot.weights))
        products[snapshot.percent], found = _looked_at(model, loss, halves, snapshot, data.classes)
        rows += found
        yield Progress(step=number, total=len(wanted) + 1)
    for when, phase in _phases(products).items():
        rows += _gradient_rows(when, phase)
    control = load_segmenter(inputs["reference"], trial.device)
    rows += _feature_rows(f"{snapshot.percent}", model, control, halves, np.random.default_rng(_seed(config, 0)))
    both = {"": model, "control_": control}
    textures = _texture_rows(config, both, sources, halves, data.classes)
    rows += [(f"{snapshot.percent}", name, group, POOL, value) for name, group, value in textures]
    pd.DataFrame(rows, columns=list(COLUMNS)).to_parquet(trial.output / TABLE, index=False)
    write_fitted_on(trial.output, patients.train)
    yield Progress(step=len(wanted) + 1, total=len(wanted) + 1)


def _seed(config: DiagnoseConfig, percent: int) -> int:
    return derive_seed("diagnose", config.fold.index, config.seed, percent)


@exact()
def _looked_at(
    model: nn.Module, loss: Loss, halves: Mapping[str, list[Slices]], snapshot: Snapshot, classes: Sequence[str]
) -> tuple[Products, list[Row]]:
    """Products of the gradients at a snapshot's weights, and the losses that fall out on the way."""
    device = next(model.parameters()).device
    rows: list[Row] = []
    gradients = {}
    entropy = {}
    for source, pair in halves.items():
        found = [
            half_gradient(
                model, loss, torch.from_numpy(half.images).to(device), torch.from_numpy(half.masks).to(device)
            )
            for half in pair
        ]
        gradients[source] = [gradient for _, gradient in found]
        losses = loss_rows([logits for logits, _ in found], [half.masks for half in pair], classes)
        if source in (TRAIN, HELD_OUT, POOL):
            rows += [(f"{snapshot.percent}", name, group, source, value) for name, group, value in losses]
        entropy[source] = losses[0][2]
    gaps = {"generalisation_gap": (HELD_OUT, TRAIN), "memorisation_gap": (TRAIN, POOL)}
    rows += [
        (f"{snapshot.percent}", name, ALL, f"{first} - {second}", entropy[first] - entropy[second])
        for name, (first, second) in gaps.items()
    ]
    sizes = {source: len(pair[0].masks) for source, pair in halves.items()}
    return Products.of(model, gradients, sizes, snapshot.second_moments), rows


def _phases(products: Mapping[int, Products]) -> dict[str, list[Products]]:
    """Snapshots of each phase, then each snapshot by itself."""
    phases = {
        "early": [each for percent, each in products.items() if percent <= EARLY_PERCENT],
        "late": [each for percent, each in products.items() if percent >= LATE_PERCENT],
    }
    return phases | {f"{percent}": [each] for percent, each in products.items()}


def _gradient_rows(when: str, phase: Sequence[Products]) -> list[Row]:
    """What the gradients of a phase say, by group of layers, each beside its ceiling from real slices."""
    first = phase[0]
    others = [source for source in (TRAIN, POOL, AGAIN) if source in first.sources]
    swapped = all(REAL_HIGH_BAND in each.sources for each in phase)
    rows: list[Row] = []
    for group in first.plain:
        if swapped:
            gain = influence(phase, REAL_HIGH_BAND, group) - influence(phase, POOL, group)
            rows.append((when, "influence_of_real_high_band", group, POOL, gain))
        rows += [
            (when, "cosine_with_held_out", group, source, corrected_cosine(phase, HELD_OUT, source, group))
            for source in others
        ]
        rows.append((when, "norm_ratio", group, POOL, norm_ratio(phase, group)))
        for source in others:
            if source != TRAIN:
                rows.append((when, "influence", group, source, influence(phase, source, group)))
                if first.scaled:
                    value = influence(phase, source, group, scaled=True)
                    rows.append((when, "influence_preconditioned", group, source, value))
        rows += [
            (when, "noise_scale", group, source, noise_scale(phase, source, group))
            for source in (TRAIN, HELD_OUT, POOL)
        ]
    return rows


def _texture_rows(
    config: DiagnoseConfig,
    networks: Mapping[str, nn.Module],
    sources: Sources,
    halves: Mapping[str, list[Slices]],
    classes: Sequence[str],
) -> list[LossRow]:
    """Whether the loss on the pool comes from its fine texture, under each network by its prefix."""
    texture = TextureMap.of(joined(halves, POOL), joined(halves, TRAIN), len(classes))
    pairs = sources.aligned(_generator(config, "aligned"))
    rows: list[LossRow] = []
    for prefix, network in networks.items():
        told = texture_rows(network, texture, classes, _generator(config, "texture"))
        if pairs is not None:
            told += band_rows(network, pairs, classes, _generator(config, "bands"))
        rows += [(f"{prefix}{name}", group, value) for name, group, value in told]
    return rows


def _generator(config: DiagnoseConfig, purpose: str) -> np.random.Generator:
    return np.random.default_rng(derive_seed("diagnose", purpose, config.fold.index, config.seed))


def _feature_rows(
    when: str, model: nn.Module, control: nn.Module, halves: Mapping[str, list[Slices]], rng: np.random.Generator
) -> list[Row]:
    """Features and normalisation under the arm's last weights, and what the control's network sees of the same."""
    device = next(model.parameters()).device
    probes = {source: joined(halves, source) for source in (TRAIN, HELD_OUT, POOL)}
    images = {source: torch.from_numpy(probe.images).to(device) for source, probe in probes.items()}
    rows: list[Row] = []
    seen = {}
    for network, name in ((model, ""), (control, "control_")):
        features = {source: level_features(network, x) for source, x in images.items()}
        seen[name] = features[HELD_OUT]
        for level in features[HELD_OUT]:
            held_out = features[HELD_OUT][level]
            for source in (POOL, TRAIN):
                x, groups = features[source][level], probes[source].groups
                aucs = domain_aucs(held_out, probes[HELD_OUT].groups, x, groups, rng)
                rows.append((when, f"{name}domain_auc", level, source, float(aucs.mean())))
                rows.append((when, f"{name}domain_auc_sd", level, source, float(aucs.std(ddof=1))))
                rows.append((when, f"{name}mean_shift", level, source, mean_shift(held_out, x)))
        moments = {source: normalised_moments(network, images[source]) for source in (HELD_OUT, POOL)}
        running = running_moments(network)
        for layer, held_out_moments in moments[HELD_OUT].items():
            apart = moments[POOL][layer].divergence(held_out_moments)
            rows.append((when, f"{name}batch_norm_kl", layer, POOL, apart))
            value = held_out_moments.divergence(running[layer])
            rows.append((when, f"{name}batch_norm_running_kl", layer, HELD_OUT, value))
    same = [level for level in seen[""] if level in seen["control_"]]
    rows += [
        (when, "cka_with_control", level, HELD_OUT, linear_cka(seen[""][level], seen["control_"][level]))
        for level in same
    ]
    return rows
