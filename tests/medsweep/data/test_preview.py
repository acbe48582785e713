"""The contact sheet shows what prepare makes: the fullest slice, its labels in their places, and its warnings."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from helpers.decathlon_folder import cohort
from medsweep.data import preview, volumes
from medsweep.data.dataset import Intensity, Listing
from medsweep.data.prepare import prepare_case
from medsweep.data.preview import draw, fullest_slices, overlay
from medsweep.data.source import list_cases

SHAPE = (10, 12, 5)


def volume(seed: int, fullest: int) -> tuple[Any, Any]:
    """An image and labels whose slice ``fullest`` holds more than the others."""
    image = np.random.default_rng(seed).normal(100, 20, SHAPE).astype(np.float32)
    label = np.zeros(SHAPE, np.uint8)
    label[4, 4, :] = 1
    label[2:5, 7:9, fullest] = 2
    return image, label


@pytest.fixture
def listing(tmp_path: Path) -> Listing:
    volumes_ = {"a_1": volume(1, 3), "a_2": volume(2, 1), "a_3": volume(3, 2)}
    return list_cases("toy", cohort(tmp_path / "toy", volumes_))


def test_the_rows_are_the_fullest_slices_as_prepare_makes_them(listing: Listing) -> None:
    rows, _ = fullest_slices(listing, resolution=16, patients=2)
    assert [(row.patient, row.slice, row.slices) for row in rows] == [("a_1", 3, 5), ("a_2", 1, 5)]
    prepared = prepare_case(volumes.load(listing.cases[0], listing), 16, [Intensity(inside="all")])
    np.testing.assert_array_equal(rows[0].images, prepared.images[3])
    np.testing.assert_array_equal(rows[0].mask, prepared.masks[3])
    assert np.count_nonzero(rows[0].mask == 2) == 6


def test_a_case_that_cannot_be_read_is_told_and_the_next_is_drawn(listing: Listing) -> None:
    listing.cases[1].label.write_bytes(b"")
    rows, findings = fullest_slices(listing, resolution=16, patients=2)
    assert [row.patient for row in rows] == ["a_1", "a_3"]
    assert [(finding.case, finding.what) for finding in findings] == [
        ("a_2", "a_2.nii.gz is empty, it has 0 bytes; fetch the file again")
    ]


def test_the_grey_scale_is_that_of_networks_and_not_stretched(listing: Listing, tmp_path: Path) -> None:
    row = fullest_slices(listing, resolution=16, patients=1)[0][0]
    greys = []
    for value in (0.0, 0.5):
        flat = preview.Row(row.patient, 0, 1, np.full_like(row.images, value), np.zeros_like(row.mask))
        draw([flat], listing, tmp_path / "sheet.png", title="")
        pixels = matplotlib.image.imread(tmp_path / "sheet.png")[..., 0]
        greys.append(float(pixels[len(pixels) // 2, pixels.shape[1] // 2]))
    assert greys == pytest.approx([0.5, (0.5 + 3) / 6], abs=0.01)


def test_names_that_matplotlib_would_read_as_mathematics_are_drawn(listing: Listing, tmp_path: Path) -> None:
    odd = replace(listing, modalities=("T1 $_{w}$",), classes=("background", "_hidden", "US$ $\\x$"))
    (row,), _ = fullest_slices(odd, resolution=16, patients=1)
    draw([replace(row, patient="p$\\frac$2")], odd, tmp_path / "sheet.png", title="$\\x$", remarks=["$\\y$"])
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_the_background_is_clear_and_each_class_has_its_colour() -> None:
    colours = overlay(np.array([[0, 1], [2, 1]], np.uint8))
    assert colours.shape == (2, 2, 4)
    assert colours[0, 0, 3] == 0
    assert colours[1, 0, 3] == pytest.approx(preview.OPACITY)
    assert (colours[0, 1] == colours[1, 1]).all()
    assert not np.allclose(colours[0, 1, :3], colours[1, 0, :3])


def test_the_picture_has_a_coloured_row_per_patient(listing: Listing, tmp_path: Path) -> None:
    heights = []
    for patients in (1, 3):
        rows, _ = fullest_slices(listing, resolution=16, patients=patients)
        draw(rows, listing, tmp_path / "sheet.png", title="toy")
        pixels = matplotlib.image.imread(tmp_path / "sheet.png")[..., :3]
        heights.append(pixels.shape[0])
        coloured = np.ptp(pixels, axis=2) > 0.1
        right = coloured[: int(0.9 * len(coloured)), pixels.shape[1] // 2 :]
        assert right.any()
    assert heights[1] - heights[0] == pytest.approx(2 * preview.INCHES * 110, abs=3)


def test_up_in_the_picture_is_the_front_of_the_patient(listing: Listing, tmp_path: Path) -> None:
    row = fullest_slices(listing, resolution=16, patients=1)[0][0]
    mask = np.zeros_like(row.mask)
    mask[12:, :] = 1  # rows grow to the front
    flat = preview.Row(row.patient, 0, 1, np.zeros_like(row.images), mask)
    draw([flat], listing, tmp_path / "sheet.png", title="")
    pixels = matplotlib.image.imread(tmp_path / "sheet.png")[..., :3]
    picture = pixels[: int(0.9 * len(pixels))]  # above the legend
    coloured = np.flatnonzero((np.ptp(picture, axis=2) > 0.1).sum(axis=1) > 50)
    assert coloured.max() < 0.5 * len(pixels)


def test_a_remark_reaches_the_picture(listing: Listing, tmp_path: Path) -> None:
    rows, _ = fullest_slices(listing, resolution=16, patients=1)
    red = []
    for remarks in ([], ["not to be published: terms of toy"]):
        draw(rows, listing, tmp_path / "sheet.png", title="toy", remarks=remarks)
        top = matplotlib.image.imread(tmp_path / "sheet.png")[:60]
        red.append(int(((top[..., 0] > 0.4) & (top[..., 1] < 0.2) & (top[..., 2] < 0.2)).sum()))
    assert red[0] == 0
    assert red[1] > 50


@pytest.mark.parametrize("count", [1, 12, 104])
def test_the_legend_of_many_classes_fits_into_the_picture(
    listing: Listing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    names = tuple(f"autochthonous-muscle-left-{number}" for number in range(count))
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    rows, _ = fullest_slices(listing, resolution=16, patients=1)
    draw(rows, replace(listing, classes=("background", *names)), tmp_path / "x.png", title="t")
    (figure,) = figures
    figure.canvas.draw()
    legend = figure.legends[0].get_window_extent()
    pictures = [axes.get_window_extent() for axes in figure.axes]
    assert legend.x0 >= 0
    assert legend.x1 <= figure.bbox.x1 + 1
    assert legend.y0 >= -1
    assert legend.y1 <= min(box.y0 for box in pictures) + 1
