"""The pipeline: its stages by name, and from a sweep file to a plan. Part of the composition root."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

from pydantic import ValidationError

from medsweep.analysis.stats.adjust import LARGEST_POOL
from medsweep.analysis.table.tables import AnalysisPlan
from medsweep.data import prepare
from medsweep.data.config import PrepareConfig
from medsweep.data.folds import split
from medsweep.data.source import DataSource, inspect_source
from medsweep.errors import UserError
from medsweep.store.store import Store
from medsweep.study.chains import Chains, fold_of
from medsweep.study.settings import Settings, settings_of
from medsweep.sweep.arms import Arm, Replicate, arms, replicates
from medsweep.sweep.file import Schema, Sweep
from medsweep.sweep.leakage import require_no_leak
from medsweep.sweep.load import load_sweep
from medsweep.sweep.plan import Builder, Plan, build, unread_factors
from medsweep.trainers import treatments
from medsweep.trainers.assessment import assess
from medsweep.trainers.assessment import config as assess_config
from medsweep.trainers.scoring import score
from medsweep.trainers.segmentation import config as segment_config
from medsweep.trainers.segmentation import train as segment_train
from medsweep.trainers.stylegan2 import config as gan_config
from medsweep.trainers.stylegan2 import cost as gan_cost
from medsweep.trainers.stylegan2 import train as gan_train
from medsweep.trainers.synthesis import synthesise as synthesis
from medsweep.trial import Stage
from medsweep.validation import explain

STAGES: Final[Mapping[str, Stage]] = {
    stage.name: stage
    for stage in (
        Stage(name="prepare", version=2, config=PrepareConfig, run=prepare.run, hours=prepare.hours, guessed_mib=200),
        Stage(
            name="gan",
            version=2,
            config=gan_config.GanConfig,
            run=gan_train.run,
            hours=gan_cost.hours,
            divides=gan_config.divides,
            probe=gan_config.probe,
            guessed_mib=50,
        ),
        Stage(
            name="synthesise",
            version=3,
            config=synthesis.SynthesiseConfig,
            run=synthesis.run,
            hours=synthesis.hours,
            probe=synthesis.probe,
            sized_by=frozenset({"joint", "mask", "image"}),
            guessed_mib=50,
        ),
        Stage(
            name="treat",
            version=2,
            config=treatments.TreatConfig,
            run=treatments.run,
            hours=treatments.hours,
            guessed_mib=50,
        ),
        Stage(
            name="assess",
            version=3,
            config=assess_config.AssessConfig,
            run=assess.run,
            hours=assess_config.hours,
            probe=assess_config.probe,
            sized_by=frozenset({"reference"}),
        ),
        Stage(
            name="segment",
            version=3,
            config=segment_config.SegmentConfig,
            run=segment_train.run,
            hours=segment_config.hours,
            divides=segment_config.divides,
            probe=segment_config.probe,
            reads_prefix=frozenset({"pool", "scores"}),
            guessed_mib=5,
            of_arm=True,
        ),
        Stage(
            name="score",
            version=1,
            config=score.ScoreConfig,
            run=score.run,
            hours=score.hours,
            probe=score.probe,
            sized_by=frozenset({"network"}),
            of_arm=True,
        ),
    )
}


SCHEMA: Final = Schema(settings=Settings, stages=tuple(STAGES), analysis=AnalysisPlan)


def plan_sweep(path: Path, store: Store) -> tuple[Sweep, Plan]:
    """Read a sweep file, look at its data, and build its plan.

    Raises:
        UserError: anything in the file or the data that a user can mend.
    """
    sweep = load_sweep(path, SCHEMA)
    _refuse_data_factors(sweep)
    every = arms(sweep)
    data = sweep.base.data
    try:
        source = inspect_source(data, store.root)
    except ValueError as error:
        raise sweep.error(("data",), str(error)) from None
    where = replicates(sweep, source.patients)
    _require_room(sweep, every, where, source.patients)
    _require_few_enough(sweep, every)
    plan = plan_arms(sweep, every, where, source)
    for dotted in unread_factors(plan, every, sweep.file.factors):
        raise sweep.error(
            ("factors", dotted),
            f"factor {dotted} changes no trial: no stage of any arm reads it; remove it, or fix what makes it matter",
        )
    return sweep, plan


def plan_arms(
    sweep: Sweep, every: Sequence[Arm], where: Sequence[Replicate], source: DataSource, bounds: Sequence[Settings] = ()
) -> Plan:
    """The trials of some arms of a sweep, checked for leaks; pools are large enough for ``bounds`` too.

    Raises:
        UserError: settings that cannot stand together, or patients that are not there.
    """
    chains = Chains(every, source, bounds)

    def expand(builder: Builder, arm: Arm, replicate: Replicate) -> str:
        try:
            return chains.expand(builder, arm, replicate)
        except ValidationError as error:
            raise _refused(error, arm, sweep) from None

    plan = build(
        sweep.name,
        arms=every,
        replicates=where,
        stages=STAGES,
        expand=expand,
        extras=chains.extras,
    )
    require_no_leak(plan, source.patients)
    _require_spare_patients(sweep, plan, source.patients)
    return replace(plan, patients=source.patients)


def _require_few_enough(sweep: Sweep, every: Sequence[Arm]) -> None:
    """Refuse a correction that enumerates partitions of more arms than it can."""
    asked = cast(AnalysisPlan, sweep.analysis).post_hoc
    if "bergmann-hommel" in asked and len(every) > LARGEST_POOL:
        raise sweep.error(
            ("analysis", "post_hoc"),
            f"bergmann-hommel takes {LARGEST_POOL} arms at most, the sweep has {len(every)}; use shaffer",
        )


def _require_room(sweep: Sweep, every: Sequence[Arm], where: Sequence[Replicate], patients: Sequence[str]) -> None:
    """Refuse folds that the patients cannot fill; arms and seeds that share a fold are looked at once."""
    cuts = {replicate.fold: replicate for replicate in where}
    sizes = {settings_of(arm).data.patients: settings_of(arm) for arm in every}
    try:
        for replicate in cuts.values():
            for settings in sizes.values():
                split(patients, fold_of(settings, replicate))
    except ValueError as error:
        raise sweep.error(("data",), str(error)) from None


def _require_spare_patients(sweep: Sweep, plan: Plan, patients: Sequence[str]) -> None:
    """Refuse trials that take more training patients than there are, in use or left out."""
    configs = [trial.config for trial in plan.trials.values()]
    asking = dict.fromkeys(
        (own, each.borrows, each.patients_needed) for each in configs if (own := each.cut) is not None
    )
    for own, lent, needed in asking:
        used = len(split(patients, own).train)
        if needed > used:
            text = f"k-unique-real asks for {needed} training patients, fold {own.index} has {used}"
            raise sweep.error(("data",), f"{text}; give patients: {used} or less")
        if lent is not None and used == len(split(patients, lent).train):
            raise sweep.error(
                ("data",),
                f"held-out masks and fresh-real take training patients that the study leaves out, and fold {own.index} "
                f"has none beside the {used} in use; set data.patients below {used}",
            )


def _refused(error: ValidationError, arm: Arm, sweep: Sweep) -> UserError:
    """Settings that are fine one by one and wrong together, as the sections that a stage's config joins."""
    loc, message = explain(error, Settings)
    field = str(loc[0]) if loc else ""
    places: list[tuple[str, ...]] = [("data", field), *(("fixed", name, field) for name in Settings.model_fields)]
    place = next((place for place in places if place in sweep.yaml.lines), ("data",))
    return sweep.error(place, f"arm {arm.name!r}: {message}")


def _refuse_data_factors(sweep: Sweep) -> None:
    places: list[tuple[str, ...]] = [("factors", dotted) for dotted in sweep.file.factors]
    places += [("arms", name, dotted) for name, levels in sweep.file.arms.items() for dotted in levels]
    for place in places:
        if place[-1] in ("data", "data.dataset", "data.root") or place[-1].startswith("data.phantom"):
            raise sweep.error(
                place, f"{place[-1]} cannot differ between arms, which share their patients; write a sweep per dataset"
            )
