"""Who finds what: faulty datasets looked through by medsweep, by nnU-Net v2 and by MONAI.

Every fault is a small raw folder of nnU-Net v2 with three sound cases and one that is not, so all sides read the same
files. The sides need environments of their own::

    python benchmarks/data_faults.py make DIR
    python benchmarks/data_faults.py medsweep DIR
    PEER/bin/python benchmarks/data_faults.py nnunet DIR      nnunetv2, its verify_dataset_integrity
    PEER/bin/python benchmarks/data_faults.py monai DIR       monai, its DataAnalyzer
    python benchmarks/data_faults.py table DIR

``found`` means that what a side says names the faulty case, or the fault where it is of the whole dataset. ``stops``
means that it ends with an error that names none, and ``-`` that it does neither. No side may say anything of that kind
about the sound dataset. What a side said about the first fault lies in DIR/Dataset101.SIDE.txt, and so on.
"""

import gzip
import importlib
import json
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any
from unittest import mock

import nibabel as nib
import numpy as np

SIDES = ("medsweep", "nnunet", "monai")
SHAPE, AFFINE = (24, 24, 10), np.diag([1.0, 1.0, 3.0, 1.0])
ODD = "case_4"
"""The faulty case of each dataset."""

MEMORY = 12 * 2**30
"""Bytes of address space that a side may take."""

Maker = Callable[[Path, Path, Path], Any]
"""What spoils a dataset, given its folder, the image and the mask of the odd case."""


def volumes(seed: int) -> tuple[Any, Any]:
    """A CT with a bright ball, in HU, and its mask: 1 for the ball, 2 for its core."""
    rng = np.random.default_rng(seed)
    grid = np.indices(SHAPE).astype(float)
    away = [(axis - size / 2 - rng.uniform(-2, 2)) / size for axis, size in zip(grid, SHAPE, strict=True)]
    radius = np.sqrt(sum(axis**2 for axis in away))
    inside = radius < 0.3
    return (-900 + 940 * inside + rng.normal(0, 30, SHAPE)).astype(np.int16), inside.astype(np.uint8) + (radius < 0.15)


def save(path: Path, array: Any, affine: Any = AFFINE, qform: Any = None) -> None:
    """Write one volume whose qform is its sform, unless another is given."""
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine if qform is None else qform, 1, strip_shears=True)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def edit(path: Path, change: Callable[[bytearray], Any], *, packed: bool = False) -> None:
    """Change the bytes of a file, before or, where ``packed``, after packing without compression."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    if packed:
        content = bytearray(gzip.compress(bytes(content), compresslevel=0))
    change(content)
    path.write_bytes(bytes(content) if packed else gzip.compress(bytes(content)))


def described(root: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change dataset.json."""
    content = json.loads((root / "dataset.json").read_text())
    change(content)
    (root / "dataset.json").write_text(json.dumps(content))


def copied(change: Callable[[Any], Any]) -> Maker:
    """The odd image is the first one, changed."""
    return lambda root, image, mask: save(image, change(np.asarray(nib.load(first(root)).dataobj)))


def first(root: Path) -> Path:
    """The image of the first case."""
    return root / "imagesTr" / "case_1_0000.nii.gz"


def with_image(change: Callable[[Any], Any]) -> Maker:
    """The odd image, changed."""
    return lambda root, image, mask: save(image, change(volumes(4)[0]))


def with_mask(change: Callable[[Any], Any], affine: Any = AFFINE) -> Maker:
    """The odd mask, changed."""
    return lambda root, image, mask: save(mask, change(volumes(4)[1]), affine)


def with_both(affine: Any, qform: Any = None) -> Maker:
    """The odd image and mask on another grid."""

    def spoil(root: Path, image: Path, mask: Path) -> None:
        for path, array in zip((image, mask), volumes(4), strict=True):
            save(path, array, affine, qform)

    return spoil


def all_empty(root: Path, image: Path, mask: Path) -> None:
    """No mask of any case has foreground."""
    for path in mask.parent.iterdir():
        save(path, np.zeros(SHAPE, np.uint8))


def visits(root: Path, image: Path, mask: Path) -> None:
    """Two cases of each of two patients."""
    for number, name in enumerate(("p01_v1", "p01_v2", "p02_v1", "p02_v2"), start=1):
        (image.parent / f"case_{number}_0000.nii.gz").rename(image.parent / f"{name}_0000.nii.gz")
        (mask.parent / f"case_{number}.nii.gz").rename(mask.parent / f"{name}.nii.gz")


def scaled_mask(root: Path, image: Path, mask: Path) -> None:
    """Whole numbers that the header scales into fractions."""
    header = nib.Nifti1Image(volumes(4)[1].astype(np.float64), AFFINE)
    header.header.set_data_dtype(np.uint8)
    nib.save(header, mask)


def in_micrometres(root: Path, image: Path, mask: Path) -> None:
    """A grid in micrometres that says so."""
    for path, array in zip((image, mask), volumes(4), strict=True):
        stored = nib.Nifti1Image(array, np.diag([1000.0, 1000, 3000, 1]))
        stored.header.set_xyzt_units("micron")
        nib.save(stored, path)


def without_geometry(root: Path, image: Path, mask: Path) -> None:
    """Neither sform nor qform."""
    for path, array in zip((image, mask), volumes(4), strict=True):
        stored = nib.Nifti1Image(array, AFFINE)
        stored.set_sform(None, 0)
        stored.set_qform(None, 0)
        nib.save(stored, path)


def moved(step: float) -> Any:
    """The usual grid, moved along the slices by ``step`` mm."""
    affine = AFFINE.copy()
    affine[2, 3] = step
    return affine


TILTED = AFFINE.copy()
TILTED[1, 2] = 3 * np.tan(np.radians(25))
OTHER = np.array([[-1.0, 0, 0, 23], [0, 0, 3, 5], [0, 1, 0, -7], [0, 0, 0, 1]])

FAULTS: dict[str, Maker] = {
    "sound": lambda root, image, mask: None,
    "400 bytes of the image zeroed, check sum wrong": lambda root, image, mask: edit(
        image, lambda b: b.__setitem__(slice(3000, 3400), bytes(400)), packed=True
    ),
    "image cut short": lambda root, image, mask: image.write_bytes(image.read_bytes()[:-2000]),
    "image of 0 bytes": lambda root, image, mask: image.write_bytes(b""),
    "Git LFS pointer": lambda root, image, mask: image.write_text("version https://git-lfs.github.com/spec/v1\n"),
    "web page named .nii.gz": lambda root, image, mask: image.write_text("<!DOCTYPE html><html>busy</html>"),
    ".nii.gz that is not packed": lambda root, image, mask: image.write_bytes(gzip.decompress(image.read_bytes())),
    "axis of length 0": with_image(lambda array: array[:0]),
    "header of 32767 cubed voxels": lambda root, image, mask: edit(
        image, lambda b: b.__setitem__(slice(42, 48), np.full(3, 32767, "<i2").tobytes())
    ),
    "no sform and no qform": without_geometry,
    "sform against qform, both files": with_both(AFFINE, OTHER),
    "qform of the mask elsewhere": lambda root, image, mask: save(mask, volumes(4)[1], AFFINE, OTHER),
    "pixdim against sform": lambda root, image, mask: edit(
        image, lambda b: b.__setitem__(slice(80, 88), np.array([2, 2], "<f4").tobytes())
    ),
    "grid sheared by 25 degrees": with_both(TILTED),
    "units of micrometres": in_micrometres,
    "mask on the identity": with_mask(lambda array: array, np.eye(4)),
    "mask one slice short": with_mask(lambda array: array[:, :, :-1]),
    "mask moved by a slice, origin far away": lambda root, image, mask: (
        save(image, volumes(4)[0], moved(300_000)), save(mask, volumes(4)[1], moved(300_003)),
    ),
    "same case under two ids": lambda root, image, mask: (
        shutil.copy(first(root), image), shutil.copy(mask.parent / "case_1.nii.gz", mask),
    ),
    "copy under another header": copied(lambda array: array.astype(np.float32)),
    "copy on another scale": copied(lambda array: ((array + 1100) / 6).astype(np.uint8)),
    "two visits of one patient as two cases": visits,
    "mask empty": with_mask(np.zeros_like),
    "all masks empty": all_empty,
    "image constant": with_image(lambda array: np.full_like(array, -1000)),
    "NaN voxels": with_image(lambda array: np.where(array > 0, np.nan, array).astype(np.float32)),
    "infinite voxels": with_image(lambda array: np.where(array > 0, np.inf, array).astype(np.float32)),
    "CT scaled to [-1, 1]": with_image(lambda array: (array / 1024).clip(-1, 1).astype(np.float32)),
    "CT with 1024 added": with_image(lambda array: (array + 1024).clip(0).astype(np.uint16)),
    "labels 0, 127 and 254": with_mask(lambda array: array * np.uint8(127)),
    "labels 0, 0.9 and 1.8": with_mask(lambda array: (array * 0.9).astype(np.float32)),
    "labels scaled by scl_slope": scaled_mask,
    "mask missing": lambda root, image, mask: mask.unlink(),
    "image missing": lambda root, image, mask: image.unlink(),
    "ending .NII.GZ": lambda root, image, mask: (
        image.rename(image.with_name(f"{ODD}_0000.NII.GZ")), mask.rename(mask.with_name(f"{ODD}.NII.GZ")),
    ),
    "numTraining wrong": lambda root, image, mask: described(root, lambda content: content.update(numTraining=5)),
    "key twice in dataset.json": lambda root, image, mask: (root / "dataset.json").write_text(
        (root / "dataset.json").read_text().replace('"core": 2', '"ball": 2, "core": 2')
    ),
    "file that no pattern matches": lambda root, image, mask: shutil.copy(image, image.with_name(f"{ODD}.nii.gz")),
}  # fmt: skip

NAMES = {
    "two visits of one patient as two cases": ("look like those of",),
    "all masks empty": ("any foreground",),
    "numTraining wrong": ("numTraining", "expected number of training cases"),
    "key twice in dataset.json": ("'ball'",),
}
"""What the finder of a fault of the whole dataset says, in the place of the odd case."""


def folder(root: Path, fault: str) -> Path:
    """Where the dataset of a fault lies."""
    return root / f"Dataset{100 + list(FAULTS).index(fault)}"


def make(root: Path) -> None:
    """Write all datasets."""
    for fault, spoil in FAULTS.items():
        place = folder(root, fault)
        for part in ("imagesTr", "labelsTr"):
            (place / part).mkdir(parents=True)
        for number in range(1, 5):
            image, mask = volumes(number)
            save(place / "imagesTr" / f"case_{number}_0000.nii.gz", image)
            save(place / "labelsTr" / f"case_{number}.nii.gz", mask)
        labels = {"background": 0, "ball": 1, "core": 2}
        content = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 4, "file_ending": ".nii.gz"}
        (place / "dataset.json").write_text(json.dumps(content))
        spoil(place, place / "imagesTr" / f"{ODD}_0000.nii.gz", place / "labelsTr" / f"{ODD}.nii.gz")


def by_medsweep(place: Path) -> None:
    """``medsweep data check``."""
    from medsweep.__main__ import main

    with mock.patch.object(sys, "argv", ["medsweep", "data", "check", "toy", "--root", str(place)]):
        main()


def by_nnunet(place: Path) -> None:
    """``verify_dataset_integrity`` of nnU-Net v2, with threads in the place of spawned processes."""
    from nnunetv2.experiment_planning import verify_dataset_integrity as nnunet

    with mock.patch.object(nnunet.multiprocessing, "get_context", return_value=mock.Mock(Pool=ThreadPool)):
        nnunet.verify_dataset_integrity(str(place), num_processes=1)


def by_monai(place: Path) -> None:
    """``DataAnalyzer`` of MONAI's Auto3DSeg over all cases that have an image and a mask."""
    from monai.apps.auto3dseg import DataAnalyzer

    ids = sorted(path.name.split(".")[0] for path in (place / "labelsTr").iterdir())
    images = {id_: next((place / "imagesTr").glob(f"{id_}_0000.*"), None) for id_ in ids}
    pairs = [
        {"image": str(image), "label": str(next((place / "labelsTr").glob(f"{id_}.*")))}
        for id_, image in images.items()
        if image is not None
    ]
    with tempfile.TemporaryDirectory() as out:
        DataAnalyzer({"training": pairs}, str(place), output_path=f"{out}/s.yaml", worker=0).get_all_case_stats()


def judge(root: Path, side: str) -> None:
    """Run one side over all datasets, each in a process of its own, and write what it says."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    run, module = {
        "medsweep": (by_medsweep, "medsweep.cli"),
        "nnunet": (by_nnunet, "nnunetv2.experiment_planning.verify_dataset_integrity"),
        "monai": (by_monai, "monai.apps.auto3dseg"),
    }[side]
    importlib.import_module(module)  # once, before the processes are forked
    for fault in FAULTS:
        place = folder(root, fault)
        told = root / f"{place.name}.{side}.txt"
        process = multiprocessing.get_context("fork").Process(target=speak, args=(run, place, told))
        process.start()
        process.join()
        with told.open("a") as file:
            file.write(f"exit code {process.exitcode}\n")


def speak(run: Callable[[Path], None], place: Path, told: Path) -> None:
    """Run one side over one dataset with all that it says in a file; what it raises ends the process with a code."""
    with told.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    run(place)


def outcome(root: Path, fault: str, side: str) -> str:
    """``found``, ``stops``, ``-``, or nothing where the side was not run."""
    path = root / f"{folder(root, fault).name}.{side}.txt"
    if not path.is_file():
        return ""
    text, _, code = path.read_text(errors="replace").rpartition("exit code ")
    if any(name in text for name in NAMES.get(fault, (ODD,))):
        return "found"
    return "stops" if int(code) else "-"


def table(root: Path) -> None:
    """Print a row for each fault."""
    for side in SIDES:
        if (said := outcome(root, "sound", side)) not in ("", "-"):
            raise SystemExit(f"{side}: {said!r} about the sound dataset, so its answers tell nothing")
    print(f"| fault | {' | '.join(SIDES)} |\n|---|{'---|' * len(SIDES)}")
    rows = {fault: [outcome(root, fault, side) for side in SIDES] for fault in FAULTS if fault != "sound"}
    for fault, cells in rows.items():
        print(f"| {fault} | {' | '.join(cells)} |")
    counts = (sum(cells[at] == "found" for cells in rows.values()) for at in range(len(SIDES)))
    print(f"| found, of {len(rows)} | {' | '.join(map(str, counts))} |")


if __name__ == "__main__":
    what, where = sys.argv[1], Path(sys.argv[2])
    if what in SIDES:
        judge(where, what)
    else:
        {"make": make, "table": table}[what](where)
