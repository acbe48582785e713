"""What ``medsweep data check`` shows beside its findings: paths that wrap, and a resolution."""

from dataclasses import replace

import pytest

from medsweep.commands.data_views import _scaled, reading, resolution, wrapped
from medsweep.data.check import CaseFacts, Report
from medsweep.data.dataset import Finding, Intensity, Listing
from medsweep.data.recognise import Reading
from medsweep.data.scaling import Scaled


def facts(rows: int, columns: int, down: float = 1.0, across: float = 1.0) -> CaseFacts:
    empty = dict.fromkeys(("voxels", "slices", "zeros", "scaled", "copies", "sketches"), ())
    return CaseFacts(
        id="a", shape=(9, rows, columns), spacing_mm=(3.0, down, across), axes="RAS", slice_axis=2,
        foreground_slices=1, **empty,
    )  # fmt: skip


def test_long_paths_are_cut_behind_their_separators():
    path = "derivatives/manual/sub-01/ses-02/anat/sub-01_ses-02_acq-highres_T1w_label-lesion_seg.nii.gz"
    assert wrapped(path).split("\n") == [
        "derivatives/manual/sub-01/ses-02/anat/sub-01_",
        "ses-02_acq-highres_T1w_label-lesion_seg.nii.gz",
    ]
    assert wrapped(path).replace("\n", "") == path
    assert wrapped("a/b.nii") == "a/b.nii"


@pytest.mark.parametrize(
    ("cases", "said"),
    [
        (
            [facts(57, 42), facts(45, 40)],
            "64 holds the largest slice (57 x 42 pixels, 57 x 42 mm) unshrunk; the median",
        ),
        ([facts(512, 512, 0.5, 0.5)], "512 holds the largest slice (512 x 512 pixels, 256 x 256 mm) unshrunk"),
        ([facts(512, 768)], "512 holds the largest slice (512 x 768 pixels, 512 x 768 mm) 1.5 times shrunk"),
        (
            [facts(20, 20)],
            "32 holds the largest slice (20 x 20 pixels, 20 x 20 mm) unshrunk; the median slice fills 39%",
        ),
    ],
)
def test_the_resolution_that_keeps_every_pixel_is_told(cases, said):
    assert resolution(cases).startswith(said)


def test_the_share_that_is_no_padding_is_told():
    assert resolution([facts(20, 20)]).endswith("; the median slice fills 39% of it")


@pytest.mark.parametrize(
    ("inside", "decided", "said"),
    [
        ("auto", ("all",), "z-score, of all voxels (decided from all cases): 10% of voxels at the limits, SD 0.40"),
        ("nonzero", (), "z-score, of voxels that are not 0: 10% of voxels at the limits, SD 0.40 with the zeros"),
        ("all", (), "z-score, of all voxels: 10% of voxels at the limits, SD 0.40"),
    ],
)
def test_the_scale_says_which_voxels_count(inside, decided, said):
    recipe = Intensity(inside=inside)
    listing = Listing(name="toy", modalities=("T1",), classes=("a", "b"), values={}, cases=(), intensity=recipe)
    zeros = (0.0,) if decided else ()
    one = replace(facts(9, 9), scaled=(Scaled(0, 1, 0.1, 0.4, 9, 9),), zeros=zeros)
    assert _scaled(Report(listing, (one,), ()), 0) == f"{said} (medians)"


def test_describe_folds_equal_findings(tmp_path):
    lost = tuple(Finding("error", id_, str(tmp_path / id_), "label without image") for id_ in ("a", "b"))
    listing = Listing(name="toy", modalities=("T1",), classes=("a", "b"), values={}, cases=(), findings=lost)
    told = str(reading(Reading("toy", "a toy", listing), tmp_path))
    assert "cases       0 usable, of 0 patients, 2 with errors, 0 without labels by design" in told
    assert told.count("label without image") == 1
    assert "error       2 cases: label without image" in told
