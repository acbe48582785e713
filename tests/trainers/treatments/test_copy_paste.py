"""``copy-paste``: what is pasted, where, from whom, and that sample i depends on i alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.trainers.pool import Pool
from medsweep.trainers.treatments import TreatConfig
from medsweep.trainers.treatments.copy_paste import CopyPaste, Slice, paste
from medsweep.trainers.treatments.run import run

FOLD = Fold(index=0, of=4, patients=4)


def made(folder: Path, slices: Path, count: int, fold: Fold = FOLD, **fields: Any) -> tuple[Pool, dict[str, float]]:
    treatments = [{"kind": "copy-paste", **fields}]
    text = json.dumps({"treatments": treatments, "fold": fold.model_dump(), "seed": 5, "count": count})
    trial = FakeTrial(folder)
    drain(run(TreatConfig.model_validate_json(text), {"prepare": slices}, trial))
    (told,) = json.loads((trial.output / "treat.json").read_text())
    return Pool.open(trial.output), told


def test_few_are_the_head_of_many_and_nobody_else_is_seen(slices: Path, tmp_path: Path) -> None:
    many, told = made(tmp_path / "many", slices, 40)
    few, _ = made(tmp_path / "few", slices, 15)
    np.testing.assert_array_equal(few.images, many.images[:15])
    np.testing.assert_array_equal(few.masks, many.masks[:15])
    assert many.rows is None
    train = split(SliceSet.open(slices).patients, FOLD).train
    assert json.loads((tmp_path / "many" / "output" / "fitted_on.json").read_text()) == sorted(train)
    assert (told["samples"], told["patients"], told["blend_px"]) == (40, 4, 1.0)
    assert told["foreground"] > told["real_foreground"] > 0


def test_unmoved_and_hard_it_is_one_slice_laid_over_another_of_another_patient(slices: Path, tmp_path: Path) -> None:
    data = SliceSet.open(slices)
    pool, _ = made(tmp_path, slices, 30, max_shift=0.0, max_scale=1.0, blend_px=0.0)
    rows = data.rows(split(data.patients, FOLD).train)
    owners = data.owners
    for image, mask in zip(pool.images, pool.masks, strict=True):
        pairs = [
            (target, donor)
            for donor in rows
            if (shown := data.masks[donor] > 0).any() and np.array_equal(mask[shown], data.masks[donor][shown])
            for target in rows
            if np.array_equal(mask[~shown], data.masks[target][~shown])
            and np.allclose(image[:, ~shown], data.images[target][:, ~shown], atol=1e-6)
            and np.allclose(image[:, shown], data.images[donor][:, shown], atol=1e-6)
        ]
        assert any(owners[target] != owners[donor] for target, donor in pairs)


@pytest.mark.parametrize(("into", "shows"), [("foreground", True), ("empty", False)])
def test_slices_that_are_pasted_into_can_be_chosen(slices: Path, into: str, shows: bool, tmp_path: Path) -> None:
    data = SliceSet.open(slices)
    train = split(data.patients, FOLD).train
    wanted = data.rows(train, foreground_only=True)
    wanted = wanted if shows else np.setdiff1d(data.rows(train), wanted)
    pool, _ = made(tmp_path, slices, len(wanted), into=into, blend_px=0.0)
    for image, mask in zip(pool.images, pool.masks, strict=True):
        assert any(np.allclose(image[:, mask == 0], data.images[row][:, mask == 0], atol=1e-6) for row in wanted)


def test_only_the_structures_asked_for_are_pasted(slices: Path, tmp_path: Path) -> None:
    name = SliceSet.open(slices).classes[2]
    pool, _ = made(tmp_path, slices, 20, into="empty", structures=[name])
    assert set(np.unique(pool.masks)) == {0, 2}


def disc(side: int = 33, radius: float = 5.0) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - side // 2
    return (y**2 + x**2 <= radius**2).astype(np.uint8)


def test_a_structure_moves_and_grows_and_the_rest_stays() -> None:
    image, donor = np.zeros((1, 33, 33), np.float32), np.ones((1, 33, 33), np.float32)
    mask = np.zeros((33, 33), np.uint8)
    mask[0, :] = 2
    new = paste(Slice(image, mask), Slice(donor, disc()), np.array([4.0, -3.0]), 1.2, 0.0)
    rows, columns = np.nonzero(new.mask == 1)
    assert (rows.mean(), columns.mean()) == (pytest.approx(20, abs=0.2), pytest.approx(13, abs=0.2))
    assert len(rows) / disc().sum() == pytest.approx(1.44, rel=0.1)
    assert (new.mask[0] == 2).all()
    np.testing.assert_array_equal(new.image[0] > 0.5, new.mask == 1)


def test_blending_mixes_both_images_about_the_edge_and_leaves_the_mask() -> None:
    image, donor = np.zeros((1, 33, 33), np.float32), np.ones((1, 33, 33), np.float32)
    hard, soft = (
        paste(Slice(image, disc() * 0), Slice(donor, disc()), np.zeros(2), 1.0, blend) for blend in (0.0, 1.0)
    )
    np.testing.assert_array_equal(hard.mask, soft.mask)
    assert set(np.unique(hard.image)) == {0.0, 1.0}
    mixed = (soft.image[0] > 0.05) & (soft.image[0] < 0.95)
    distance = np.hypot(*(np.mgrid[:33, :33] - 16))
    assert mixed.sum() > 20
    assert np.abs(distance[mixed] - 5).max() < 3
    assert float(soft.image.sum()) == pytest.approx(disc().sum(), rel=1e-3)


@pytest.mark.parametrize(
    ("fold", "fields", "message"),
    [
        (FOLD, {"structures": ["organn"]}, "no structure is called 'organn'; did you mean 'organ'"),
        (
            Fold(index=0, of=4, patients=1),
            {},
            "finds no patient with a structure beside .* take more training patients",
        ),
    ],
)
def test_what_cannot_be_pasted_is_refused(
    slices: Path, fold: Fold, fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        made(tmp_path, slices, 4, fold, **fields)


def test_settings_that_make_no_sense_are_refused() -> None:
    for fields in ({"max_scale": 0.5}, {"blend_px": -1.0}, {"max_shift": 1.0}, {"structures": ()}):
        with pytest.raises(ValidationError):
            CopyPaste(kind="copy-paste", **fields)
