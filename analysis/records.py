"""What the records share: the arms as the sweep names them, estimates with their interval, and their JSON form."""

import dataclasses
import json
import math
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special

from medsweep.config import Config

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class ArmInfo:
    """One arm, as the sweep's design describes it."""

    name: str
    levels: Mapping[str, object]
    """Factor -> level."""
    count: int = 0
    """Dose: synthetic patients or slices added."""
    series: str | None = None
    """Arms of one series differ in ``count`` alone; the control is dose 0 of every series."""
    control: bool = False


class Bounded(Protocol):
    """An estimate with an interval."""

    @property
    def low(self) -> float:
        """Lower end."""

    @property
    def high(self) -> float:
        """Upper end."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value with standard error ``se``, its t test against 0, and its confidence interval at ``level``."""

    value: float
    se: float
    df: float
    p: float
    low: float
    high: float
    level: float

    def within(self, margin: float, alpha: float) -> bool:
        """Two one-sided tests at ``alpha``: the (1 - 2 alpha) interval lies inside +-margin. False where df is NaN."""
        low, high = self.interval(1 - 2 * alpha)
        return -margin < low and high < margin

    def clipped(self, reach: float) -> "Estimate":
        """The same with an interval that lies in +-``reach``, beyond which no value is possible."""
        return dataclasses.replace(self, low=clipped(self.low, reach), high=clipped(self.high, reach))

    def interval(self, level: float) -> tuple[float, float]:
        """The two-sided interval at another level."""
        half = half_width(self.se, self.df, level)
        return self.value - half, self.value + half


def clipped(value: float, reach: float) -> float:
    """``value``, or the nearer end of +-``reach``; NaN stays."""
    return float(np.clip(value, -reach, reach))


def half_width(se: float, df: float, level: float) -> float:
    """Half of the t interval; NaN where there are no degrees of freedom."""
    return _t_quantile(0.5 + level / 2, df) * se if df > 0 else math.nan


def _t_quantile(p: float, df: float) -> float:
    """``scipy.stats.t.ppf``, which checks its arguments for a hundred times as long as it computes."""
    return float(special.ndtri(p) if math.isinf(df) else special.stdtrit(df, p))


def _t_tail(t: float, df: float) -> float:
    """P(T > t) for t >= 0; ``scipy.stats.t.sf`` without its checks."""
    return float(special.ndtr(-t) if math.isinf(df) else special.stdtr(df, -t))


def t_estimate(value: float, se: float, df: float, level: float) -> Estimate:
    """Two-sided t test of ``value`` against 0. Without spread p is 1 for a value of 0 and 0 for any other."""
    half = half_width(se, df, level)
    if not df > 0:
        p = math.nan
    elif se == 0:
        p = 1.0 if value == 0 else 0.0
    else:
        p = 2 * _t_tail(abs(value) / se, df)
    return Estimate(value=value, se=se, df=df, p=p, low=value - half, high=value + half, level=level)


def mean_estimate(values: Array, level: float) -> Estimate:
    """One-sample t estimate of the mean of N independent values; NaN interval for N < 2, NaN value for N = 0."""
    n = len(values)
    value = float(values.mean()) if n else math.nan
    if n < 2:
        return Estimate(value, math.nan, math.nan, math.nan, math.nan, math.nan, level)
    spread = 0.0 if np.ptp(values) == 0 else float(values.std(ddof=1))
    return t_estimate(value, spread / math.sqrt(n), n - 1, level)


def decimals_of(*values: Array) -> int:
    """Decimals to which scores of this size are told apart: 12 for Dice and for distances in mm.

    Sums in another order differ in the last bits, and must tie as what they are. Much smaller and much larger numbers
    keep as many digits of their own.
    """
    largest = max(float(np.abs(some[np.isfinite(some)]).max(initial=0.0)) for some in values)
    if largest == 0:
        return 12
    exponent = math.floor(math.log10(largest))
    return 12 - max(exponent - 2, 0) - min(exponent + 4, 0)


def rounded(values: Array) -> Array:
    """To ``decimals_of`` these scores."""
    return values.round(decimals_of(values))


def plain(value: object) -> Any:
    """JSON form of a record: NaN becomes null, an infinity the text ``inf`` or ``-inf``, an enum its value."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, Config):
        value = value.model_dump()
    match value:
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case float() if not math.isfinite(value):
            return None if math.isnan(value) else str(float(value))
        case Enum() | Path():
            return str(value)
        case None | bool() | int() | float() | str():
            return value
        case _:
            raise TypeError(f"{type(value).__name__} has no JSON form: {value!r}")


def to_json(record: object) -> str:
    """Indented JSON text of a record, without NaN or infinity as numbers."""
    return json.dumps(plain(record), indent=1, allow_nan=False, ensure_ascii=False)
