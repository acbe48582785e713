"""A mask per structure, a channel per structure, and chosen channels of images."""

import nibabel as nib
import numpy as np
import pytest

from helpers.decathlon_folder import save
from medsweep.data.check import check
from medsweep.data.layouts.description import FolderDescription
from medsweep.data.source import fingerprint, list_cases
from medsweep.data.volumes import load, planes_of
from medsweep.errors import UserError

SHAPE = (6, 5, 4)
AFFINE = np.diag([-1.0, 1.0, 2.0, 1.0])


def box(start: int, stop: int) -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    array[start:stop, 1:3, 1:3] = 1
    return array


def described(mask: dict[str, str], image: str = "{id}/ct.nii.gz", **more: object) -> FolderDescription:
    return FolderDescription(modalities={"CT": image}, mask=mask, **more)


MASKS = {"spleen": "{id}/segmentations/spleen.nii.gz", "liver": "{id}/segmentations/liver.nii.gz"}


def person(root, *, spleen: np.ndarray, liver: np.ndarray):
    save(root / "s1/ct.nii.gz", np.arange(120, dtype=np.float32).reshape(SHAPE), AFFINE)
    save(root / "s1/segmentations/spleen.nii.gz", spleen * np.uint8(255), AFFINE)
    save(root / "s1/segmentations/liver.nii.gz", liver, AFFINE)
    return root


def stored(root, description: FolderDescription) -> np.ndarray:
    """Labels turned back to the stored axes, of which the first is flipped."""
    listing = list_cases("mine", root, description=description)
    return load(listing.cases[0], listing).labels[::-1]


def test_a_mask_per_structure_becomes_one_label_volume(tmp_path):
    person(tmp_path, spleen=box(0, 2), liver=box(3, 5))
    description = described(MASKS, regions={"both": ("spleen", "liver")})
    listing = list_cases("mine", tmp_path, description=description)
    assert (listing.classes, listing.findings) == (("background", "spleen", "liver"), ())
    np.testing.assert_array_equal(stored(tmp_path, description), box(0, 2) + 2 * box(3, 5))
    assert planes_of(listing.cases[0], listing).shape[0] == 4
    assert len(listing.cases[0].files) == 3


def test_overlap_is_refused_or_the_later_covers(tmp_path):
    person(tmp_path, spleen=box(0, 4), liver=box(3, 5))
    listing = list_cases("mine", tmp_path, description=described(MASKS))
    (finding,) = (found for found in check(listing).findings if found.severity == "error")
    assert finding.what.startswith("liver in liver.nii.gz overlaps spleen in 4 voxels; mend the masks, or set overlap")
    np.testing.assert_array_equal(stored(tmp_path, described(MASKS, overlap="ordered")), box(0, 3) + 2 * box(3, 5))


def test_a_structure_with_several_values_or_shares_is_refused(tmp_path):
    person(tmp_path, spleen=box(0, 2), liver=box(3, 5) * np.uint8(2) + box(0, 1))
    with pytest.raises(UserError, match=r"liver.nii.gz holds 0, 1, 2; expected are 0 and one other whole value"):
        stored(tmp_path, described(MASKS))
    save(tmp_path / "s1/segmentations/liver.nii.gz", box(3, 5).astype(np.float32) * 0.5, AFFINE)
    with pytest.raises(UserError, match=r"liver.nii.gz holds 0, 0.5; expected"):
        stored(tmp_path, described(MASKS))


def test_structures_on_other_grids_and_missing_ones_are_told(tmp_path):
    person(tmp_path, spleen=box(0, 2), liver=box(3, 5))
    save(tmp_path / "s1/segmentations/liver.nii.gz", box(3, 5), np.eye(4))
    with pytest.raises(UserError, match="belong together"):
        stored(tmp_path, described(MASKS))
    (tmp_path / "s1/segmentations/liver.nii.gz").unlink()
    (finding,) = list_cases("mine", tmp_path, description=described(MASKS)).findings
    assert (finding.severity, finding.what) == ("error", "liver.nii.gz is missing")


def test_channels_of_a_one_hot_mask_are_structures(tmp_path):
    hot = np.stack([1 - box(0, 2) - box(3, 5), box(0, 2), box(3, 5)], -1)
    save(tmp_path / "s1/ct.nii.gz", np.ones(SHAPE, np.float32), AFFINE)
    save(tmp_path / "s1/seg.nii.gz", hot, AFFINE)
    description = described({"spleen": "{id}/seg.nii.gz[1]", "liver": "{id}/seg.nii.gz[2]"})
    np.testing.assert_array_equal(stored(tmp_path, description), box(0, 2) + 2 * box(3, 5))
    with pytest.raises(UserError, match=r"has shape \(6, 5, 4, 3\); channel \[3\] of a fourth axis is asked for"):
        stored(tmp_path, described({"spleen": "{id}/seg.nii.gz[3]"}))


def test_a_channel_of_a_4d_image_is_chosen(tmp_path):
    volumes = np.random.default_rng(0).normal(size=(*SHAPE, 3)).astype(np.float32)
    save(tmp_path / "s1/mr.nii.gz", volumes, AFFINE)
    save(tmp_path / "s1/seg.nii.gz", box(0, 2), AFFINE)
    modalities = {"late": "{id}/mr.nii.gz[2]", "early": "{id}/mr.nii.gz[0]"}
    description = FolderDescription(modalities=modalities, mask="{id}/seg.nii.gz", classes={"x": 1})
    listing = list_cases("mine", tmp_path, description=description)
    image = load(listing.cases[0], listing).image
    np.testing.assert_array_equal(
        np.stack(image, -1)[::-1], nib.load(tmp_path / "s1/mr.nii.gz").get_fdata()[..., [2, 0]]
    )
    other = list_cases(
        "mine", tmp_path, description=description.model_copy(update={"modalities": {"a": "{id}/mr.nii.gz[1]"}})
    )
    hashes = {"s1": ["a", "b"]}
    assert fingerprint(listing, hashes) != fingerprint(other, hashes)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"mask": MASKS, "classes": {"x": 1}}, "classes are named by 'classes', or by 'mask' with a file for each"),
        ({"mask": "{id}.nii"}, "classes are named by 'classes', or by 'mask' with a file for each"),
        ({"mask": "{id}.nii", "classes": {"x": 1}, "overlap": "ordered"}, "overlap is for masks of one structure each"),
        ({"mask": "{id}.nii[1]", "classes": {"x": 1}}, "a channel is one structure: give each a name"),
        ({"mask": {"background": "{id}.nii[0]"}}, "the background is what no structure covers"),
        ({"mask": {"a": "{id}.nii[0]", "b": "{id}.nii[0]"}}, "stands twice"),
        ({"mask": MASKS, "ignored_label": 9}, "ignored_label is a value of a mask with all classes; remove it"),
        ({"mask": {"a": "x.nii"}}, "a file pattern holds"),
    ],
)
def test_descriptions_that_contradict_themselves_are_refused(fields, what):
    with pytest.raises(ValueError, match=what):
        FolderDescription(modalities={"CT": "{id}/ct.nii.gz"}, **fields)
