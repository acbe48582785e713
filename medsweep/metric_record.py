"""What a metric is: how it is named, which way is better, where it comes from and where it is shown."""

import math
from dataclasses import dataclass
from typing import Literal

Direction = Literal["higher", "lower", "middle", "none"]
"""Which values are better; ``middle``: the best value lies inside the range; ``none``: a count, a floor or a bound."""
Question = Literal["fidelity", "variety", "texture", "misfit"]
"""What is asked of a pool."""
Place = Literal["scores", "search", "utility", "filters", "exposure"] | Question
"""Where a metric is shown. ``scores``: the report's comparisons of arms. ``search``: what a search may optimise.
``utility``: the report's section on whether better pools help. The others are the report's tables of these names."""


@dataclass(frozen=True)
class Metric:
    """A metric: how it is named, which way is better, and where it comes from."""

    name: str
    title: str
    direction: Direction
    range: str
    """In words, for example ``0 to 1``, with what special values mean."""
    meaning: str
    """One sentence."""
    source: str
    """Publication that defines it; empty where none does."""
    computed_by: str
    """Function in ``medsweep.trainers`` that computes it."""
    shown: tuple[Place, ...] = ()
    unit: str = ""
    worst: float = math.nan
    """What a diverged training scores; NaN for what is never scored so."""
    digits: int = 3
    """Decimals in print."""

    @property
    def higher_is_better(self) -> bool:
        """Whether larger values are better."""
        return self.direction == "higher"

    @property
    def is_share(self) -> bool:
        """Whether all values lie from 0 to 1."""
        return self.range.startswith("0 to 1")

    @property
    def reach(self) -> float:
        """How far two values can lie apart: 1 for a share, infinity where nothing bounds them."""
        return 1.0 if self.is_share else math.inf

    @property
    def in_unit(self) -> str:
        """The title, with its unit where it has one: ``HD95 in mm``."""
        return f"{self.title} in {self.unit}" if self.unit else self.title
