"""Spectra of pools: what is drawn, and that the axis can be read whatever the ratios are."""

import re

import pandas as pd
import pytest

from medsweep.analysis.figures.spectra import draw_spectra


def curves(spread, modalities=("T1", "FLAIR"), kinds=("b-sg", "mc-sg")):
    """Synthetic power between 1 / spread and spread times the real one."""
    rows = [
        (kind, modality, cycles, 1000.0 / (cycles + 1), 1000.0 / (cycles + 1) * spread ** ((cycles - 8) / 8 * sign))
        for kind, sign in zip(kinds, (1, -1), strict=True)
        for modality in modalities
        for cycles in range(17)
    ]
    return pd.DataFrame(rows, columns=["kind", "modality", "cycles", "real", "synthetic"])


@pytest.mark.parametrize("spread", [1.05, 1.25, 2.0, 3.5, 30.0])
def test_the_axis_has_marks_on_either_side_of_one(tmp_path, spread):
    drawn = draw_spectra(curves(spread), tmp_path / "spectra")
    text = drawn.svg.read_text()
    first = text[text.index('id="axes_1"') : text.index('id="axes_2"')]
    marks = [float(number) for number in re.findall(r"<!-- ([0-9.]+) -->", first[first.index('id="ytick_1"') :])]
    inside = [mark for mark in marks if 1 / spread < mark < spread]
    assert 1 in inside
    assert min(inside) < 1 < max(inside)


def test_its_data_lie_beside_it_and_every_modality_has_a_panel(tmp_path):
    given = curves(2.0)
    drawn = draw_spectra(given, tmp_path / "spectra")
    pd.testing.assert_frame_equal(pd.read_csv(drawn.csv), given)
    text = drawn.svg.read_text()
    assert all(f"<!-- {word} -->" in text for word in ("T1", "FLAIR", "b-sg", "mc-sg", "real"))
