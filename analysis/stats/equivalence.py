"""The verdict on two axes: is a difference shown, and is it large enough to matter?

A large p alone never reads as "no effect": without the margin shown it is inconclusive.
"""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """difference shown (yes / no) x confined to the margin (yes / no), with the sign of the mean difference."""

    SUPERIOR = "superior"
    INFERIOR = "inferior"
    EQUIVALENT = "equivalent"
    NEGLIGIBLE = "different but negligible"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Evidence:
    """The two axes at one level of analysis, and the sign of the benefit (+1 better, -1 worse, 0 unclear)."""

    different: bool
    inside: bool
    sign: int


def verdict(evidence: Evidence) -> Verdict:
    """The verdict on two axes; a difference without a clear sign is not shown."""
    different = evidence.different and evidence.sign != 0
    if evidence.inside:
        return Verdict.NEGLIGIBLE if different else Verdict.EQUIVALENT
    if not different:
        return Verdict.INCONCLUSIVE
    return Verdict.SUPERIOR if evidence.sign > 0 else Verdict.INFERIOR
