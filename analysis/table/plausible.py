"""Can the scores be what the table says? Impossible values are refused by name, doubtful ones are told."""

from collections.abc import Collection, Mapping, Sequence, Set
from itertools import combinations, product
from typing import Final

import numpy as np
import pandas as pd

from medsweep.analysis.records import decimals_of
from medsweep.analysis.table.reduction import Reduced
from medsweep.analysis.table.score_array import ScoreArray, scores_of
from medsweep.errors import UserError
from medsweep.metric_record import Metric

TOLERANCE: Final = 1e-9
"""How far rounding may carry a score out of its range."""
PERCENT: Final = (30.0, 300.0)
"""Ratios of medians between which an arm looks like percent beside fractions."""
PARTS: Final = (["arm"], ["fold"], ["seed"], ["arm", "fold"], ["arm", "seed"], ["arm", "fold", "seed"], ["patient"])
"""What may have been written in percent while the rest was not."""
MOSTLY: Final = 0.75
"""Share of scores above 1 from which a part holds percent; some are 0."""
TYPICAL: Final = 5.0
"""Median from which a part may hold percent; scores a little above 1 are wrong in another way."""
NAMED: Final = 3
ENOUGH: Final = 3
"""Patients from which two arms that always differ by the same are no chance, and repeated scores a code."""
FAR: Final = 3.0
"""Times the largest other distance at which a code for a missed structure lies."""
NO_CHANCE: Final = "as two trained networks do only where nothing sets them apart"


def refuse_impossible(rows: pd.DataFrame, metrics: Mapping[str, Metric]) -> None:
    """Refuse scores outside the range of their metric, with the first by name.

    Raises:
        UserError: a share is outside 0 to 1, perhaps as percent, or a distance is negative.
    """
    for name in map(str, rows["metric"].unique()):
        known = metrics.get(name)
        high = 1.0 if known is not None and known.is_share else np.inf
        if known is None or not known.range.startswith("0 "):
            continue
        own = rows[rows["metric"] == name]
        value = own["value"].to_numpy(dtype=np.float64)
        with np.errstate(invalid="ignore"):
            outside = (value < -TOLERANCE) | (value > high + TOLERANCE)
        if outside.any():
            row = own.iloc[int(outside.argmax())]
            raise UserError(
                f"{int(outside.sum())} scores of {name} lie outside {known.range}, first arm {str(row['arm'])!r} fold "
                f"{row['fold']} seed {row['seed']} patient {str(row['patient'])!r}: {row['value']:g}"
                f"{_percent(own, value) if high == 1 else ''}"
            )


def _percent(own: pd.DataFrame, value: np.ndarray) -> str:
    """The advice where whole arms, seeds, folds or patients hold percent."""
    if not (np.nanmin(value) >= 0 and 1 < np.nanmax(value) <= 100):
        return ""
    above = own["value"] > 1
    for keys in PARTS:
        by = [own[key] for key in keys]
        shares = above.groupby(by, observed=True, sort=True).mean()
        medians = own["value"].groupby(by, observed=True, sort=True).median()
        parts = shares.index[(shares > MOSTLY) & (medians >= TYPICAL)]
        if above[~own.set_index(keys).index.isin(parts)].any():
            continue
        named = [_part(keys, part) for part in parts[:NAMED]]
        more = f" and {len(parts) - NAMED} more" if len(parts) > NAMED else ""
        beside = f"{', '.join(named)}{more}, beside fractions in the others" if len(parts) < len(shares) else "all arms"
        return f"; these look like percent in {beside}: divide by 100"
    return ""


def _part(keys: Sequence[str], part: object) -> str:
    values = part if isinstance(part, tuple) else (part,)
    return " ".join(f"{key} {value}" for key, value in zip(keys, values, strict=True))


def doubts(reduced: Reduced, control: str, lattice: Collection[str] = ()) -> tuple[str, ...]:
    """Sentences on scores that cannot well be what they say.

    Arms and runs that copy others, constant differences, percent beside fractions, codes for a missed structure, and a
    control that failed throughout. Arms of ``lattice`` are the same slices where a measured law is nothing.
    """
    metric, values = reduced.metric, reduced.wide.to_numpy(dtype=np.float64)
    arms, scores = [str(arm) for arm in reduced.wide], scores_of(reduced)
    copies = _copies(values, arms, metric)
    told = [
        *copies.values(),
        *_run_copies(scores, {frozenset(pair) for pair in copies}, lattice),
        *_scales(values, arms, metric),
        *_codes(scores.values, metric),
    ]
    if len(values) and (values[:, arms.index(control)] == metric.worst).all():
        every = (values == metric.worst).all()
        told.append(
            f"{'Every arm' if every else control} scores {metric.worst:g} {metric.title} in every patient"
            f"{'' if every else ', and any arm looks better than that'}; look at {'the' if every else 'its'} networks "
            "first."
        )
    return tuple(told)


def _copies(values_PA: np.ndarray, arms: Sequence[str], metric: Metric) -> dict[tuple[str, str], str]:
    if len(values_PA) < ENOUGH:
        return {}
    told, decimals = {}, decimals_of(values_PA)
    for one, other in combinations(range(len(arms)), 2):
        a, b = values_PA[:, one], values_PA[:, other]
        finite = np.isfinite(a) & np.isfinite(b)
        if finite.sum() < ENOUGH or (a[~finite] != b[~finite]).any() or np.ptp(a[finite]) == 0:
            continue
        delta = (b[finite] - a[finite]).round(decimals)
        if np.ptp(delta) <= 2 * 10.0**-decimals:
            apart = "scores the same as" if delta[0] == 0 else f"differs by {delta[0]:+.6g} {metric.title} from"
            told[arms[one], arms[other]] = f"{arms[other]} {apart} {arms[one]} in every patient, {NO_CHANCE}."
    return told


def _run_copies(scores: ScoreArray, copied: Set[frozenset[str]], lattice: Collection[str]) -> list[str]:
    """Runs of one fold that score the same, but for those of arms that are copies as a whole."""
    told = []
    for fold, seeds, cells in zip(scores.folds, scores.seeds, scores.fold_cells(), strict=True):
        values_APR = scores.values[:, cells].reshape(len(scores.arms), -1, len(seeds)).round(scores.decimals)
        same: dict[bytes, list[tuple[str, int]]] = {}
        for (at, arm), (run, seed) in product(enumerate(scores.arms), enumerate(seeds)):
            own = values_APR[at, :, run]
            if len(np.unique(own[np.isfinite(own)])) >= ENOUGH:
                same.setdefault(own.tobytes(), []).append((arm, seed))
        where = f" of fold {fold}" if len(scores.folds) > 1 else ""
        told += [
            f"{_listed([f'{arm} seed {seed}' for arm, seed in runs])}{where} score the same in every patient, "
            f"{_why_the_same(runs, lattice)}."
            for runs in same.values()
            if len(runs) > 1 and frozenset(arm for arm, _ in runs) not in copied
        ]
    return [*told[:NAMED], *([f"{len(told) - NAMED} more runs score the same as others."] if told[NAMED:] else [])]


def _why_the_same(runs: Sequence[tuple[str, int]], lattice: Collection[str]) -> str:
    one_seed = len({seed for _, seed in runs}) == 1
    if one_seed and all(arm in lattice for arm, _ in runs):
        return "since a law that was measured there is nothing, and planting nothing leaves the slices as they are"
    return "as no two trained networks do"


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _codes(values: np.ndarray, metric: Metric) -> list[str]:
    """A largest distance that occurs again and again, far from all others."""
    if metric.is_share or metric.higher_is_better:
        return []
    found, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    if len(found) < 2 or counts[-1] < ENOUGH or found[-1] < FAR * abs(found[-2]):
        return []
    return [
        f"{counts[-1]} scores of {metric.title} are exactly {found[-1]:g}, and no other lies above {found[-2]:.6g}: a "
        "code for a missed structure? Such a score is inf."
    ]


def _scales(values_PA: np.ndarray, arms: Sequence[str], metric: Metric) -> list[str]:
    """Only for scores of which no range is known; a known share above 1 is refused."""
    if metric.is_share or not (values_PA > 0).all() or not np.isfinite(values_PA).all():
        return []
    medians = np.median(values_PA, axis=0)
    low, high = int(medians.argmin()), int(medians.argmax())
    if not PERCENT[0] < (ratio := medians[high] / medians[low]) < PERCENT[1] or medians[low] > 1:
        return []
    return [f"{arms[high]} has a median {ratio:.0f} times that of {arms[low]}: percent beside fractions?"]
