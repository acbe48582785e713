"""Looking through a dataset: every trap is told with level, file and value, and a plain case is told nothing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from helpers.decathlon_folder import save
from medsweep.data import volumes
from medsweep.data.check import Report, check, class_rows, grouped
from medsweep.data.dataset import Case, Finding, Listing
from medsweep.data.remembered import Remembered

SHAPE = (6, 6, 4)
AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])


def image() -> Any:
    return np.arange(-20, 124, dtype=np.int16).reshape(SHAPE)


def label() -> Any:
    array = np.zeros(SHAPE, np.uint8)
    array[1:3, 1:3, 1:3] = 1
    array[4, 4, 2] = 2
    return array


def write(path: Path, array: Any, affine: Any = AFFINE, codes: tuple[int, int] = (1, 1), **header: Any) -> Path:
    """Write a NIfTI file with the given codes of qform and sform."""
    nifti = nib.load(save(path, array, affine, **header))
    nifti.set_qform(affine, codes[0])
    nifti.set_sform(affine, codes[1])
    raw = nib.Nifti1Image(np.asanyarray(nifti.dataobj), None, nifti.header, dtype=array.dtype)
    raw.header["sform_code"], raw.header["qform_code"] = codes[1], codes[0]
    if "scl_slope" in header:
        raw.header.set_slope_inter(header["scl_slope"], header.get("scl_inter", 0))
    raw.to_filename(path)
    return path


def one(folder: Path, *, images: dict[str, Path] | None = None, mask: Path | None = None) -> Listing:
    """A listing of one case, plain but for the files that are given."""
    given = images or {"CT": write(folder / "ct.nii.gz", image())}
    mask = mask or write(folder / "mask.nii.gz", label())
    return Listing(
        name="toy",
        modalities=tuple(given),
        classes=("background", "organ", "tumour"),
        values={0: 0, 1: 1, 2: 2, 4: 2},
        cases=(Case("case_1", tuple(given.values()), mask),),
    )


def told(report: Report) -> list[tuple[str, str, str]]:
    return [(finding.severity, Path(finding.file).name, finding.what) for finding in report.findings]


def test_a_plain_case_is_counted_and_nothing_is_found(tmp_path: Path) -> None:
    report = check(one(tmp_path))
    assert told(report) == []
    (facts,) = report.cases
    assert (facts.id, facts.shape, facts.spacing_mm, facts.axes) == ("case_1", (4, 6, 6), (3.0, 1.0, 1.0), "RAS")
    assert facts.voxels == (6 * 6 * 4 - 9, 8, 1)
    assert facts.slices == (4, 2, 1)
    assert facts.foreground_slices == 2
    assert report.ok
    assert class_rows(report)[1:] == [("organ", [1], 1, 8, 2), ("tumour", [2, 4], 1, 1, 1)]


def test_a_case_that_cannot_be_read_is_an_error_with_its_file_and_value(tmp_path: Path) -> None:
    odd = label()
    odd[0, 0, 0] = 7
    report = check(one(tmp_path, mask=write(tmp_path / "odd.nii.gz", odd)))
    ((level, file, what),) = told(report)
    assert (level, file) == ("error", "odd.nii.gz")
    assert "undeclared label value 7" in what
    assert str(tmp_path) not in what
    assert not report.ok
    assert report.unusable == ("case_1",)
    assert report.cases == ()


def test_the_error_is_put_to_the_image_where_the_image_is_at_fault(tmp_path: Path) -> None:
    listing = one(tmp_path)
    (tmp_path / "ct.nii.gz").write_bytes(b"no such thing")
    ((level, file, _),) = told(check(listing))
    assert (level, file) == ("error", "ct.nii.gz")


def test_findings_of_the_layout_count_and_errors_come_first(tmp_path: Path) -> None:
    by_name = (Finding("note", "-", "x", "2 dot files"), Finding("error", "case_9", "y", "image without label"))
    report = check(replace(one(tmp_path), findings=by_name))
    assert [finding.severity for finding in report.findings] == ["error", "note"]
    assert report.unusable == ("case_9",)
    assert not report.ok


def test_a_dataset_without_a_usable_case_is_not_ok(tmp_path: Path) -> None:
    assert not check(replace(one(tmp_path), cases=())).ok


@pytest.mark.parametrize(
    ("codes", "expected"),
    [((1, 0), "no sform"), ((0, 2), "no qform")],
)
def test_a_header_with_one_of_the_two_geometries_is_noted(tmp_path: Path, codes: Any, expected: str) -> None:
    images = {"CT": write(tmp_path / "ct.nii.gz", image(), codes=codes)}
    found = told(check(one(tmp_path, images=images)))
    assert [(level, file) for level, file, _ in found] == [("note", "ct.nii.gz")] * 2
    assert expected in found[0][2]
    assert f"is {codes}, of the label (1, 1)" in found[1][2]


def test_a_header_without_any_geometry_is_an_error(tmp_path: Path) -> None:
    images = {"CT": write(tmp_path / "ct.nii.gz", image(), codes=(0, 0))}
    ((level, file, what),) = told(check(one(tmp_path, images=images)))
    assert (level, file) == ("error", "ct.nii.gz")
    assert "form" in what


def test_scaling_and_odd_types_are_noted(tmp_path: Path) -> None:
    images = {"CT": write(tmp_path / "ct.nii.gz", image(), scl_slope=2.0, scl_inter=5.0)}
    mask = write(tmp_path / "mask.nii.gz", label().astype(np.int64))
    found = told(check(one(tmp_path, images=images, mask=mask)))
    assert ("note", "mask.nii.gz", "label: stored as int64") in found
    assert ("note", "ct.nii.gz", "image: stored numbers are scaled, times 2 plus 5") in found
    real = write(tmp_path / "real.nii.gz", label().astype(np.float32))
    assert ("note", "real.nii.gz", "label: stored as float32") in told(check(one(tmp_path, mask=real)))


def test_geometry_that_may_be_a_mistake_is_told_with_its_numbers(tmp_path: Path) -> None:
    affine = np.diag([2.0, 1.0, 1.0, 1.0])
    images = {"CT": write(tmp_path / "ct.nii.gz", image()[:, :5], affine)}
    found = told(check(one(tmp_path, images=images, mask=write(tmp_path / "m.nii.gz", label()[:, :5], affine))))
    assert ("note", "m.nii.gz", "slices of 5 x 6 pixels are not square; padding makes them so") in found
    (warning,) = [what for level, _, what in found if level == "warning"]
    assert warning == "the slice axis is not the coarsest: slices 1 mm apart, pixels of 1 x 2 mm"


def test_a_single_slice_and_a_tilted_grid_are_told(tmp_path: Path) -> None:
    tilt = np.radians(5)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    images = {"CT": write(tmp_path / "ct.nii.gz", image()[..., :1], affine)}
    mask = write(tmp_path / "m.nii.gz", label()[..., 1:2], affine)
    found = [what for _, _, what in told(check(one(tmp_path, images=images, mask=mask)))]
    assert "one voxel along an axis: 1 slices of 6 x 6" in found
    assert "the grid is tilted by 5.0 degrees; slices follow the grid" in found


def test_intensities_that_cannot_be_right_are_warned_of_by_modality(tmp_path: Path) -> None:
    images = {
        "CT": write(tmp_path / "ct.nii.gz", image() + np.int16(20)),
        "PET": write(tmp_path / "pet.nii.gz", np.full(SHAPE, 3, np.int16)),
    }
    report = check(one(tmp_path, images=images))
    assert told(report)[:2] == [
        ("error", "pet.nii.gz", "PET is constant: 3 everywhere; leave out the case or make the file again"),
        (
            "warning",
            "ct.nii.gz",
            "CT has no negative value, the least is 0; HU are expected, is 1024 added to them?",
        ),
    ]
    assert report.unusable == ("case_1",)
    assert report.cases == ()


def test_absent_classes_are_noted_by_name(tmp_path: Path) -> None:
    mask = write(tmp_path / "m.nii.gz", np.minimum(label(), 1))
    report = check(one(tmp_path, mask=mask))
    assert told(report) == [
        ("warning", "m.nii.gz", "no case has any voxel of tumour; are their label values right?"),
        ("note", "m.nii.gz", "no voxel of tumour"),
    ]
    assert report.ok
    assert report.warnings() == ("m.nii.gz: no case has any voxel of tumour; are their label values right?",)


def test_an_image_that_stands_for_the_mask_is_refused_where_other_values_are_background(tmp_path: Path) -> None:
    scan = write(tmp_path / "scan.nii.gz", image())
    listing = replace(one(tmp_path, images={"MR": scan}, mask=scan), other_values_are_background=True)
    ((_, file, what),) = [entry for entry in told(check(listing)) if entry[0] == "error"]
    assert (file, what) == ("scan.nii.gz", "the mask holds the values of MR; give the mask, not the image")
    other = write(tmp_path / "other.nii.gz", image()[::-1])
    listing = replace(one(tmp_path, images={"MR": scan}, mask=other), other_values_are_background=True)
    assert check(listing).ok


def test_findings_of_every_structure_are_told_of_its_own_file(tmp_path: Path) -> None:
    masks = tuple(
        write(tmp_path / f"{name}.nii.gz", (label() == value).astype(np.uint8), codes=codes)
        for name, value, codes in (("organ", 1, (1, 1)), ("tumour", 2, (0, 1)))
    )
    listing = one(tmp_path)
    report = check(replace(listing, cases=(replace(listing.cases[0], label=masks[0], structures=masks),)))
    assert ("note", "tumour.nii.gz", "label: no qform, the geometry is that of the sform (code 1)") in told(report)
    assert not [file for _, file, _ in told(report) if file == "organ.nii.gz"]


def test_two_channels_of_one_file_are_told_of_once(tmp_path: Path) -> None:
    path = write(tmp_path / "mr.nii.gz", np.stack([image(), image() ** 2 % 97], -1), codes=(0, 1))
    listing = replace(one(tmp_path, images={"early": path, "late": path}), image_channels=(0, 1))
    about = [what for _, file, what in told(check(listing)) if file == "mr.nii.gz"]
    assert len(about) == len(set(about)) == 2


def test_an_exception_of_any_kind_is_the_finding_of_its_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = one(tmp_path)
    other = Case("case_2", (write(tmp_path / "b.nii.gz", image()[::-1] * 2),), write(tmp_path / "b_m.nii.gz", label()))

    def load(case: Case, listing: Listing) -> Any:
        if case.id == "case_1":
            raise ZeroDivisionError("nothing to divide by")
        return volumes.load(case, listing)

    monkeypatch.setattr("medsweep.data.check.load", load)
    report = check(replace(listing, cases=(*listing.cases, other)))
    ((_, file, what),) = [entry for entry in told(report) if entry[0] == "error"]
    assert (file, what) == ("mask.nii.gz", "cannot be used (ZeroDivisionError: nothing to divide by)")
    assert [facts.id for facts in report.cases] == ["case_2"]


def test_what_is_remembered_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = one(tmp_path)
    (tmp_path / "cache").mkdir()
    remembered = Remembered(tmp_path / "cache")
    first = check(listing, remembered=remembered)
    remembered.save()
    monkeypatch.setattr("medsweep.data.check.load", lambda case, listing: pytest.fail("read again"))
    assert check(listing, remembered=Remembered(tmp_path / "cache")) == first
    monkeypatch.setattr("medsweep.data.remembered._code", lambda: "other code")
    assert not Remembered(tmp_path / "cache").recall(remembered.key(listing.cases[0], listing))


def test_equal_findings_are_one_group_and_errors_with_other_values_stay_apart() -> None:
    findings = [Finding("note", f"case_{number}", f"{number}.nii", "no sform") for number in range(3)]
    findings += [Finding("error", f"case_{number}", f"{number}.nii", f"label value {number}") for number in range(2)]
    findings += [Finding("error", f"case_{number}", f"{number}.nii", "no label") for number in range(2, 4)]
    groups = grouped(findings)
    assert [(group.severity, group.cases) for group in groups] == [
        ("note", ("case_0", "case_1", "case_2")),
        ("error", ("case_0",)),
        ("error", ("case_1",)),
        ("error", ("case_2", "case_3")),
    ]


def test_notes_that_differ_in_their_numbers_are_one_group_that_says_whose_they_are() -> None:
    findings = [Finding("note", f"case_{size}", "x", f"slices of {size} x 4.5 pixels") for size in (7, 8)]
    findings += [Finding("note", "case_9", "x", what) for what in ("stored as int64", "stored as float64")]
    assert [group.what for group in grouped(findings)] == [
        "slices of 7 x 4.5 pixels (numbers of case_7)",
        "stored as int64",
        "stored as float64",
    ]


def test_threads_change_nothing_and_every_case_is_told(tmp_path: Path) -> None:
    listing = one(tmp_path)
    mask = write(tmp_path / "bad.nii.gz", label() + np.uint8(9))
    cases = tuple(replace(listing.cases[0], id=f"case_{number}") for number in range(5))
    several = replace(listing, cases=(*cases, replace(listing.cases[0], id="bad", label=mask)))
    seen: list[str] = []
    assert check(several, threads=3, on_read=lambda case, cases: seen.append(case)) == check(several, threads=1)
    assert sorted(seen) == sorted(case.id for case in several.cases)


def test_real_hippocampi_are_usable_and_counted(real: Callable[[str], Path]) -> None:
    from medsweep.data.source import list_cases

    report = check(list_cases("hippocampus", real("Task04_Hippocampus")))
    assert report.ok
    assert len(report.cases) == 130
    assert sum(facts.shape[0] for facts in report.cases) == 4628
    assert sum(facts.foreground_slices for facts in report.cases) == 3293
    assert all(1054 <= facts.voxels[1] <= 2593 and 993 <= facts.voxels[2] <= 2018 for facts in report.cases)


def test_real_brain_has_its_qform_and_lacks_classes(real: Callable[[str], Path]) -> None:
    from medsweep.data.source import list_cases

    report = check(list_cases("brats20", real("brats_layout")))
    (facts,) = report.cases
    assert (facts.shape, facts.axes, facts.voxels[1], facts.slices[1]) == ((182, 218, 182), "LAS", 1300, 74)
    notes = [finding.what for finding in report.findings if finding.severity == "note"]
    assert sum("no sform" in note for note in notes) == 5
    assert any(note.startswith("no voxel of") for note in notes)
