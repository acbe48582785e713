"""What a sweep may set, by section: each section belongs to the room that reads it. Part of the composition root."""

from collections.abc import Mapping
from typing import Final, Literal, cast

from pydantic import Field

from medsweep.config import Config
from medsweep.data.config import DataConfig
from medsweep.sweep.arms import Arm
from medsweep.trainers import treatments
from medsweep.trainers.assessment.config import AssessSettings
from medsweep.trainers.segmentation.config import SegmentSettings, Unit
from medsweep.trainers.stylegan2.config import GanSettings, Variant
from medsweep.trainers.synthesis import synthesise as synthesis

Pipeline = Literal["b-sg", "mc-sg", "c-sg"]

GENERATORS: Final[Mapping[Pipeline, Mapping[str, Variant]]] = {
    "b-sg": {"joint": "b-sg"},
    "mc-sg": {"mask": "m-sg", "image": "c-sg"},
    "c-sg": {"image": "c-sg"},
}
"""Generators of each pipeline, by the role in which synthesis reads them."""


class DataSection(DataConfig):
    """``data:`` the dataset, its resolution, and how many training patients the study is allowed."""

    patients: int | None = Field(default=None, ge=1)
    """Training patients per fold, drawn so that the 20 are among the 50; None takes all."""


class GanSection(GanSettings):
    """``gan:`` the generators of an arm."""

    pipeline: Pipeline = "mc-sg"
    """``b-sg``: one generator for pairs; ``mc-sg``: masks, then images; ``c-sg``: images for real training masks."""

    def generator(self) -> GanSettings:
        """The settings that each generator of the arm is trained with."""
        return GanSettings(**{name: getattr(self, name) for name in GanSettings.model_fields})


class SynthesiseSection(synthesis.SynthesiseSettings):
    """``synthesise:`` how much is made of what the generators learned."""

    count: int = Field(default=0, ge=0)
    """Synthetic patients or slices in the U-Net's training set; 0 is real data only."""
    unit: Unit = "slices"
    headroom: float = Field(default=2.0, ge=1)
    """With an IoU filter, samples made per sample asked for; an arm that still falls short ends as pool-dry."""


class AssessSection(AssessSettings):
    """``assess:`` scores of the pools."""

    enabled: bool = True
    """Whether pools are assessed that no filter needs scores of."""


class Settings(Config):
    """All that an arm may set, by section."""

    data: DataSection
    gan: GanSection = GanSection()
    synthesise: SynthesiseSection = SynthesiseSection()
    treat: treatments.TreatSettings = treatments.TreatSettings()
    assess: AssessSection = AssessSection()
    segment: SegmentSettings = SegmentSettings()


def settings_of(arm: Arm) -> Settings:
    """The settings of an arm, as the type they have in this pipeline."""
    return cast(Settings, arm.settings)
