"""Hours as people say them."""

import pytest

from medsweep.durations import people_hours


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        (0.0, "0 s"),
        (0.0001, "<1 s"),
        (45 / 3600, "45 s"),
        (0.237, "14 min"),
        (0.9999, "1 h"),
        (1.999, "2 h"),
        (3 + 20 / 60, "3 h 20 min"),
        (23.999, "1 d"),
        (51.2, "2 d 3 h"),
        (3033.0, "126 d 9 h"),
    ],
)
def test_two_units_from_an_hour_on_and_none_is_full(hours: float, said: str) -> None:
    assert people_hours(hours) == said
