"""The ``treat:`` section of a sweep, and the config of one treat trial."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import Field, field_validator, model_validator

from medsweep.config import EXTENT, Config
from medsweep.data.folds import Fold, with_all_patients
from medsweep.data.stage_config import FittedConfig
from medsweep.errors import nearest
from medsweep.mechanism import Cause
from medsweep.trainers.law import FEWEST_LEFT_OUT
from medsweep.trainers.treatments.bands import SwapBands
from medsweep.trainers.treatments.base import Treatment
from medsweep.trainers.treatments.copy_paste import CopyPaste
from medsweep.trainers.treatments.images import AnyImageTreatment
from medsweep.trainers.treatments.look import Imitate
from medsweep.trainers.treatments.masks import AnyMaskTreatment, Relabel
from medsweep.trainers.treatments.real_slices import AnyRealSlices, FreshReal, RealSlices, UniqueReal
from medsweep.trainers.treatments.warping import WarpReal

_AnyKind = AnyRealSlices | CopyPaste | AnyImageTreatment | AnyMaskTreatment | SwapBands | Imitate | WarpReal
AnyTreatment = Annotated[_AnyKind, Field(discriminator="kind")]

KINDS: Final[Mapping[str, type[Treatment]]] = {
    get_args(model.model_fields["kind"].annotation)[0]: model for model in get_args(_AnyKind)
}


class TreatSettings(Config):
    """The ``treat:`` section of a sweep."""

    treatments: tuple[AnyTreatment, ...] = ()
    """Applied in this order."""

    @field_validator("treatments", mode="before")
    @classmethod
    def _names_are_known(cls, value: Any) -> Any:
        """Name the nearest kind or parameter, which the error of a union does not."""
        for record in value if isinstance(value, list | tuple) else ():
            if not isinstance(record, dict) or not isinstance(kind := record.get("kind"), str):
                continue
            if kind not in KINDS:
                raise ValueError(f"unknown treatment {kind!r}; {nearest(kind, KINDS)}")
            for name in record.keys() - KINDS[kind].model_fields.keys():
                raise ValueError(f"unknown key {name!r} in {kind}; {nearest(name, KINDS[kind].model_fields)}")
        return _tuples(value)

    @model_validator(mode="after")
    def _real_slices_come_first(self) -> "TreatSettings":
        for treatment in self.treatments[1:]:
            if isinstance(treatment, RealSlices):
                raise ValueError(f"treatment {treatment.kind!r} replaces the pool, so it must be the first of the list")
        return self

    @property
    def replaces_pool(self) -> bool:
        """Whether the list begins with real slices."""
        return bool(self.treatments) and isinstance(self.treatments[0], RealSlices)

    @property
    def needs_pool(self) -> bool:
        """Whether the stage reads a pool; it does not where real slices replace it and nothing imitates it."""
        return not self.replaces_pool or any(treatment.imitates_pool for treatment in self.treatments)

    @property
    def needs_reference(self) -> bool:
        """Whether the stage reads the reference segmenter."""
        return any(treatment.needs_reference for treatment in self.treatments)

    @property
    def laws(self) -> frozenset[Cause]:
        """Which laws of a pool treatments take from its assessment, which the stage then reads as ``law``."""
        return frozenset[Cause]().union(*(treatment.laws for treatment in self.treatments))

    @property
    def relabels(self) -> bool:
        """Whether masks are what a segmenter sees, so that a segmenter agrees with them by construction."""
        return any(isinstance(treatment, Relabel) for treatment in self.treatments)


def _tuples(value: Any) -> Any:
    """JSON lists as tuples, at any depth: what a strict config takes once JSON was parsed."""
    if isinstance(value, dict):
        return {name: _tuples(item) for name, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


class TreatConfig(TreatSettings, FittedConfig):
    """All that a treat trial computes from."""

    count: Annotated[int, Field(ge=0), EXTENT] = 0
    """Samples, in ``unit``, where the trial has no input pool; 0 where it has one, which says how many there are."""
    unit: Literal["slices", "patients"] = "slices"
    """What ``count`` counts; a patient has as many slices as a training patient on average."""

    @model_validator(mode="after")
    def _somebody_is_left_out(self) -> "TreatConfig":
        if self._left_out and self.fold.patients is None:
            raise ValueError(
                f"{self._left_out[0]} needs training patients that the study leaves out; set data.patients below the "
                "training group"
            )
        return self

    @property
    def borrows(self) -> Fold | None:
        """All training patients, for treatments that take those whom the study leaves out."""
        return with_all_patients(self.fold) if self._left_out else None

    @property
    def patients_needed(self) -> int:
        """The most training patients that a ``k-unique-real`` asks for."""
        return max((treatment.in_use for treatment in self.treatments if isinstance(treatment, UniqueReal)), default=0)

    @property
    def spare_needed(self) -> int:
        """The most left-out patients that a treatment asks for, or those that a measured variety needs."""
        asked = [treatment.unique for treatment in self.treatments if isinstance(treatment, FreshReal | UniqueReal)]
        return max((FEWEST_LEFT_OUT if k == "measured" else k for k in asked if k is not None), default=0)

    @property
    def label(self) -> str:
        """The treatments in their order."""
        return " + ".join(treatment.kind for treatment in self.treatments)

    @property
    def _left_out(self) -> list[str]:
        """The treatments that take slices of patients left out."""
        return [treatment.kind for treatment in self.treatments if treatment.takes_left_out]


def gpu_hours(config: TreatConfig) -> float | None:
    """With a GPU as without, where a treatment lets the reference segmenter see the pool; else None."""
    return hours(config) if config.needs_reference else None


def probe(config: TreatConfig) -> TreatConfig:
    """What lets the reference segmenter see the pool, once; the other treatments take no memory of the GPU."""
    first = config.treatments[:1] if config.replaces_pool else ()
    seeing = [treatment for treatment in config.treatments if treatment.needs_reference]
    return config.model_copy(update={"treatments": (*first, *seeing[:1]), "seed": 0})


def hours(config: TreatConfig) -> float:
    """CPU hours on one core: loading, and a pass per treatment over a pool of some hundred samples at 256 px."""
    return (5.0 + sum(treatment.seconds for treatment in config.treatments)) / 3600
