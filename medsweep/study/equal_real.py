"""Pre-training on synthetic slices takes steps from real ones. An arm of as many real steps is its fair comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from medsweep.data.folds import Fold
from medsweep.study.stages import Settings, StudySweep
from medsweep.sweep.arms import Arm
from medsweep.sweep.file import Levels
from medsweep.trainers.segmentation.config import SegmentConfig, resolve
from medsweep.trainers.segmentation.networks import NETWORKS


def with_equal_real_steps(sweep: StudySweep, compared: Sequence[Arm[Settings]]) -> StudySweep:
    """The sweep with a real-only arm for each number of real steps that its pre-trained arms have, and contrasts.

    An arm with ``mixing: pretrain`` sees real slices in the last part of its steps only. So a difference from the
    control may come from fewer real steps alone. The added arm trains on real slices for as many steps and no more.
    Where an arm of the file is that already, it is taken. ``compared`` are the arms of the sweep.
    """
    real = {arm.name: _trained(arm.settings) for arm in compared if arm.settings.synthesise.count == 0}
    taken = {arm.name for arm in compared}
    added: dict[str, Levels] = {}
    contrasts: dict[str, dict[str, float]] = {}
    for arm in compared:
        segment = arm.settings.segment
        if segment.mixing != "pretrain" or arm.settings.synthesise.count == 0:
            continue
        steps = segment.steps - segment.pretrain_steps
        levels = _without_synthetic(arm.levels, steps)
        wanted = _trained(sweep.with_levels(levels, ("arms", arm.name)))
        name = next((name for name, trained in real.items() if trained == wanted), None)
        if name is None:
            name = f"{steps} real steps" if f"{steps} real steps" not in taken else f"{arm.name}, {steps} real steps"
            added[name], real[name] = levels, wanted
            taken.add(name)
        contrasts[f"{arm.name} against {name}"] = {arm.name: 1.0, name: -1.0}
    file = sweep.file.model_copy(update={"arms": {**sweep.file.arms, **added}})
    analysis = sweep.analysis.model_copy(update={"contrasts": {**contrasts, **sweep.analysis.contrasts}})
    return replace(sweep, file=file, analysis=analysis) if contrasts else sweep


def _without_synthetic(levels: Mapping[str, Any], steps: int) -> Levels:
    """Levels of an arm without those of pools, for real slices alone and so many steps."""
    kept = {dotted: level for dotted, level in levels.items() if dotted.split(".")[0] in ("data", "segment", *NETWORKS)}
    return {**kept, "synthesise.count": 0, "segment.mixing": "uniform", "segment.steps": steps}


def _trained(settings: Settings) -> tuple[int | None, SegmentConfig]:
    """What the network of a real-only arm is trained with, in any one fold."""
    config = resolve(
        settings.segment,
        fold=Fold(index=0, of=2),
        seed=0,
        count=0,
        candidates=0,
        unit="slices",
        resolution=settings.data.resolution,
        options=settings.network_options(),
    )
    return settings.data.patients, config
