"""From a sweep file and its data to the plan of its trials, and what is refused on the way."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from medsweep.data.folds import patients_of, split
from medsweep.data.source import DataSource
from medsweep.errors import UserError
from medsweep.store.store import Store
from medsweep.study.chains import Chains, fold_of
from medsweep.study.default_budget import default_budget
from medsweep.study.equal_real import with_equal_real_steps
from medsweep.study.expansions import Expansions
from medsweep.study.laws import refuse_unmeasured_laws
from medsweep.study.mechanism_arms import with_mechanism_arms
from medsweep.study.pool_folders import PoolFolders, place_of
from medsweep.study.recorded_source import current_source, recorded_source
from medsweep.study.refusals import refuse_data_factors, refuse_what_cannot_be_told
from medsweep.study.short_trainings import short_trainings
from medsweep.study.stages import SCHEMA, STAGES, Settings, StudySweep
from medsweep.study.starts import StartError
from medsweep.study.unread import unread
from medsweep.sweep.arms import Arm, Replicate, arms, replicates
from medsweep.sweep.leakage import require_no_leak
from medsweep.sweep.load import load_sweep
from medsweep.sweep.plan import Builder, Plan, build, unread_factors
from medsweep.trainers.synthesis.pair_files import PoolFolderError
from medsweep.validation import explain


@dataclass(frozen=True)
class PlannedSweep:
    """A sweep with all that its plan is made from, worked out once per command."""

    sweep: StudySweep
    source: DataSource
    arms: tuple[Arm[Settings], ...]
    """All arms of the file, also those that turn out to be the same trials as another."""
    replicates: tuple[Replicate, ...]
    folders: PoolFolders
    """What was found in the folders of pairs that arms name."""
    plan: Plan[Settings]
    notes: tuple[str, ...] = ()
    """What was chosen for the sweep, and what it says that nothing reads, a line each."""


def plan_sweep(
    path: Path, store: Store, *, reading: bool = False, rehash: bool = False, asked_by: tuple[Path, ...] = ()
) -> PlannedSweep:
    """Read a sweep file, look at its data, and build its plan.

    Where results are only for ``reading``, what the store recorded of the patients will do in place of their files.
    With ``rehash`` these are all read anew. ``asked_by`` are the sweep files, one named by the other, whose generators
    begin from one of this sweep.

    Raises:
        UserError: anything in the file or the data that a user can mend.
    """
    said = load_sweep(path, SCHEMA, reading=reading)
    files = (*asked_by, said.yaml.path.resolve())
    if files[-1] in asked_by:
        ring = " from ".join(file.name for file in files[asked_by.index(files[-1]) :])
        raise UserError(f"generators would begin from themselves ({ring}); take init_from out of one sweep")
    refuse_data_factors(said)
    sweep, compared = _with_added_arms(said)
    try:
        data = sweep.base.data
        source = recorded_source(data, store) if reading else current_source(data, store, rehash=rehash)
    except ValueError as error:
        raise sweep.error(("data",), str(error)) from None
    budget = default_budget(said, source)
    if budget.fields:
        sweep, compared = _with_added_arms(budget.applied(said))
    refuse_what_cannot_be_told(sweep, compared, source)
    cells = replicates(sweep, source.patients)
    refuse_unmeasured_laws(sweep, compared, cells)
    _require_room(sweep, compared, cells, source.patients)

    def plan_of(other: Path) -> Plan[Settings]:
        """The plan of a sweep whose generator one of this sweep begins from."""
        return plan_sweep(other, store, reading=reading, asked_by=files).plan

    folders = PoolFolders(sweep, source, store, reading, rehash, plan_of=plan_of)
    plan = plan_arms(sweep, source, cells, compared, folders=folders)
    for dotted in unread_factors(plan, compared, sweep.file.factors):
        text = f"factor {dotted} changes no trial: no stage of any arm reads it; remove it, or fix what makes it matter"
        raise sweep.error(("factors", dotted), text)
    chosen = budget.sentences(frozenset(trial.stage for trial in plan.trials.values()))
    notes = () if reading else unread(sweep, source, compared, cells, folders, said)
    short = short_trainings(sweep, compared)
    return PlannedSweep(sweep, source, compared, cells, folders, plan, (*chosen, *short, *notes))


def _with_added_arms(sweep: StudySweep) -> tuple[StudySweep, tuple[Arm[Settings], ...]]:
    """The sweep with the arms that its questions need beside those of its file, and all of them."""
    asked = with_mechanism_arms(sweep)
    compared = arms(asked)
    whole = with_equal_real_steps(asked, compared)
    return whole, compared if whole is asked else arms(whole)


def plan_arms(
    sweep: StudySweep,
    source: DataSource,
    cells: Sequence[Replicate],
    compared: Sequence[Arm[Settings]],
    bounds: Sequence[Settings] = (),
    *,
    folders: PoolFolders,
    known: Expansions | None = None,
) -> Plan[Settings]:
    """The trials of some arms of a sweep, checked for leaks; pools are large enough for ``bounds`` too.

    ``known`` keeps what arms were expanded to for the next plan of the same sweep.

    Raises:
        UserError: settings that cannot stand together, or patients that are not there.
    """
    chains = Chains(compared, source, bounds, sweep.file.mechanism, sweep.file.texture, folders=folders)
    known = known or Expansions(())

    def expand(builder: Builder, arm: Arm[Settings], replicate: Replicate) -> str:
        """Add the trials of one arm and replicate, and give the digest of its score trial."""
        try:
            return known.expand(chains, builder, arm, replicate)
        except ValidationError as error:
            raise _refused(error, arm, sweep) from None
        except PoolFolderError as error:
            raise sweep.error(place_of(sweep, arm), f"arm {arm.name!r}: {error}") from None
        except StartError as error:
            raise sweep.error(place_of(sweep, arm, error.dotted), f"arm {arm.name!r}: {error}") from None

    plan = build(
        sweep.name, arms=compared, replicates=cells, stages=STAGES, expand=expand, extras=lambda _: chains.extras
    )
    require_no_leak(plan, source.patients)
    _require_spare_patients(sweep, plan, source.patients)
    return replace(plan, patients=source.patients, data_warnings=source.warnings)


def _require_room(
    sweep: StudySweep, compared: Sequence[Arm[Settings]], cells: Sequence[Replicate], patients: Sequence[str]
) -> None:
    """Refuse folds that the patients cannot fill; arms and seeds that share a fold are looked at once."""
    cuts = {replicate.fold: replicate for replicate in cells}
    sizes = {arm.settings.data.patients: arm.settings for arm in compared}
    try:
        for replicate in cuts.values():
            for settings in sizes.values():
                split(patients, fold_of(settings, replicate))
    except ValueError as error:
        raise sweep.error(("data",), str(error)) from None


def _require_spare_patients(sweep: StudySweep, plan: Plan, patients: Sequence[str]) -> None:
    """Refuse trials that take more training patients than there are, in use or left out."""
    configs = [trial.config for trial in plan.trials.values()]
    demands = dict.fromkeys(
        (config.cut, config.borrows, config.patients_needed, config.spare_needed) for config in configs
    )
    for own, lent, needed, spare in demands:
        if own is None:
            continue
        used = len(patients_of(split(patients, own).train))
        if needed > used:
            text = f"k-unique-real asks for {needed} training patients, fold {own.index} has {used}"
            raise sweep.error(("data",), f"{text}; give patients: {used} or less")
        if lent is not None and used == len(patients_of(split(patients, lent).train)):
            raise sweep.error(
                ("data",),
                "held-out masks, fresh-real, warp-real, assess.judge left-out and init_from left-out take training "
                f"patients that the study leaves out, and fold {own.index} has none beside the {used} in use; "
                f"set data.patients below {used}",
            )
        if lent is not None and (left := len(patients_of(split(patients, lent).train)) - used) < spare:
            text = f"unique asks for {spare} training patients that are left out, fold {own.index} has {left}"
            raise sweep.error(("data", "patients"), f"{text} beside the {used} in use; lower data.patients")


def _refused(error: ValidationError, arm: Arm, sweep: StudySweep) -> UserError:
    """Settings that are fine one by one and wrong together, as the sections that a stage's config joins."""
    loc, message = explain(error, Settings)
    field = str(loc[0]) if loc else ""
    place = sweep.place(("data", field), *(("fixed", name, field) for name in Settings.model_fields), ("data",))
    return sweep.error(place, f"arm {arm.name!r}: {message}")
