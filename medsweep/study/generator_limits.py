"""What a report repeats of the generators of a study: whom they and their judges learned from, and mirrored slices."""

from collections.abc import Callable, Iterator

from medsweep.identity import short
from medsweep.study.pool_folders import unknown_patients
from medsweep.study.stages import Settings
from medsweep.sweep.plan import Plan, PlannedTrial
from medsweep.trainers.generation.start import START
from medsweep.trainers.generators import GeneratorConfig, Start


def generator_limits(plan: Plan[Settings]) -> tuple[str, ...]:
    """A sentence or two for each limit that the way to the pools sets."""
    return tuple(line for line in (unknown_patients(plan), *_began(plan), _mirrored(plan), _two_judges(plan)) if line)


def _began(plan: Plan[Settings]) -> Iterator[str]:
    """One for generators that began from ones of this sweep, and one for each published one."""
    if arms := _arms(plan, lambda trial: START in trial.inputs):
        yield (
            f"The generators of {arms} began from ones that learned from training patients whom data.patients leaves "
            "out. So these arms rest on more patients than the others, and on as long a training again."
        )
    starts = {start.digest: start for trial in plan.trials.values() if (start := _start_of(trial)) is not None}
    for digest, start in starts.items():
        arms = _arms(plan, lambda trial, digest=digest: (own := _start_of(trial)) is not None and own.digest == digest)  # type: ignore[misc]
        yield (
            f"The generators of {arms} began from the generator {short(digest)}, which learned from "
            f"{len(start.fitted_on)} cases, so these arms rest on more patients than the others. {_checked(start)}"
        )


def _start_of(trial: PlannedTrial) -> Start | None:
    return trial.config.start if isinstance(trial.config, GeneratorConfig) else None


def _checked(start: Start) -> str:
    """How it was held against the patients who are tested or validated."""
    ids = "They are of another cohort." if start.strangers else "No id of theirs is held out here."
    if start.slices is not None:
        return f"{ids} No mask of theirs is held out either, if the machine that trained had their slices."
    return f"{ids} Their slices are not at hand, so a held-out patient with another id there would go unnoticed."


def _mirrored(plan: Plan[Settings]) -> str:
    arms = _arms(plan, lambda trial: isinstance(trial.config, GeneratorConfig) and getattr(trial.config, "flip", False))
    return arms and (
        f"The generators of {arms} also learned from slices that were mirrored left to right. No measure looks for "
        "copies of mirrored slices, so authenticity and nearest_ratio may flatter these pools."
    )


def _two_judges(plan: Plan[Settings]) -> str:
    """Pools that tell their measures by different judges, of which one saw the patients who are left out."""
    beside = {trial.inputs["other"] for trial in plan.trials.values() if "other" in trial.inputs}
    serves = plan.serves()
    judged: dict[str, set[str]] = {}
    for digest, trial in plan.trials.items():
        if trial.stage == "assess" and digest not in beside:
            for arm in serves[trial.inputs["pool"]]:
                judged.setdefault(arm, set()).add(plan.trials[trial.inputs["judge"]].stage)
    by_control = [arm for arm, stages in judged.items() if "judge" not in stages]
    others = [arm for arm in judged if arm not in by_control]
    return bool(by_control and others) * (
        f"The judge of {', '.join(by_control)} is the control's network, and that of {', '.join(others)} one that was "
        "fitted on the patients left out. Measures in the features of a judge, such as the Fréchet distance, differ "
        "between them for that reason too. assess.judge: control takes one judge for all."
    )


def _arms(plan: Plan[Settings], is_meant: Callable[[PlannedTrial], bool]) -> str:
    """Names of the arms that such trials serve, empty without any."""
    serves = plan.serves()
    names = [arm for digest, trial in plan.trials.items() if is_meant(trial) for arm in serves[digest]]
    return ", ".join(dict.fromkeys(names))
