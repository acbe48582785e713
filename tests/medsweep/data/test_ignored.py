"""Voxels that nobody labelled, from the files to prepared slices."""

import json
from dataclasses import replace

import numpy as np
import pytest

from helpers.decathlon_folder import cohort, save
from helpers.ignoring_cohort import LABELS, SIDE, STORED, prepared, written
from medsweep.data.check import check
from medsweep.data.ignored import IGNORED
from medsweep.data.preview import draw, fullest_slices, overlay
from medsweep.data.remembered import Remembered
from medsweep.data.slices import SliceSet
from medsweep.data.source import fingerprint, list_cases
from medsweep.data.volumes import load
from medsweep.errors import UserError


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("ignoring"))


def test_check_counts_ignored_voxels_and_says_what_leaves_them_out(tmp_path):
    report = check(list_cases("toy", written(tmp_path)))
    told = {finding.case: finding.what for finding in report.findings if finding.severity == "warning"}
    assert set(told) == {"p_1", "p_2"}
    share = (16 * 16 + 7 * 16) / (16 * 16 * 6)
    assert told["p_1"].startswith(f"{share:.1%} of voxels are ignored, in 2 of 6 slices: losses and overlaps leave")
    assert report.ok
    first, _, last = report.cases
    assert (first.voxels, first.foreground_slices, first.whole_slices) == ((1536 - 368 - 168, 162, 6), 3, 2)
    assert (last.ignored, last.ignored_slices, last.whole_slices) == (0, 0, 4)


def test_a_cohort_without_a_whole_slice_is_told(tmp_path):
    listing = list_cases("toy", written(tmp_path))
    report = check(replace(listing, cases=listing.cases[1:2]))
    (told,) = [finding.what for finding in report.findings if (finding.case, finding.severity) == ("-", "warning")]
    assert told.startswith("every slice with foreground has ignored voxels; U-Nets can be trained and scored, and no")


def test_prepared_masks_and_references_mark_them(slices):
    first = slices.volumes["p_1"].rows
    masks = np.array(slices.masks[first.start : first.stop])
    assert (masks[1] == IGNORED).all()
    assert (masks == IGNORED).sum(axis=(1, 2)).tolist() == [0, 256, 112, 0, 0, 0]
    assert np.count_nonzero(slices.reference("p_1") == IGNORED) == 368
    assert not (slices.reference("p_3") == IGNORED).any()
    assert slices.ignores
    assert slices.index["ignored"].tolist() == [0, 256, 112, 0, 0, 0, *[240] * 6, *[0] * 6]
    assert slices.index["foreground"].tolist()[:6] == [0, 0, 40, 64, 64, 0]


def test_rows_are_of_whole_slices_unless_parts_are_asked_for(slices):
    assert slices.rows(slices.patients).tolist() == [0, 3, 4, 5, *range(12, 18)]
    assert slices.rows(slices.patients, foreground_only=True).tolist() == [3, 4, 13, 14, 15, 16]
    assert slices.rows(slices.patients, partly_labelled=True).tolist() == [0, *range(2, 18)]
    assert slices.rows(["p_1"], foreground_only=True, partly_labelled=True).tolist() == [2, 3, 4]
    assert slices.slices_per_patient(["p_1", "p_3"]) == 3


def test_padding_makes_no_slice_one_that_somebody_labelled(tmp_path):
    volumes = {}
    for number in (1, 2):
        image = np.random.default_rng(number).normal(100, 20, (SIDE, SIDE - 6, 4)).astype(np.float32)
        labels = np.zeros(image.shape, np.uint8)
        labels[4:9, 3:6] = 1
        labels[:, :, 1], labels[:5, :, 2] = STORED, STORED
        volumes[f"p_{number}"] = (image, labels)
    slices = prepared(tmp_path, cohort(tmp_path / "data", volumes, labels=LABELS))
    assert slices.index["ignored"].tolist() == [0, 160, 50, 0] * 2
    assert slices.rows(slices.patients, partly_labelled=True).tolist() == [0, 2, 3, 4, 6, 7]
    assert slices.rows(slices.patients).tolist() == [0, 3, 4, 7]


def test_the_value_is_part_of_the_fingerprint_where_there_is_one(tmp_path):
    listing = list_cases("toy", written(tmp_path))
    hashes = {case.id: Remembered(tmp_path).hashes(case) for case in listing.cases}
    assert fingerprint(listing, hashes) != fingerprint(replace(listing, ignored_value=None), hashes)
    assert Remembered(tmp_path).key(listing.cases[0], listing) != Remembered(tmp_path).key(
        listing.cases[0], replace(listing, ignored_value=None)
    )


def test_a_set_of_before_has_no_ignored_pixels(slices, tmp_path):
    about = json.loads((slices.folder / "cohort.json").read_text())
    assert about.pop("ignored_value") == STORED
    for name in ("images.npy", "masks.npy"):
        (tmp_path / name).symlink_to(slices.folder / name)
    slices.index.drop(columns="ignored").to_parquet(tmp_path / "index.parquet")
    (tmp_path / "cohort.json").write_text(json.dumps(about))
    before = SliceSet.open(tmp_path)
    assert not before.ignores
    assert len(before.rows(before.patients)) == 18


def test_cohort_scales_and_previews_take_them_for_no_class(tmp_path):
    listing = list_cases("toy", written(tmp_path))
    loaded = load(listing.cases[1], listing)
    assert loaded.has_ignored
    assert set(np.unique(loaded.classes)) == {0, 1, 2}
    rows, findings = fullest_slices(listing, resolution=16, patients=3)
    assert ([row.slice for row in rows], findings) == ([3, 1, 1], [])
    np.testing.assert_allclose(overlay(np.array([[IGNORED]], np.uint8), ignores=True)[0, 0, :3], 1)
    draw(rows, listing, tmp_path / "a.png", title="toy")
    draw(rows, replace(listing, ignored_value=None), tmp_path / "b.png", title="toy")
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_a_described_folder_may_have_an_ignored_value(tmp_path):
    labels = np.zeros((6, 6, 4), np.uint8)
    labels[1, 1, 1], labels[2] = 1, 255
    save(tmp_path / "a" / "img.nii.gz", np.arange(144, dtype=np.float32).reshape(6, 6, 4))
    save(tmp_path / "a" / "seg.nii.gz", labels)
    text = 'modalities: {T1: "{id}/img.nii.gz"}\nmask: "{id}/seg.nii.gz"\nclasses: {organ: 1}\n'
    (tmp_path / "medsweep.yaml").write_text(f"{text}ignored_label: 255\n")
    assert check(list_cases("mine", tmp_path)).cases[0].ignored == 24
    (tmp_path / "medsweep.yaml").write_text(f"{text}ignored_label: 1\n")
    with pytest.raises(UserError, match="ignored_label 1 must be a value of the mask that no class has"):
        list_cases("mine", tmp_path)
