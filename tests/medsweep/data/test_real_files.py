"""Real files through the whole room: what their owners and our own counting say of them must come out."""

import nibabel as nib
import numpy as np
import pytest

from helpers.fake_trial import FakeTrial, drain
from medsweep.data import nifti
from medsweep.data.config import DataConfig, PrepareConfig
from medsweep.data.geometry import to_planes
from medsweep.data.layouts.description import FolderDescription
from medsweep.data.nifti import write_prediction
from medsweep.data.prepare import run
from medsweep.data.slices import SliceSet
from medsweep.data.source import inspect_source, list_cases
from medsweep.data.volumes import load

KITS = {0: 0, 1: 1, 2: 2}
NAMES = ("background", "kidney", "tumour")
QFORM_ONLY = {"00015", "00023", "00037", "00039", "00176"}


def test_every_kits_label_is_read_on_its_body_axis_whatever_its_header(real):
    folders = sorted(real("kits19").glob("case_*"))
    assert len(folders) == 24
    for folder in folders:
        grid = nifti.read_grid(folder / "segmentation.nii.gz")
        case = folder.name.removeprefix("case_")
        assert (grid.axes, grid.canonical_axis("axial")) == ("IPL", 2)
        assert (grid.qform_code == 1) == (grid.sform_code == 0) == (case in QFORM_ONLY) == (grid.dtype == "uint16")
        assert (grid.shape[1:] == (512, 512)) == (case != "00160")


@pytest.mark.parametrize(
    ("case", "organ", "tumour"), [("00160", 116, 47), ("00061", 26, 13), ("00176", 27, 8), ("00015", 38, 12)]
)
def test_kits_slices_with_organ_and_tumour(real, case, organ, tumour):
    scan = nifti.read_labels(real("kits19") / f"case_{case}" / "segmentation.nii.gz", KITS, NAMES)
    planes = to_planes(scan.array, 2)
    assert (np.count_nonzero(planes.any((1, 2))), np.count_nonzero((planes == 2).any((1, 2)))) == (organ, tumour)


def test_brats_layout_keeps_negative_voxels_inside_the_brain(real):
    listing = list_cases("brats20", real("brats_layout")).require()
    loaded = load(listing.cases[0], listing)
    assert (listing.modalities, loaded.slice_axis) == (("t1", "t1ce", "t2", "flair"), 2)
    assert np.count_nonzero(loaded.labels == 1) == 1300
    assert np.count_nonzero(loaded.label_planes().any((1, 2))) == 74
    assert [round(float(volume.min())) for volume in loaded.image] == [-51, -75, -62, -20]


@pytest.fixture
def abdomen(real, tmp_path):
    """The abdominal CT as a folder of one case, with links to its two files."""
    source, case = real("ct_abdomen"), tmp_path / "ct" / "case_1"
    case.mkdir(parents=True)
    (case / "image.nii.gz").symlink_to(source / "image.nii.gz")
    (case / "labels.nii.gz").symlink_to(source / "totalsegmentator_labels.nii.gz")
    return tmp_path / "ct"


def described(**classes):
    return FolderDescription(
        modalities={"CT": "case_{id}/image.nii.gz"},
        mask="case_{id}/labels.nii.gz",
        classes=classes,
        other_labels="background",
        units="HU",
        intensity={"scale": "window", "window": (-57.0, 164.0)},
    )


@pytest.mark.parametrize(
    ("classes", "expected"),
    [({"spleen": 1}, (9452, 30, 33)), ({"kidney": (2, 3)}, (3947 + 3676, 23, 13))],
)
def test_one_ct_as_spleen_and_as_kidneys(abdomen, tmp_path, classes, expected):
    voxels, slices, mean_hu = expected
    data = DataConfig(dataset="ct", root=str(abdomen), description=described(**classes), resolution=128)
    source = inspect_source(data, tmp_path)
    trial = FakeTrial(tmp_path / "t")
    drain(run(PrepareConfig(**dict(data), source=source.fingerprint), {}, trial))
    prepared = SliceSet.open(trial.output)
    assert prepared.index["foreground"].sum() == voxels
    assert (prepared.index["foreground"] > 0).sum() == slices
    hounsfield = (prepared.images[:, 0] + 1) / 2 * (164 + 57) - 57
    inside = hounsfield[prepared.masks > 0]
    assert np.median(inside) == pytest.approx(mean_hu, abs=12)
    assert hounsfield.min() == pytest.approx(-57, abs=1e-4)

    write_prediction(tmp_path / "back.nii.gz", prepared.reference("1"), prepared, "1")
    back, own = nib.load(tmp_path / "back.nii.gz"), nib.load(abdomen / "case_1" / "labels.nii.gz")
    stored = np.isin(np.asanyarray(own.dataobj), [value for value in prepared.values if value])
    assert np.array_equal(np.asanyarray(back.dataobj) > 0, stored)
    assert nib.aff2axcodes(back.affine) == nib.aff2axcodes(own.affine)
