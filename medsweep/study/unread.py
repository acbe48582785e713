"""What a sweep file says that changes nothing: told by name, with its line, and refused nowhere."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from pydantic import ValidationError

from medsweep.data.source import DataSource
from medsweep.errors import UserError
from medsweep.study.chains import Chains
from medsweep.study.pool_folders import PoolFolders
from medsweep.study.stages import STAGES, Settings, StudySweep
from medsweep.sweep.arms import Arm, Replicate
from medsweep.sweep.plan import Builder
from medsweep.yamlfile import Key

LOOKED_AT: Final = 200
"""Levels of arms that are tried out, the first ones: each takes milliseconds, and a file may have thousands."""


def unread(  # noqa: PLR0917
    sweep: StudySweep,
    source: DataSource,
    compared: Sequence[Arm[Settings]],
    cells: Sequence[Replicate],
    folders: PoolFolders,
    said: StudySweep,
) -> tuple[str, ...]:
    """A line for each setting that no trial reads, and for samples that no step can see.

    ``said`` is the sweep as its file has it, without settings that were chosen and arms that were added.
    """
    return (
        *_overridden(said, compared),
        *_filters_of_nothing(said, compared),
        *_more_than_steps_see(said, source, compared),
        *_levels_without_a_reader(sweep, said, source, compared, cells[0], folders=folders),
    )


def _overridden(sweep: StudySweep, compared: Sequence[Arm[Settings]]) -> Iterator[str]:
    """Fields in ``fixed`` that a factor sets as well."""
    for dotted in sweep.file.factors:
        section, _, name = dotted.partition(".")
        written = sweep.file.fixed.get(section)
        if not isinstance(written, dict) or name not in written:
            continue
        keep = [arm.name for arm in compared if dotted not in arm.levels]
        holds = f"it holds for {', '.join(keep[:3])}{', ...' * (len(keep) > 3)} alone" if keep else "no arm has it"
        text = f"{dotted} is {written[name]} here and a factor too, so {holds}; remove one of the two"
        yield str(sweep.error(("fixed", section, name), text))


def _filters_of_nothing(sweep: StudySweep, compared: Sequence[Arm[Settings]]) -> Iterator[str]:
    """A filter for all arms where none has synthetic samples."""
    if sweep.base.segment.min_iou > 0 and all(arm.settings.synthesise.count == 0 for arm in compared):
        text = f"segment.min_iou {sweep.base.segment.min_iou:g} filters nothing, since no arm has synthetic samples"
        yield str(sweep.error(("fixed", "segment", "min_iou"), f"{text}; set synthesise.count, or remove it"))


def _more_than_steps_see(sweep: StudySweep, source: DataSource, compared: Sequence[Arm[Settings]]) -> Iterator[str]:
    """Arms with more synthetic slices than a training has places for, the first of each count and training."""
    told: set[tuple[object, ...]] = set()
    for arm in compared:
        synthesise, segment = arm.settings.synthesise, arm.settings.segment
        steps = segment.pretrain_steps if segment.mixing == "pretrain" else segment.steps
        slots = segment.synthetic_slots if segment.mixing == "fixed-exposure" else segment.batch_size
        each = 1.0 if synthesise.unit == "slices" else source.slices / max(len(source.patients), 1)
        key = (synthesise.count, synthesise.unit, steps, slots)
        if synthesise.count * each <= steps * slots or key in told:
            continue
        told.add(key)
        text = f"arm {arm.name!r} adds {synthesise.count} {synthesise.unit}, and {steps} steps with {slots} places each"
        yield str(
            sweep.error(_place(sweep, arm), f"{text} see {steps * slots} slices; raise segment.steps, or make fewer")
        )


def _levels_without_a_reader(
    sweep: StudySweep,
    said: StudySweep,
    source: DataSource,
    compared: Sequence[Arm[Settings]],
    cell: Replicate,
    *,
    folders: PoolFolders,
) -> Iterator[str]:
    """Levels of the control and of named arms without which the same trials would run."""
    changed = list(islice(_changes(sweep, said, compared), LOOKED_AT))
    if not changed:
        return
    arms = [*compared, *(without for _, _, without in changed)]
    chains = Chains(arms, source, (), sweep.file.mechanism, sweep.file.texture, folders=folders)
    for key, arm, without in changed:
        trials = _trials(chains, arm, cell)
        if trials and trials == _trials(chains, without, cell):
            yield str(sweep.error(key, f"{key[-1]} changes nothing in arm {arm.name!r}: no stage of it reads it"))


def _changes(
    sweep: StudySweep, said: StudySweep, compared: Sequence[Arm[Settings]]
) -> Iterator[tuple[Key, Arm[Settings], Arm[Settings]]]:
    """Each level that differs from what holds for all arms: its place, the arm, and the arm without it."""
    base = sweep.base.model_dump()
    for arm in compared:
        key = _place(said, arm)
        if key == ("factors",):
            continue
        for dotted in arm.levels:
            if _at(arm.settings.model_dump(), dotted) == _at(base, dotted):
                continue
            rest = {name: value for name, value in arm.levels.items() if name != dotted}
            try:
                settings = sweep.with_levels(rest, key)
            except UserError:  # without this level the others do not stand, so it is read
                continue
            yield (*key, dotted), arm, Arm(f"{arm.name} without {dotted}", rest, settings)


def _place(sweep: StudySweep, arm: Arm[Settings]) -> Key:
    if arm.name in sweep.file.arms:
        return ("arms", arm.name)
    return ("control",) if arm.is_control and isinstance(sweep.file.control, dict) else ("factors",)


def _at(tree: Mapping[str, Any], dotted: str) -> object:
    value: Any = tree
    for name in dotted.split("."):
        value = value[name]
    return value


def _trials(chains: Chains, arm: Arm[Settings], cell: Replicate) -> frozenset[str]:
    """All trials of an arm under one replicate; none where its settings cannot stand together."""
    builder = Builder(STAGES)
    try:
        chains.expand(builder, arm, cell)
    except (ValidationError, UserError):
        return frozenset()
    return frozenset(builder.trials)
