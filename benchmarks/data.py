"""Reading slices: prepared memory maps against MONAI's CacheDataset and PersistentDataset, and prepare itself.

The same NIfTI files go through the same transforms on every side: canonical axes, an HU window to [-1, 1], a resize in
the plane. Each side then gives shuffled batches of 2D slices, epoch after epoch, in this process, in turn.

    python benchmarks/data.py            all of it
    python benchmarks/data.py --check    what looking through the data costs, and nothing else; needs no MONAI

Prints what ``medsweep data check`` and the first plan of a sweep cost against two plain passes over the same files, and
then four ratios: the first epoch (in which MONAI fills its cache; ours comes after prepare), later epochs, prepare
against one plain pass with nibabel and scipy, and the proportional resident memory (PSS) of four trials on one dataset
against that of one.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from scipy.ndimage import gaussian_filter, zoom

from medsweep.data.check import check
from medsweep.data.config import DataConfig, PrepareConfig
from medsweep.data.folds import Fold
from medsweep.data.prepare import run
from medsweep.data.slices import SliceSet
from medsweep.data.source import inspect_source, list_cases
from medsweep.store.store import Store
from medsweep.store.workspace import Workspace
from medsweep.trainers.segmentation.config import SegmentConfig, SegmentSettings, resolve
from medsweep.trainers.segmentation.network import SegmenterArchitecture
from medsweep.trainers.segmentation.samples import BatchOrder, gather
from medsweep.trainers.segmentation.train import UNetLearner

PATIENTS, PLANE, SLICES, SIDE, BATCH, EPOCHS = 16, 192, 48, 128, 16, 3
PLAIN = ("plain look", "plain pass")
"""Reading with statistics, and reading, scaling and resizing, both with nibabel, numpy and scipy."""

WINDOW = (-160.0, 240.0)
MEMORY_PATIENTS, MEMORY_SIDE = 72, 512
FOLD = Fold(index=0, of=4)


def write_cohort(root: Path, patients: int, plane: int, slices: int, suffix: str) -> None:
    """CT-like noise with one organ per patient, in Decathlon layout."""
    pairs = []
    affine = np.diag([0.8, 0.8, 5.0, 1.0])
    for number in range(patients):
        rng = np.random.default_rng(number)
        image = gaussian_filter(rng.normal(40, 400, (plane, plane, slices)).astype(np.float32), (1, 1, 0))
        labels = np.zeros(image.shape, np.uint8)
        a, b = rng.integers(plane // 8, plane // 3, 2)
        labels[a : a + plane // 4, b : b + plane // 3, slices // 4 : -slices // 4] = 1
        pair = {role: f"{role}sTr/case_{number}{suffix}" for role in ("image", "label")}
        for role, array in (("image", image.astype(np.int16)), ("label", labels)):
            (root / pair[role]).parent.mkdir(parents=True, exist_ok=True)
            nib.Nifti1Image(array, affine).to_filename(root / pair[role])
        pairs.append(pair)
    described = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "organ"}, "training": pairs}
    (root / "dataset.json").write_text(json.dumps(described))


def prepared(root: Path, store: Store, side: int) -> Path:
    """Run the prepare stage into ``store``, as a trial does."""
    intensity = {"scale": "window", "window": WINDOW}
    data = DataConfig.model_validate_json(
        json.dumps({"dataset": "benchmark", "root": str(root), "resolution": side, "intensity": intensity})
    )
    config = PrepareConfig(**dict(data), source=inspect_source(data, store.root).fingerprint)
    work = Workspace(store, "prepare", f"{side:064x}", threads=1)
    work.__enter__()
    for _ in run(config, {}, work):
        pass
    return work.output


def plain_pass(root: Path, side: int) -> int:
    """What a user would write: load every volume, window it, resize it in the plane, keep the slices."""
    count = 0
    for pair in json.loads((root / "dataset.json").read_text())["training"]:
        image = nib.as_closest_canonical(nib.load(root / pair["image"])).get_fdata(dtype=np.float32)
        label = np.asanyarray(nib.as_closest_canonical(nib.load(root / pair["label"])).dataobj)
        scaled = np.clip((image - WINDOW[0]) / (WINDOW[1] - WINDOW[0]) * 2 - 1, -1, 1)
        factor = (side / image.shape[0], side / image.shape[1], 1)
        images, masks = zoom(scaled, factor, order=1), zoom(label, factor, order=0)
        count += np.ascontiguousarray(images.transpose(2, 1, 0)).shape[0] + 0 * masks.size
    return count


def plain_look(root: Path) -> int:
    """The least look of a user: read every volume with nibabel, and take statistics of images and counts of labels."""
    count = 0
    for pair in json.loads((root / "dataset.json").read_text())["training"]:
        image = nib.as_closest_canonical(nib.load(root / pair["image"])).get_fdata(dtype=np.float32)
        label = np.asanyarray(nib.as_closest_canonical(nib.load(root / pair["label"])).dataobj)
        low, high, mean, sd = image.min(), image.max(), image.mean(), image.std()
        count += len(np.unique(label)) + bool(low <= mean <= high and sd >= 0)
    return count


def look_costs(root: Path, scratch: Path, side: int) -> dict[str, float]:
    """Least seconds of each side over ``EPOCHS`` rounds in turn, with one thread."""
    listing = list_cases("benchmark", root)
    config = DataConfig(dataset="benchmark", root=str(root), resolution=side)
    sides: dict[str, Callable[[int], Any]] = {
        "check": lambda number: check(listing, threads=1),
        "first plan": lambda number: inspect_source(config, scratch / f"plan{number}"),
        "later plan": lambda number: inspect_source(config, scratch / "plan0"),
        "plain look": lambda number: plain_look(root),
        "plain pass": lambda number: plain_pass(root, side),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(EPOCHS):
        for name, work in sides.items():
            begun = time.perf_counter()
            work(number)
            seconds[name].append(time.perf_counter() - begun)
    return {name: min(of_side) for name, of_side in seconds.items()}


def segment_config(side: int, batch: int = BATCH) -> SegmentConfig:
    """A U-Net trial, of which only the data side is exercised."""
    settings = SegmentSettings(steps=10, batch_size=batch, channels=(4, 8), residual_units=0)
    return resolve(settings, fold=FOLD, seed=0, count=0, candidates=0, unit="slices", resolution=side)


def our_epochs(folder: Path) -> Iterator[int]:
    """Epochs over every slice of every patient, in shuffled batches of tensors, as a U-Net trial reads them."""
    data = SliceSet.open(folder)
    config = segment_config(data.resolution)
    samples = gather(config, data, data.patients, {}, "cpu")
    order, step = BatchOrder(config, samples.real, 0), 0
    while True:
        seen = 0
        while seen < samples.real:
            step += 1
            seen += len(samples.batch(order.batch(step))[0])
        yield seen


def monai_epochs(root: Path, side: int, make: Callable[[list[dict[str, str]], Any], Any]) -> Iterator[int]:
    """Epochs of MONAI's 2D recipe over 3D volumes: cached deterministic transforms, slices by PatchIterd."""
    from monai.data import DataLoader, GridPatchDataset, PatchIterd, ShuffleBuffer
    from monai.transforms import (
        Compose,
        EnsureChannelFirstd,
        EnsureTyped,
        LoadImaged,
        Orientationd,
        Resized,
        ScaleIntensityRanged,
        SqueezeDimd,
    )

    keys = ("image", "label")
    transforms = Compose(
        [
            LoadImaged(keys),
            EnsureChannelFirstd(keys),
            Orientationd(keys, axcodes="RAS", labels=None),
            ScaleIntensityRanged("image", *WINDOW, -1.0, 1.0, clip=True),
            Resized(keys, (side, side, -1), mode=("bilinear", "nearest")),
            EnsureTyped(keys, track_meta=False),
        ]
    )
    pairs = json.loads((root / "dataset.json").read_text())["training"]
    volumes = make([{key: str(root / pair[key]) for key in keys} for pair in pairs], transforms)
    patches = GridPatchDataset(
        volumes, PatchIterd(keys, (None, None, 1)), transform=SqueezeDimd(keys, dim=-1), with_coordinates=False
    )
    while True:
        loader = DataLoader(ShuffleBuffer(patches, buffer_size=256, seed=0), batch_size=BATCH, num_workers=0)
        yield sum(len(batch["image"]) for batch in loader)


class Side:
    """Epochs of one side; whatever it builds first is part of its first epoch."""

    def __init__(self, build: Callable[[], Iterator[int]]) -> None:
        self._build, self._epochs = build, None
        self.seconds: list[float] = []

    def epoch(self) -> None:
        """Run one epoch and keep its time."""
        begun = time.perf_counter()
        self._epochs = self._epochs or self._build()
        next(self._epochs)
        self.seconds.append(time.perf_counter() - begun)


def compare_epochs(root: Path, folder: Path, scratch: Path) -> dict[str, Side]:
    """Three epochs per side, the sides in turn."""
    from monai.data import CacheDataset, PersistentDataset

    def cached(items: list[dict[str, str]], transforms: Any) -> Any:
        return CacheDataset(items, transforms, num_workers=2, progress=False)

    def persistent(items: list[dict[str, str]], transforms: Any) -> Any:
        return PersistentDataset(items, transforms, cache_dir=scratch / "monai")

    sides = {
        "medsweep": Side(lambda: our_epochs(folder)),
        "CacheDataset": Side(lambda: monai_epochs(root, SIDE, cached)),
        "PersistentDataset": Side(lambda: monai_epochs(root, SIDE, persistent)),
    }
    for _ in range(EPOCHS):
        for side in sides.values():
            side.epoch()
    return sides


def trial(folder: Path) -> None:
    """A U-Net trial for the memory comparison: a few real steps, every slice read once, then wait for a line."""
    data = SliceSet.open(folder)
    config = segment_config(data.resolution, batch=2)
    samples = gather(config, data, data.patients, {}, "cpu")
    learner = UNetLearner(
        config, samples, SegmenterArchitecture(modalities=1, classes=2, channels=(4, 8), residual_units=0)
    )
    for step in (1, 2):
        learner.step(step)
    for first in range(0, samples.real, BATCH):
        samples.batch(np.arange(first, min(first + BATCH, samples.real)))
    print("ready", flush=True)
    sys.stdin.readline()


def pss_mib(folder: Path, trials: int) -> float:
    """Summed proportional resident memory of ``trials`` processes that hold the same dataset, in MiB."""
    command = [sys.executable, __file__, "--trial", str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    running = [subprocess.Popen(command, text=True, **pipes) for _ in range(trials)]  # type: ignore[call-overload]
    for process in running:
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError("a trial of the memory comparison ended early")
    total = 0
    for process in running:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    for process in running:
        process.communicate("go on\n")
    return total / 1024


def main() -> None:
    """Measure and print the ratios."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        root = scratch / "files"
        write_cohort(root, PATIENTS, PLANE, SLICES, ".nii.gz")
        print(
            f"{PATIENTS} CT-like volumes of {PLANE}x{PLANE}x{SLICES}, int16 .nii.gz, to {SIDE} px; batches of {BATCH}"
        )
        costs = look_costs(root, scratch, SIDE)
        for look in ("check", "first plan", "later plan"):
            ratios = (f"{costs[look] / costs[plain]:.2f} of a {plain} ({costs[plain]:.2f} s)" for plain in PLAIN)
            print(f"{look}: {costs[look]:.2f} s, {', '.join(ratios)}")
        if "--check" in sys.argv:
            return
        begun = time.perf_counter()
        folder = prepared(root, Store.create(scratch / "store"), SIDE)
        ours = time.perf_counter() - begun
        begun = time.perf_counter()
        plain_pass(root, SIDE)
        plain = time.perf_counter() - begun
        print(
            f"prepare, one thread: {ours:.2f} s; plain nibabel and scipy pass: {plain:.2f} s; ratio {ours / plain:.2f}"
        )
        sides = compare_epochs(root, folder, scratch)
        first, later = sides["medsweep"].seconds[0], min(sides["medsweep"].seconds[1:])
        for peer in ("CacheDataset", "PersistentDataset"):
            seconds = sides[peer].seconds
            print(
                f"{peer}: first epoch {seconds[0]:.2f} s against {first:.2f} s, {seconds[0] / first:.1f}x; "
                f"later epochs {min(seconds[1:]):.2f} s against {later:.2f} s, {min(seconds[1:]) / later:.1f}x"
            )
        large = scratch / "large"
        write_cohort(large, MEMORY_PATIENTS, PLANE, SLICES, ".nii")
        wide = prepared(large, Store.create(scratch / "wide"), MEMORY_SIDE)
        size = sum(path.stat().st_size for path in wide.glob("*.npy")) / 2**20
        single, four = pss_mib(wide, 1), pss_mib(wide, 4)
        print(
            f"{size:.0f} MiB of slices: PSS of one trial {single:.0f} MiB, of four {four:.0f} MiB, {four / single:.2f}x"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--trial"]:
        trial(Path(sys.argv[2]))
    else:
        main()
