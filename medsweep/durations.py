"""Durations as people say them."""

import time

_UNITS = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


def people_hours(hours: float) -> str:
    """``2 d 3 h``, ``3 h 20 min``, ``14 min``, ``45 s``: two units from an hour on, one below.

    >>> people_hours(51.2), people_hours(0.237), people_hours(0.0001)
    ('2 d 3 h', '14 min', '<1 s')
    """
    seconds = round(3600 * hours)
    if seconds == 0:
        return "<1 s" if hours > 0 else "0 s"
    for size, unit, smaller, smaller_unit in _UNITS:
        if seconds < size:
            continue
        if size >= 3600:
            # rounded first, so that 1 h 59.9 min is 2 h and not 1 h 60 min
            parts = round(seconds / smaller)
            whole, rest = divmod(parts, size // smaller)
            if size == 3600 and whole == 24:
                return "1 d"
            return f"{whole} {unit}" + (f" {rest} {smaller_unit}" if rest else "")
        minutes = round(seconds / 60)
        return "1 h" if minutes == 60 else f"{minutes} min"
    return f"{seconds} s"


def people_age(moment: float) -> str:
    """How long ago ``moment`` was, in seconds since the epoch."""
    return people_hours(max(0.0, time.time() - moment) / 3600)
