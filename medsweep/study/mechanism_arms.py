"""The arms that a section ``mechanism:`` stands for: a lattice of measured laws, and the same arms at other doses."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from medsweep.errors import nearest
from medsweep.mechanism import CAUSES, CELLS, Cause, Mechanism, at_dose
from medsweep.study.stages import Settings, StudySweep
from medsweep.sweep.file import Levels

COUNT = "synthesise.count"
TREATMENTS = "treat.treatments"


def with_mechanism_arms(sweep: StudySweep) -> StudySweep:
    """The sweep with the arms that ``causes`` and ``doses`` of its mechanism ask for, and with their names in it.

    ``causes`` makes the seven cells of the lattice from the arm ``ceiling``. ``doses`` runs levels and ladder at each
    count, and compares harm and shortfall at each. Steps of the ladder that are about one cause are found, where the
    file does not name them.

    Raises:
        UserError: the arms to start from are not named under ``arms``, or a name is taken.
    """
    section = sweep.file.mechanism
    if section is None:
        return sweep
    _require_arms(sweep, section)
    sweep = _at_doses(sweep, section) if section.doses else sweep
    added = _cells(sweep, section) if section.causes else {}
    changes: dict[str, Any] = {"lattice": {cell: cell for cell in CELLS}} if added else {}
    if not section.steps:
        changes["steps"] = _steps(sweep, section)
    file = sweep.file.model_copy(
        update={"arms": {**sweep.file.arms, **added}, "mechanism": section.model_copy(update=changes)}
    )
    return replace(sweep, file=file)


def _require_arms(sweep: StudySweep, section: Mechanism) -> None:
    """New arms are made from arms that the file writes down."""
    if section.causes:
        if section.lattice:
            text = "causes makes the arms of the lattice, and lattice names them by hand; remove one of the two"
            raise sweep.error(("mechanism", "causes"), text)
        if sorted(section.causes) != sorted(CAUSES):
            text = f"a lattice has the causes {', '.join(CAUSES)}, each once; got {', '.join(section.causes)}"
            raise sweep.error(("mechanism", "causes"), text)
        if section.ceiling is None:
            text = "causes are planted in new real slices; name their arm as mechanism.ceiling"
            raise sweep.error(("mechanism", "causes"), text)
    if section.doses and (list(section.doses) != sorted(set(section.doses)) or section.doses[0] < 1):
        text = f"doses rise from 1 or more, each once; got {', '.join(map(str, section.doses))}"
        raise sweep.error(("mechanism", "doses"), text)
    if section.causes or section.doses:
        for keys, arm in section.places():
            if arm not in sweep.file.arms:
                text = f"causes and doses make arms from those under arms, and none is called {arm!r}"
                raise sweep.error(("mechanism", *keys), f"{text}; {nearest(arm, sweep.file.arms)}")


def _cells(sweep: StudySweep, section: Mechanism) -> dict[str, Levels]:
    """Levels of each cell: those of the ceiling, and laws of the explained arm."""
    start = sweep.file.arms[str(section.ceiling)]
    for cell in CELLS:
        _require_free(sweep, cell)
    return {cell: {**start, TREATMENTS: treatments_of(causes)} for cell, causes in CELLS.items()}


def treatments_of(causes: tuple[Cause, ...]) -> list[dict[str, Any]]:
    """New real slices with the measured laws of these causes, in the order source, look, labels."""
    source: dict[str, Any] = {"kind": "fresh-real"}
    treatments = [source | ({"unique": "measured"} if "variety" in causes else {})]
    if "look" in causes:
        treatments.append({"kind": "imitate", "target": "pool"})
    if "labels" in causes:
        treatments.append({"kind": "corrupt-labels", "law": "measured"})
    return treatments


def _require_free(sweep: StudySweep, name: str) -> None:
    if name in sweep.file.arms:
        text = f"mechanism makes an arm called {name!r}; rename this one, or name all cells in mechanism.lattice"
        raise sweep.error(("arms", name), text)


def _at_doses(sweep: StudySweep, section: Mechanism) -> StudySweep:
    """Levels and ladder at the last dose, and arms of the same at the others with their harm and shortfall."""
    *lower, last = section.doses
    named = dict.fromkeys(arm for _, arm in section.places() if arm != sweep.file.control)
    arms = {name: {**levels, COUNT: last} if name in named else levels for name, levels in sweep.file.arms.items()}
    contrasts: dict[str, Mapping[str, float]] = {}
    for dose in lower:
        for name in named:
            _require_free(sweep, at_dose(name, dose))
            arms[at_dose(name, dose)] = {**sweep.file.arms[name], COUNT: dose}
        worse = at_dose(section.explain, dose)
        for what, better in (("harm", section.exposure), ("shortfall", section.ceiling)):
            if better is not None:
                contrasts[f"{what} at {dose}"] = {at_dose(better, dose): 1.0, worse: -1.0}
    analysis = sweep.analysis.model_copy(update={"contrasts": {**contrasts, **sweep.analysis.contrasts}})
    return replace(sweep, file=sweep.file.model_copy(update={"arms": arms}), analysis=analysis)


def _steps(sweep: StudySweep, section: Mechanism) -> dict[Cause, str]:
    """Steps of the ladder that change one thing which is a cause, by the settings of their two arms."""
    steps: dict[Cause, str] = {}
    if any(arm not in sweep.file.arms for arm in section.ladder):
        return steps
    settings = {arm: sweep.with_levels(sweep.file.arms[arm], ("arms", arm)) for arm in section.ladder}
    for before, after in itertools.pairwise(section.ladder):
        if _only_misfit(settings[before], settings[after]):
            steps["labels"] = after
        elif _only_images(settings[before], settings[after]):
            steps["look"] = after
    return steps


def _only_misfit(before: Settings, after: Settings) -> bool:
    """Whether the masks of ``before`` are what a segmenter sees in the same images."""
    kinds = [treatment for treatment in before.treat.treatments if treatment.kind != "relabel"]
    bare = before.model_copy(update={"treat": before.treat.model_copy(update={"treatments": tuple(kinds)})})
    return before.treat.relabels and bare == after


def _only_images(before: Settings, after: Settings) -> bool:
    """Whether new real slices become images painted for the masks of these people, with masks that fit."""
    kinds = [treatment.kind for treatment in before.treat.treatments]
    return kinds == ["fresh-real"] and after.treat.relabels and after.synthesise.masks == "held-out"
