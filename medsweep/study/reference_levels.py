"""What a synthetic arm is held against beside the control: the same real slices again, and as many new ones."""

from collections.abc import Mapping, Sequence
from typing import Final

from medsweep.study.refusals import dose
from medsweep.study.stages import Settings
from medsweep.sweep.arms import Arm

LEVELS: Final[Mapping[str, str]] = {
    "duplicate-real": "the same real slices again",
    "fresh-real": "as many new real slices",
}
"""What arms of one treatment stand for."""


def reference_levels(arms: Sequence[Arm[Settings]]) -> dict[str, dict[str, float]]:
    """Each arm with synthetic samples minus the arms of ``LEVELS`` at its dose and training, by name.

    A difference from real data alone mixes what is added with how often real slices are seen. Empty where no arm is
    such a level.
    """
    levels: dict[str, list[Arm[Settings]]] = {kind: [] for kind in LEVELS}
    synthetic = []
    for arm in arms:
        kinds = [treatment.model_dump(exclude_defaults=True) for treatment in arm.settings.treat.treatments]
        kind = arm.settings.treat.treatments[0].kind if len(kinds) == 1 else ""
        if arm.settings.synthesise.count == 0:
            continue
        if kind in levels and kinds in ([{}], [{"kind": kind}]):
            levels[kind].append(arm)
        elif not arm.settings.treat.replaces_pool:
            synthetic.append(arm)
    return {
        f"{arm.name} against {meaning}": {arm.name: 1.0, level.name: -1.0}
        for arm in synthetic
        for kind, meaning in LEVELS.items()
        for level in levels[kind]
        if (dose(level.settings), level.settings.data) == (dose(arm.settings), arm.settings.data)
    }
