"""How an arm under a replicate becomes a chain of trials."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from medsweep.config import Config
from medsweep.data.config import DataConfig, PrepareConfig
from medsweep.data.folds import Fold, split, with_all_patients
from medsweep.data.source import DataSource
from medsweep.identity import Same, canonical
from medsweep.mechanism import Mechanism
from medsweep.study.laws import law_origins, law_sources, untreated
from medsweep.study.pool_folders import PoolFolders
from medsweep.study.stages import Settings, SynthesiseSection
from medsweep.study.starts import Starts, asked_start, first_of
from medsweep.sweep.arms import Arm, Replicate
from medsweep.sweep.plan import Builder, Plan, PlannedTrial
from medsweep.texture import TextureArms
from medsweep.trainers import treatments
from medsweep.trainers.assessment import config as assess_config
from medsweep.trainers.diagnosis.config import DiagnoseConfig
from medsweep.trainers.generation.start import START
from medsweep.trainers.generators import LEFT_OUT, GeneratorFamily
from medsweep.trainers.scoring.config import ScoreConfig
from medsweep.trainers.segmentation import config as segment_config
from medsweep.trainers.synthesis import config as synthesis
from medsweep.trainers.synthesis import from_files
from medsweep.trainers.synthesis.pipelines import FAMILIES, PIPELINES


@dataclass(frozen=True)
class _Cell:
    """One arm under one replicate, while its chain is added."""

    builder: Builder
    settings: Settings
    prepared: str
    fold: Fold
    seed: int
    source: Settings
    """The chain whose delivered pool it takes laws and look from."""
    stands_in: bool = False
    """Whether it stands for the law of that pool, which then reaches it by one rule for all slices."""


class Chains:
    """Turns arms into trials. Knows all arms, since those that differ in dose share a pool as large as the largest."""

    def __init__(
        self,
        arms: Sequence[Arm[Settings]],
        source: DataSource,
        bounds: Sequence[Settings] = (),
        mechanism: Mechanism | None = None,
        texture: TextureArms | None = None,
        *,
        folders: PoolFolders | None = None,
    ) -> None:
        """Chains of ``arms``, with pools large enough for the settings in ``bounds`` too."""
        self._source, self._folders = source, folders
        self._starts = None if folders is None else Starts(folders)
        self._law_origins = law_origins(mechanism, texture)
        self._law_sources = law_sources(arms, self._law_origins)
        explained = None if mechanism is None else mechanism.explain
        self._explained = next((arm.settings for arm in arms if arm.name == explained), None)
        self._profiled = _profiled(mechanism)
        self._control = next(arm.settings for arm in arms if arm.is_control)
        self._extents: dict[Hashable, int] = {}
        self._left_out: dict[Fold, bool] = {}
        self._folds: dict[tuple[Same[Fold], int | None], Fold] = {}
        self._trainings: dict[tuple[Same[Settings], bool, bool], segment_config.SegmentConfig] = {}
        sized = [(settings, settings) for settings in (*(arm.settings for arm in arms), *bounds)]
        # what reads the pool of another chain is as large as that pool
        reading = [arm for arm in arms if arm.settings.treat.needs_pool or arm.settings.treat.laws]
        sized += [(self._law_sources[arm.name], arm.settings) for arm in reading]
        for made, asked in sized:
            key = _generator_key(made)
            self._extents[key] = max(self._extents.get(key, 0), candidates(asked))
        self.extras: list[str] = []
        """Assessments and diagnoses so far. The report wants them, though few arms read them."""

    def pool_size(self, settings: Settings) -> int:
        """Samples of the pool that an arm of these settings reads, as many as the largest of its readers wants."""
        return self._extents[_generator_key(settings)]

    def sizes_of(self, arm: Arm[Settings]) -> tuple[int, int]:
        """Samples of the pool that the arm reads, and of the one that it takes laws from; 0 where nothing is read."""
        source = self._law_sources.get(arm.name, untreated(arm.settings))
        return self.pool_size(arm.settings), self._extents.get(_generator_key(source), 0)

    def expand(self, builder: Builder, arm: Arm[Settings], replicate: Replicate) -> str:
        """Add the chain of one arm under one replicate; returns the digest of its scores."""
        settings = arm.settings
        fold = self._fold_of(settings, replicate)
        key = (self, "prepare", Same(settings.data), fold)
        prepared = builder.once(key, lambda: builder.add("prepare", prepare_config(settings.data, self._source, fold)))
        law_source = self._law_sources.get(arm.name, untreated(settings))
        stands_in = arm.name in self._law_origins
        cell = _Cell(builder, settings, prepared, fold, replicate.seed, law_source, stands_in)
        inputs = {"prepare": prepared}
        if settings.synthesise.count > 0:
            inputs["pool"] = self._delivered(cell)
            if settings.segment.min_iou > 0:
                inputs["scores"] = self._assess(cell, inputs["pool"], self._reference(cell))
            if settings.segment.max_pixel_loss > 0:
                inputs["judge"] = self._judges(cell)[-1]
            if is_assessed(settings):
                self.extras += self._assessments(cell, inputs["pool"])
                if arm.name in self._profiled:
                    self.extras.append(_profile(builder, self.extras[-1]))
        training = self._training(settings, cell.fold, cell.seed)
        if training.synthetic_gate == "random":
            gated = segment_config.SegmentConfig(**dict(training) | {"synthetic_gate": "cosine"})
            inputs["gated"] = builder.add("segment", gated, inputs)
        network = builder.add("segment", training, inputs)
        if training.snapshots > 0:
            # it looks at whole masks, and at one training
            read = {role: digest for role, digest in inputs.items() if role not in ("judge", "gated")}
            seen = read | {"network": network, "reference": self._reference(cell)}
            config = DiagnoseConfig(fold=cell.fold, seed=cell.seed, segment=training)
            self.extras.append(builder.add("diagnose", config, seen))
        return builder.add("score", ScoreConfig(fold=fold), {"prepare": prepared, "network": network})

    def _fold_of(self, settings: Settings, replicate: Replicate) -> Fold:
        """As ``fold_of``; arms of equal folds have them in common, since they are compared again and again."""
        key = (Same(replicate.cut), settings.data.patients)
        if key not in self._folds:
            self._folds[key] = fold_of(settings, replicate)
        return self._folds[key]

    def _delivered(self, cell: _Cell) -> str:
        """What the arm is given."""
        return self._treated(cell) if cell.settings.treat.treatments else self._pool(cell)

    def _pool(self, cell: _Cell) -> str:
        """Made once for all arms of the same generators, since every other setting of the pool is in their key."""
        key = (self, "pool", _generator_key(cell.settings), cell.prepared, cell.fold, cell.seed)
        return cell.builder.once(key, lambda: self._new_pool(cell))

    def _new_pool(self, cell: _Cell) -> str:
        settings = cell.settings
        if settings.synthesise.folder is not None:
            return self._imported(cell)
        inputs = {"prepare": cell.prepared}
        for role, (family, variant) in PIPELINES[settings.gan.pipeline].generators.items():
            inputs[role] = self._generator(cell, family, variant)
        config = synthesis.SynthesiseConfig(
            **synthesis.sampling_fields(settings.synthesise, settings.gan.pipeline),
            count=self.pool_size(settings),
            unit=settings.synthesise.unit,
            pipeline=settings.gan.pipeline,
            fold=cell.fold,
            seed=cell.seed,
            resolution=settings.data.resolution,
        )
        return cell.builder.add("synthesise", config, inputs)

    def _generator(self, cell: _Cell, family: GeneratorFamily, variant: str) -> str:
        own, dotted = cell.settings.of_family(family), f"{family.stage.name}.init_from"
        generators = PIPELINES[cell.settings.gan.pipeline].generators.values()
        asked = asked_start(own, variant, [name for of, name in generators if of is family], dotted)
        config = family.resolve(own, variant, cell.fold, cell.seed, cell.settings.data.resolution)
        reads = {"prepare": cell.prepared}
        if asked == LEFT_OUT:
            reads[START] = cell.builder.add(family.stage.name, first_of(config, dotted), {"prepare": cell.prepared})
        elif asked is not None:
            assert self._starts is not None, "a plan whose generators begin from others is given its folders"
            config = self._starts.begun(asked, family, config, cell.settings.data)
        if family.needs_reference(config):
            reads["reference"] = self._reference(cell)
        return cell.builder.add(family.stage.name, config, reads)

    def _imported(self, cell: _Cell) -> str:
        """The pool of a folder. It has no seed of its own, so seeds share it unless its name differs between them."""
        assert self._folders is not None, "a plan with pools from files is given their folders"
        settings, size = cell.settings, self.pool_size(cell.settings)
        pool = self._folders.pool_of(settings, cell.fold, cell.seed, size)
        config = from_files.ImportConfig(
            fold=cell.fold,
            count=size,
            unit=settings.synthesise.unit,
            resolution=settings.data.resolution,
            path=pool.path,
            name=str(settings.synthesise.folder),
            content=pool.content,
            fitted_on=pool.fitted_on,
        )
        return cell.builder.add("import", config, {"prepare": cell.prepared})

    def _treated(self, cell: _Cell) -> str:
        treat = cell.settings.treat
        inputs = {"prepare": cell.prepared}
        size: dict[str, Any] = {}
        # laws and look come from one pool, which for an arm of a lattice is that of the arm explained
        origin = replace(cell, settings=cell.source, source=untreated(cell.source), stands_in=False)
        if treat.laws or (cell.stands_in and treat.needs_pool):
            inputs["law"] = self._assessments(origin, self._delivered(origin))[-1]
        if treat.needs_pool:
            inputs["pool"] = self._delivered(origin)
        else:
            size = {"count": self.pool_size(cell.settings), "unit": cell.settings.synthesise.unit}
        if treat.needs_reference:
            inputs["reference"] = self._reference(cell)
        config = treatments.TreatConfig(treatments=treat.treatments, fold=cell.fold, seed=cell.seed, **size)
        return cell.builder.add("treat", config, inputs)

    def _assessments(self, cell: _Cell, pool: str) -> list[str]:
        """Those of each judge of the arm; the last one tells the pool, and what the judges differ in."""
        *others, judge = self._judges(cell)
        first = [self._assess(cell, pool, other) for other in others]
        second: dict[str, str] = {}
        control = self._reference(cell)
        if judge != control and cell.fold.has_validation and (others or cell.settings == self._explained):
            second["other"] = self._assess(cell, pool, control)
        return [*first, self._assess(cell, pool, judge, **second)]

    def _assess(self, cell: _Cell, pool: str, judge: str, **second: str) -> str:
        read = (pool, judge, second.get("other"), cell.prepared, cell.fold, cell.seed)
        key = (self, "assess", *read, _written(Same(cell.settings.assess)), cell.settings.treat.relabels)
        return cell.builder.once(key, lambda: self._new_assess(cell, pool, judge, **second))

    def _new_assess(self, cell: _Cell, pool: str, judge: str, **second: str) -> str:
        scores = cell.settings.assess.model_dump(exclude={"enabled", "judge"})
        relabelled = cell.settings.treat.relabels
        config = assess_config.AssessConfig(
            **scores,
            fold=cell.fold,
            seed=cell.seed,
            relabelled=relabelled,
            left_out=self._leaves_patients_out(cell.fold),
        )
        seen = {"prepare": cell.prepared, "judge": judge}
        # once per fold and judge, however many pools are compared with it
        fields = {name: getattr(config, name) for name in assess_config.EmbedConfig.model_fields}
        embed = assess_config.EmbedConfig(**fields)
        real = cell.builder.add("embed", embed, seen)
        return cell.builder.add("assess", config, seen | {"pool": pool, "real": real} | second)

    def _judges(self, cell: _Cell) -> list[str]:
        """Whose view the pool is compared with: a segmenter that has seen none of its pictures, where there is one."""
        asked = cell.settings.assess.judge
        left_out = self._leaves_patients_out(cell.fold) if asked is None else asked != "control"
        lent = any(treatment.takes_left_out for treatment in cell.settings.treat.treatments)
        if not left_out or lent or begins_from_another(cell.settings):
            return [self._reference(cell)]
        key = (self, "judge", cell.prepared, cell.fold, cell.seed)
        judge = cell.builder.once(key, lambda: self._left_out_judge(cell))
        return [self._reference(cell), judge] if asked == "both" else [judge]

    def _left_out_judge(self, cell: _Cell) -> str:
        config = segment_config.judge_of(self._training(self._control, cell.fold, cell.seed, real_only=True))
        return cell.builder.add("judge", config, {"prepare": cell.prepared})

    def _training(
        self, settings: Settings, fold: Fold, seed: int, *, real_only: bool = False
    ) -> segment_config.SegmentConfig:
        """The training of an arm in one fold; that in other folds and of other seeds differs in nothing but these."""
        key = (Same(settings), fold.has_validation, real_only)
        if key not in self._trainings:
            self._trainings[key] = segment_config.resolve(
                settings.segment,
                fold=fold,
                seed=seed,
                count=0 if real_only else settings.synthesise.count,
                candidates=0 if real_only else candidates(settings),
                unit=settings.synthesise.unit,
                resolution=settings.data.resolution,
                options=settings.network_options(),
            )
        return self._trainings[key].model_copy(update={"fold": fold, "seed": seed})

    def _leaves_patients_out(self, fold: Fold) -> bool:
        if fold.patients is None:
            return False
        if fold not in self._left_out:
            used, every = (len(split(self._source.patients, one).train) for one in (fold, with_all_patients(fold)))
            self._left_out[fold] = used < every
        return self._left_out[fold]

    def _reference(self, cell: _Cell) -> str:
        """The control's U-Net on real data only, of the same fold and seed."""

        def add() -> str:
            config = self._training(self._control, cell.fold, cell.seed, real_only=True)
            return cell.builder.add("segment", config, {"prepare": cell.prepared})

        return cell.builder.once((self, "reference", cell.prepared, cell.fold, cell.seed), add)


def prepare_config(data: DataConfig, source: DataSource, fold: Fold | None) -> PrepareConfig:
    """The config of the trial that prepares ``data``; only cohort intensities are fitted on a fold."""
    fields = {name: getattr(data, name) for name in DataConfig.model_fields}
    recipe = data.intensity or source.intensity
    fitted_on = fold if recipe.scale == "cohort" else None
    return PrepareConfig(**fields, source=source.fingerprint, fold=fitted_on, inside=source.inside)


def _profiled(mechanism: Mechanism | None) -> frozenset[str]:
    """Arms of a mechanism whose pools are looked at more closely: all but real slices again, and the lattice."""
    if mechanism is None:
        return frozenset()
    ceiling = () if mechanism.ceiling is None else (mechanism.ceiling,)
    return frozenset((mechanism.explain, *ceiling, *mechanism.ladder))


def _profile(builder: Builder, assess: str) -> str:
    """The closer look at the pool of an assess trial, by the same judge."""
    trial = builder.trials[assess]
    read = {role: trial.inputs[role] for role in ("prepare", "judge", "real", "pool")}
    return builder.add("profile", trial.config, read)


def network_of(plan: Plan, leaf: str) -> PlannedTrial:
    """The segment trial whose network the score trial ``leaf`` measures."""
    return plan.trials[plan.trials[leaf].inputs["network"]]


def candidates(settings: Settings) -> int:
    """Samples (in the sweep's unit) that the arm may look at: its count, with head-room where it filters down to it."""
    count, segment = settings.synthesise.count, settings.segment
    if segment.min_iou == 0 or segment.filter_mode == "fixed-generated":
        return count
    return math.ceil(count * settings.synthesise.headroom)


def _generator_key(settings: Settings) -> Hashable:
    """Arms that share it share a pool: real slices do not depend on any generator, and a pool not on its treatment."""
    return _key_of(Same(settings))


@lru_cache(maxsize=8192)
def _key_of(same: Same[Settings]) -> Hashable:
    settings, treat = same.value, same.value.treat
    data, synthesise = _written(Same(settings.data)), settings.synthesise
    if treat.treatments and not treat.needs_pool:
        return "treated", data, _written(Same(treat)), synthesise.unit
    if synthesise.folder is not None:
        return "given", data, synthesise.folder, synthesise.unit
    pipeline = settings.gan.pipeline
    stages = dict.fromkeys(family.stage.name for family, _ in PIPELINES[pipeline].generators.values())
    families = tuple(_of_family(Same(getattr(settings, stage)), stage) for stage in stages)
    return "made", data, pipeline, families, _dose_free(Same(synthesise))


@lru_cache(maxsize=8192)
def _written(same: Same[Config]) -> str:
    return canonical(same.value)


@lru_cache(maxsize=8192)
def _of_family(same: Same[Config], stage: str) -> str:
    """What a section says of the generators of a family."""
    fields = FAMILIES[stage].settings
    return canonical(fields(**{name: getattr(same.value, name) for name in fields.model_fields}))


@lru_cache(maxsize=8192)
def _dose_free(same: Same[SynthesiseSection]) -> str:
    return canonical(same.value.model_copy(update={"count": 0, "headroom": 1.0}))


def is_assessed(settings: Settings) -> bool:
    """Whether a pool is assessed for the report: where asked for, and always one that a diffusion model made.

    Such a model may learn a small set by heart.
    """
    made_here = settings.synthesise.folder is None and not settings.treat.replaces_pool
    return settings.assess.enabled or (made_here and PIPELINES[settings.gan.pipeline].stepwise)


def begins_from_another(settings: Settings) -> bool:
    """Whether a generator of the arm begins from another one, which may have seen patients that are left out."""
    families = (family for family, _ in PIPELINES[settings.gan.pipeline].generators.values())
    made_here = settings.synthesise.folder is None and not settings.treat.replaces_pool
    return made_here and any(getattr(settings.of_family(family), "init_from", None) for family in families)


def fold_of(settings: Settings, replicate: Replicate) -> Fold:
    """The replicate's fold with as many training patients as the arm is allowed."""
    return replicate.cut.model_copy(update={"patients": settings.data.patients})
