"""Two-level fractional factorial designs: which words generate them, and what they confound.

Montgomery, Design and Analysis of Experiments, chapter 8. Factors are called A, B, C, ... in file order; the first of
them span a full design, each other column is the product of the columns that its generator names. All columns hold
-1 (the first level) and +1 (the second).
"""

import string
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import numpy.typing as npt

MOST_FACTORS = 9
"""More would make the search for the best words long; no ablation of that size is run as one design."""
LEAST_RESOLUTION = 3
"""Below it, factors are confounded with each other and nothing is learned of them."""


@dataclass(frozen=True)
class Fraction:
    """A 2^(k-p) design: ``generators`` has one word per added factor, ``("D=AB", "E=AC")`` for 2^(5-2)."""

    factors: tuple[str, ...]
    generators: tuple[str, ...]

    @cached_property
    def columns(self) -> npt.NDArray[np.int64]:
        """Runs x factors of -1 and +1."""
        # pyDOE3 costs a second to import, and most sweeps need none of it.
        from pyDOE3.doe_factorial import fracfact

        base = string.ascii_lowercase[: len(self.factors) - len(self.generators)]
        words = [word.split("=")[1].lower() for word in self.generators]
        return np.asarray(fracfact(" ".join([*base, *words])), dtype=np.int64)

    def resolution(self) -> int:
        """Length of the shortest set of columns whose product is constant; k + 1 for a full design."""
        k = len(self.factors)
        for size in range(1, k + 1):
            for chosen in combinations(range(k), size):
                if np.ptp(self.columns[:, chosen].prod(axis=1)) == 0:
                    return size
        return k + 1

    def aliases(self) -> list[tuple[str, ...]]:
        """Effects of one and two factors that the design cannot tell apart, ``("A", "BC")``."""
        return aliases_of(self.columns)


def best_fraction(factors: tuple[str, ...], halvings: int) -> Fraction:
    """The 2^(k-p) design of least aberration, p = ``halvings`` >= 1; ties go to the first words in order.

    Aberration compares the number of defining words of length 1, 2, 3, ... (Fries and Hunter 1980).

    Raises:
        ValueError: k above ``MOST_FACTORS``, or p leaves a factor without a column of its own.
    """
    k, base = len(factors), len(factors) - halvings
    if k > MOST_FACTORS:
        raise ValueError(f"a fraction takes at most {MOST_FACTORS} factors, got {k}")
    if base < 2 or 2**base - 1 < k:
        raise ValueError(f"{2**base if base >= 0 else 0} runs cannot tell {k} factors apart")
    masks = [mask for mask in range(1, 2**base) if mask.bit_count() > 1]
    masks.sort(key=lambda mask: (mask.bit_count(), _word(mask)))
    chosen = min(combinations(masks, halvings), key=lambda words: _pattern(words, base, k))
    letters = string.ascii_uppercase
    named = [f"{letters[base + number]}={_word(mask)}" for number, mask in enumerate(chosen)]
    return Fraction(factors, tuple(named))


def smallest_fraction(factors: tuple[str, ...], resolution: int) -> Fraction | None:
    """The fraction of fewest runs that reaches ``resolution``; None where only the full design does."""
    for halvings in range(len(factors) - 2, 0, -1):
        if 2 ** (len(factors) - halvings) - 1 < len(factors):
            continue
        fraction = best_fraction(factors, halvings)
        if fraction.resolution() >= resolution:
            return fraction
    return None


def aliases_of(columns_RK: npt.NDArray[np.int64]) -> list[tuple[str, ...]]:
    """Sets of main effects and two-factor interactions whose columns are equal up to sign, in reading order."""
    k: int = columns_RK.shape[1]
    sets: dict[bytes, list[str]] = {}
    for size in (1, 2):
        for chosen in combinations(range(k), size):
            column = columns_RK[:, chosen].prod(axis=1)
            name = "".join(string.ascii_uppercase[factor] for factor in chosen)
            sets.setdefault((column * column[0]).tobytes(), []).append(name)
    return [tuple(names) for names in sets.values() if len(names) > 1]


def _word(mask: int) -> str:
    return "".join(letter for bit, letter in enumerate(string.ascii_uppercase) if mask >> bit & 1)


def _pattern(words: tuple[int, ...], base: int, k: int) -> tuple[int, ...]:
    """Defining words by length: every product of generating relations, as the bits of its letters."""
    relations = [mask | 1 << base + number for number, mask in enumerate(words)]
    counts = [0] * (k + 1)
    products = [0]
    for relation in relations:
        products += [product ^ relation for product in products]
    for product in products[1:]:
        counts[product.bit_count()] += 1
    return tuple(counts)
