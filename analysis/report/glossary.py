"""What words of the report mean: the hovers of the page, and ``docs/explanation/glossary.md``."""

import re
from collections.abc import Mapping
from typing import Final

from markupsafe import Markup, escape

TERMS: Final[Mapping[str, str]] = {
    "adjusted": "Made larger so that false alarms over all arms together stay below alpha.",
    "arm": "One combination of levels of the factors. Its outcomes are compared with those of the control.",
    "BCa": "A bootstrap interval that is corrected for bias and skewness (Efron 1987).",
    "Bonferroni": "Multiplies each p by the number of tests, so that false alarms over all of them stay below alpha.",
    "bootstrap": "Drawing patients again with replacement, many times, to see how far a number may vary.",
    "confidence interval": "Intervals made in this way cover the true value in the stated share of studies.",
    "consistency": "How well masks agree with what a reference segmenter sees in their images, as an IoU.",
    "control": "The arm that all others are compared with.",
    "degree of freedom": "Independent differences that an SD is estimated from. Few of them make wide intervals.",
    "Dice": "Overlap of prediction and reference, from 0 (none) to 1 (the same).",
    "different but negligible": "A difference from the control is shown, and it lies inside the margin.",
    "digest": "The address of a trial in the store. medsweep show takes its first digits.",
    "dose response": "How the outcome changes with the number of synthetic slices.",
    "equivalent": "The difference from the control lies inside the margin, with the confidence asked for.",
    "exploratory": "For ideas, not for claims: not among the comparisons that the sweep planned.",
    "factor": "A field of the sweep file with several levels, which arms differ in.",
    "FID": "Distance between the features of real slices and of samples, as two normal distributions. Lower is better.",
    "fold": "Who trains, who validates and who is tested.",
    "Friedman": "A test on ranks of whether any arm differs from the others over the same patients.",
    "HD95": "95th percentile of the distances between the two surfaces, in mm. Lower is better.",
    "Hodges-Lehmann": "Median over the means of all pairs of differences. Few extreme patients hardly move it.",
    "Holm": "A correction for several tests, never weaker than that of Bonferroni.",
    "inconclusive": "The data neither show a difference nor confine it to the margin.",
    "inferior": "The arm is shown to be worse than the control.",
    "KID": "Distance between the features of real slices and of samples by a kernel, without bias for few of them.",
    "margin": "The difference in the primary metric that does not matter, as the sweep says.",
    "missed": "The structure is there, and nothing predicted overlaps it.",
    "Nemenyi": "A test on ranks that compares all pairs of arms.",
    "pool": "Synthetic pairs of image and mask, in a fixed order.",
    "power": "How often a difference of the given size would be shown.",
    "rank-biserial correlation": "Patients for whom the arm is better less those for whom it is worse, by ranks.",
    "replicate": "A fold and a seed. Every arm runs under every replicate.",
    "SD": "Standard deviation: how far values lie from their mean.",
    "seed": "Number that the random draws of a run follow from.",
    "simultaneous": "Holds for all arms at once, so that the chance of any false alarm stays below alpha.",
    "superior": "The arm is shown to be better than the control.",
    "trial": "One stage with one config and its inputs, such as the training of one network.",
    "unadjusted": "By itself, without regard to how many comparisons there are.",
    "Vendi score": "How many different samples there are in effect (Friedman and Dieng 2023).",
    "Wilcoxon": "A test on the ranks of the differences of the same patients.",
}  # fmt: skip
"""One or two sentences by word, as it stands in a sentence."""
_WORDS: Final = re.compile(
    rf"(?<![\w-])({'|'.join(sorted(map(re.escape, TERMS), key=len, reverse=True))})(?![\w-])", re.IGNORECASE
)
_BY_LOWER: Final = {term.lower(): meaning for term, meaning in TERMS.items()}


class Hovers:
    """Explains each word where it first stands in a section."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def begin(self) -> str:
        """From here on a section begins; the empty text."""
        self._told.clear()
        return ""

    def explained(self, text: str) -> Markup:
        """``text`` as HTML, with a hover over each word that was not explained yet."""

        def hover(match: re.Match[str]) -> str:
            word = match[1].lower()
            if word in self._told:
                return match[1]
            self._told.add(word)
            return f'<abbr title="{escape(_BY_LOWER[word])}">{match[1]}</abbr>'

        return Markup(_WORDS.sub(hover, str(escape(text))))
