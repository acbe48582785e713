"""Arms of a sweep as the analysis knows them."""

from collections.abc import Mapping, Sequence

import numpy as np

from medsweep.analysis.records import ArmInfo
from medsweep.study.stages import Settings
from medsweep.sweep.arms import Arm, label_of, level_text


def arm_infos(arms: Sequence[Arm[Settings]]) -> tuple[ArmInfo, ...]:
    """Arms as the analysis knows them; those that differ in the synthetic count alone form a series."""
    firsts: dict[str, Arm] = {}
    for arm in arms:
        if arm.settings.synthesise.count > 0:
            firsts.setdefault(_without_count(arm), arm)
    return tuple(
        ArmInfo(
            name=arm.name,
            levels={name: value if np.isscalar(value) else level_text(value) for name, value in arm.levels.items()},
            count=arm.settings.synthesise.count,
            series=_series_name(firsts[_without_count(arm)].levels) if arm.settings.synthesise.count > 0 else None,
            control=arm.is_control,
        )
        for arm in arms
    )


def _without_count(arm: Arm[Settings]) -> str:
    """What arms of one series share."""
    synthesise = arm.settings.synthesise.model_copy(update={"count": 0})
    return arm.settings.model_copy(update={"synthesise": synthesise}).model_dump_json()


def _series_name(levels: Mapping[str, object]) -> str:
    labels = [label_of(dotted, value) for dotted, value in levels.items() if dotted != "synthesise.count"]
    return " ".join(labels) or "synthetic"
