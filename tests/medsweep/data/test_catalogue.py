"""The catalogue: every entry is whole and free of contradiction, and says what its owners ask for."""

import pytest

from medsweep.data.catalogue import CATALOGUE, canonical_name


def test_it_knows_the_six_datasets_of_the_paper():
    assert list(CATALOGUE) == ["brats20", "kits19", "ibsr18", "d-heart", "d-spleen", "u-pro"]
    assert all(name == spec.name for name, spec in CATALOGUE.items())


@pytest.mark.parametrize(
    ("written", "name"), [("BraTS20", "brats20"), ("D-HEART", "d-heart"), ("u-pro", "u-pro"), ("MyData", "MyData")]
)
def test_names_are_known_in_whatever_case(written, name):
    assert canonical_name(written) == name


@pytest.mark.parametrize("spec", CATALOGUE.values(), ids=lambda spec: spec.name)
def test_classes_values_and_regions_fit_together(spec):
    assert sorted(spec.values.values()) == list(range(len(spec.classes)))
    assert len(set(spec.classes)) == len(spec.classes)
    for region, members in spec.regions.items():
        assert region not in spec.classes
        assert set(members) <= set(spec.classes[1:])
    assert (spec.units == "HU") == (spec.intensity.scale == "window") == (spec.modalities == ("CT",))


@pytest.mark.parametrize("spec", CATALOGUE.values(), ids=lambda spec: spec.name)
def test_texts_are_there_and_quirks_are_lines(spec):
    for text in (spec.title, spec.cases, spec.licence, spec.terms, spec.where, spec.expected, spec.citation):
        assert text.strip() == text != ""
    assert spec.quirks
    assert all("\n" not in line and line.strip() == line != "" for line in spec.quirks)
    assert max(map(len, spec.expected.splitlines())) <= 80


def test_stored_labels_of_brats_have_no_three():
    assert CATALOGUE["brats20"].values == {0: 0, 1: 1, 2: 2, 4: 3}
    assert CATALOGUE["brats20"].regions["TC"] == ("necrotic-core", "enhancing-tumour")


def test_what_may_not_be_shown_says_why():
    assert "permission before publishing" in CATALOGUE["ibsr18"].terms
    assert [spec.name for spec in CATALOGUE.values() if not spec.publishable] == ["brats20", "ibsr18", "u-pro"]


def test_a_private_dataset_claims_nothing_and_names_public_ones():
    spec = CATALOGUE["u-pro"]
    assert (spec.modalities, spec.classes, dict(spec.values)) == ((), (), {})
    assert "Task05_Prostate" in spec.where
    assert "PROMISE12" in spec.where
