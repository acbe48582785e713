"""Beside the costs of a mechanism: doses of its arms, instruments, and what went on inside the networks."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from medsweep.analysis.figures.laws import Placed, draw_edges, draw_variety
from medsweep.analysis.figures.networks import draw_auc, draw_influence
from medsweep.analysis.records import Bounded, Estimate
from medsweep.analysis.report.document import Block, Figure, Prose
from medsweep.analysis.report.table import DASH, Columns, Table, folded, interval, table_of, without_dashes
from medsweep.analysis.report.topic import Material
from medsweep.analysis.study.mechanisms.cause_wording import NAMES
from medsweep.analysis.study.mechanisms.instruments import BOUNDARY_LOSS, VENDI
from medsweep.analysis.study.mechanisms.laws import LAWS, Dose
from medsweep.analysis.study.mechanisms.mechanism import MechanismStudy
from medsweep.analysis.study.wording import number, percent, span
from medsweep.mechanism import CAUSES, CELLS, Cause

Key = tuple[str, str, str, str]
"""When, quantity, group and source."""


def blocks(material: Material, study: MechanismStudy) -> Iterator[Block | None]:
    """Tables and pictures, as far as they were measured."""
    level = percent(1 - material.analysis.rules.alpha)
    found = _by_arm(study)
    yield _doses(study)
    yield _instruments(study)
    if study.instruments.opposed:
        yield Prose(
            (
                f"Warning: {' and '.join(study.instruments.opposed)} of {study.arms.explain} and the bias of its "
                "masks have opposite signs, so the judge or the intensities mislead.",
            )
        )
    yield _edges(material, study)
    yield _variety(material, study)
    if not found:
        return
    yield _gradients(study, found, level)
    yield material.picture(
        "mechanism-influence",
        partial(draw_influence, study),
        "Influence of the pool over the training, at the arm's own weights. 1: a step on the pool lowers the loss of "
        f"held-out slices as much as one on training slices; below 0 it raises it. Whiskers: {level} CI over folds and "
        "seeds. Band: other held-out slices, the most that a pool could reach.",
        f"Influence against the percentage of the steps for {', '.join(found)}.",
    )
    yield _losses(study, found)
    yield _features(study, found.get(study.arms.explain, {}), level)
    yield material.picture(
        "mechanism-auc",
        partial(draw_auc, study),
        "How well a linear classifier tells the pool from held-out slices, by the features of a level of the arm's own "
        "network. Band: training slices in place of the pool, mean and one SD over cuts. Told apart is not harmful.",
        f"Domain AUC by level for {', '.join(found)}.",
    )
    yield _normalisation(found.get(study.arms.explain, {}))


def _edges(material: Material, study: MechanismStudy) -> Figure | None:
    edges, explain = material.context.edges, study.arms.explain
    if edges is None:
        return None
    # other arms may have the pool of one of these
    edges = edges[edges["arm"].isin([arm for _, arm in study.arms.places()])]
    return material.picture(
        "mechanism-edges",
        partial(draw_edges, edges, explain),
        "Mean intensity by distance from the boundary of the masks, over folds and seeds. Band: the least and the most "
        "of the folds. A curve that runs further in (to the right) belongs to masks that are too large, a flatter one "
        "to blurred edges.",
        f"Intensity along edges of real slices and of {', '.join(edges['arm'].unique())}.",
    )


def _variety(material: Material, study: MechanismStudy) -> Figure | None:
    """None where no arm is told as varied as so many patients, or nothing stands for new real slices."""
    analysis, curve = material.analysis, material.context.variety
    metric, means = analysis.primary.metric, {one.arm: one.mean for one in analysis.primary.descriptions}
    if study.arms.ceiling not in means:
        return None
    sign = 1.0 if metric.higher_is_better else -1.0
    known, scores = (
        {pool.arm: pool.mean for pool in analysis.pools if pool.metric == name}
        for name in ("law_patients", "law_vendi")
    )
    named = dict.fromkeys(arm for _, arm in study.arms.places())
    placed = [
        Placed(arm, known[arm], sign * (means[study.arms.ceiling] - means[arm]), scores.get(arm, math.nan))
        for arm in named
        if arm in known and arm in means
    ]
    if not placed:
        return None
    cost = f"{metric.title} below {study.arms.ceiling}" if sign > 0 else f"{metric.title} above {study.arms.ceiling}"
    return material.picture(
        "mechanism-variety",
        partial(draw_variety, curve, placed, study.arms.explain, cost=cost),
        "How varied pools are, in patients left out whose slices have the same Vendi score; above the curve they are "
        "more varied than all of these. Band: the least and the most of all draws, folds and seeds. What an arm costs "
        "may come from its other causes as well, so only arms that differ in variety alone tell what variety costs.",
        "; ".join(f"{one.arm}: {number(one.patients, 1)} patients" for one in placed) + ".",
    )


def _by_arm(study: MechanismStudy) -> dict[str, dict[Key, Estimate]]:
    """Arms that were diagnosed, in the order of the section."""
    found: dict[str, dict[Key, Estimate]] = {}
    for one in study.network:
        found.setdefault(one.arm, {})[one.when, one.quantity, one.group, one.source] = one.estimate
    return found


def _doses(study: MechanismStudy) -> Table | None:
    """Laws of the pools, and of each cause what share of the explained arm's a cell has."""
    if study.delivery is None or not study.delivery.doses:
        return None
    by_cell = {cell: [dose for dose in study.delivery.doses if dose.cell == cell] for cell in CELLS}
    measured = [law for law in LAWS if any(dose.law == law.column for dose in study.delivery.doses)]
    columns: dict[str, Callable[[str], str]] = {"causes": lambda cell: cell}
    for law in measured:
        head = f"{law.name}, {law.unit}" if law.unit else law.name
        columns[head] = partial(_law_cell, by_cell, law.column)
    columns |= {f"dose of {cause}": partial(_dose_cell, by_cell, cause) for cause in CAUSES}
    runs = min(dose.runs for dose in study.delivery.doses)
    caption = (
        "Laws of the pools of the lattice, means over folds and seeds, and delivered doses. A dose is the law's "
        f"distance from new real slices over that of {study.arms.explain}. "
        "It must be 80% to 125% where the cause is on, and within 20% where it is off. Of several laws of a cause the "
        f"one furthest off is told, else the largest. {_FREED if study.arms.causes else ''}"
        f"Runs of each pool: {runs} or more."
    )
    rows = [NEW_REAL, *(cell for cell, doses in by_cell.items() if doses), EXPLAINED]
    return table_of("mechanism-doses", caption, rows, columns)


_FREED = "Laws of labels are freed of what the cell look has of them, whose masks are right. "
NEW_REAL, EXPLAINED = "none (new real)", "the arm explained"


def _law_cell(by_cell: Mapping[str, Sequence[Dose]], law: str, cell: str) -> str:
    doses = [dose for some in by_cell.values() for dose in some if dose.law == law]
    if cell == NEW_REAL:
        return number(doses[0].ceiling, 2)
    if cell == EXPLAINED:
        return number(doses[0].explained, 2)
    return next((number(dose.value, 2) for dose in doses if dose.cell == cell), DASH)


def _dose_cell(by_cell: Mapping[str, Sequence[Dose]], cause: Cause, cell: str) -> str:
    doses = [dose for dose in by_cell.get(cell, ()) if dose.cause == cause]
    if not doses:
        return DASH
    target = float(doses[0].on)
    wrong = [dose for dose in doses if not dose.delivered]
    told = (
        max(wrong, key=lambda dose: abs(dose.share - target))
        if wrong
        else max(doses, key=lambda dose: (not dose.nothing, abs(dose.explained - dose.ceiling)))
    )
    share = f"{number(100 * told.share, 0)}%" if not told.nothing else "nothing to deliver"
    return f"{share}, failed" if wrong else share


def _instruments(study: MechanismStudy) -> Table | None:
    """What sees a cause in the explained arm itself."""
    seen = study.instruments
    if all(seen.sees(cause) == "not measured" for cause in CAUSES) and not study.network:
        return None
    floor = seen.auc_floor
    rows: list[tuple[Cause, str, str, str]] = [
        ("labels", "bias of masks, px", _measured(seen.bias), "interval leaves out 0"),
        ("labels", "random error of masks, px", _measured(seen.random), "interval leaves out 0"),
        ("labels", "offset of the edge, px", _measured(seen.edge_offset), "second opinion on the bias"),
        ("labels", "masks confidently larger", _measured(seen.larger), "second opinion on the bias"),
        ("labels", "late cosine of the pool", _measured(seen.late_pool_cosine), "interval below that of real slices"),
        ("labels", "late cosine of real slices", _measured(seen.late_real_cosine), ""),
        ("labels", "boundary loss, pool over held-out", number(seen.boundary_loss, 2), f"above {BOUNDARY_LOSS:g}"),
        (
            "look",
            "domain AUC",
            number(seen.domain_auc, 2),
            f"above {number(floor[1], 2)}" if floor else "above the floor",
        ),
        ("variety", "Vendi share", number(seen.vendi, 2), f"below {VENDI:g}"),
    ]
    columns: Columns[tuple[Cause, str, str, str]] = {
        "cause": lambda row: NAMES[row[0]],
        "instrument": lambda row: row[1],
        "value": lambda row: row[2],
        "sees it where": lambda row: row[3] or DASH,
        "cause seen": lambda row: seen.sees(row[0]),
    }
    caption = (
        f"What is seen of the causes in {study.arms.explain} itself. Labels are seen where bias or random error leaves "
        "out 0, and cosine or boundary loss speaks too. Instruments support a share or stand against it. They are no "
        "causes."
    )
    return table_of("mechanism-instruments", caption, rows, columns, text=("instrument", "sees it where", "cause seen"))


def _measured(one: Bounded | None) -> str:
    return DASH if one is None else span(one.low, one.high, 2)


def _value(one: Estimate | None) -> str:
    return DASH if one is None else number(one.value, 2)


def _small(one: Estimate | None) -> str:
    """Two digits that count, for what lies orders of magnitude apart."""
    return DASH if one is None else f"{one.value:.2g}"


def _interval(one: Estimate | None) -> str:
    return DASH if one is None or math.isnan(one.low) else interval(one, 2)


def _gradients(study: MechanismStudy, found: Mapping[str, Mapping[Key, Estimate]], level: str) -> Table:
    """Of the explained arm by part of the network, of the others as a whole; the ceiling beside."""
    rows = [
        (arm, when, part, some)
        for arm, some in found.items()
        for when in ("early", "late")
        for part in _groups(some, when, "cosine_with_held_out")
        if part == "all" or arm == study.arms.explain
    ]

    def told(
        quantity: str, source: str = "pool", text: Callable[[Estimate | None], str] = _value
    ) -> Callable[[tuple[str, str, str, Mapping[Key, Estimate]]], str]:
        return lambda row: text(row[3].get((row[1], quantity, row[2], source)))

    columns: Columns[tuple[str, str, str, Mapping[Key, Estimate]]] = {
        "arm": lambda row: row[0],
        "phase": lambda row: row[1],
        "part": lambda row: row[2],
        "cosine": told("cosine_with_held_out"),
        f"{level} CI": told("cosine_with_held_out", text=_interval),
        "ceiling": told("cosine_with_held_out", "train"),
        "CI of ceiling": told("cosine_with_held_out", "train", _interval),
        "influence": told("influence"),
        "CI of influence": told("influence", text=_interval),
        "norm ratio": told("norm_ratio"),
        "noise scale": told("noise_scale"),
    }
    caption = (
        "Gradients of the pool at the arm's own weights, by phase and part of the network, over folds and seeds. "
        "Cosine with the gradient of held-out slices, freed of the noise of small batches; the ceiling is that of "
        "training slices. Influence tells what is left to learn at these weights, and is no prediction of harm."
    )
    return folded(table_of("mechanism-gradients", caption, rows, columns, text=("phase", "part")))


def _groups(some: Mapping[Key, Estimate], when: str, quantity: str) -> list[str]:
    return list(dict.fromkeys(key[2] for key in some if key[:2] == (when, quantity)))


def _losses(study: MechanismStudy, found: Mapping[str, Mapping[Key, Estimate]]) -> Table:
    def late(quantity: str, group: str, source: str) -> Callable[[tuple[str, Mapping[Key, Estimate]]], str]:
        return lambda row: _value(row[1].get(("late", quantity, group, source)))

    columns: Columns[tuple[str, Mapping[Key, Estimate]]] = {
        "arm": lambda row: row[0],
        "training": late("cross_entropy", "all", "train"),
        "held-out": late("cross_entropy", "all", "held-out"),
        "pool": late("cross_entropy", "all", "pool"),
        "boundary, held-out": late("cross_entropy", "boundary", "held-out"),
        "boundary, pool": late("cross_entropy", "boundary", "pool"),
        "generalisation gap": late("generalisation_gap", "all", "held-out - train"),
        "memorisation gap": late("memorisation_gap", "all", "train - pool"),
        "residual, pool, px": late("signed_residual_px", "all", "pool"),
    }
    caption = (
        "Cross-entropy at the arm's own weights, mean over late snapshots, folds and seeds, from half of the steps on. "
        "Boundary: within 1.5 px of the foreground's edge. Generalisation gap: held-out minus training. Memorisation "
        "gap: training minus pool, above 0 where the pool is easier. Residual: how much larger than its mask the "
        "network draws the pool's foreground."
    )
    return folded(table_of("mechanism-losses", caption, list(found.items()), columns))


def _features(study: MechanismStudy, some: Mapping[Key, Estimate], level: str) -> Table | None:
    """Of the explained arm, by level; real against real beside it."""
    rows, at = _by_group(some, "domain_auc")
    columns: Columns[str] = {
        "level": lambda part: part,
        "AUC": at("domain_auc", "pool"),
        f"{level} CI": at("domain_auc", "pool", _interval),
        "floor": at("domain_auc", "train"),
        "SD of floor": at("domain_auc_sd", "train"),
        "shift": at("mean_shift", "pool"),
        "floor of shift": at("mean_shift", "train"),
        "AUC, control": at("control_domain_auc", "pool"),
        "CKA": at("cka_with_control", "held-out"),
    }
    caption = (
        f"Features of {study.arms.explain} by level after the last step. AUC: how well the pool is told "
        "from held-out slices; floor: training slices in its place, with the SD over cuts. Shift: squared distance of "
        "the means, in SD. CKA: likeness to the control's features of held-out slices. An AUC of 1 is not harm."
    )
    return folded(without_dashes(table_of("mechanism-features", caption, rows, columns))) if rows else None


def _by_group(some: Mapping[Key, Estimate], quantity: str) -> tuple[list[str], Callable[..., Callable[[str], str]]]:
    """Groups with a ``quantity`` that is measured once, after the last step, and columns of what is told of each."""
    when = next((key[0] for key in some if key[1] == quantity), "")

    def at(quantity: str, source: str, text: Callable[[Estimate | None], str] = _value) -> Callable[[str], str]:
        return lambda group: text(some.get((when, quantity, group, source)))

    return _groups(some, when, quantity), at


def _normalisation(some: Mapping[Key, Estimate]) -> Table | None:
    rows, at = _by_group(some, "batch_norm_kl")
    columns: Columns[str] = {
        "layer": lambda layer: layer,
        "pool from held-out": at("batch_norm_kl", "pool", _small),
        "in the control": at("control_batch_norm_kl", "pool", _small),
        "held-out from statistics": at("batch_norm_running_kl", "held-out", _small),
        "its floor, the control": at("control_batch_norm_running_kl", "held-out", _small),
    }
    caption = (
        "Where layers normalise: KL divergence of Gaussians, mean over channels, of the pool from held-out slices, and "
        "of held-out slices from the running statistics, in the explained arm and in the control."
    )
    return folded(table_of("mechanism-normalisation", caption, rows, columns)) if rows else None
