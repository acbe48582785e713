"""What only all cases together show."""

import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from helpers.decathlon_folder import save
from medsweep.data.check import Report, check
from medsweep.data.cohort import shortened
from medsweep.data.config import DataConfig
from medsweep.data.copies import voxel_hash
from medsweep.data.dataset import Case, Listing, SliceAxis
from medsweep.data.source import inspect_source
from medsweep.errors import UserError

AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])
SHAPE = (8, 7, 6)


def image(seed: int) -> Any:
    return np.random.default_rng(seed).integers(-50, 900, SHAPE).astype(np.int16)


def mask(seed: int) -> Any:
    return (np.random.default_rng(seed + 100).random(SHAPE) < 0.2).astype(np.uint8)


def looked_through(folder: Path, images: list[Any], masks: list[Any] | None = None, **fields: Any) -> Report:
    """``check`` of a case p1, p2, ... per image, or image file."""
    masks = masks or [mask(number) for number in range(len(images))]
    cases = []
    for number, (content, labels) in enumerate(zip(images, masks, strict=True), start=1):
        path = content if isinstance(content, Path) else save(folder / f"{number}.nii.gz", content, AFFINE)
        label = labels if isinstance(labels, Path) else save(folder / f"{number}_m.nii.gz", labels, AFFINE)
        cases.append(Case(f"p{number}", (path,), label))
    listing = Listing(
        name="toy", modalities=("T1",), classes=("background", "a"), values={0: 0, 1: 1}, cases=tuple(cases), **fields
    )
    return check(listing)


def told(report: Report, severity: str) -> list[tuple[str, str]]:
    return [(finding.case, finding.what) for finding in report.findings if finding.severity == severity]


def test_a_copy_is_named_with_its_original_whatever_it_is_wrapped_in(tmp_path: Path) -> None:
    original = image(0)
    link = tmp_path / "link.nii.gz"
    link.symlink_to(save(tmp_path / "linked.nii.gz", original, AFFINE))
    other_type = save(tmp_path / "real.nii", original.astype(np.float64), AFFINE)
    packed = nib.Nifti1Image(((original + 50) // 1).astype(np.int16), AFFINE)
    packed.header.set_slope_inter(1, -50)
    nib.Nifti1Image(np.asanyarray(packed.dataobj), AFFINE, packed.header).to_filename(tmp_path / "packed.nii.gz")
    for copy in (original, link, other_type):
        report = looked_through(tmp_path, [original, image(1), copy])
        assert told(report, "error") == [("p3", "p3 and p1 hold the same voxels (T1); keep one of them")]
        assert report.unusable == ("p3",)
        assert [facts.id for facts in report.cases] == ["p1", "p2"]
    assert told(looked_through(tmp_path, [original, image(1), image(2)]), "error") == []


def test_a_copy_under_another_header_or_turned_is_found(tmp_path: Path) -> None:
    original, turned = image(0), AFFINE @ np.diag([-1.0, 1, 1, 1])
    stored = save(tmp_path / "turned.nii.gz", original, turned)
    labels = save(tmp_path / "turned_m.nii.gz", mask(5), turned)
    report = looked_through(tmp_path, [original, stored], [mask(0), labels])
    assert told(report, "error") == [("p2", "p2 and p1 hold the same voxels (T1); keep one of them")]


def test_the_hash_sees_a_single_voxel_and_not_the_order_of_axes() -> None:
    volume = image(3).astype(np.float32)
    same = voxel_hash(volume)
    assert voxel_hash(volume.transpose(2, 0, 1)[::-1]) == same
    for value in (volume[0, 0, 0] + 1, -volume[0, 0, 0]):
        other = volume.copy()
        other[0, 0, 0] = value
        assert voxel_hash(other) != same
    assert voxel_hash(np.where(volume == volume[0, 0, 0], -0.0, volume).astype(np.float32)) == voxel_hash(
        np.where(volume == volume[0, 0, 0], 0.0, volume).astype(np.float32)
    )
    assert voxel_hash(np.full(SHAPE, 3, np.float32)) == ""
    swapped = volume.copy()
    swapped[0, 0, 0], swapped[1, 1, 1] = volume[0, 0, 0] + 1, volume[1, 1, 1] - 1
    assert voxel_hash(swapped) != same
    shuffled = np.random.default_rng(9).permutation(volume.ravel()).reshape(SHAPE)
    assert voxel_hash(shuffled) != same  # one histogram, other places
    assert voxel_hash(mask(1)) != voxel_hash(np.random.default_rng(9).permutation(mask(1).ravel()).reshape(SHAPE))


def test_two_modalities_of_one_case_that_are_one_file_are_an_error(tmp_path: Path) -> None:
    path = save(tmp_path / "t1.nii.gz", image(0), AFFINE)
    case = Case(
        "p1", (path, save(tmp_path / "t2.nii.gz", image(0), AFFINE)), save(tmp_path / "m.nii.gz", mask(0), AFFINE)
    )
    listing = Listing(
        name="toy", modalities=("T1", "T2"), classes=("background", "a"), values={0: 0, 1: 1}, cases=(case,)
    )
    what = "T2 and T1 hold the same voxels; give T2 its own file, or leave it out"
    assert told(check(listing), "error") == [("p1", what)]


def test_a_copied_case_is_told_once_whatever_it_holds(tmp_path: Path) -> None:
    cases = tuple(
        Case(
            name,
            tuple(save(tmp_path / name / f"{seed}.nii.gz", image(seed), AFFINE) for seed in (0, 1)),
            save(tmp_path / name / "m.nii.gz", mask(0), AFFINE),
        )
        for name in ("p1", "p2")
    )
    listing = Listing(
        name="toy", modalities=("T1", "T2"), classes=("background", "a"), values={0: 0, 1: 1}, cases=cases
    )
    assert [finding.what for finding in check(listing).findings if finding.severity != "note"] == [
        "p2 and p1 hold the same voxels (T1, T2); keep one of them"
    ]


def test_two_patients_whose_modalities_are_each_other_s_are_told(tmp_path: Path) -> None:
    cases = tuple(
        Case(
            name,
            tuple(save(tmp_path / name / f"{part}.nii.gz", image(seed), AFFINE) for part, seed in enumerate(seeds)),
            save(tmp_path / name / "m.nii.gz", mask(seeds[0]), AFFINE),
        )
        for name, seeds in (("p1", (0, 1)), ("p2", (1, 0)))
    )
    listing = Listing(
        name="toy", modalities=("T1", "T2"), classes=("background", "a"), values={0: 0, 1: 1}, cases=cases
    )
    assert told(check(listing), "error") == [
        ("p2", "p2 and p1 hold the same voxels (T1 as T2, T2 as T1); keep one of them")
    ]


def test_equal_masks_of_two_cases_are_warned_of(tmp_path: Path) -> None:
    report = looked_through(tmp_path, [image(0), image(1)], [mask(0), mask(0)])
    assert told(report, "warning") == [("p2", "the mask has the voxels of that of p1; are both the same patient?")]


def test_a_plan_over_a_copied_patient_is_refused(tmp_path: Path) -> None:
    for name, seed in (("p1", 0), ("p2", 1), ("p3", 0)):
        save(tmp_path / "data" / name / "t1.nii.gz", image(seed), AFFINE)
        save(tmp_path / "data" / name / "seg.nii", mask(seed).astype(np.int16), AFFINE)
    (tmp_path / "data" / "medsweep.yaml").write_text(
        'modalities: {T1: "{id}/t1.nii.gz"}\nmask: "{id}/seg.nii"\nclasses: {a: 1}\n'
    )
    data = DataConfig(dataset="mine", root=str(tmp_path / "data"))
    with pytest.raises(UserError, match=r"p3 and p1 hold the same voxels .*t1\.nii\.gz.*leave_out"):
        inspect_source(data, tmp_path)
    assert inspect_source(data.model_copy(update={"leave_out": ("p3",)}), tmp_path).patients == ("p1", "p2")


def test_empty_masks_are_warned_of_and_refused_if_all_are(tmp_path: Path) -> None:
    empty = np.zeros(SHAPE, np.uint8)
    report = looked_through(tmp_path, [image(0), image(1)], [empty, mask(1)])
    assert told(report, "warning") == [("p1", "the mask is empty")]
    assert report.ok
    report = looked_through(tmp_path, [image(0), image(1)], [empty, empty])
    assert told(report, "error") == [("-", "no mask of 2 has any foreground; there is nothing to learn or to measure")]


@pytest.mark.parametrize("axis", ["third", "axial"])
def test_a_stored_axis_must_be_one_direction(tmp_path: Path, axis: SliceAxis) -> None:
    turned = AFFINE[:, [2, 0, 1, 3]]
    stored = save(tmp_path / "turned.nii.gz", image(1), turned)
    labels = save(tmp_path / "turned_m.nii.gz", mask(1), turned)
    report = looked_through(tmp_path, [image(0), stored, image(2)], [mask(0), labels, mask(2)], slice_axis=axis)
    errors = told(report, "error")
    assert len(errors) == (axis == "third")
    if errors:
        assert errors[0][1].startswith(
            "the third stored axis is not one direction: axial in 2, coronal in 1 (p2 is cor"
        )


def test_a_copy_on_another_scale_is_warned_of(tmp_path: Path) -> None:
    original = image(0)
    assert told(looked_through(tmp_path, [original, image(1), image(2)]), "warning") == []
    scaled = ((original.astype(np.float64) - original.min()) / np.ptp(original)).astype(np.float32)
    rounded = (scaled * 255).round().astype(np.uint8)
    for copy in (scaled, rounded):
        ((case, what),) = told(looked_through(tmp_path, [original, image(1), copy]), "warning")
        assert case == "p3"
        assert re.fullmatch(
            r"T1 looks like T1 of p1 on another scale or rounded otherwise \(correlation (1\.00000|0\.9999\d)\); "
            r"are both one volume\?",
            what,
        )


def test_mostly_empty_volumes_are_not_taken_for_one(tmp_path: Path) -> None:
    sparse = []
    for value in (40, 90):
        volume = np.zeros(SHAPE, np.int16)
        volume[2:5, 2:5, 2:5] = value
        volume[0, 0, 0] = value // 3
        sparse.append(volume)
    assert [what for _, what in told(looked_through(tmp_path, sparse), "warning") if "looks like" in what] == []


def test_many_classes_are_counted():
    names = [f"s{number}" for number in range(12)]
    assert shortened(names[:10]) == "s0, s1, s2, s3, s4, s5, s6, s7, s8, s9"
    assert shortened(names) == "s0, s1, s2, s3, s4, s5, s6, s7, s8, s9 and 2 more"
