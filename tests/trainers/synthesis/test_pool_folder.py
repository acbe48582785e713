"""Pools from files: every form gives the same pairs, and what does not fit is refused in one line."""

import json
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers import outside_pool
from helpers.fake_trial import FakeTrial, drain
from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.trainers.pool import Pool
from medsweep.trainers.synthesis.from_files import ImportConfig, run
from medsweep.trainers.synthesis.pool_folder import PoolFolder, RequiredPairs

TARGET = RequiredPairs(32, outside_pool.MODALITIES, outside_pool.CLASSES)
IMAGES, MASKS = outside_pool.pairs(20, 32)
GREY = {"stored": [0, 255], "prepared": [-2, 5]}
PATIENTS = ("anna/1", "anna/2", "bert", "carl")


def folder_of(path: Path, form: str = "npy", images: Any = IMAGES, masks: Any = MASKS, **changes: Any) -> Path:
    outside_pool.write(path, form, images, masks)
    return outside_pool.describe(path, changes.pop("fitted_on", ["bert"]), **changes)


@pytest.mark.parametrize("form", ["npz", "zarr", "npy", "nifti", "png"])
def test_every_form_gives_the_same_pairs(tmp_path: Path, form: str) -> None:
    folder = PoolFolder.open(folder_of(tmp_path, form, scale=GREY if form == "png" else "prepared"), TARGET)
    folder.check()
    images, masks = (np.concatenate(parts) for parts in zip(*folder.batches(), strict=True))
    assert np.array_equal(masks, MASKS)
    np.testing.assert_allclose(images, np.clip(IMAGES, -2, 5), atol=7 / 255 / 2 + 1e-6 if form == "png" else 0)


def test_channels_and_classes_go_by_their_names(tmp_path: Path) -> None:
    values = {"lesion": 200, "background": 7, "organ": 100}
    stored = np.array([7, 100, 200], np.uint8)[MASKS]
    path = folder_of(tmp_path, masks=stored, images=IMAGES[:, ::-1], classes=values, modalities=["FLAIR", "T1"])
    images, masks = PoolFolder.open(path, TARGET).read(0, 20)
    assert np.array_equal(masks, MASKS)
    assert np.array_equal(images, IMAGES)


def test_one_modality_needs_no_channel_axis(tmp_path: Path) -> None:
    path = folder_of(tmp_path, images=IMAGES[:, 0], modalities=["T1"])
    images, _ = PoolFolder.open(path, RequiredPairs(32, ("T1",), outside_pool.CLASSES)).read(3, 5)
    assert np.array_equal(images, IMAGES[3:5, :1])


def test_the_content_follows_the_pairs_and_not_their_place(tmp_path: Path) -> None:
    first, second = folder_of(tmp_path / "a"), folder_of(tmp_path / "b", fitted_on=["carl"])
    assert PoolFolder.open(first, TARGET).content() == PoolFolder.open(second, TARGET).content()
    other = folder_of(tmp_path / "c", images=IMAGES + np.float32(1e-3))
    scaled = folder_of(tmp_path / "d", scale=GREY)
    contents = {PoolFolder.open(path, TARGET).content() for path in (first, other, scaled)}
    assert len(contents) == 3


def test_those_who_were_learned_from_are_named_in_four_ways(tmp_path: Path) -> None:
    (tmp_path / "fold.json").write_text(json.dumps({"train": ["anna/2", "bert"]}))
    splits = [{"train": ["bert", "carl"], "val": ["anna"]}, {"train": ["anna"], "val": ["bert"]}]
    (tmp_path / "splits.json").write_text(json.dumps(splits))

    def fitted(said: Any) -> Any:
        return PoolFolder.open(folder_of(tmp_path / "pool", fitted_on=said), TARGET).fitted_on(PATIENTS)

    assert fitted(["anna", "carl"]) == ("anna/1", "anna/2", "carl")
    assert fitted("../fold.json") == ("anna/2", "bert")
    assert fitted({"file": "../splits.json", "fold": 1}) == ("anna/1", "anna/2")
    assert fitted([]) == ()
    assert fitted("unknown") is None
    for said, words in (
        (["berd"], "fitted_on names 'berd', which is no patient; did you mean 'bert'?"),
        ([""], "fitted_on names '', which is no patient"),
        ({"file": "../splits.json", "fold": 2}, "has 2 folds, from 0 on, and no 2"),
        ("../splits.json", "of a file of several folds, name one"),
        ("../fold.jsn", "there is no fold file"),
    ):
        with pytest.raises(UserError, match=re.escape(words)):
            fitted(said)


ODD, NAN = MASKS.copy(), IMAGES.copy()
ODD[17, 3, 3], NAN[18, 0, 0, 0] = 9, np.nan
SPOILT: dict[str, tuple[dict[str, Any], str]] = {
    "size": ({"images": IMAGES[..., :30], "masks": MASKS[..., :30]}, r"must be \(2, 32, 32\) and \(32, 32\), got"),
    "channels": ({"images": IMAGES[:, :1]}, r"got \(1, 32, 32\)"),
    "count": ({"images": IMAGES[:9]}, r"got \(9, 2, 32, 32\) and \(20, 32, 32\)"),
    "empty": ({"images": IMAGES[:0], "masks": MASKS[:0]}, "holds no sample"),
    "mask": ({"masks": ODD}, r"sample 16 or what follows it has a mask value 9 of no class; known: background 0"),
    "nan": ({"images": NAN}, "sample 16 or what follows it holds NaN or infinity"),
    "range": ({"images": IMAGES * 50 + 100}, "of the pixels lie outside -5 to 5.*give scale"),
    "flat": ({"images": IMAGES * 1e-3}, "images are almost constant"),
    "modality": ({"modalities": ["T1", "FLAR"]}, r"pool.yaml:1: modalities names 'FLAR'.*did you mean 'FLAIR'"),
    "lacking": ({"classes": {"background": 0, "organ": 1}}, "classes lacks 'lesion' of the dataset"),
    "twice": ({"classes": {"background": 0, "organ": 1, "lesion": 1}}, "two classes have the same value"),
    "scale": ({"scale": "hounsfield"}, r"scale: prepared, or \{stored"),
    "no scale": ({"scale": None}, "key 'scale' is missing"),
    "descending": ({"scale": {"stored": [255, 0], "prepared": [-2, 5]}}, "stored must be two ascending numbers"),
    "nobody said": ({"fitted_on": None}, "fitted_on is missing; name the patients"),
    "numbers": ({"fitted_on": [1, 2]}, "fitted_on: a list of ids, .*ids stand in quotes"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    changes, words = SPOILT[name]
    with pytest.raises(UserError, match=words) as told:
        PoolFolder.open(folder_of(tmp_path, **changes), TARGET).check()
    assert "\n" not in str(told.value)


def test_chunks_that_change_places_are_another_pool(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "zarr")
    before = PoolFolder.open(folder, TARGET).content()
    chunk = next(path for path in sorted((folder / "pairs.zarr" / "masks").rglob("1/0/0")))
    chunk.parent.parent.rename(chunk.parents[2] / "9")
    assert PoolFolder.open(folder, TARGET).content() != before


@pytest.mark.timeout(30)
@pytest.mark.parametrize("filters", [[{"id": "pickle"}], [{"id": "vlen-utf8"}]])
@pytest.mark.parametrize("dtype", ["|O", "|u1"])
def test_a_group_of_zarr_with_objects_is_refused_at_once(
    tmp_path: Path, dtype: str, filters: list[dict[str, str]]
) -> None:
    folder = outside_pool.describe(tmp_path, [], modalities=["T1"])
    array = {"zarr_format": 2, "shape": MASKS.shape, "chunks": MASKS.shape, "fill_value": 0, "order": "C"}
    array |= {"compressor": None, "filters": filters, "dtype": dtype}
    for name in ("images", "masks"):
        (folder / "pairs.zarr" / name).mkdir(parents=True)
        (folder / "pairs.zarr" / name / ".zarray").write_text(json.dumps(array))
        (folder / "pairs.zarr" / name / "0.0.0").write_bytes(pickle.dumps(MASKS))
    (folder / "pairs.zarr" / ".zgroup").write_text('{"zarr_format": 2}')
    with pytest.raises(UserError, match=r"pairs\.zarr") as told:
        PoolFolder.open(folder, RequiredPairs(32, ("T1",), outside_pool.CLASSES)).check()
    assert "\n" not in str(told.value)


def test_files_that_are_missing_or_torn_are_named(tmp_path: Path) -> None:
    def refused(folder: Path, words: str) -> None:
        with pytest.raises(UserError, match=words):
            PoolFolder.open(folder, TARGET).check()

    refused(tmp_path / "gone", "there is no folder .*gone")
    bare = tmp_path / "bare"
    bare.mkdir()
    refused(bare, "there is no pool file .*pool.yaml")
    refused(
        outside_pool.describe(bare, []),
        r"must hold one of pairs.npz, pairs.zarr, images.npy and images/, and holds none of them",
    )
    both = folder_of(tmp_path / "both")
    outside_pool.write(both, "npz", IMAGES, MASKS)
    refused(both, "and holds pairs.npz and images.npy")
    maskless = folder_of(tmp_path / "maskless")
    (maskless / "masks.npy").unlink()
    refused(maskless, "there is no file .*masks.npy")
    torn = folder_of(tmp_path / "torn")
    (torn / "images.npy").write_bytes((torn / "images.npy").read_bytes()[:500])
    refused(torn, "images.npy cannot be read: .*; write it again")
    torn = folder_of(tmp_path / "zip", "npz")
    (torn / "pairs.npz").write_bytes(b"PK" + b"0" * 99)
    refused(torn, "pairs.npz cannot be read")
    torn = folder_of(tmp_path / "zarr", "zarr")
    chunk = next(path for path in sorted((torn / "pairs.zarr").rglob("c/0/0/0")) if path.is_file())
    chunk.write_bytes(b"no chunk")
    refused(torn, "pairs.zarr cannot be read")
    shutil.rmtree(torn / "pairs.zarr" / "images" / "c" / "2")
    refused(torn, r"pairs.zarr has 6 of 7 parts of 'images'; copy or write it again")
    shutil.rmtree(torn / "pairs.zarr" / "masks")
    refused(torn, r"pairs.zarr lacks the array 'masks'; it has \['images'\]")
    torn = folder_of(tmp_path / "gz", "nifti")
    (torn / "masks" / "all.nii.gz").write_bytes(b"no volume")
    refused(torn, "all.nii.gz cannot be read")
    torn = folder_of(tmp_path / "png", "png", scale=GREY)
    (torn / "images" / "0003_0001.png").unlink()
    refused(torn, "there is no file .*0003_0001.png")
    (torn / "masks" / "0003.nii").touch()
    refused(torn, "0003.nii and 0003.png are masks of one name; leave one of them")
    (torn / "masks" / "0003.nii").unlink()
    (torn / "masks" / "0003.png").unlink()
    refused(torn, "0003_0000.png has no mask")
    coloured = folder_of(tmp_path / "rgb", "png", scale=GREY)
    Image.new("RGB", (32, 32)).save(coloured / "images" / "0000_0000.png")
    refused(coloured, "picture of mode RGB; it must be grey")


FOLD = Fold(index=0, of=4)


def imported(folder: Path, slices: Path, pool: Path, **changes: Any) -> FakeTrial:
    opened = PoolFolder.open(pool, TARGET)
    fields = {"fold": FOLD, "count": 18, "unit": "slices", "resolution": 32, "path": str(pool), "name": "pool"}
    trial = FakeTrial(folder)
    config = ImportConfig(**{**fields, "content": opened.content(), "fitted_on": (), **changes})
    drain(run(config, {"prepare": slices}, trial))
    return trial


def test_a_small_pool_is_the_head_of_a_large_one(slices: Path, tmp_path: Path) -> None:
    path = folder_of(tmp_path / "files", images=IMAGES * np.float32(4))
    small, large = (Pool.open(imported(tmp_path / str(n), slices, path, count=n).output) for n in (5, 18))
    assert len(small) == 5
    assert np.array_equal(small.images, large.images[:5])
    assert np.array_equal(large.images, np.clip(IMAGES[:18] * np.float32(4), -5, 5))
    assert np.array_equal(large.masks, MASKS[:18])
    assert large.rows is None
    told = json.loads((tmp_path / "18" / "output" / "validity.json").read_text())
    assert 0 <= told["valid_share"] <= 1


def test_the_stage_refuses_other_files_strangers_and_too_few(slices: Path, tmp_path: Path) -> None:
    path = folder_of(tmp_path / "files")
    groups = split(SliceSet.open(slices).patients, FOLD)
    trial = imported(tmp_path / "fine", slices, path, fitted_on=groups.train[:2])
    assert json.loads((trial.output / "fitted_on.json").read_text()) == list(groups.train[:2])
    with pytest.raises(UserError, match="generator outside was fitted on 1 patients outside the fold's training group"):
        imported(tmp_path / "stranger", slices, path, fitted_on=(groups.test[0],))
    with pytest.raises(UserError, match="holds 20 samples and 21 are asked for"):
        imported(tmp_path / "few", slices, path, count=21)
    with pytest.raises(UserError, match="changed since the sweep was planned"):
        imported(tmp_path / "changed", slices, path, content="0" * 64)
    assert imported(tmp_path / "unknown", slices, path, fitted_on=None).notes != []
