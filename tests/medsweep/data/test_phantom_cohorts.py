"""Made-up cohorts of the six datasets: true layouts with their quirks, repeatable, nested, and not trivial."""

import json
from itertools import pairwise

import nibabel as nib
import numpy as np
import pytest

from helpers.phantom_folder import LABELS, best_window_dice, canonical, hashes, pairs, stored
from medsweep.data import nifti
from medsweep.data.phantom import DATASETS, PhantomConfig, patient_ids, write_cohort
from medsweep.data.source import list_cases

SIX = tuple(LABELS)
VALUES = {
    "brats20": {0, 1, 2, 4},
    "kits19": {0, 1, 2},
    "ibsr18": {0, 1, 2, 3},
    "d-heart": {0, 1},
    "d-spleen": {0, 1},
    "u-pro": {0, 1, 2, 3},
}
EMPTY_IN_TWELVE = {"brats20": (4, 2), "u-pro": (1, 2)}
"""A label value and in how many of twelve patients it does not occur; elsewhere all occur in all."""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Folder of a cohort of twelve, by dataset."""
    made = {}

    def folder(dataset):
        if dataset not in made:
            made[dataset] = tmp_path_factory.mktemp(dataset)
            write_cohort(dataset, PhantomConfig(patients=12), made[dataset])
        return made[dataset]

    return folder


def codes(path):
    header = nib.load(path).header
    return int(header["qform_code"]), int(header["sform_code"])


def test_the_names_of_what_can_be_made_up():
    assert ("phantom", *SIX) == DATASETS


@pytest.mark.parametrize(
    ("dataset", "ids"),
    [
        ("phantom", ("phantom_0001", "phantom_0002", "phantom_0003")),
        ("brats20", ("BraTS20_Training_001", "BraTS20_Training_002", "BraTS20_Training_355")),
        ("kits19", ("case_00000", "case_00015", "case_00160")),
        ("ibsr18", ("IBSR_01", "IBSR_05", "IBSR_11")),
        ("d-heart", ("la_003", "la_004", "la_005")),
        ("d-spleen", ("spleen_2", "spleen_3", "spleen_10")),
        ("u-pro", ("case_00001", "case_00002", "case_00003")),
    ],
)
def test_odd_patients_come_first_and_ids_are_in_numeric_order(dataset, ids):
    assert patient_ids(PhantomConfig(patients=3), dataset) == ids
    many = patient_ids(PhantomConfig(patients=400), dataset)
    assert len(set(many)) == 400
    assert set(ids) < set(many)


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_same_config_gives_the_same_bytes_and_a_larger_cohort_holds_the_smaller(dataset, tmp_path):
    for name, patients, seed in (("a", 2, 0), ("b", 2, 0), ("more", 3, 0), ("other", 2, 1)):
        config = PhantomConfig(patients=patients, seed=seed, shape=(20, 18, 10))
        write_cohort(dataset, config, tmp_path / name)
    a, b, more, other = (hashes(tmp_path / name) for name in ("a", "b", "more", "other"))
    assert a == b
    volumes = {path for path in a if ".nii" in path}
    assert volumes == {path for path in other if ".nii" in path}
    assert all(a[path] == more[path] for path in volumes)
    assert any(a[path] != other[path] for path in volumes)


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_layout_reports_the_ids_and_finds_no_error(dataset, tmp_path):
    config = PhantomConfig(patients=4, shape=(10, 9, 8))
    write_cohort(dataset, config, tmp_path)
    listing = list_cases(dataset, tmp_path).require()
    assert tuple(case.id for case in listing.cases) == patient_ids(config, dataset)
    for case in listing.cases:
        labels = nifti.read_labels(case.label, listing.values, listing.classes)
        for image in case.images:
            nifti.check_pair(nifti.read_image(image, len(listing.modalities) if listing.stacked else 1), labels)


@pytest.mark.parametrize("dataset", SIX)
def test_label_values_and_empty_classes(dataset, cohort):
    found = [set(np.unique(labels).tolist()) for _, labels in pairs(cohort(dataset), dataset)]
    assert len(found) == 12
    value, absent = EMPTY_IN_TWELVE.get(dataset, (0, 0))
    assert set.union(*found) == VALUES[dataset]
    assert sum(value not in values for values in found) == absent
    assert sum(values != VALUES[dataset] for values in found) == absent


@pytest.mark.parametrize("dataset", SIX)
def test_no_window_of_intensities_finds_the_hardest_class(dataset, cohort):
    reached = [
        [best_window_dice(image, labels == value) for value in sorted(VALUES[dataset] - {0}) if (labels == value).any()]
        for image, labels in pairs(cohort(dataset), dataset)
    ]
    assert np.mean([min(patient) for patient in reached]) < 0.6


@pytest.mark.parametrize("dataset", SIX)
def test_patients_differ_in_place_and_size(dataset, cohort):
    volumes, centres = [], []
    for _, labels in pairs(cohort(dataset), dataset):
        inside = np.argwhere(labels > 0)
        volumes.append(len(inside) / labels.size)
        centres.append(inside.mean(0) / labels.shape)
    assert max(volumes) > 1.15 * min(volumes)
    assert (np.ptp(centres, axis=0) > 0.01).all()


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_folder_says_that_it_is_made_up(dataset, tmp_path):
    write_cohort(dataset, PhantomConfig(patients=2, seed=7, shape=(8, 8, 8)), tmp_path)
    described = [path for path in tmp_path.iterdir() if path.is_file()]
    assert "README.txt" in {path.name for path in described}
    for path in described:
        assert "Made-up cohort by medsweep" in path.read_text()
        assert "seed 7" in path.read_text()


@pytest.mark.parametrize("dataset", SIX)
def test_shape_and_spacing_are_given_in_canonical_axes(dataset, tmp_path):
    write_cohort(dataset, PhantomConfig(patients=3, shape=(20, 16, 12), spacing_mm=(2.0, 3.0, 4.0)), tmp_path)
    for path in tmp_path.rglob(LABELS[dataset]):
        image = nib.as_closest_canonical(nib.load(path))
        assert image.shape[1] == 16
        assert image.shape[0] == (31 if "00160" in str(path) else 20)
        assert 8 <= image.shape[2] <= 12
        assert image.header.get_zooms()[:3] == (2.0, 3.0, 4.0)


def test_brats_files(cohort):
    root = cohort("brats20")
    assert (root / "BraTS20_Training_355" / "W39_1998.09.19_Segm.nii").is_file()
    negative = 0
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        images = sorted(path for path in folder.iterdir() if "eg" not in path.name)
        names = [path.name.removeprefix(f"{folder.name}_").split(".")[0] for path in images]
        assert names == ["flair", "t1", "t1ce", "t2"]
        assert all(nib.aff2axcodes(nib.load(path).affine) == ("L", "P", "S") for path in images)
        voxels = np.stack([stored(path) for path in images])
        assert voxels.dtype == np.int16
        assert 0.2 < (voxels == 0).all(0).mean() < 0.9
        negative += int((voxels < 0).any())
    assert negative == 6
    assert len(list(root.rglob("*.nii"))) == 4 * 5


def test_kits_files(cohort):
    root = cohort("kits19")
    slices = set()
    for label in sorted(root.rglob("segmentation.nii.gz")):
        image = nib.load(label.parent / "imaging.nii.gz")
        odd = label.parent.name == "case_00015"
        assert stored(label).dtype == (np.uint16 if odd else np.uint8)
        assert codes(label) == ((1, 0) if odd else (0, 2))
        assert nib.aff2axcodes(nib.load(label).affine) == nib.aff2axcodes(image.affine) == ("I", "P", "L")
        assert image.get_data_dtype() == np.float32
        assert image.shape[1:] == ((64, 100) if label.parent.name == "case_00160" else (64, 64))
        slices.add(image.shape[0])
    assert 16 <= min(slices) < max(slices) <= 40
    assert len(slices) > 4


def test_kidney_tumours_differ_in_size(cohort):
    shares = [(labels == 2).mean() for _, labels in pairs(cohort("kits19"), "kits19")]
    assert max(shares) > 25 * min(shares)


def test_ibsr_files(cohort):
    root = cohort("ibsr18")
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        image = nib.load(folder / f"{folder.name}_ana_strip.nii.gz")
        assert image.shape == (48, 24, 48, 1)
        assert nib.aff2axcodes(image.affine)[1] in "AP"
        assert image.header.get_zooms()[1] > 1.4 * image.header.get_zooms()[0]
        plain, filled = (stored(folder / f"{folder.name}_{name}_ana.nii.gz") for name in ("segTRI", "segTRI_fill"))
        brain = filled > 0
        sulci = brain & (plain == 0)
        assert np.array_equal(filled[~sulci], plain[~sulci])
        assert (filled[sulci] == 1).all()
        assert 0.05 < sulci.sum() / brain.sum() < 0.5
        assert (stored(folder / f"{folder.name}_ana_strip.nii.gz")[~brain] == 0).all()


def test_some_ibsr_brains_are_dark_and_some_lack_contrast(tmp_path):
    write_cohort("ibsr18", PhantomConfig(patients=18), tmp_path)
    median, contrast = {}, {}
    for folder in sorted(path for path in tmp_path.iterdir() if path.is_dir()):
        image = canonical(folder / f"{folder.name}_ana_strip.nii.gz").astype(float)
        labels = canonical(folder / f"{folder.name}_segTRI_fill_ana.nii.gz")
        grey, white = (np.median(image[labels == value]) for value in (2, 3))
        median[folder.name] = np.median(image[labels > 0])
        contrast[folder.name] = white / grey
    assert set(sorted(median, key=median.get)[:2]) == {"IBSR_11", "IBSR_12"}
    flat = [contrast.pop(patient) - 1 for patient in ("IBSR_05", "IBSR_15")]
    assert np.mean(flat) < 0.6 * np.mean([value - 1 for value in contrast.values()])


@pytest.mark.parametrize(
    ("dataset", "modality", "label"), [("d-heart", "MRI", "left atrium"), ("d-spleen", "CT", "spleen")]
)
def test_decathlon_files(dataset, modality, label, cohort):
    root = cohort(dataset)
    described = json.loads((root / "dataset.json").read_text())
    assert described["modality"] == {"0": modality}
    assert described["labels"] == {"0": "background", "1": label}
    listed = [entry["image"].split("/")[-1].removesuffix(".nii.gz") for entry in described["training"]]
    ids = patient_ids(PhantomConfig(patients=12), dataset)
    assert set(listed) == set(ids)
    assert any(ids.index(later) < ids.index(earlier) for earlier, later in pairwise(listed))
    stray = list(root.rglob("._*"))
    assert [path.name for path in stray] == [f"._{'la_003' if dataset == 'd-heart' else 'spleen_2'}.nii.gz"]
    with pytest.raises(nib.filebasedimages.ImageFileError):
        nib.load(stray[0])
    slices = {nib.load(root / entry["image"]).shape[2] for entry in described["training"]}
    assert len(slices) > 3


@pytest.mark.parametrize("dataset", ["kits19", "d-spleen"])
def test_ct_is_in_hounsfield_units(dataset, cohort):
    for image, labels in pairs(cohort(dataset), dataset):
        assert image.min() >= -1024
        assert 300 < image.max() <= 3071
        assert -1010 < np.median(image[0]) < -990
        assert 60 < np.median(image[labels == 1]) < 260


def test_the_spleen_lies_on_the_left_and_is_brighter_than_fat(cohort):
    for image, labels in pairs(cohort("d-spleen"), "d-spleen"):
        assert np.argwhere(labels)[:, 0].mean() < 0.4 * labels.shape[0]
        assert image[labels > 0].mean() > 60


def test_u_pro_describes_itself(cohort):
    root = cohort("u-pro")
    text = (root / "medsweep.yaml").read_text()
    assert text.startswith("# Made-up cohort by medsweep")
    assert 'modalities: {T2: "{id}/imaging.nii.gz"}' in text
    assert "classes: {prostate: 1, bladder: 2, rectum: 3}" in text
    assert len(list(root.glob("case_*/imaging.nii.gz"))) == 12
