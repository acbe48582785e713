"""The section ``accumulation:`` of a sweep file: which arms tell whether errors of masks accumulate through C-SG."""

from collections.abc import Iterator
from typing import Final

from pydantic import Field

from medsweep.config import Config

SINGLE: Final = (
    "new_real",
    "same_real",
    "warped",
    "known_masks",
    "new_masks",
    "generated_masks",
    "pairs",
)
"""Cells that take one arm."""


class Accumulation(Config):
    """Arms by the masks that they have and who made the images for them; all are arms of the sweep."""

    new_masks: str
    """C-SG images for real masks of patients that the study leaves out."""
    generated_masks: str
    """C-SG images for M-SG masks."""
    new_real: str | None = None
    """Real images and masks of patients left out."""
    same_real: str | None = None
    """Real images and masks of the training patients, once more."""
    warped: str | None = None
    """Real images warped to the M-SG masks; without it the interaction is not known."""
    known_masks: str | None = None
    """C-SG images for the masks that C-SG was fitted on."""
    perturbed: dict[str, float] = Field(default={})
    """Arms of C-SG images for perturbed masks of patients left out, each with the size of its perturbation in px."""
    pairs: str | None = None
    """B-SG pairs, for the table alone."""

    def places(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Every arm that is named, with its keys inside the section."""
        for cell in SINGLE:
            arm = getattr(self, cell)
            if arm is not None:
                yield (cell,), arm
        for arm in self.perturbed:
            yield ("perturbed", arm), arm
