"""The treat stage, kind by kind: heads of pools, what may change, provenance, treat.json, real slices."""

import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from pydantic import ValidationError

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.fitted_on import write_fitted_on
from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.trainers.measures.spectra import mean_power
from medsweep.trainers.pool import Pool
from medsweep.trainers.segmentation.network import SegmenterArchitecture, build, save_segmenter
from medsweep.trainers.treatments import TreatConfig, TreatSettings
from medsweep.trainers.treatments.base import ImageTreatment, MaskTreatment, Treatment
from medsweep.trainers.treatments.config import KINDS
from medsweep.trainers.treatments.real_slices import RealSlices, chosen_rows
from medsweep.trainers.treatments.run import run

FOLD = Fold(index=0, of=4, patients=3)
ALL = [
    {"kind": "duplicate-real"},
    {"kind": "fresh-real"},
    {"kind": "k-unique-real", "patients": 2},
    {"kind": "copy-paste"},
    {"kind": "copy-paste", "into": "empty", "structures": ["lesion"], "blend_px": 0.0},
    {"kind": "noise", "sd": 0.1},
    {"kind": "noise", "sd": 0.5, "law": "rician", "unit": "tissue"},
    {"kind": "noise", "sd": 0.5, "unit": "background"},
    {"kind": "blur", "sigma_px": 0.7},
    {"kind": "unsharp", "sigma_px": 1.0, "amount": 0.5},
    {"kind": "histogram"},
    {"kind": "histogram", "target": "pool", "measured": 4},
    {"kind": "histogram", "per_class": True},
    {"kind": "match-spectrum"},
    {"kind": "match-spectrum", "target": "pool", "measured": 4},
    {"kind": "imitate"},
    {"kind": "imitate", "target": "pool", "measured": 4},
    {"kind": "paint-gaussian", "bias_sd": 0.2, "blur_px": 0.5},
    {"kind": "relabel"},
    {"kind": "corrupt-labels", "bias_px": 0.6, "random_px": 1.0, "smooth_px": 3.0},
    {"kind": "corrupt-labels", "bias_px": 1.0, "share": 0.5},
    {"kind": "mismatch"},
    {"kind": "mismatch", "share": 0.5},
    {"kind": "flip-classes", "share": 0.7},
    {"kind": "flip-classes", "share": 0.7, "classes": ["background", "organ"]},
    {"kind": "postprocess", "steps": ["min-area", "largest-component"], "min_area_px": 4},
]
NAMES = [json.dumps(one) for one in ALL]
RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((12, 2, 32, 32)).astype(np.float32)
MASKS = np.zeros((12, 32, 32), np.uint8)
MASKS[:, 6:24, 6:24] = 1
MASKS[:, 10:16, 10:16] = 2
MASKS[:, 28, 28] = 1
MASKS[np.arange(12), 3, np.arange(12) // 2 * 2] = 1
"""Samples of a pair have the same mask."""


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    architecture = SegmenterArchitecture(modalities=2, classes=3, channels=(4, 8), residual_units=0)
    save_segmenter(build(architecture, seed=1).eval(), architecture, folder)
    write_fitted_on(folder, [])
    return folder


@pytest.fixture
def inputs(slices, reference):
    return slices, reference


def treated(folder, slices, reference, treatments, *, count=12, seed=0, fold=FOLD, spoiled=None, rows=None):
    pool = folder / "pool"
    flags = None if spoiled is None else spoiled[:count]
    Pool(images=IMAGES[:count], masks=MASKS[:count], slices_per_patient=3, spoiled=flags, rows=rows).save(pool)
    write_fitted_on(pool, [])
    text = json.dumps({"treatments": treatments, "fold": fold.model_dump(), "seed": seed})
    inputs = {"prepare": slices, "pool": pool, "reference": reference}
    trial = FakeTrial(folder / f"{count}-{seed}")
    drain(run(TreatConfig.model_validate_json(text), inputs, trial))
    return Pool.open(trial.output), json.loads((trial.output / "treat.json").read_text()), trial.output


def named(one, slices):
    """The treatment with the class names of the cohort at hand."""
    return one | {"classes": list(SliceSet.open(slices).classes[:2])} if "classes" in one else one


def test_the_list_holds_every_kind_that_any_pool_can_have():
    assert {one["kind"] for one in ALL} | {"swap-bands", "warp-real"} == set(KINDS)


@pytest.mark.parametrize("one", ALL, ids=NAMES)
def test_every_kind_is_repeatable_keeps_heads_and_changes_what_it_is_for(one, inputs, tmp_path):
    one = named(one, inputs[0])
    many, (told,), _ = treated(tmp_path, *inputs, [one])
    few, _, _ = treated(tmp_path, *inputs, [one], count=5)
    assert (len(many), len(few), many.slices_per_patient) == (12, 5, 3)
    np.testing.assert_array_equal(few.images, many.images[:5])
    np.testing.assert_array_equal(few.masks, many.masks[:5])
    kind = KINDS[one["kind"]]
    image_kind, source = issubclass(kind, ImageTreatment), issubclass(kind, RealSlices)
    assert np.array_equal(many.images, IMAGES) == (not image_kind and not source)
    assert np.array_equal(many.masks, MASKS) == image_kind
    changed = (many.images != IMAGES).any(axis=(1, 2, 3)) | (many.masks != MASKS).any(axis=(1, 2))
    assert told["samples"] == changed.sum() > 0
    assert told["image_change"] == pytest.approx(np.abs(many.images - IMAGES).mean(), rel=1e-4)
    assert told["mask_change"] == pytest.approx((many.masks != MASKS).mean())


@pytest.mark.parametrize("one", [one for one in ALL if one["kind"] in ("noise", "corrupt-labels", "duplicate-real")])
def test_random_kinds_follow_the_seed(one, inputs, tmp_path):
    here, there = (treated(tmp_path, *inputs, [one], seed=seed)[0] for seed in (0, 1))
    assert not (np.array_equal(here.images, there.images) and np.array_equal(here.masks, there.masks))


def keys(data, patients):
    return {data.image_rows(np.array([row])).tobytes() for row in data.rows(patients, foreground_only=True)}


@pytest.mark.parametrize("one", ALL[:3])
def test_sources_take_whole_pairs_of_the_patients_they_promise_and_say_so(one, inputs, tmp_path):
    data = SliceSet.open(inputs[0])
    train = set(split(data.patients, FOLD).train)
    everyone = set(split(data.patients, Fold(index=0, of=4)).train)
    two = set(split(data.patients, FOLD.model_copy(update={"patients": 2})).train)
    wanted = {"duplicate-real": train, "fresh-real": everyone - train, "k-unique-real": two}[one["kind"]]
    pool, (told,), output = treated(tmp_path, *inputs, [one])
    assert {image.tobytes() for image in pool.images} <= keys(data, sorted(wanted))
    np.testing.assert_array_equal(pool.images, data.image_rows(pool.rows))
    np.testing.assert_array_equal(pool.masks, data.masks[pool.rows])
    assert told["patients"] == len(wanted)
    assert json.loads((output / "fitted_on.json").read_text()) == sorted(train | wanted)


def test_samples_keep_their_source_whatever_is_done_to_them(inputs, tmp_path):
    changes = [{"kind": "noise", "sd": 0.1}, {"kind": "mismatch"}]
    taken, _, _ = treated(tmp_path / "taken", *inputs, [{"kind": "duplicate-real"}, *changes])
    plain, _, _ = treated(tmp_path / "plain", *inputs, [{"kind": "duplicate-real"}])
    np.testing.assert_array_equal(taken.rows, plain.rows)
    assert treated(tmp_path / "none", *inputs, changes)[0].rows is None
    came, _, _ = treated(tmp_path / "came", *inputs, changes, rows=np.arange(12))
    np.testing.assert_array_equal(came.rows, np.arange(12))


def test_slices_are_repeated_only_when_all_were_taken():
    rows = np.array([3, 5, 8, 9])
    chosen = chosen_rows(rows, 10, seed=1)
    assert sorted(chosen[:4]) == sorted(chosen[4:8]) == rows.tolist()
    np.testing.assert_array_equal(chosen_rows(rows, 5, seed=1), chosen[:5])
    assert not np.array_equal(chosen, chosen_rows(rows, 10, seed=2))


def test_fewer_unique_patients_are_among_more(inputs, tmp_path):
    data = SliceSet.open(inputs[0])
    one, _, _ = treated(tmp_path, *inputs, [{"kind": "k-unique-real", "patients": 1}])
    assert {image.tobytes() for image in one.images} <= keys(data, split(data.patients, FOLD).train)
    two, _, _ = treated(tmp_path / "two", *inputs, [{"kind": "k-unique-real", "patients": 2}])
    both = keys(data, split(data.patients, FOLD.model_copy(update={"patients": 2})).train)
    assert {image.tobytes() for image in one.images} | {image.tobytes() for image in two.images} <= both


@pytest.mark.parametrize(
    ("treatments", "fold", "message"),
    [
        ([{"kind": "fresh-real"}], FOLD.model_copy(update={"patients": 6}), "no training patient left out"),
        ([{"kind": "k-unique-real", "patients": 4}], FOLD, "the fold has 3"),
        ([{"kind": "match-spectrum", "target": "pool"}], FOLD, "measured: 12 or less"),
        ([{"kind": "corrupt-labels", "bias_px": 1.0, "classes": ["backgroun"]}], FOLD, "did you mean 'background'"),
    ],
)
def test_what_the_data_cannot_give_is_refused(treatments, fold, message, inputs, tmp_path):
    with pytest.raises(UserError, match=message):
        treated(tmp_path, *inputs, treatments, fold=fold)


def test_real_slices_replace_the_pool_before_anything_else():
    with pytest.raises(ValidationError, match="'fresh-real' replaces the pool, so it must be the first"):
        TreatSettings.model_validate({"treatments": [{"kind": "blur", "sigma_px": 1.0}, {"kind": "fresh-real"}]})


def test_a_pool_of_another_shape_is_refused(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.IMAGES", IMAGES[..., :16, :16])
    with pytest.raises(UserError, match="same prepared data"):
        treated(tmp_path, *inputs, [{"kind": "blur", "sigma_px": 1.0}])


def test_real_slices_can_be_given_the_spectrum_of_the_pool_and_their_boundaries_be_measured(inputs, tmp_path):
    steps = [
        {"kind": "duplicate-real"},
        {"kind": "match-spectrum", "target": "pool", "measured": 8},
        {"kind": "corrupt-labels", "bias_px": -1.0},
    ]
    pool, told, _ = treated(tmp_path, *inputs, steps)
    plain, _, _ = treated(tmp_path / "plain", *inputs, steps[:1])

    def gap(images):
        return np.abs(np.log(mean_power(images)[:, 1:] / mean_power(IMAGES[:8])[:, 1:])).mean()

    assert gap(np.array(pool.images)) < 0.7 * gap(np.array(plain.images))
    assert [one["kind"] for one in told] == [one["kind"] for one in steps]
    assert told[2]["boundary_bias_px"] == pytest.approx(-1, abs=0.3)
    assert told[2]["image_change"] == 0


@pytest.mark.parametrize("unit", ["background", "tissue"])
def test_noise_is_measured_in_the_deviation_of_real_training_pixels(unit, inputs, tmp_path):
    data = SliceSet.open(inputs[0])
    rows = data.rows(split(data.patients, FOLD).train, foreground_only=True)
    inside = (data.masks[rows] > 0) == (unit == "tissue")
    real_sd = data.image_rows(rows).transpose(1, 0, 2, 3)[:, inside].std(axis=1)
    pool, _, _ = treated(tmp_path, *inputs, [{"kind": "noise", "sd": 0.5, "unit": unit}])
    assert (pool.images - IMAGES).std(axis=(0, 2, 3)) == pytest.approx(0.5 * real_sd, rel=0.03)


SHARES = [one for one in ALL if one.get("share", 1.0) < 1]


@pytest.mark.parametrize("one", SHARES, ids=[json.dumps(one) for one in SHARES])
def test_where_a_share_is_drawn_the_samples_whose_mask_changed_are_flagged(one, inputs, tmp_path):
    one = named(one, inputs[0])
    pool, _, _ = treated(tmp_path, *inputs, [one])
    changed = (pool.masks != MASKS).any(axis=(1, 2))
    assert 0 < changed.sum() < 12
    assert pool.spoiled.tolist() == changed.tolist()
    few, _, _ = treated(tmp_path, *inputs, [one], count=5)
    assert few.spoiled.tolist() == changed[:5].tolist()


def test_flags_add_up_over_treatments_and_over_what_came(inputs, tmp_path):
    came = np.arange(12) == 7
    noise, wrong, other = {"kind": "noise", "sd": 0.1}, *SHARES[:2]
    kept, _, _ = treated(tmp_path / "kept", *inputs, [noise], spoiled=came)
    assert kept.spoiled.tolist() == came.tolist()
    one, _, _ = treated(tmp_path / "one", *inputs, [wrong])
    both, _, _ = treated(tmp_path / "both", *inputs, [wrong, noise, other], spoiled=came)
    second = (both.masks != one.masks).any(axis=(1, 2))
    assert both.spoiled.tolist() == (came | one.spoiled | second).tolist()
    assert not one.spoiled[7]


@pytest.mark.parametrize("one", [{"kind": "noise", "sd": 0.1}, {"kind": "mismatch"}, {"kind": "duplicate-real"}])
def test_nothing_is_flagged_where_no_share_was_drawn(one, inputs, tmp_path):
    assert treated(tmp_path, *inputs, [one])[0].spoiled is None


def test_real_slices_that_replace_a_spoiled_pool_are_whole(inputs, tmp_path):
    assert treated(tmp_path, *inputs, [{"kind": "duplicate-real"}], spoiled=np.ones(12, bool))[0].spoiled is None


def _kinds(base):
    for model in base.__subclasses__():
        yield from _kinds(model)
        if not inspect.isabstract(model):
            yield model


def test_every_kind_that_is_written_is_known_to_sweep_files():
    assert set(_kinds(Treatment)) == set(KINDS.values())


@pytest.mark.parametrize(
    ("base", "function"),
    [
        (ImageTreatment, "new_images"),
        (MaskTreatment, "new_masks"),
        (RealSlices, "drawn_patients"),
        (Treatment, "apply"),
    ],
)
def test_a_kind_without_its_function_is_refused_by_name(base, function):
    with pytest.raises(TypeError, match=f"treatment 'sharpen' has no function: Sharpen must define {function}"):

        class Sharpen(base):
            kind: Literal["sharpen"]


RECIPE = '''class Negate(ImageTreatment):
    """Turn bright into dark."""

    kind: Literal["negate"]

    def new_images(self, pairs: Pairs, context: TreatmentContext, seed: int) -> Images:
        """Images times -1."""
        return -pairs.images


AnyImageTreatment = Negate | Noise'''
PROOF = """
import numpy as np
from medsweep.trainers.treatments import TreatSettings
from medsweep.trainers.treatments.base import Pairs
(negate,) = TreatSettings.model_validate({"treatments": [{"kind": "negate"}]}).treatments
assert (negate.apply(Pairs(np.ones(3), np.ones(3)), None, 0).images == -1).all()
"""


def test_a_new_kind_touches_the_file_of_its_family_alone(tmp_path):
    root = Path(__file__).parents[3]
    for name in ("medsweep", "trainers"):
        shutil.copytree(root / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "trainers" / "treatments" / "images.py"
    text = path.read_text()
    assert text.count("AnyImageTreatment = Noise") == 1
    path.write_text(text.replace("AnyImageTreatment = Noise", RECIPE))
    subprocess.run(
        [sys.executable, "-c", PROOF], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)}, check=True
    )
