"""The composition root: the six stages, the settings of a sweep, and how an arm becomes a chain of trials."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

from pydantic import Field, ValidationError

from analysis.tables import AnalysisPlan
from medsweep.config import Config
from medsweep.data import prepare
from medsweep.data.folds import Fold, split
from medsweep.data.prepare import DataConfig, PrepareConfig, Source, inspect_source
from medsweep.design import Arm, Replicate, arms, replicates
from medsweep.errors import UserError
from medsweep.identity import canonical
from medsweep.plan import Builder, Plan, build, unread_factors
from medsweep.store import Store
from medsweep.sweep import Schema, Sweep, load_sweep
from medsweep.trial import Stage
from medsweep.validation import explain
from trainers import synthesis, treatments
from trainers.assessment import config as assess_config
from trainers.assessment import score
from trainers.segmentation import config as segment_config
from trainers.segmentation import train as segment_train
from trainers.stylegan2 import config as gan_config
from trainers.stylegan2 import cost as gan_cost
from trainers.stylegan2 import train as gan_train

Pipeline = Literal["b-sg", "mc-sg", "c-sg"]

GENERATORS: Final[Mapping[Pipeline, Mapping[str, gan_config.Variant]]] = {
    "b-sg": {"joint": "b-sg"},
    "mc-sg": {"mask": "m-sg", "image": "c-sg"},
    "c-sg": {"image": "c-sg"},
}
"""Generators of each pipeline, by the role in which synthesis reads them."""

STAGES: Final[Mapping[str, Stage]] = {
    stage.name: stage
    for stage in (
        Stage(name="prepare", version=1, config=PrepareConfig, run=prepare.run, hours=prepare.hours),
        Stage(name="gan", version=1, config=gan_config.GanConfig, run=gan_train.run, hours=gan_cost.hours),
        Stage(
            name="synthesise",
            version=1,
            config=synthesis.SynthesiseConfig,
            run=synthesis.run,
            hours=synthesis.hours,
        ),
        Stage(name="treat", version=1, config=treatments.TreatConfig, run=treatments.run, hours=treatments.hours),
        Stage(name="assess", version=1, config=assess_config.AssessConfig, run=score.run, hours=assess_config.hours),
        Stage(
            name="segment",
            version=1,
            config=segment_config.SegmentConfig,
            run=segment_train.run,
            hours=segment_config.hours,
            reads_prefix=frozenset({"pool", "scores"}),
        ),
    )
}


class DataSection(DataConfig):
    """``data:`` the dataset, its resolution, and how many training patients the study is allowed."""

    patients: int | None = Field(default=None, ge=1)
    """Training patients per fold, drawn so that the 20 are among the 50; None takes all."""


class GanSection(gan_config.GanSettings):
    """``gan:`` the generators of an arm."""

    pipeline: Pipeline = "mc-sg"
    """``b-sg``: one generator for pairs; ``mc-sg``: masks, then images; ``c-sg``: images for real training masks."""

    def generator(self) -> gan_config.GanSettings:
        """The settings that each generator of the arm is trained with."""
        return gan_config.GanSettings(**{name: getattr(self, name) for name in gan_config.GanSettings.model_fields})


class SynthesiseSection(synthesis.SynthesiseSettings):
    """``synthesise:`` how much is made of what the generators learned."""

    count: int = Field(default=0, ge=0)
    """Synthetic patients or slices in the U-Net's training set; 0 is real data only."""
    unit: segment_config.Unit = "slices"
    headroom: float = Field(default=2.0, ge=1)
    """With an IoU filter, samples made per sample asked for; an arm that still falls short ends as pool-dry."""


class AssessSection(assess_config.AssessSettings):
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
    segment: segment_config.SegmentSettings = segment_config.SegmentSettings()


SCHEMA: Final = Schema(settings=Settings, stages=tuple(STAGES), analysis=AnalysisPlan)


@dataclass(frozen=True)
class _Cell:
    """One arm under one replicate, while its chain is added."""

    builder: Builder
    settings: Settings
    prepared: str
    fold: Fold
    seed: int


class Chains:
    """Turns arms into trials. Knows all arms, since those that differ in dose share a pool as large as the largest."""

    def __init__(self, every: Sequence[Arm], source: Source) -> None:
        self._source = source
        self._control = next(settings_of(arm) for arm in every if arm.is_control)
        self._extents: dict[str, int] = {}
        for arm in every:
            wanted = settings_of(arm)
            key = _generator_key(wanted)
            self._extents[key] = max(self._extents.get(key, 0), candidates(wanted))
        self.assessed: list[str] = []

    def expand(self, builder: Builder, arm: Arm, replicate: Replicate) -> str:
        """Add the chain of one arm under one replicate; returns the digest of its U-Net."""
        settings = settings_of(arm)
        prepared = builder.add("prepare", self._prepare(settings))
        cell = _Cell(builder, settings, prepared, _fold(settings, replicate), replicate.seed)
        inputs = {"prepare": prepared}
        if settings.synthesise.count > 0:
            inputs["pool"] = self._treated(cell, self._pool(cell))
            if settings.assess.enabled or settings.segment.min_iou > 0:
                scores = self._assess(cell, inputs["pool"])
                if settings.segment.min_iou > 0:
                    inputs["scores"] = scores
        return builder.add("segment", _segment(settings, cell.fold, cell.seed), inputs)

    def extras(self, builder: Builder) -> Iterable[str]:
        """Assessments, wanted for the report though few arms read them."""
        return self.assessed

    def _prepare(self, settings: Settings) -> PrepareConfig:
        data = {name: getattr(settings.data, name) for name in DataConfig.model_fields}
        return PrepareConfig(**data, source=self._source.fingerprint)

    def _pool(self, cell: _Cell) -> str:
        settings = cell.settings
        inputs = {"prepare": cell.prepared}
        for role, variant in GENERATORS[settings.gan.pipeline].items():
            resolution = settings.data.resolution
            gan = gan_config.resolve(settings.gan.generator(), variant, cell.fold, cell.seed, resolution)
            inputs[role] = cell.builder.add("gan", gan, {"prepare": cell.prepared})
        config = synthesis.SynthesiseConfig(
            truncation=settings.synthesise.truncation,
            count=self._extents[_generator_key(settings)],
            unit=settings.synthesise.unit,
            pipeline=settings.gan.pipeline,
            fold=cell.fold,
            seed=cell.seed,
            resolution=settings.data.resolution,
        )
        return cell.builder.add("synthesise", config, inputs)

    def _treated(self, cell: _Cell, pool: str) -> str:
        treat = cell.settings.treat
        if not treat.treatments:
            return pool
        inputs = {"prepare": cell.prepared, "pool": pool}
        if treatments.needs_reference(treat):
            inputs["reference"] = self._reference(cell)
        config = treatments.TreatConfig(treatments=treat.treatments, fold=cell.fold, seed=cell.seed)
        return cell.builder.add("treat", config, inputs)

    def _assess(self, cell: _Cell, pool: str) -> str:
        config = assess_config.AssessConfig(halvings=cell.settings.assess.halvings, fold=cell.fold, seed=cell.seed)
        inputs = {"prepare": cell.prepared, "pool": pool, "reference": self._reference(cell)}
        digest = cell.builder.add("assess", config, inputs)
        self.assessed.append(digest)
        return digest

    def _reference(self, cell: _Cell) -> str:
        """The control's U-Net on real data only, of the same fold and seed."""
        config = _segment(self._control, cell.fold, cell.seed, real_only=True)
        return cell.builder.add("segment", config, {"prepare": cell.prepared})


def settings_of(arm: Arm) -> Settings:
    """The settings of an arm, as the type they have in this pipeline."""
    return cast(Settings, arm.settings)


def candidates(settings: Settings) -> int:
    """Samples (in the sweep's unit) that the arm may look at: its count, with head-room where it filters."""
    count = settings.synthesise.count
    return math.ceil(count * settings.synthesise.headroom) if settings.segment.min_iou > 0 else count


def _generator_key(settings: Settings) -> str:
    dose_free = settings.synthesise.model_copy(update={"count": 0, "headroom": 1.0})
    return canonical({"data": settings.data, "gan": settings.gan, "synthesise": dose_free})


def _fold(settings: Settings, replicate: Replicate) -> Fold:
    return Fold(index=replicate.fold, of=replicate.folds, patients=settings.data.patients)


def _segment(settings: Settings, fold: Fold, seed: int, *, real_only: bool = False) -> segment_config.SegmentConfig:
    return segment_config.resolve(
        settings.segment,
        fold=fold,
        seed=seed,
        count=0 if real_only else settings.synthesise.count,
        candidates=0 if real_only else candidates(settings),
        unit=settings.synthesise.unit,
        resolution=settings.data.resolution,
    )


def plan_sweep(path: Path, store: Store) -> tuple[Sweep, Plan]:
    """Read a sweep file, look at its data, and build its plan.

    Raises:
        UserError: anything in the file or the data that a user can mend.
    """
    sweep = load_sweep(path, SCHEMA)
    _refuse_data_factors(sweep)
    every = arms(sweep)
    data = cast(Settings, sweep.base).data
    try:
        source = inspect_source(data, store.root)
        for replicate in replicates(sweep):
            for arm in every:
                split(source.patients, _fold(settings_of(arm), replicate))
    except ValueError as error:
        raise sweep.document.error(("data",), str(error)) from None
    chains = Chains(every, source)

    def expand(builder: Builder, arm: Arm, replicate: Replicate) -> str:
        try:
            return chains.expand(builder, arm, replicate)
        except ValidationError as error:
            raise _refused(error, arm, sweep) from None

    plan = build(
        sweep.name,
        arms=every,
        replicates=replicates(sweep),
        stages=STAGES,
        expand=expand,
        extras=chains.extras,
    )
    for dotted in unread_factors(plan, every, sweep.file.factors):
        raise sweep.document.error(
            ("factors", dotted),
            f"factor {dotted} changes no trial: no stage of any arm reads it; remove it, or fix what makes it matter",
        )
    return sweep, plan


def _refused(error: ValidationError, arm: Arm, sweep: Sweep) -> UserError:
    """Settings that are fine one by one and wrong together, as the sections that a stage's config joins."""
    loc, message = explain(error, Settings)
    field = str(loc[0]) if loc else ""
    places: list[tuple[str, ...]] = [("data", field), *(("fixed", name, field) for name in Settings.model_fields)]
    place = next((place for place in places if place in sweep.document.lines), ("data",))
    return sweep.document.error(place, f"arm {arm.name!r}: {message}")


def _refuse_data_factors(sweep: Sweep) -> None:
    places: list[tuple[str, ...]] = [("factors", dotted) for dotted in sweep.file.factors]
    places += [("arms", name, dotted) for name, levels in sweep.file.arms.items() for dotted in levels]
    for place in places:
        if place[-1] in ("data", "data.dataset", "data.root") or place[-1].startswith("data.phantom"):
            raise sweep.document.error(
                place, f"{place[-1]} cannot differ between arms, which share their patients; write a sweep per dataset"
            )


def require_within_budget(sweep: Sweep, hours: float) -> None:
    """Refuse to start a sweep that is priced above its budget.

    Raises:
        UserError: with the price and the budget.
    """
    budget = sweep.file.budget
    if budget is not None and hours > budget.hours:
        raise sweep.document.error(
            ("budget", "hours"),
            f"the trials to run are priced at {hours:.2f} hours, above the budget of {budget.hours:g}; "
            "raise budget.hours or ask for less",
        )
