"""A look at what scaling makes of a volume."""

from typing import Any

import numpy as np
import pytest

from medsweep.data.dataset import Intensity, Listing
from medsweep.data.scaling import is_hounsfield, look, remarks

CT = Intensity(scale="window", window=(-160.0, 240.0))
LABELS = np.ones((20, 20, 20), np.uint8)
BODY = np.random.default_rng(0).normal(40, 60, LABELS.shape).astype(np.float32)
AIR = np.where(np.arange(20)[:, None, None] < 10, np.float32(-1000), BODY)


def told(volume: Any, recipe: Intensity = CT, *, hounsfield: bool = True) -> list[tuple[str, str]]:
    return list(remarks(look(volume, LABELS, recipe), "CT", recipe, hounsfield=hounsfield))


def test_a_usual_volume_is_told_nothing_and_its_numbers_are_right() -> None:
    assert told(AIR) == []
    scaled = look(AIR, LABELS, CT)
    assert scaled.at_limits == pytest.approx(np.mean((AIR <= -160) | (AIR >= 240)))
    assert scaled.sd == pytest.approx((np.clip(AIR, -160, 240) / 200).std(), abs=1e-3)
    assert (scaled.low, scaled.high) == (-1000, AIR.max())
    assert told(BODY, Intensity(), hounsfield=False) == []


def test_a_scaled_ct_under_a_window_is_refused() -> None:
    found = told(np.clip(AIR / 1000, -1, 1))
    assert [severity for severity, _ in found] == ["warning", "error"]
    assert "CT goes from -1 to 0." in found[0][1]
    assert "HU are expected; it seems to be scaled already" in found[0][1]
    assert found[1][1].startswith("CT is almost constant once it is scaled, SD 0.00")
    assert found[1][1].endswith("do not suit the window -160 to 240")


def test_an_added_1024_is_asked_for() -> None:
    assert "is 1024 added to them?" in told(AIR + 1024)[0][1]
    assert told(AIR + 1024, hounsfield=False) == []


def test_what_lies_at_the_limits_is_warned_of() -> None:
    share = look(AIR * 300, LABELS, CT).at_limits
    assert share > 0.99
    assert told(AIR * 300) == [("warning", f"{share:.1%} of CT lie at the limits once it is scaled")]


def test_lost_grey_values_are_counted() -> None:
    stored = (2**30 + np.arange(8000) % 156).reshape(LABELS.shape)
    narrow = Intensity(inside="all")
    assert told(stored.astype(np.float64), narrow, hounsfield=False) == []
    wide = Intensity(scale="window", window=(-(2.0**40), 2.0**40))
    ((_, flat), (_, lost)) = told(stored.astype(np.float64), wide, hounsfield=False)
    assert "almost constant" in flat
    assert lost == "1 of 156 grey values of CT are left once it is scaled"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"modalities": ("CT",)}, True),
        ({"modalities": ("portal",), "choices": {"units": "HU"}}, True),
        ({"modalities": ("portal",), "intensity": CT}, True),
        ({"modalities": ("T1",), "intensity": Intensity(scale="window", window=(0.0, 9.0))}, False),
        ({"modalities": ("T1",)}, False),
    ],
)
def test_hounsfield_units_are_expected_where_anything_says_so(fields: dict[str, Any], expected: bool) -> None:
    listing = Listing(name="toy", classes=("background", "a"), values={0: 0, 1: 1}, cases=(), **fields)
    assert is_hounsfield(listing, listing.modalities[0]) is expected


def test_cohort_scales_are_looked_at_with_the_volume_s_own_constants() -> None:
    recipe = Intensity(scale="cohort", percentiles=(0.5, 99.5))
    assert look(AIR, LABELS, recipe).sd > 0.5
    assert look(AIR, np.zeros_like(LABELS), recipe).sd > 0.5


def test_auto_is_scaled_as_the_volume_by_itself_would_be() -> None:
    stripped = np.where(np.arange(20)[:, None, None] < 15, np.float32(0), BODY + 1000)
    assert look(stripped, LABELS, Intensity()) == look(stripped, LABELS, Intensity(inside="nonzero"))
    assert look(BODY, LABELS, Intensity()) == look(BODY, LABELS, Intensity(inside="all"))
    assert look(stripped, LABELS, Intensity()).sd == pytest.approx(0.5, abs=0.01)
