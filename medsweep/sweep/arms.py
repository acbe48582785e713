"""From factors, explicit arms, exclusions and the control to the arms that are compared."""

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from medsweep.data.folds import Fold
from medsweep.data.splits import read_splits
from medsweep.errors import UserError, nearest
from medsweep.sweep.file import A_co, Levels, S_co, Sweep
from medsweep.sweep.fractions import LEAST_RESOLUTION, Fraction, best_fraction, smallest_fraction
from medsweep.yamlfile import Key

CONTROL = "control"


@dataclass(frozen=True)
class Arm(Generic[S_co]):
    """One combination of levels whose outcomes are compared."""

    name: str
    levels: Mapping[str, Any]
    """Dotted fields in which this arm was told to differ from the base settings."""
    settings: S_co
    is_control: bool = False


@dataclass(frozen=True)
class Replicate:
    """A fold x seed pair."""

    cut: Fold
    """Who is tested, and who may train before an arm asks for fewer patients."""
    seed: int

    @property
    def fold(self) -> int:
        """Number of the fold."""
        return self.cut.index


def replicates(sweep: Sweep, patients: Sequence[str], seeds: int | None = None) -> tuple[Replicate, ...]:
    """All fold x seed pairs of a sweep, folds first; without ``seeds`` those of the first look.

    Raises:
        UserError: a fold in ``only`` that does not exist, or what ``folds`` raises.
    """
    section, cuts = sweep.file.replicates, folds(sweep, patients)
    chosen = range(len(cuts)) if section.only is None else section.only
    for number, index in enumerate(chosen):
        if not 0 <= index < len(cuts):
            text = f"fold {index} does not exist; {section.scheme} has {len(cuts)} here, numbered 0 to {len(cuts) - 1}"
            raise sweep.error(("replicates", "only", number), text)
    count = section.seeds.start if seeds is None else seeds
    return tuple(Replicate(cuts[index], seed) for index in chosen for seed in range(count))


def folds(sweep: Sweep, patients: Sequence[str]) -> tuple[Fold, ...]:
    """All folds of a sweep's scheme. What a scheme does not read is neutral, so it is in no trial's digest.

    Raises:
        UserError: a split file that cannot be used, or too few patients to leave one out.
    """
    section, count = sweep.file.replicates, sweep.file.replicates.folds
    shared: dict[str, Any] = {"seed": section.seed, "validation": section.validation}
    if section.file is not None:
        splits = read_splits(sweep.yaml.path.parent / section.file, patients)
        if section.validation > 0 and any(split.validation for split in splits):
            text = (
                f"{section.file} names validation patients, so no share of {section.validation:g} is drawn; remove it"
            )
            raise sweep.error(("replicates", "validation"), text)
        return tuple(Fold(index=i, given_patients=split, scheme="file", **shared) for i, split in enumerate(splits))
    if section.scheme == "hold-out":
        shared |= {"scheme": "hold-out", "test_share": section.test_share}
    elif section.scheme == "leave-one-out":
        count = len(set(patients))
        if count < 2:
            text = f"leave-one-out needs at least 2 patients, the data have {count}"
            raise sweep.error(("replicates", "scheme"), text)
    if section.scheme != "hold-out":
        shared["of"] = count
    return tuple(Fold(index=index, **shared) for index in range(count))


def arms(sweep: Sweep[S_co, A_co]) -> tuple[Arm[S_co], ...]:
    """The control first, then the arms of the factors in file order, then the explicit arms.

    Raises:
        UserError: unknown field or level, two arms of one name, a control that is no arm, or nothing to compare.
    """
    _check_factors(sweep)
    named = _factor_arms(sweep)
    for name, levels in sweep.file.arms.items():
        if name in named:
            raise sweep.error(("arms", name), f"arm {name!r} has the name of an arm of the factors; rename it")
        named[name] = (levels, ("arms", name))
    settings = {name: sweep.with_levels(*levels) for name, levels in named.items()}
    control = _control_name(sweep, named, settings)
    if len(named) < 2 and sweep.file.search is None:
        text = "only the control is left to run; add factors, arms or a search to compare"
        raise sweep.error(("control",), text)
    order = [control, *(name for name in named if name != control)]
    return tuple(Arm(name, named[name][0], settings[name], is_control=name == control) for name in order)


def _check_factors(sweep: Sweep) -> None:
    for dotted, levels in sweep.file.factors.items():
        key: Key = ("factors", dotted)
        sweep.require_field(dotted, key)
        if not levels:
            raise sweep.error(key, f"factor {dotted} has no level; list at least one")
        texts = [json.dumps(level, sort_keys=True) for level in levels]
        if (twice := next((text for text, count in Counter(texts).items() if count > 1), None)) is not None:
            raise sweep.error(key, f"factor {dotted} names level {twice} twice")
        for number, (level, text) in enumerate(zip(levels, texts, strict=True)):
            if (dotted, text) in sweep.alone:
                continue
            try:
                sweep.with_levels({dotted: level}, ("factors",))
            except UserError as error:
                what = str(error).split(": ", 1)[1]
                raise sweep.error((*key, number), what) from None


def fraction_of(sweep: Sweep) -> Fraction | None:
    """The fractional design of the factors, None for the other kinds.

    Raises:
        UserError: no fraction of that size or resolution exists.
    """
    design, factors = sweep.file.design, tuple(sweep.file.factors)
    if design.kind != "fractional":
        return None
    try:
        fraction = (
            _sized(factors, design.fraction) if design.fraction else smallest_fraction(factors, design.resolution or 0)
        )
    except ValueError as error:
        raise sweep.error(("design",), f"{error}; take a larger fraction, or design: full") from None
    if fraction is None:
        text = f"resolution {design.resolution} of {len(factors)} factors needs every combination; set design: full"
        raise sweep.error(("design",), f"{text}, or ask for a lower resolution")
    return fraction


def _sized(factors: tuple[str, ...], share: str) -> Fraction:
    """The best fraction that takes ``share`` of the combinations, as ``1/4``."""
    divisor = int(share.split("/")[1])
    if divisor < 2 or divisor & (divisor - 1):
        raise ValueError(f"fraction {share} is not 1/2, 1/4, 1/8, ...")
    fraction = best_fraction(factors, divisor.bit_length() - 1)
    if fraction.resolution() < LEAST_RESOLUTION:
        raise ValueError(f"fraction {share} of {len(factors)} factors confounds factors with each other")
    return fraction


def _factor_arms(sweep: Sweep) -> dict[str, tuple[Levels, Key]]:
    rules = [
        {dotted: _excluded_levels(excluded, dotted, number, sweep) for dotted, excluded in rule.items()}
        for number, rule in enumerate(sweep.file.exclude)
    ]
    combinations = [
        levels
        for levels in _combinations(sweep)
        if not any(all(levels[dotted] in values for dotted, values in rule.items()) for rule in rules)
    ]
    named = dict(zip(_names(combinations), combinations, strict=True))
    if (fraction := fraction_of(sweep)) is not None:
        pairs = list(sweep.file.factors.items())
        chosen = [
            {dotted: levels[sign > 0] for (dotted, levels), sign in zip(pairs, row, strict=True)}
            for row in fraction.columns.tolist()
        ]
        # A control that the fraction leaves out stays, as an arm beside it.
        named = {name: levels for name, levels in named.items() if name == sweep.file.control or levels in chosen}
    return {name: (levels, ("factors",)) for name, levels in named.items()}


def _names(combinations: Sequence[Levels]) -> list[str]:
    names = [" ".join(label_of(dotted, value) for dotted, value in levels.items()) for levels in combinations]
    if len(set(names)) < len(names):
        full = [[f"{dotted}={level_text(value)}" for dotted, value in levels.items()] for levels in combinations]
        names = [" ".join(words) for words in full]
    return names


def _combinations(sweep: Sweep) -> Iterator[Levels]:
    factors = sweep.file.factors
    if not factors:
        return
    if sweep.file.design.kind != "one-at-a-time":
        for values in itertools.product(*factors.values()):
            yield dict(zip(factors, values, strict=True))
        return
    first = {dotted: levels[0] for dotted, levels in factors.items()}
    yield first
    for dotted, levels in factors.items():
        for level in levels[1:]:
            yield {**first, dotted: level}


def _excluded_levels(excluded: Any, dotted: str, number: int, sweep: Sweep) -> list[Any]:
    factors, key = sweep.file.factors, ("exclude", number, dotted)
    if dotted not in factors:
        raise sweep.error(key, f"exclude names {dotted!r}, which is no factor; {nearest(dotted, factors)}")
    levels = factors[dotted]
    values = excluded if isinstance(excluded, list) and excluded not in levels else [excluded]
    for value in values:
        if value not in levels:
            hint = nearest(str(value), map(str, levels))
            raise sweep.error(key, f"exclude names level {value!r} of {dotted}, which it does not have; {hint}")
    return values


def _control_name(sweep: Sweep[S_co, A_co], named: dict[str, tuple[Levels, Key]], settings: dict[str, S_co]) -> str:
    """The name of the control, which joins the arms if it is none of them."""
    control = sweep.file.control
    if isinstance(control, str):
        if control not in named:
            raise sweep.error(("control",), f"control {control!r} is no arm; {nearest(control, named)}")
        return control
    if CONTROL in named:
        raise sweep.error(("arms", CONTROL), "an arm is named 'control' and the control is described too")
    described = sweep.with_levels(control, ("control",))
    if (same := next((name for name, own in settings.items() if own == described), None)) is not None:
        return same
    named[CONTROL], settings[CONTROL] = (control, ("control",)), described
    return CONTROL


def label_of(dotted: str, value: object) -> str:
    """A level with the last part of its field's name, unless text or records with kinds speak for themselves."""
    records = isinstance(value, list | tuple) and all(isinstance(item, dict) and "kind" in item for item in value)
    if isinstance(value, str) or (records and value):
        return level_text(value)
    return f"{dotted.rsplit('.', 1)[-1]}={level_text(value)}"


def level_text(value: object) -> str:
    """A level as people read it: a list joined by plus signs, a record by its ``kind`` where it has one."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return "+".join(level_text(item) for item in value) or "none"
    if isinstance(value, dict):
        kind = [str(value["kind"])] if "kind" in value else []
        return " ".join(kind + [f"{key}:{level_text(item)}" for key, item in value.items() if key != "kind"])
    return str(value)
